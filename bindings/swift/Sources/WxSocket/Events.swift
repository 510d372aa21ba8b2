// What an app is told. Per connection (`epoch`): at most one open, then messages, then at most one error, then exactly
// one close. A close whose `retry` is nil is the end of the task.

public import Foundation
public import WxSocketBindings

/// The WebSocket API's `readyState`; `.closed` is final.
public typealias ReadyState = WxSocketBindings.ReadyState
/// What kind of failure; each kind has a stable number and text.
public typealias ErrorKind = WxSocketBindings.ErrorKind
/// The measured steps of a dial, under their wx names; in milliseconds.
public typealias SocketProfile = WxSocketBindings.SocketProfile

/// A WebSocket message: text stays text and bytes stay bytes, empty ones included.
public typealias Message = WxSocketBindings.Message
/// What became of a message that was accepted.
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
    // Indirect, so that a message, of which there are many, is not as large as these.
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

    /// Bytes that count against a bound: what a server or the app may make large.
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
    /// Which connection of the task: 1 is the first.
    public let epoch: Int
    /// Attempts that were needed since the last stable connection; 0: none.
    public let attempt: Int
    /// The headers of the server's answer, in order, original case, duplicates kept.
    public let header: [Header]
    /// The sub-protocol that the server chose.
    public let `protocol`: String?
    /// How long it took.
    public let profile: SocketProfile
    /// Queued messages that grew older than the queue's limit; they were not sent.
    public let unsent: [Message]

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
    /// Which connection of the task.
    public let epoch: Int
    /// The message.
    public let data: Message
}

/// A connection failed, before or after it was open; its close follows.
public struct ErrorEvent: Error, Sendable, Equatable {
    /// Which connection of the task.
    public let epoch: Int
    public let kind: ErrorKind
    /// The kind's stable number.
    public let errCode: Int
    /// The kind's fixed English text, in wx form.
    public let errMsg: String
    /// What the operating system or a library said; for people.
    public let detail: String
    /// The status of a refused upgrade.
    public let httpStatus: Int?
    /// Its headers.
    public let httpHeader: [Header]
    /// The first bytes of its body, at most 1 KiB.
    public let httpBody: Data

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
    /// Without the server's headers and body: errors end up in logs, and those may be secret.
    public var description: String { detail.isEmpty ? errMsg : "\(errMsg): \(detail)" }
}

/// A connection is over.
public struct CloseEvent: Error, Sendable, Equatable {
    /// Which connection of the task.
    public let epoch: Int
    /// What the server sent, 1005 if it sent none, 1006 if there was no close frame, or what the app gave to `close`.
    public let code: Int
    public let reason: String
    /// Both sides sent a close frame.
    public let wasClean: Bool
    /// What comes next; nil: nothing, the task is over.
    public let retry: Retry?
    /// At the end of the task: messages that were accepted and never sent, in order.
    public let unsent: [Message]

    /// The attempt that follows a close.
    public struct Retry: Sendable, Equatable {
        /// Its number; 0 and 1 are the first after a stable connection.
        public let attempt: Int
        /// The limit, if there is one.
        public let max: Int?
        /// How long until then; nil while the task is suspended (offline, paused, in the background).
        public let delay: Duration?
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
    /// Without the messages that were not sent: errors end up in logs.
    public var description: String { "the connection was closed with \(code)" + (reason.isEmpty ? "" : ": \(reason)") }
}

/// Where a task is in its life; finer than `readyState`, which it never contradicts.
public enum SocketState: Sendable, Equatable {
    /// Dialling or shaking hands. `attempt`: those used since the last stable connection.
    case connecting(attempt: Int)
    /// Between two attempts: the number of the one that follows, and how long until it is due.
    case waiting(attempt: Int, delay: Duration)
    /// No attempt is due: offline, paused, in the background, or too many events wait for a
    /// listener.
    case suspended
    case open
    /// The app asked to close; the server's answer is awaited.
    case closing
    /// Final.
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

/// Numbers about a task. Bytes are those of payloads; what a heartbeat sends does not count.
public struct SocketStats: Sendable, Equatable {
    /// The newest connection; 0 before the first.
    public let epoch: Int
    /// Attempts used since the last stable connection.
    public let attempt: Int
    /// Connections that opened.
    public let opens: Int
    public let messagesOut: Int
    public let bytesOut: Int
    public let messagesIn: Int
    public let bytesIn: Int
    /// The newest round trip of a heartbeat.
    public let lastRTT: Duration?
    /// Round trips, smoothed as TCP does it (RFC 6298).
    public let smoothedRTT: Duration?
    /// Closures that threw.
    public let listenerFailures: Int
    /// Messages that were received and discarded before anyone was told: there was no room for them while the task was
    /// closing, or nobody had ever listened to messages. What came after the last listener was taken off does not count.
    public let messagesDiscarded: Int
    /// What ended the last connection that failed.
    public let lastError: ErrorEvent?

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
