// What an app may ask for. What stays nil comes from the preset. Every bound is Rust's to check:
// a value out of bounds is a `WxError` that names the field.

import Foundation
public import WxSocketBindings

/// A set of rules: `.wx` unless said. Each case documents its own.
public typealias Preset = WxSocketBindings.Preset
/// What gives way when the queue is full.
public typealias OverflowPolicy = WxSocketBindings.OverflowPolicy
/// One HTTP header: `name` and `value`.
public typealias Header = WxSocketBindings.Header

/// The options of ``connectSocket(_:_:)``. Times are rounded up to whole milliseconds.
public struct ConnectOptions: Sendable {
    /// Where everything else comes from that is not said.
    public var preset: Preset?
    /// Headers of the upgrade request, sent as written. `Referer`, `Host` and the headers of the handshake itself
    /// cannot be set.
    public var header: [Header] = []
    /// Sub-protocols in order of preference. If there are any, the server must choose one.
    public var protocols: [String] = []
    /// Send small packets at once (TCP_NODELAY). Default: off in preset `wx`, on in all others.
    public var tcpNoDelay: Bool?
    /// Time for the whole dial: name, TCP, TLS, upgrade. Default: 60 s; 15 s in preset `resilient`.
    public var timeout: Duration?
    /// When to come back.
    public var reconnect = ReconnectOptions()
    /// How to notice a dead peer.
    public var heartbeat = HeartbeatOptions()
    /// What is kept while the connection is not open.
    public var queue = QueueOptions()
    /// Certificates in PEM of more authorities to trust; the operating system's always count.
    public var trustedCertificates: String?
    /// The first message of every connection, ahead of queued ones.
    public var greeting: Message?
    /// The largest message accepted from the server, in bytes. Default: 16 MiB; at most 1 GiB.
    public var maxMessageBytes: Int?
    /// What may wait for an *open* connection that takes messages more slowly than the app sends them, in bytes. Each
    /// message counts its payload and 64 bytes more. A message that finds nothing buffered is always taken, up to
    /// 1 GiB; beyond the bound `send` throws `queueFull`. If the connection is lost, what it has not written waits for
    /// the next one. Default: 16 MiB; at most 1 GiB.
    public var maxBufferedBytes: Int?
    /// How long ``SocketTask/close(code:reason:)`` waits for the server before it aborts. Default: 3 s.
    public var closeTimeout: Duration?
    /// What to do when the app leaves the foreground. Default: `wx` interrupts after 5 s, `resilient` after 30 s,
    /// the others keep the connection.
    public var background: BackgroundPolicy?
    /// Asked before every dial: for a fresh token, another address, or an end. An error, or no answer within `timeout`,
    /// counts as a failed attempt. What nobody waits for any more is cancelled: after `timeout`, or when the task is
    /// closed or paused. While four answers are awaited, the task asks no more.
    public var beforeConnect: (@Sendable (_ attempt: Int, _ lastError: ErrorEvent?) async throws -> ConnectDecision)?
    /// Where the closures of `onOpen` and the others are called. nil: on the thread that delivers, which is the
    /// fastest. Default: the main queue where there is an interface (UIKit, AppKit, WatchKit), else nil.
    public var callbackQueue: DispatchQueue? = .socketDefault
    /// Hears everything that the task tells, from its first dial on: nobody else can come before it.
    public var events: SocketEvents?

    /// Adds a header.
    public mutating func header(_ name: String, _ value: String) {
        header.append(Header(name: name, value: value))
    }
}

