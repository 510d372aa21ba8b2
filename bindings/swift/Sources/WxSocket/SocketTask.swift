public import Foundation
public import WxSocketBindings

typealias Native = WxSocketBindings.SocketTask

/// Makes a task that keeps a WebSocket open, and returns at once; it dials in the background.
///
///     let task = try connectSocket("wss://example.com/live") {
///         $0.preset = .resilient
///         $0.header("Authorization", "Bearer …")
///     }
///
/// Throws when an option is not valid; then nothing is made.
public func connectSocket(_ url: String, _ configure: (inout SocketSetup) -> Void = { _ in }) throws(WxError)
    -> SocketTask
{
    try connectSocket(ConnectOptions(url: url), configure)
}

/// As the other `connectSocket`, with these options to begin with.
public func connectSocket(_ options: ConnectOptions, _ configure: (inout SocketSetup) -> Void = { _ in }) throws(WxError)
    -> SocketTask
{
    var setup = SocketSetup(options)
    configure(&setup)
    guard let events = setup.events else { return try SocketTask(setup, nil) }
    return try events.claim { pipe throws(WxError) in try SocketTask(setup, pipe) }
}

/// A WebSocket that is kept open: many connections, one after the other, each with its `epoch`.
///
/// Everything may be called from any thread and from inside a closure, and returns at once. When the last reference is
/// gone the socket is closed with 1000; closures that are to outlive nobody should capture the task weakly.
public final class SocketTask: Sendable {
    let native: Native
    let hub: EventHub
    private let watch: Watch

    fileprivate init(_ setup: SocketSetup, _ events: Pipe<SocketEvent>?) throws(WxError) {
        let hook = setup.beforeConnect.map(Hook.init)
        let native = try WxError.wrapping {
            try WxSocketBindings.connectSocket(options: setup.options, beforeConnect: hook)
        }
        self.native = native
        hub = EventHub(native, queue: setup.callbackQueue)
        watch = Watch(SocketState(native.state()), hub)
        // First: whoever waits is to hear of everything, whatever becomes of the listeners.
        native.setWatcher(watcher: watch)
        hub.attach()
        if let events { hub.attachFirst(events) }
    }

    /// Rust would do the same when its task is gone; but the hub keeps that until the end was told.
    deinit {
        close()
        // Nobody else can come: whatever is there is told, and the hub hears the end.
        native.listen(messages: true)
    }

    // MARK: Telling

    /// Sends a text message: now, or when the connection is open again.
    ///
    /// Throws when the task is closing or closed, and when the queue is full.
    @discardableResult
    public func send(_ text: String) throws(WxError) -> SendOutcome {
        guard text.utf8.count <= Int32.max else { throw .tooLong }
        return try WxError.wrapping { try native.sendText(text: text) }
    }

    /// Sends a binary message; otherwise as text. The bytes are copied before it returns.
    @discardableResult
    public func send(_ bytes: Data) throws(WxError) -> SendOutcome {
        guard bytes.count <= Int32.max else { throw .tooLong }
        return try WxError.wrapping { try native.sendBytes(bytes: bytes) }
    }

