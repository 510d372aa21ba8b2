public import Foundation
public import WxSocketBindings

typealias Native = WxSocketBindings.SocketTask

/// Makes a task that keeps a WebSocket open, and returns at once. The task dials in the background.
///
///     let task = try connectSocket("wss://example.com/live") {
///         $0.preset = .resilient
///         $0.header("Authorization", "Bearer …")
///     }
///
/// Throws when an option is not valid; then there is no task and nothing is dialled.
public func connectSocket(_ url: String, _ configure: (inout SocketSetup) -> Void = { _ in }) throws(WxError)
    -> SocketTask
{
    try connectSocket(ConnectOptions(url: url), configure)
}

/// Makes a task from these options, which `configure` may still change; otherwise as the other `connectSocket`.
public func connectSocket(_ options: ConnectOptions, _ configure: (inout SocketSetup) -> Void = { _ in }) throws(WxError)
    -> SocketTask
{
    var setup = SocketSetup(options)
    configure(&setup)
    return try connectSocket(setup)
}

func connectSocket(_ setup: SocketSetup) throws(WxError) -> SocketTask {
    guard let events = setup.events else { return try SocketTask(setup, nil) }
    return try events.claim { pipe throws(WxError) in try SocketTask(setup, pipe) }
}

/// A WebSocket that is kept open: a series of connections, each with a number, its `epoch`.
///
/// All methods may be called from any thread and from inside a closure. All that are not `async` return at once. When
/// the last reference to the task is gone, the socket is closed with code 1000. A closure that holds its task strongly
/// keeps the task alive until it is over, so closures should capture the task weakly.
public final class SocketTask: Sendable {
    let native: Native
    let hub: EventHub
    private let watch: Watch
    private let inbox = Inbox()

    fileprivate init(_ setup: SocketSetup, _ events: Pipe<SocketEvent>?) throws(WxError) {
        let hook = setup.beforeConnect.map(Hook.init)
        let native = try WxError.wrapping {
            try WxSocketBindings.connectSocket(options: setup.options, beforeConnect: hook)
        }
        self.native = native
        hub = EventHub(native, queue: setup.callbackQueue)
        watch = Watch(SocketState(native.state()), hub)
        // Before the listeners, so that `opened()` and `closed()` miss nothing.
        native.setWatcher(watcher: watch)
        hub.attach()
        if let events { hub.attachFirst(events) }
    }

    // The engine closes a task when it is released; but the hub keeps the engine's task until the final close has been
    // delivered, so it has to be closed here.
    deinit {
        close()
        inbox.cancel()
        // No listener can be added any more. Without any listener the engine would keep the events, and the hub would
        // never receive the final close, which releases it.
        native.listen(messages: true)
    }

    // MARK: Commands

    /// Sends a text message: now if the connection is open, otherwise as soon as it is. The result says which.
    ///
    /// It does not wait until the message is written; see ``bufferedAmount``. Throws when the task is closing or
    /// closed, and when the queue or the buffer of the open connection is full; then the message is not sent.
    @discardableResult
    public func send(_ text: String) throws(WxError) -> SendOutcome {
        guard text.utf8.count <= Int32.max else { throw .tooLong }
        return try WxError.wrapping { try native.sendText(text: text) }
    }

    /// Sends a binary message, under the same rules as a text message. The bytes are copied before it returns.
    @discardableResult
    public func send(_ bytes: Data) throws(WxError) -> SendOutcome {
        guard bytes.count <= Int32.max else { throw .tooLong }
        return try WxError.wrapping { try native.sendBytes(bytes: bytes) }
    }

    /// Ends the task with this code and reason.
    ///
    /// Sends what was accepted, then a close frame, and waits at most `closeTimeout` for the close frame of the server.
    /// Throws when the code is neither 1000 nor 3000 to 4999, or when the reason is longer than 123 bytes of UTF-8;
    /// then the task goes on.
    public func close(code: Int, reason: String) throws(WxError) {
        try WxError.wrapping { try native.close(code: Int32(clamping: code), reason: reason) }
    }

    /// Dials now instead of at the end of the delay, and sets the counter of attempts to zero. If the connection is
    /// open, the server is asked for a sign of life, and the connection is replaced only if none comes.
    public func reconnectNow() { native.reconnectNow() }

    /// Ends the connection (code 1006, reason "paused") and dials no more until ``resume()``. Queued messages are kept.
    public func pause() { native.pause() }

    /// Ends a ``pause()``: the task dials at once.
    public func resume() { native.resume() }

