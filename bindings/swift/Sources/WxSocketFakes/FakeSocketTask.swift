// Stands in for a task in an app's own tests: no network, no server, no engine.

import Foundation
import WxSocket

/// A task that does what a test tells it, and records what the app does with it.
///
///     let fake = FakeSocketTask()
///     let chat = try Chat(connect: fake.connector)
///     await fake.open()
///     await fake.deliver("hello")
///     #expect(chat.lines == ["hello"])
///     #expect(fake.sent == [.text("hi")])
///
/// ``open(_:)``, ``deliver(_:)`` and ``lose(_:retry:)`` return when all closures have been called. Unlike a real task
/// it does nothing by itself: it does not open, it does not reconnect, and closures that are added later hear nothing
/// of what was before. `close` ends it at once; its closures hear that a moment later.
public final class FakeSocketTask: WebSocketTask, @unchecked Sendable {
    private typealias Call = @Sendable (SocketEvent) async throws -> Void

    private let messageSource = SocketSource<Message>()
    private let eventSource = SocketSource<SocketEvent>()
    private let stateSource = SocketSource<SocketState>(newest: .connecting(attempt: 0))
    /// For `receive()`, `opened()` and `closed()`: signals every change.
    private let changes = Changes()

    private let lock = NSLock()
    // Guarded by `lock`.
    private var record = Record()
    private var current = SocketState.connecting(attempt: 0)
    private var listeners: [(token: ListenerToken, kind: Kind, call: Call)] = []
    private var inbox: [Message] = []
    private var lastOpen: OpenEvent?
    private var lastError: ErrorEvent?
    private var end: CloseEvent?
    private var numbers = SocketStats()

    private enum Kind { case open, message, error, close }

    private struct Record {
        var setup: SocketSetup?
        var sent: [Message] = []
        var networks: [NetworkStatus] = []
        var foregrounds: [Bool] = []
        var reconnects = 0
        var sendError: WxError?
    }

    public init() {}

    // MARK: For the test

    /// A connector that answers with this task, and keeps the options in ``setup``.
    public var connector: SocketConnector {
        SocketConnector { [self] setup throws(WxError) in
            lock.withLock { record.setup = setup }
            return self
        }
    }

    /// The options with which the app has connected; nil: it has not.
    public var setup: SocketSetup? { lock.withLock { record.setup } }
    /// What the app has sent, in order.
    public var sent: [Message] { lock.withLock { record.sent } }
    /// The values that the app has given to `setNetwork`, in order.
    public var networks: [NetworkStatus] { lock.withLock { record.networks } }
    /// The values that the app has given to `setForeground`, in order.
    public var foregrounds: [Bool] { lock.withLock { record.foregrounds } }
    /// How often the app has called `reconnectNow()`.
    public var reconnects: Int { lock.withLock { record.reconnects } }

    /// Has every `send` throw this error from now on; nil: none.
    public func failSends(with error: WxError?) { lock.withLock { record.sendError = error } }

    /// Opens the connection.
    public func open(_ event: OpenEvent = OpenEvent()) async {
        await tell(.open(event), .open)
    }

    /// Delivers a message from the server.
    public func deliver(_ message: Message) async {
        let epoch = lock.withLock { lastOpen?.epoch ?? 1 }
        await tell(.message(MessageEvent(epoch: epoch, data: message)), nil)
    }

    /// Delivers a text message from the server.
    public func deliver(_ text: String) async { await deliver(.text(text)) }

    /// Ends the connection with an error and a close. Without `retry` the task is over.
    public func lose(_ error: ErrorEvent? = ErrorEvent(kind: .connectionLost), retry: CloseEvent.Retry? = nil) async {
        let epoch = lock.withLock { lastOpen?.epoch ?? 1 }
        if let error { await tell(.error(error), nil) }
        await close(CloseEvent(epoch: epoch, code: 1_006, wasClean: false, retry: retry))
    }

    /// Ends the connection with this close. Without `retry` the task is over.
    public func close(_ event: CloseEvent) async {
        let next: SocketState = event.retry.map { .waiting(attempt: $0.attempt, delay: $0.delay ?? .zero) } ?? .closed
        await tell(.close(event), next)
    }

    private func tell(_ event: SocketEvent, _ state: SocketState?) async {
        guard let calls = change(event, state) else { return }
        for call in calls {
            do { try await call(event) } catch { lock.withLock { numbers.listenerFailures += 1 } }
        }
    }

    /// Makes the event true. The result is whom to tell; nil: the task is over, and nothing happens.
    private func change(_ event: SocketEvent, _ state: SocketState?) -> [Call]? {
        let (calls, isOver) = lock.withLock { () -> ([Call]?, Bool) in
            guard end == nil else { return (nil, true) }
            if let state { current = state }
            let kind: Kind
            switch event {
            case .open(let open): (kind, lastOpen, numbers.epoch) = (.open, open, open.epoch)
            case .message(let message):
                kind = .message
                inbox.append(message.data)
                numbers.messagesIn += 1
            case .error(let error): (kind, lastError) = (.error, error)
            case .close(let close):
                kind = .close
                if close.retry == nil { end = close }
            }
            return (listeners.filter { $0.kind == kind }.map(\.call), end != nil)
        }
        guard let calls else { return nil }
        if case .message(let message) = event { messageSource.send(message.data) }
        eventSource.send(event)
        if let state { stateSource.send(state) }
        if isOver {
            messageSource.finish()
            eventSource.finish()
            stateSource.finish()
        }
        changes.signal()
        return calls
    }