/// When to come back after a connection ended.
public struct ReconnectOptions: Sendable {
    /// False: one connection, and the task is over when it is.
    public var enabled: Bool?
    /// How long to wait before each attempt.
    public var delay: ReconnectDelay?
    /// How many attempts in a row before giving up.
    public var maxAttempts: AttemptLimit?
    /// A connection that was open this long sets the counter back to zero. Default: 5 s.
    public var stableAfter: Duration?
    /// Close codes (1000 to 4999) after which there is no point in coming back.
    public var stopCodes: [Int]?
    /// HTTP statuses (100 to 599) after which there is no point in coming back.
    public var stopStatuses: [Int]?
    /// Wait at least as long as the server's `Retry-After` asks, up to an hour. Default: yes.
    public var honourRetryAfter: Bool?
}

/// How long to wait before an attempt.
public enum ReconnectDelay: Sendable, Equatable {
    /// Always the same; zero is "at once".
    case fixed(Duration)
    /// Random between bounds that grow: the first attempt waits 0 to `first`, attempt n `min` to
    /// min(`max`, `min` × 2ⁿ⁻¹), and after `slowAfter` of failing each waits `slow` ± 20 %.
    case fullJitter(first: Duration, min: Duration, max: Duration, slowAfter: Duration, slow: Duration)
}

/// How many attempts in a row.
public enum AttemptLimit: Sendable, Equatable, ExpressibleByIntegerLiteral {
    case unlimited
    /// At least 1.
    case attempts(Int)

    public init(integerLiteral count: Int) { self = .attempts(count) }
}

/// How to notice a dead peer.
public struct HeartbeatOptions: Sendable {
    /// False: no heartbeat.
    public var enabled: Bool?
    /// What to send.
    public var payload: HeartbeatPayload?
    /// How long after the open, and after each answer, to send it.
    public var interval: Duration?
    /// How long to wait for life after it.
    public var timeout: Duration?
    /// Which message is the answer; it is not delivered to the app. A protocol Ping needs none.
    public var reply: ReplyMatch?
    /// Only the answer counts as life, not any frame. Default: no.
    public var strict: Bool?
    /// Deliver the answer to the app too. Default: no.
    public var deliverReply: Bool?
    /// Every message restarts the interval, not only the answer.
    public var idleDriven: Bool?
}

/// What a heartbeat sends.
public enum HeartbeatPayload: Sendable, Equatable {
    case text(String)
    case binary(Data)
    /// A protocol Ping, invisible to the server's application.
    case ping
}

/// Which message answers a heartbeat.
public enum ReplyMatch: Sendable, Equatable {
    case text(String)
    case binary(Data)
    /// Any text that begins so.
    case prefix(String)
    /// A JSON object with this field at its top level; `value`: a string's content or any other value's JSON text.
    case jsonField(String, value: String? = nil)
}

/// What `send` keeps while the connection is not open. What an open connection had accepted and could not write before
/// it was lost (``ConnectOptions/maxBufferedBytes``) waits for the next one and counts here too.
public struct QueueOptions: Sendable {
    /// False: `send` is refused while the connection is not open, as in the wx API.
    public var enabled: Bool?
    /// Messages. Default: 256.
    public var messages: Int?
    /// Bytes of payload. Default: 1 MiB; at most 1 GiB.
    public var bytes: Int?
    /// A message older than this is handed back instead of sent. Default: no limit.
    public var maxAge: Duration?
    /// What gives way when it is full. Default: the new message is refused. It does not apply while the connection
    /// is open.
    public var overflow: OverflowPolicy?
}

/// What to do when the app leaves the foreground.
public enum BackgroundPolicy: Sendable, Equatable {
    /// Nothing: the connection lives as long as the operating system lets it.
    case keep
    /// Close it after a while (1006 "interrupted"), and come back in the foreground.
    case interrupt(after: Duration)
}

/// What `beforeConnect` answers.
public enum ConnectDecision: Sendable, Equatable {
    /// Dial as the options say.
    case proceed
    /// Dial with these instead, each of them as a whole; nil: as in the options.
    case change(url: String? = nil, header: [Header]? = nil, protocols: [String]? = nil)
    /// Do not dial; the task is over. The reason becomes the error's `detail`.
    case stop(reason: String)
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
