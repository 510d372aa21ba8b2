// The options. Their types are generated from those of the engine, which declares, documents and checks each option
// once. The additions here make them read well in Swift.

import Foundation
// Exported, so that a library that is built on this one may name the types below in its own public declarations. Of the
// generated module only this one type is exported: the others reach apps under the names below.
@_exported public import struct WxSocketBindings.Header
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

/// What the closure of ``connectSocket(_:_:)`` sets: the options of the task, the queue for its closures, and a
/// sequence of all its events. Every property of ``ConnectOptions`` is also a property of this type.
@dynamicMemberLookup
public struct SocketSetup: Sendable {
    /// All options as one value.
    public var options: ConnectOptions
    /// A closure that is called before every dial. Its result may change the address, the headers and the protocols,
    /// for a new token for example, or end the task.
    ///
    /// An error, or no result within `timeout`, counts as a failed attempt. The call is cancelled when its result is no
    /// longer wanted: the dial was given up, the call took too long, or the task is over. At most four calls of one
    /// task run at the same time.
    public var beforeConnect:
        (@Sendable (_ epoch: Int, _ attempt: Int, _ lastError: ErrorEvent?) async throws -> ConnectDecision)?
    /// The queue on which the closures of `onOpen` and the others are called, if they belong to no actor; those of the
    /// main actor are called on the main actor (see ``EventListener``). nil: on the thread that delivers the events,
    /// which is the fastest. Default: the main queue where there is a user interface (UIKit, AppKit, WatchKit), else
    /// nil.
    public var callbackQueue: DispatchQueue? = .socketDefault
    /// A sequence that receives all events of the task from its first dial on; nil: none.
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

// The same cases without an argument label, where the type of the argument says enough.

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
        nil // A command-line program may not run its main queue.
        #endif
    }
}
