// The events of a task, its state and its numbers. For each connection (`epoch`) there is at most one open event, then
// messages, then at most one error event, then exactly one close event. A close event without `retry` ends the task.

public import Foundation
public import WxSocketBindings

/// The `readyState` of the WebSocket API. `.closed` means that the task is over.
public typealias ReadyState = WxSocketBindings.ReadyState
/// The kind of a failure. Each kind has a stable number and text.
public typealias ErrorKind = WxSocketBindings.ErrorKind
/// The measured steps of a dial in milliseconds, under the names that wx gives them.
public typealias SocketProfile = WxSocketBindings.SocketProfile

/// A WebSocket message: text stays text and bytes stay bytes, empty ones included.
public typealias Message = WxSocketBindings.Message
/// What became of a message that was given to `send`.
public typealias SendOutcome = WxSocketBindings.SendOutcome

extension Message {
    public static func text(_ text: String) -> Message { .text(text: text) }
    public static func binary(_ bytes: Data) -> Message { .binary(bytes: bytes) }

    /// The text of a text message.
    public var text: String? { if case .text(let text) = self { text } else { nil } }
    /// The bytes of a binary message.
    public var binary: Data? { if case .binary(let bytes) = self { bytes } else { nil } }

    var count: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .binary(let bytes): bytes.count
        }
    }
}

/// One event of a task.
public enum SocketEvent: Sendable, Equatable {
    // The others are indirect, so that a message event, of which there are many, takes less memory.
    indirect case open(OpenEvent)
    case message(MessageEvent)
    indirect case error(ErrorEvent)
    indirect case close(CloseEvent)

    init(_ native: WxSocketBindings.SocketEvent) {
        switch native {
        case .open(let event): self = .open(OpenEvent(event))
        case .message(let event): self = .message(MessageEvent(epoch: Int(event.epoch), data: event.data))
        case .error(let event): self = .error(ErrorEvent(event))
        case .close(let event): self = .close(CloseEvent(event))
        }
    }

    enum Kind: Int, CaseIterable { case open, message, error, close }

    var kind: Kind {
        switch self {
        case .open: .open
        case .message: .message
        case .error: .error
        case .close: .close
        }
    }

    /// The bytes that count against a bound: those parts that a server or the app can make large.
    var size: Int {
        switch self {
        case .open(let event): event.header.size + event.unsent.size
        case .message(let event): event.data.count
        case .error(let event): event.httpHeader.size + event.httpBody.count
        case .close(let event): event.reason.utf8.count + event.unsent.size
        }
    }

    var isFinal: Bool { if case .close(let event) = self { event.retry == nil } else { false } }
}

extension [Header] {
    fileprivate var size: Int { reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count } }
}

extension [Message] {
    fileprivate var size: Int { reduce(0) { $0 + $1.count } }
}

/// The connection is open; `send` works from here on.
public struct OpenEvent: Sendable, Equatable {
    /// The number of the connection: 1 is the first of the task.
    public let epoch: Int
    /// The number of attempts since the last stable connection; 0: the first dial succeeded.
    public let attempt: Int
    /// The headers of the server's answer, in order, with their original case and with duplicates.
    public let header: [Header]
    /// The sub-protocol that the server chose; nil: none.
    public let `protocol`: String?
    /// The time that each step of the dial took.
    public let profile: SocketProfile
    /// The queued messages that became older than the limit of the queue. They were not sent.
    public let unsent: [Message]

    /// Makes an event for an app's own tests.
    public init(
        epoch: Int = 1, attempt: Int = 0, header: [Header] = [], protocol: String? = nil,
        profile: SocketProfile = SocketProfile(
            fetchStart: 0, domainLookUpStart: 0, domainLookUpEnd: 0, connectStart: 0, connectEnd: 0, rtt: 0,
            handshakeCost: 0, cost: 0),
        unsent: [Message] = []
    ) {
        self.epoch = epoch
        self.attempt = attempt
        self.header = header
        self.protocol = `protocol`
        self.profile = profile
        self.unsent = unsent
    }

