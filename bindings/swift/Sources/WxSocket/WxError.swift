public import Foundation
internal import WxSocketBindings

/// The error of a call that had no effect: nothing was sent, lost or changed.
public struct WxError: LocalizedError, CustomStringConvertible, Sendable, Equatable {
    public enum Kind: Sendable {
        /// An argument or option is not valid. `field` is its name.
        case invalidArgument
        /// The task is closing or closed, or the connection is not open and there is no queue.
        case notConnected
        /// The queue, or the buffer of the open connection, has no room for the message.
        case queueFull
        /// The operating system does not give the library a thread or an event queue. `reason` is a text for people. A
        /// later call may succeed.
        case unavailable
        /// The library has a bug. Please report it.
        case unknown
    }

    public let kind: Kind
    /// The stable number: 600008 and 600009 (the URL) for an argument, 10001 for a full queue, 10002 for no connection.
    public let errCode: Int
    /// A fixed English text in wx form.
    public let errMsg: String
    /// The name of the argument or option that is not valid, such as `heartbeat.interval`; nil: the error is another
    /// one.
    public let field: String?
    /// What is wrong, and what would be right; nil: `errMsg` says everything.
    public let reason: String?

    /// Makes an error for an app's own tests, with the number and the text that the engine gives to this kind.
    public init(kind: Kind, field: String? = nil, reason: String? = nil) {
        let (errCode, errMsg) = switch kind {
        case .invalidArgument: (600_008, "connectSocket:fail invalid \(field ?? ""): \(reason ?? "")")
        case .notConnected: (10_002, "SocketTask.send:fail WebSocket is not connected")
        case .queueFull: (10_001, "SocketTask.send:fail the queue is full")
        case .unavailable: (600_000, "connectSocket:fail unavailable")
        case .unknown: (600_000, "connectSocket:fail unknown error")
        }
        self.init(kind: kind, errCode: errCode, errMsg: errMsg, field: field, reason: reason)
    }

    init(kind: Kind, errCode: Int, errMsg: String, field: String?, reason: String?) {
        self.kind = kind
        self.errCode = errCode
        self.errMsg = errMsg
        self.field = field
        self.reason = reason
    }

    public var errorDescription: String? { description }
    // For most kinds `errMsg` contains the reason already.
    public var description: String {
        kind == .unknown || kind == .unavailable ? "\(errMsg): \(reason ?? "")" : errMsg
    }
}

extension WxError {
    /// The error for a message whose length does not fit into the 32 bits of the FFI. It is longer than any queue may
    /// be.
    static let tooLong = WxError(
        kind: .queueFull, errCode: 10_001, errMsg: "SocketTask.send:fail the queue is full", field: nil, reason: nil)

    /// The error for an option that only this layer knows and checks.
    static func invalid(_ field: String, _ reason: String) -> WxError {
        WxError(
            kind: .invalidArgument, errCode: 600_008, errMsg: "connectSocket:fail invalid \(field): \(reason)",
            field: field, reason: reason)
    }

    init(_ error: any Error) {
        switch error {
        case let ours as WxError:
            self = ours
        case WxSocketBindings.WxError.InvalidArgument(let field, let reason, let errCode, let errMsg):
            let name = Self.swiftName(field)
            self.init(
                kind: .invalidArgument, errCode: Int(errCode),
                errMsg: errMsg.replacingOccurrences(of: "\(field): \(reason)", with: "\(name): \(reason)"),
                field: name, reason: reason)
        case WxSocketBindings.WxError.NotConnected(let errCode, let errMsg):
            self.init(kind: .notConnected, errCode: Int(errCode), errMsg: errMsg, field: nil, reason: nil)
        case WxSocketBindings.WxError.QueueFull(let errCode, let errMsg):
            self.init(kind: .queueFull, errCode: Int(errCode), errMsg: errMsg, field: nil, reason: nil)
        case WxSocketBindings.WxError.Unavailable(let reason, let errCode, let errMsg):
            self.init(kind: .unavailable, errCode: Int(errCode), errMsg: errMsg, field: nil, reason: reason)
        default:
            // A panic of the engine. The generated code throws it as an error of a private type.
            self.init(
                kind: .unknown, errCode: 600_000, errMsg: "connectSocket:fail unknown error", field: nil,
                reason: String(describing: error))
        }
    }

    /// Returns the Swift name of an option: `max_attempts` becomes `maxAttempts`.
    private static func swiftName(_ field: String) -> String {
        let words = field.split(separator: "_")
        return words.prefix(1).joined() + words.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    /// Runs a call into the engine and converts the error that it throws.
    static func wrapping<Result>(_ call: () throws -> Result) throws(WxError) -> Result {
        do { return try call() } catch { throw WxError(error) }
    }
}