    // MARK: For the app

    public func send(_ text: String) throws(WxError) -> SendOutcome { try add(.text(text)) }
    public func send(_ bytes: Data) throws(WxError) -> SendOutcome { try add(.binary(Data(bytes))) }

    private func add(_ message: Message) throws(WxError) -> SendOutcome {
        let (error, isOpen) = lock.withLock {
            if record.sendError == nil { record.sent.append(message) }
            return (record.sendError, current == .open)
        }
        if let error { throw error }
        return isOpen ? .sent : .queued(dropped: [])
    }

    public func close(code: Int, reason: String) throws(WxError) {
        let epoch = lock.withLock { lastOpen?.epoch ?? 1 }
        let event = SocketEvent.close(CloseEvent(epoch: epoch, code: code, reason: reason))
        guard let calls = change(event, .closed) else { return }
        Task { for call in calls { try? await call(event) } }
    }

    public func reconnectNow() { lock.withLock { record.reconnects += 1 } }
    public func pause() { become(.suspended) }
    public func resume() { become(.connecting(attempt: 0)) }
    public func setNetwork(_ network: NetworkStatus) { lock.withLock { record.networks.append(network) } }
    public func setForeground(_ foreground: Bool) { lock.withLock { record.foregrounds.append(foreground) } }

    private func become(_ state: SocketState) {
        let isOver = lock.withLock {
            if end == nil { current = state }
            return end != nil
        }
        if !isOver { stateSource.send(state) }
    }

    public var readyState: ReadyState {
        switch state {
        case .connecting, .waiting, .suspended: .connecting
        case .open: .open
        case .closing: .closing
        case .closed: .closed
        }
    }
    public var state: SocketState { lock.withLock { current } }
    public var bufferedAmount: Int { 0 }
    public var stats: SocketStats { lock.withLock { numbers } }

    public func onOpen(@_inheritActorContext _ listener: @escaping EventListener<OpenEvent>) -> ListenerToken {
        add(.open) { if case .open(let event) = $0 { try await listener(event) } }
    }
    public func onMessage(@_inheritActorContext _ listener: @escaping EventListener<MessageEvent>) -> ListenerToken {
        add(.message) { if case .message(let event) = $0 { try await listener(event) } }
    }
    public func onError(@_inheritActorContext _ listener: @escaping EventListener<ErrorEvent>) -> ListenerToken {
        add(.error) { if case .error(let event) = $0 { try await listener(event) } }
    }
    public func onClose(@_inheritActorContext _ listener: @escaping EventListener<CloseEvent>) -> ListenerToken {
        add(.close) { if case .close(let event) = $0 { try await listener(event) } }
    }
    public func offOpen(_ token: ListenerToken) { remove(token, .open) }
    public func offMessage(_ token: ListenerToken) { remove(token, .message) }
    public func offError(_ token: ListenerToken) { remove(token, .error) }
    public func offClose(_ token: ListenerToken) { remove(token, .close) }

    private func add(_ kind: Kind, _ call: @escaping Call) -> ListenerToken {
        let token = ListenerToken()
        lock.withLock { listeners.append((token, kind, call)) }
        return token
    }

    private func remove(_ token: ListenerToken, _ kind: Kind) {
        lock.withLock { listeners.removeAll { $0.token == token && $0.kind == kind } }
    }

    public var messages: SocketSequence<Message> { messageSource.sequence }
    public var events: SocketSequence<SocketEvent> { eventSource.sequence }
    public var states: SocketSequence<SocketState> { stateSource.sequence }

    /// How the task ended; nil: it has not. The lock is held.
    private var failure: (any Error)? {
        guard let end else { return nil }
        if let lastError, lastError.epoch == end.epoch { return lastError }
        return end
    }

    public func receive() async throws -> Message {
        try await changes.wait { [self] in
            lock.withLock {
                if !inbox.isEmpty { return .success(inbox.removeFirst()) }
                return failure.map { .failure($0) }
            }
        }
    }

    public func opened() async throws -> OpenEvent {
        try await changes.wait { [self] in
            lock.withLock {
                if current == .open, let lastOpen { return .success(lastOpen) }
                return failure.map { .failure($0) }
            }
        }
    }

    public func closed() async throws -> CloseEvent {
        try await changes.wait { [self] in lock.withLock { end.map { .success($0) } } }
    }
}

/// Lets callers wait until something has changed.
private final class Changes: Sendable {
    private let source = SocketSource<Void>(newest: ())

    func signal() { source.send(()) }

    /// Returns what `look` finds, now or after a change. Throws `CancellationError` when cancelled.
    func wait<Value: Sendable>(for look: @Sendable () -> Result<Value, any Error>?) async throws -> Value {
        var changes = source.sequence.makeAsyncIterator()
        while true {
            try Task.checkCancellation()
            if let result = look() { return try result.get() }
            _ = await changes.next()
        }
    }
}