    init(_ native: WxSocketBindings.OpenEvent) {
        epoch = Int(native.epoch)
        attempt = Int(native.attempt)
        header = native.header
        `protocol` = native.protocol
        profile = native.profile
        unsent = native.unsent
    }
}

/// A message arrived.
public struct MessageEvent: Sendable, Equatable {
    /// The number of the connection.
    public let epoch: Int
    /// The message.
    public let data: Message
    /// The text of a text message; nil for a binary one.
    public var text: String? { data.text }
    /// The bytes of a binary message; nil for a text message.
    public var bytes: Data? { data.binary }

    public init(epoch: Int = 1, data: Message) {
        self.epoch = epoch
        self.data = data
    }
}

/// A connection failed, before or after it was open; its close follows.
public struct ErrorEvent: Error, Sendable, Equatable {
    /// The number of the connection.
    public let epoch: Int
    public let kind: ErrorKind
    /// The stable number of the kind.
    public let errCode: Int
    /// The fixed English text of the kind, in the form of wx.
    public let errMsg: String
    /// The text of the operating system or of a library, for people to read. It may differ between systems.
    public let detail: String
    /// The HTTP status with which the server answered the upgrade; nil: the failure was another one.
    public let httpStatus: Int?
    /// The headers of that HTTP answer.
    public let httpHeader: [Header]
    /// The first bytes of the body of that HTTP answer, at most 1 KiB.
    public let httpBody: Data

    /// Makes an event for an app's own tests.
    public init(
        epoch: Int = 1, kind: ErrorKind, errCode: Int = 0, errMsg: String = "", detail: String = "", httpStatus: Int? = nil,
        httpHeader: [Header] = [], httpBody: Data = Data()
    ) {
        self.epoch = epoch
        self.kind = kind
        self.errCode = errCode
        self.errMsg = errMsg
        self.detail = detail
        self.httpStatus = httpStatus
        self.httpHeader = httpHeader
        self.httpBody = httpBody
    }

    init(_ native: WxSocketBindings.ErrorEvent) {
        epoch = Int(native.epoch)
        kind = native.kind
        errCode = Int(native.errCode)
        errMsg = native.errMsg
        detail = native.detail
        httpStatus = native.httpStatus.map(Int.init)
        httpHeader = native.httpHeader
        httpBody = native.httpBody
    }
}

extension ErrorEvent: LocalizedError, CustomStringConvertible {
    public var errorDescription: String? { description }
    /// The text and the detail. The headers and the body of the server are left out, because errors are often logged
    /// and these may be secret.
    public var description: String { detail.isEmpty ? errMsg : "\(errMsg): \(detail)" }
}

/// A connection is over.
public struct CloseEvent: Error, Sendable, Equatable {
    /// The number of the connection.
    public let epoch: Int
    /// The code that the server sent, 1005 if its close frame had none, 1006 if there was no close frame, or the code
    /// that the app gave to `close`.
    public let code: Int
    public let reason: String
    /// True if both sides sent a close frame.
    public let wasClean: Bool
    /// The attempt that follows; nil: the task is over.
    public let retry: Retry?
    /// At the end of the task: the messages that were accepted and never sent, in order.
    public let unsent: [Message]

    /// The attempt that follows a close.
    public struct Retry: Sendable, Equatable {
        /// The number of the attempt; 0 and 1 are the first after a stable connection.
        public let attempt: Int
        /// The highest number of attempts; nil: there is no limit.
        public let max: Int?
        /// The time until the attempt; nil: the task is suspended (offline, paused or in the background).
        public let delay: Duration?

        /// Makes a value for an app's own tests.
        public init(attempt: Int, max: Int? = nil, delay: Duration? = nil) {
            self.attempt = attempt
            self.max = max
            self.delay = delay
        }
    }

