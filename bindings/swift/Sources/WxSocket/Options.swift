// The options are the engine's own types: declared, documented and checked once, in Rust. What is added here makes
// them read well in Swift.

import Foundation
public import WxSocketBindings

public typealias ConnectOptions = WxSocketBindings.ConnectOptions
public typealias ReconnectOptions = WxSocketBindings.ReconnectOptions
public typealias ReconnectDelay = WxSocketBindings.ReconnectDelay
public typealias AttemptLimit = WxSocketBindings.AttemptLimit
public typealias HeartbeatOptions = WxSocketBindings.HeartbeatOptions
public typealias HeartbeatPayload = WxSocketBindings.HeartbeatPayload
public typealias ReplyMatch = WxSocketBindings.ReplyMatch
public typealias QueueOptions = WxSocketBindings.QueueOptions
public typealias OverflowPolicy = WxSocketBindings.OverflowPolicy
public typealias TlsOptions = WxSocketBindings.TlsOptions
public typealias BackgroundPolicy = WxSocketBindings.BackgroundPolicy
public typealias ConnectDecision = WxSocketBindings.ConnectDecision
public typealias Preset = WxSocketBindings.Preset
public typealias Header = WxSocketBindings.Header
public typealias NetworkStatus = WxSocketBindings.NetworkStatus
public typealias NetworkKind = WxSocketBindings.NetworkKind

/// What the closure of ``connectSocket(_:_:)`` sets: the options of the task, where its closures are called, and who
/// hears everything. Every property of ``ConnectOptions`` is a property of this.
@dynamicMemberLookup
public struct SocketSetup: Sendable {
    /// All options as one value.
    public var options: ConnectOptions
    /// Asked before every dial: for a fresh token, another address, or an end. An error, or no answer within `timeout`,
    /// counts as a failed attempt. A call whose answer is no longer wanted is cancelled: its dial was given up, it took
    /// too long, or the task is over. While four answers are awaited, the task asks no more.
    public var beforeConnect:
        (@Sendable (_ epoch: Int, _ attempt: Int, _ lastError: ErrorEvent?) async throws -> ConnectDecision)?
    /// Where the closures of `onOpen` and the others are called. nil: on the thread that delivers, which is the
    /// fastest. Default: the main queue where there is an interface (UIKit, AppKit, WatchKit), else nil.
    public var callbackQueue: DispatchQueue? = .socketDefault
    /// Hears everything that the task tells, from its first dial on.
    public var events: SocketEvents?

    init(_ options: ConnectOptions) { self.options = options }

    public subscript<Value>(dynamicMember option: WritableKeyPath<ConnectOptions, Value>) -> Value {
        get { options[keyPath: option] }
        set { options[keyPath: option] = newValue }
    }

    /// Adds a header to the upgrade request.
    public mutating func header(_ name: String, _ value: String) {
        options.header.append(Header(name: name, value: value))
    }
}

// The same cases without a label, where the type of the argument says enough.

extension ReconnectDelay {
    public static func fixed(_ delay: Duration) -> ReconnectDelay { .fixed(delay: delay) }
}

extension AttemptLimit: ExpressibleByIntegerLiteral {
    public static func attempts(_ count: Int) -> AttemptLimit { .attempts(count: Int64(count)) }
    public init(integerLiteral count: Int64) { self = .attempts(count: count) }
}

extension HeartbeatPayload {
    public static func text(_ text: String) -> HeartbeatPayload { .text(text: text) }
    public static func binary(_ bytes: Data) -> HeartbeatPayload { .binary(bytes: bytes) }
}

extension ReplyMatch {
    public static func text(_ text: String) -> ReplyMatch { .text(text: text) }
    public static func binary(_ bytes: Data) -> ReplyMatch { .binary(bytes: bytes) }
    public static func prefix(_ prefix: String) -> ReplyMatch { .prefix(prefix: prefix) }
    public static func jsonField(_ name: String, value: String? = nil) -> ReplyMatch { .jsonField(name: name, value: value) }
}

extension BackgroundPolicy {
    public static func interrupt(after grace: Duration) -> BackgroundPolicy { .interrupt(grace: grace) }
}

extension DispatchQueue {
    fileprivate static var socketDefault: DispatchQueue? {
        #if canImport(UIKit) || canImport(AppKit) || canImport(WatchKit)
        .main
        #else
        nil // Nothing says that a command-line program runs its main queue.
        #endif
    }
}
