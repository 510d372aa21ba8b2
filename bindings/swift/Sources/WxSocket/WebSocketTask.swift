// What an app needs of a task, so that its own tests can put another object in the place of one.

public import Foundation
public import WxSocketBindings

/// Everything that an app calls on a ``SocketTask``.
///
/// An app that holds its task as `any WebSocketTask`, and makes it with a ``SocketConnector``, can be tested without a
/// network: `FakeSocketTask` of the product `WxSocketFakes` does what the test tells it. The requirements are described
/// at ``SocketTask``.
public protocol WebSocketTask: AnyObject, Sendable {
    @discardableResult func send(_ text: String) throws(WxError) -> SendOutcome
    @discardableResult func send(_ bytes: Data) throws(WxError) -> SendOutcome
    func close(code: Int, reason: String) throws(WxError)
    func reconnectNow()
    func pause()
    func resume()
    func setNetwork(_ network: NetworkStatus)
    func setForeground(_ foreground: Bool)

    var readyState: ReadyState { get }
    var state: SocketState { get }
    var bufferedAmount: Int { get }
    var stats: SocketStats { get }

    @discardableResult
    func onOpen(@_inheritActorContext _ listener: @escaping EventListener<OpenEvent>) -> ListenerToken
    @discardableResult
    func onMessage(@_inheritActorContext _ listener: @escaping EventListener<MessageEvent>) -> ListenerToken
    @discardableResult
    func onError(@_inheritActorContext _ listener: @escaping EventListener<ErrorEvent>) -> ListenerToken
    @discardableResult
    func onClose(@_inheritActorContext _ listener: @escaping EventListener<CloseEvent>) -> ListenerToken
    func offOpen(_ token: ListenerToken)
    func offMessage(_ token: ListenerToken)
    func offError(_ token: ListenerToken)
    func offClose(_ token: ListenerToken)

    var messages: SocketSequence<Message> { get }
    var events: SocketSequence<SocketEvent> { get }
    var states: SocketSequence<SocketState> { get }
    func receive() async throws -> Message
    @discardableResult func opened() async throws -> OpenEvent
    @discardableResult func closed() async throws -> CloseEvent
}

extension WebSocketTask {
    /// Sends a binary message from a value that has its bytes in one piece, such as `[UInt8]`.
    @discardableResult
    public func send(_ bytes: some ContiguousBytes) throws(WxError) -> SendOutcome {
        try WxError.wrapping {
            try bytes.withUnsafeBytes { buffer in
                // The bytes are lent to `Data` for this call; the engine copies them before it returns.
                guard let start = UnsafeMutableRawPointer(mutating: buffer.baseAddress) else { return try send(Data()) }
                return try send(Data(bytesNoCopy: start, count: buffer.count, deallocator: .none))
            }
        }
    }

    /// Sends a message of either kind.
    @discardableResult
    public func send(_ message: Message) throws(WxError) -> SendOutcome {
        switch message {
        case .text(let text): try send(text)
        case .binary(let bytes): try send(bytes)
        }
    }

    /// Ends the task with code 1000: sends what was accepted, then a close frame, and waits at most `closeTimeout` for
    /// the close frame of the server. It may be called at any time and cancels a dial or a pending attempt. A second
    /// call changes nothing.
    public func close() { try? close(code: 1_000, reason: "") }

    /// Ends the task with this code and no reason; see ``close(code:reason:)``.
    public func close(code: Int) throws(WxError) { try close(code: code, reason: "") }

    /// Tells the task whether there is a network of which nothing else is known. Every call counts as a change.
    public func setNetwork(available: Bool) { setNetwork(NetworkStatus(available: available)) }
}

extension SocketTask: WebSocketTask {}

/// Makes tasks, and can be replaced in an app's own tests.
///
///     final class Chat {
///         private let task: any WebSocketTask
///
///         init(connect: SocketConnector = .live) throws {
///             task = try connect("wss://example.com/live") { $0.preset = .resilient }
///         }
///     }
public struct SocketConnector: Sendable {
    private let connect: @Sendable (SocketSetup) throws(WxError) -> any WebSocketTask

    /// Makes a connector that calls `connect` with the options of each task.
    public init(_ connect: @escaping @Sendable (SocketSetup) throws(WxError) -> any WebSocketTask) {
        self.connect = connect
    }

    /// Makes real tasks, as ``connectSocket(_:_:)`` does.
    public static let live = SocketConnector { setup throws(WxError) in try connectSocket(setup) }

    /// Makes a task for this address. Throws when an option is not valid.
    public func callAsFunction(_ url: String, _ configure: (inout SocketSetup) -> Void = { _ in }) throws(WxError)
        -> any WebSocketTask
    {
        try self(ConnectOptions(url: url), configure)
    }

    /// Makes a task with these options to begin with. Throws when an option is not valid.
    public func callAsFunction(_ options: ConnectOptions, _ configure: (inout SocketSetup) -> Void = { _ in })
        throws(WxError) -> any WebSocketTask
    {
        var setup = SocketSetup(options)
        configure(&setup)
        return try connect(setup)
    }
}