    /// Makes an event for an app's own tests.
    public init(
        epoch: Int = 1, code: Int = 1_000, reason: String = "", wasClean: Bool = true, retry: Retry? = nil,
        unsent: [Message] = []
    ) {
        self.epoch = epoch
        self.code = code
        self.reason = reason
        self.wasClean = wasClean
        self.retry = retry
        self.unsent = unsent
    }

    init(_ native: WxSocketBindings.CloseEvent) {
        epoch = Int(native.epoch)
        code = Int(native.code)
        reason = native.reason
        wasClean = native.wasClean
        retry = native.retry.map {
            Retry(
                attempt: Int($0.attempt), max: $0.max.map(Int.init), delay: $0.delay)
        }
        unsent = native.unsent
    }
}

extension CloseEvent: LocalizedError, CustomStringConvertible {
    public var errorDescription: String? { description }
    /// The code and the reason. The messages that were not sent are left out, because errors are often logged.
    public var description: String { "the connection was closed with \(code)" + (reason.isEmpty ? "" : ": \(reason)") }
}

/// What a task is doing; each case belongs to one `readyState`.
public enum SocketState: Sendable, Equatable {
    /// The task dials or waits for the answer to its handshake. `attempt`: the number of attempts since the last stable
    /// connection.
    case connecting(attempt: Int)
    /// The task waits before the next attempt. `attempt`: its number; `delay`: the time until it begins.
    case waiting(attempt: Int, delay: Duration)
    /// No attempt is planned: the device is offline, the task is paused, the app is in the background, or too many
    /// events wait for a listener.
    case suspended
    case open
    /// The app called `close`, and the task waits for the server's answer.
    case closing
    /// The task is over.
    case closed

    init(_ native: WxSocketBindings.SocketState) {
        switch native {
        case .connecting(let attempt): self = .connecting(attempt: Int(attempt))
        case .waiting(let attempt, let delay): self = .waiting(attempt: Int(attempt), delay: delay)
        case .suspended: self = .suspended
        case .open: self = .open
        case .closing: self = .closing
        case .closed: self = .closed
        }
    }
}

/// Numbers about a task. Bytes are bytes of payload. Messages that a heartbeat sends are not counted.
public struct SocketStats: Sendable, Equatable {
    /// The number of the newest connection; 0: there was none.
    public var epoch = 0
    /// The number of attempts since the last stable connection.
    public var attempt = 0
    /// The number of connections that opened.
    public var opens = 0
    public var messagesOut = 0
    public var bytesOut = 0
    public var messagesIn = 0
    public var bytesIn = 0
    /// The round-trip time of the last heartbeat; nil: there was none.
    public var lastRTT: Duration?
    /// The smoothed round-trip time of the heartbeats, computed as TCP does (RFC 6298); nil: there was none.
    public var smoothedRTT: Duration?
    /// The number of calls of closures that threw an error.
    public var listenerFailures = 0
    /// The number of messages that were received and discarded because there was no room for them while the task was
    /// closing, or because there had never been a listener for messages. Messages that arrive after the last listener
    /// was removed are not counted.
    public var messagesDiscarded = 0
    /// The error of the last connection that failed; nil: none failed.
    public var lastError: ErrorEvent?

    /// Makes the numbers of a task that has done nothing; for an app's own tests.
    public init() {}

    init(_ native: WxSocketBindings.SocketStats, failures: Int) {
        epoch = Int(native.epoch)
        attempt = Int(native.attempt)
        opens = Int(native.opens)
        messagesOut = Int(native.messagesOut)
        bytesOut = Int(native.bytesOut)
        messagesIn = Int(native.messagesIn)
        bytesIn = Int(native.bytesIn)
        lastRTT = native.lastRttMs.map { .microseconds($0 * 1_000) }
        smoothedRTT = native.smoothedRttMs.map { .microseconds($0 * 1_000) }
        listenerFailures = Int(native.listenerFailures) + failures
        messagesDiscarded = Int(native.messagesDiscarded)
        lastError = native.lastError.map(ErrorEvent.init)
    }
}