    /// Tells the task what the operating system knows of the network. `PathMonitor` calls it. While there is no
    /// network, nothing is dialled and no attempt is counted. When the network is a new one, the task dials at once, or
    /// asks the server for a sign of life if the connection is open. The same network again (the same `id`) changes
    /// nothing.
    public func setNetwork(_ network: NetworkStatus) { native.setNetwork(network: network) }

    /// Tells the task whether the app is in the foreground. `AppLifecycle` calls it. The option `background` says what
    /// the task does in the background.
    public func setForeground(_ foreground: Bool) { native.setForeground(foreground: foreground) }

    /// The time from leaving the foreground to ending the connection; nil: the connection is kept in the background.
    var backgroundGrace: Duration? { native.backgroundGrace() }

    /// Ends the connection now if the app is in the background, instead of at the end of ``backgroundGrace``.
    func endBackgroundGrace() { native.endBackgroundGrace() }

    // MARK: State

    /// The `readyState` of the WebSocket API. `.closed` means that the task is over.
    public var readyState: ReadyState { native.readyState() }

    /// What the task is doing, in more detail than ``readyState``.
    public var state: SocketState { SocketState(native.state()) }

    /// The bytes of payload that were accepted and are not yet written to the socket.
    public var bufferedAmount: Int { Int(native.bufferedAmount()) }

    /// The numbers of messages, bytes and connections so far, and measured times.
    public var stats: SocketStats { SocketStats(native.stats(), failures: hub.failures) }

    // MARK: Closures
    //
    // All are called one at a time and in order: those of the main actor and of other actors there, the others on the
    // `callbackQueue` of the options. They run for about 8 ms at a time: then other work that waits for that queue or
    // actor comes first. What they throw is logged, with the error's text, and counted; nothing else happens.
    //
    // Until there is a listener, a closure or a loop, all events are kept, and the first listener receives all of those
    // that it listens for. A later one receives the present state and never what was before: the open if the connection
    // is open, else the last error (if there was one) and the last close. The present state is that after the events
    // delivered so far: while a listener is slow, the connection may be lost already, and its close follows.

    /// Calls `listener` every time a connection opens, and now if the connection is open.
    @discardableResult
    public func onOpen(@_inheritActorContext _ listener: @escaping EventListener<OpenEvent>) -> ListenerToken {
        hub.add(Handler(.open, listener) { if case .open(let event) = $0 { event } else { nil } })
    }

    /// Calls `listener` with every message.
    ///
    /// The first listener for messages, a closure or a loop, also receives those that came before: all of them if there
    /// was no listener of any kind, else the newest 256 (at most 1 MiB) of the present connection. So listen for
    /// messages first, or use `events` in the options. While there are listeners for opens, errors and closes only, the
    /// messages of a connection are discarded when its close has been delivered.
    @discardableResult
    public func onMessage(@_inheritActorContext _ listener: @escaping EventListener<MessageEvent>) -> ListenerToken {
        hub.add(Handler(.message, listener) { if case .message(let event) = $0 { event } else { nil } })
    }

    /// Calls `listener` every time a connection fails; the close of the connection follows. Calls it now with the last
    /// error if the connection is not open and the last one failed.
    @discardableResult
    public func onError(@_inheritActorContext _ listener: @escaping EventListener<ErrorEvent>) -> ListenerToken {
        hub.add(Handler(.error, listener) { if case .error(let event) = $0 { event } else { nil } })
    }

    /// Calls `listener` every time a connection is over. A close without `retry` is the end of the task. Calls it now
    /// with the last close if the connection is not open and there was one before.
    @discardableResult
    public func onClose(@_inheritActorContext _ listener: @escaping EventListener<CloseEvent>) -> ListenerToken {
        hub.add(Handler(.close, listener) { if case .close(let event) = $0 { event } else { nil } })
    }

    /// Removes the closure with this token, which `onOpen` returned. The closure is not called again; a call that has
    /// begun ends as usual. The token of another kind of listener changes nothing.
    public func offOpen(_ token: ListenerToken) { hub.remove(token, .open) }
    /// Removes the closure with this token, which `onMessage` returned; see ``offOpen(_:)``.
    public func offMessage(_ token: ListenerToken) { hub.remove(token, .message) }
    /// Removes the closure with this token, which `onError` returned; see ``offOpen(_:)``.
    public func offError(_ token: ListenerToken) { hub.remove(token, .error) }
    /// Removes the closure with this token, which `onClose` returned; see ``offOpen(_:)``.
    public func offClose(_ token: ListenerToken) { hub.remove(token, .close) }

