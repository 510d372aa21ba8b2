public import Foundation
internal import WxSocketBindings

/// A call was refused; nothing was sent, nothing was lost, nothing changed.
public struct WxError: LocalizedError, CustomStringConvertible, Sendable, Equatable {
    public enum Kind: Sendable {
        /// An argument or option is not valid; `field` says which.
        case invalidArgument
        /// The task is closing or closed, or its connection is not open and it has no queue.
        case notConnected
        /// The queue has no room for the message.
        case queueFull
        /// The library cannot work: the operating system refuses a thread or an event queue. `reason` is for people. A
        /// later call may succeed.
        case unavailable
        /// A bug of the library; please report it.
        case unknown
    }

    public let kind: Kind
    /// The stable number: 600008 and 600009 (the URL) for an argument, 10001 for a full queue, 10002 for no connection.
    public let errCode: Int
    /// A fixed English text in wx form.
    public let errMsg: String
    /// Which argument or option is at fault, as in `heartbeat.interval`.
    public let field: String?
    /// What is wrong with it, and what would be right.
    public let reason: String?

    public var errorDescription: String? { description }
    // `errMsg` says everything, but of what no app should ever see.
    public var description: String {
        kind == .unknown || kind == .unavailable ? "\(errMsg): \(reason ?? "")" : errMsg
    }
}

extension WxError {
    /// A message so long that its length does not cross the FFI: longer than any queue may be.
    static let tooLong = WxError(
        kind: .queueFull, errCode: 10_001, errMsg: "SocketTask.send:fail the queue is full", field: nil, reason: nil)

    /// An option that the engine is not asked about.
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
            // A panic of Rust, which UniFFI hands over as an error that it keeps private.
            self.init(
                kind: .unknown, errCode: 600_000, errMsg: "connectSocket:fail unknown error", field: nil,
                reason: String(describing: error))
        }
    }

    /// Rust's name of an option, as it is written in Swift.
    private static func swiftName(_ field: String) -> String {
        let words = field.split(separator: "_")
        return words.prefix(1).joined() + words.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    /// Runs a call into Rust with its errors made ours.
    static func wrapping<Result>(_ call: () throws -> Result) throws(WxError) -> Result {
        do { return try call() } catch { throw WxError(error) }
    }
}