    /// Sends a binary message from whatever has its bytes in one piece, such as `[UInt8]`.
    @discardableResult
    public func send(_ bytes: some ContiguousBytes) throws(WxError) -> SendOutcome {
        try WxError.wrapping {
            try bytes.withUnsafeBytes { buffer in
                // Borrowed, not copied: Rust copies before it returns.
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

    /// Ends the task with 1000: sends what was accepted, then a close frame, and waits at most `closeTimeout` for the
    /// server's. Legal at any time; cancels a dial or a pending retry. Closing twice changes nothing.
    public func close() { try? close(code: 1000) }

    /// Ends the task with this code and reason.
    ///
    /// Throws when the code is neither 1000 nor 3000 to 4999, or the reason longer than 123 bytes of UTF-8; then
    /// nothing happens.
    public func close(code: Int, reason: String = "") throws(WxError) {
        try WxError.wrapping { try native.close(code: Int32(clamping: code), reason: reason) }
    }

    /// Stops waiting: dials now, with a fresh counter of attempts. An open connection is asked for a sign of life and
    /// replaced only if it gives none.
    public func reconnectNow() { native.reconnectNow() }

    /// Hangs up (1006 "paused") and stays away until ``resume()``. Queued messages are kept.
    public func pause() { native.pause() }

    /// Undoes ``pause()``: dials at once.
    public func resume() { native.resume() }

    /// Tells what the operating system knows of the network; `PathMonitor` does. Without one nothing is dialled and no
    /// attempt is used up. With a new one the task dials at once, or asks an open connection for a sign of life. The
    /// same network again (the same `id`) changes nothing.
    public func setNetwork(_ network: NetworkStatus) { native.setNetwork(network: network) }

    /// Tells whether there is a network of which nothing else is known. Every call counts as a change.
    public func setNetwork(available: Bool) { setNetwork(NetworkStatus(available: available)) }

    /// Tells whether the app is in the foreground; see `AppLifecycle`, and `background` in the options.
    public func setForeground(_ foreground: Bool) { native.setForeground(foreground: foreground) }

    /// From leaving the foreground to hanging up; nil: it keeps its connection in the background.
    var backgroundGrace: Duration? { native.backgroundGrace() }

    /// In the background, hangs up now instead of at the end of its grace; see `AppLifecycle`.
    func endBackgroundGrace() { native.endBackgroundGrace() }

    // MARK: Asking

    /// The WebSocket API's `readyState`; `.closed` is final.
    public var readyState: ReadyState { native.readyState() }

    /// Where it is in its life; finer than ``readyState``.
    public var state: SocketState { SocketState(native.state()) }

    /// Bytes of payload accepted and not yet written to the socket.
    public var bufferedAmount: Int { Int(native.bufferedAmount()) }

    /// What has happened so far.
    public var stats: SocketStats { SocketStats(native.stats(), failures: hub.failures) }

    // MARK: Closures
    //
    // All are called serially, in order, on the `callbackQueue` of the options, for about 8 ms at a time: then whoever
    // else waits for that queue comes first. What they throw is logged, with the error's
    // text, and counted; nothing else happens.
    //
    // Until somebody listens, here or in a sequence, everything is kept, and the first to come hears all of it that it
    // listens for. Whoever comes later hears how things are and never what was before: the open if it is open now, else
    // the last error (if there was one) and the last close. "Now" is as of the events told so far: while a listener is
    // slow, the connection may be gone already, and its close follows.

    /// Calls `listener` at every open, and now if it is open as of the events told so far; if that connection is lost
    /// already, its close follows.
    @discardableResult
    public func onOpen(_ listener: @escaping @Sendable (OpenEvent) throws -> Void) -> ListenerToken {
        hub.add(.open) { if case .open(let event) = $0 { try listener(event) } }
    }

    /// Calls `listener` with every message. The first one to listen for messages, here or in a sequence, also hears
    /// those that came before: all of them if nobody listened for anything, else the newest 256 (at most 1 MiB) of the
    /// present connection. So listen for messages first, or use `events` in the options: while only opens, errors and
    /// closes are listened for, the messages of a connection whose close was told are gone.
    @discardableResult
    public func onMessage(_ listener: @escaping @Sendable (MessageEvent) throws -> Void) -> ListenerToken {
        hub.add(.message) { if case .message(let event) = $0 { try listener(event) } }
    }

    /// Calls `listener` when a connection fails; its close follows. And now with the last failure, if it is not open now
    /// and the last connection failed.
    @discardableResult
    public func onError(_ listener: @escaping @Sendable (ErrorEvent) throws -> Void) -> ListenerToken {
        hub.add(.error) { if case .error(let event) = $0 { try listener(event) } }
    }

    /// Calls `listener` when a connection is over; without `retry` nothing follows. And now with the last close, if it is
    /// not open now and was.
    @discardableResult
    public func onClose(_ listener: @escaping @Sendable (CloseEvent) throws -> Void) -> ListenerToken {
        hub.add(.close) { if case .close(let event) = $0 { try listener(event) } }
    }

    /// Takes a listener off: it is not called again, but for a call that is under way. A token of another kind changes
    /// nothing.
    public func offOpen(_ token: ListenerToken) { hub.remove(token, .open) }
    public func offMessage(_ token: ListenerToken) { hub.remove(token, .message) }
    public func offError(_ token: ListenerToken) { hub.remove(token, .error) }
    public func offClose(_ token: ListenerToken) { hub.remove(token, .close) }

    // MARK: Sequences

    /// The messages. The first one to listen for messages also hears those that came before, as with
    /// ``onMessage(_:)``.
    ///
    /// Each loop, and each `first(where:)`, begins anew: what arrives between two of them is heard by neither. To read
    /// one now and the others later, keep an iterator; it ends with the task, and ``closed()`` then tells how:
    ///
    ///     var messages = task.messages.makeAsyncIterator()
    ///     let welcome = await messages.next()
    ///     while let message = await messages.next() { … }
    public var messages: SocketSequence<Message> {
        SocketSequence(task: self) { task in
            let pipe = Pipe { if case .message(let event) = $0 { event.data } else { nil } }
            task.hub.attach(pipe)
            return pipe
        }
    }

    /// All events. The first one to listen hears everything from the first dial on; later ones begin with how things are:
    /// the open if it is open now, else the last error (if there was one) and the last close. As with ``messages``, keep
    /// an iterator to hear everything.
    public var events: SocketSequence<SocketEvent> {
        SocketSequence(task: self) { task in
            let pipe = Pipe { $0 }
            task.hub.attach(pipe)
            return pipe
        }
    }

    /// The state, now and whenever it changes. A loop that is slow gets the newest, and stalls nothing; no closure, queue
    /// or other loop that is busy holds it up.
    public var states: SocketSequence<SocketState> {
        SocketSequence(task: self) { task in
            let pipe = Pipe<SocketState>(newestOnly: true) { _ in nil }
            task.watch.attach(pipe)
            return pipe
        }
    }

    // MARK: Waiting

    // No closure, queue or loop that is busy holds these up, so they may be awaited in a loop over the same task.
    // On the other hand closures and loops may hear of the same open or close a moment later.

    /// Waits until it is open. Throws the ``ErrorEvent`` or ``CloseEvent`` that ended the task before that, and
    /// `CancellationError` when cancelled. It does not wait for closures and loops, which may hear of it later.
    @discardableResult
    public func opened() async throws -> OpenEvent {
        try Task.checkCancellation()
        let (now, coming) = watch.wait()
        defer { coming.cancel() }
        if let open = now.open, isOpen(open) { return open }
        if let end = now.end { throw now.failure(of: end) }
        let before = now.open?.epoch ?? 0
        while let news = await coming.take().last {
            // It counts even if it is over already.
            if let open = news.open, open.epoch > before { return open }
            if let end = news.end { throw news.failure(of: end) }
        }
        throw CancellationError()
    }

    /// This connection is open still: what is known of it may be a moment old.
    private func isOpen(_ open: OpenEvent) -> Bool {
        native.readyState() == .open && Int(native.stats().epoch) == open.epoch
    }

    /// Waits until the task is over. Throws `CancellationError` when cancelled. It does not wait for closures and loops,
    /// which may hear of it later.
    @discardableResult
    public func closed() async throws -> CloseEvent {
        try Task.checkCancellation()
        let (now, coming) = watch.wait()
        defer { coming.cancel() }
        if let end = now.end { return end }
        while let news = await coming.take().last {
            if let end = news.end { return end }
        }
        throw CancellationError()
    }
}

/// What takes a listener off again.
public struct ListenerToken: Hashable, Sendable {
    private let id = UUID()
}