    // MARK: Sequences

    /// The messages, as a sequence. The first listener for messages also receives those that came before, as with
    /// ``onMessage(_:)``.
    ///
    /// Each loop, and each `first(where:)`, begins anew: what arrives between two of them reaches neither. To read one
    /// message now and the others later, call ``receive()``, or keep an iterator. The iterator ends with the task, and
    /// ``closed()`` then tells how the task ended:
    ///
    ///     var messages = task.messages.makeAsyncIterator()
    ///     let welcome = await messages.next()
    ///     while let message = await messages.next() { … }
    public var messages: SocketSequence<Message> {
        SocketSequence(owner: self) { [self] in
            let pipe = Pipe { if case .message(let event) = $0 { event.data } else { nil } }
            hub.attach(pipe)
            return pipe
        }
    }

    /// All events, as a sequence. The first listener receives all events since the first dial. A later loop begins with
    /// the present state: the open if the connection is open, else the last error (if there was one) and the last
    /// close. As with ``messages``, keep an iterator to miss nothing.
    public var events: SocketSequence<SocketEvent> {
        SocketSequence(owner: self) { [self] in
            let pipe = Pipe { $0 }
            hub.attach(pipe)
            return pipe
        }
    }

    /// The state, as a sequence: the newest one that was reported, then each change. A slow loop receives only the
    /// newest state and delays nothing else. Closures, queues and other loops that are busy do not delay it.
    public var states: SocketSequence<SocketState> {
        SocketSequence(owner: self) { [self] in
            let pipe = Pipe<SocketState>(newestOnly: true) { _ in nil }
            watch.attach(pipe)
            return pipe
        }
    }

    // MARK: Waiting

    // `opened()` and `closed()` do not wait for closures, queues or loops, so that they may be awaited inside a loop
    // over the same task.

    /// Waits until the connection is open, and returns its open event at once if it is open already.
    ///
    /// It does not wait for closures and loops, which may receive the same event later. Throws the ``ErrorEvent`` or
    /// ``CloseEvent`` that ended the task, and `CancellationError` when cancelled.
    @discardableResult
    public func opened() async throws -> OpenEvent {
        try Task.checkCancellation()
        let (now, coming) = watch.wait()
        defer { coming.cancel() }
        if let open = now.open, isOpen(open) { return open }
        if let end = now.end { throw now.failure(of: end) }
        let before = now.open?.epoch ?? 0
        while let news = await coming.take().last {
            // A connection that opened counts even if it is lost by now.
            if let open = news.open, open.epoch > before { return open }
            if let end = news.end { throw news.failure(of: end) }
        }
        throw CancellationError()
    }

    /// Whether this connection is still open. What the watch has may be a moment old.
    private func isOpen(_ open: OpenEvent) -> Bool {
        native.readyState() == .open && Int(native.stats().epoch) == open.epoch
    }

    /// Waits for one message and returns it.
    ///
    /// Each call returns the next message: those that arrive between two calls are kept for the next one. While 256
    /// messages or 1 MiB are kept, the task delivers nothing to anybody, and soon the socket is no longer read. So a
    /// task whose messages are read in this way is to be read until it ends. The first call begins as ``messages``
    /// does: it also returns what came before if there was no listener for messages. Several calls may wait at once;
    /// each message goes to one of them.
    ///
    /// The messages of all connections come one after the other: a connection that is lost and opened again does not
    /// end a call.
    ///
    /// Throws, when the task is over and all messages were returned, the ``ErrorEvent`` or ``CloseEvent`` that ended
    /// it, also after ``close()``. Throws `CancellationError` when cancelled; the message is then kept for the next
    /// call.
    public func receive() async throws -> Message {
        try Task.checkCancellation()
        if let message = await inbox.next(from: hub) { return message }
        let (news, end) = try await ended()
        throw news.failure(of: end)
    }

    /// Waits until the task is over, and returns its final close event. It does not wait for closures and loops, which
    /// may receive the same event later. Throws `CancellationError` when cancelled.
    @discardableResult
    public func closed() async throws -> CloseEvent { try await ended().end }

    private func ended() async throws -> (news: Watch.News, end: CloseEvent) {
        try Task.checkCancellation()
        let (now, coming) = watch.wait()
        defer { coming.cancel() }
        if let end = now.end { return (now, end) }
        while let news = await coming.take().last {
            if let end = news.end { return (news, end) }
        }
        throw CancellationError()
    }
}
