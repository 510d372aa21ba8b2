// Between Rust, which calls one listener, and the app, which has many: closures and loops.
//
//   Rust's delivery thread ──▶ EventHub ──▶ steps, run ──▶ closures, on the app's queue
//                                  └──────▶ Pipe ×n ──▶ for await
//
// One batch is on its way at a time. It ends when the closures have heard it and every loop has room again; only then
// does Rust hand over the next one. No thread of Rust's waits here.

import Dispatch
import Foundation
internal import WxSocketBindings

/// What may wait for a loop: enough to keep it busy, nothing that a phone would notice.
enum Bound {
    static let events = 256
    static let bytes = 1 << 20
    /// How long closures keep the app's queue at a time: half of the 16 ms after which a screen wants its next picture.
    static let nanoseconds: UInt64 = 8_000_000
}

/// What remains to be done when a lock is released; nil: nothing.
typealias Wake = @Sendable () -> Void

/// Rust owns it until the end was told, and it owns the app's closures. It owns Rust's task too, so that a batch can end
/// after the app has let go of its ``SocketTask``, which closes that task.
final class EventHub: BatchListener, PipeHome, @unchecked Sendable {
    typealias Closure = @Sendable (SocketEvent) throws -> Void

    private final class Handler: @unchecked Sendable {
        let token = ListenerToken()
        let kind: SocketEvent.Kind
        let call: Closure
        /// Guarded by the hub's lock.
        var isOff = false

        init(_ kind: SocketEvent.Kind, _ call: @escaping Closure) {
            self.kind = kind
            self.call = call
        }
    }

    private enum Newcomer {
        case closure(Handler)
        case loop(any Outlet)
    }

    private struct Telling {
        let event: SocketEvent
        let audience: [Handler]
    }

    private let native: Native
    private let queue: DispatchQueue?

    private let lock = NSLock()
    // Guarded by `lock`.
    /// By kind.
    private var handlers = [[Handler]](repeating: [], count: SocketEvent.Kind.allCases.count)
    private var loops: [any Outlet] = []
    /// They come in with `onWake`.
    private var joining: [Newcomer] = []
    /// The final close has come: nothing follows.
    private var hasEnded = false
    /// It is on its way, and nothing is added to what comes before it.
    private var isEnding = false
    /// What the closures are told before `run`, each to those who were there when it came.
    private var steps: [Telling] = []
    /// The messages of the batch that the closures have not heard.
    private var run: PackedMessages?
    /// What the closures are being told now.
    private var telling: Telling?
    /// Somebody empties `steps` and `run`.
    private var isDraining = false
    /// How many are still busy with the batch: the call that brought it, the closures, and loops without room. Above
    /// zero, Rust's present state is that of the batch.
    private var busy = 0
    private var closuresAreBusy = false
    private var failed = 0
    /// By which Rust knows who is done; set before anybody listens.
    private var number: Int64 = 0
    /// Without a queue: for a closure that comes when no call of Rust's is there to tell it.
    private lazy var late = DispatchQueue(label: "dev.wxsocket.late")

    init(_ native: Native, queue: DispatchQueue?) {
        self.native = native
        self.queue = queue
    }

    /// Has Rust call this hub.
    func attach() {
        let number = native.setBatchListener(listener: self)
        lock.withLock { self.number = number }
    }

    private func resume() { native.resumeDelivery(listener: lock.withLock { number }) }

    // MARK: What Rust calls

    func onMessages(epoch: Int64, packed: Data) -> Bool {
        let messages = PackedMessages(epoch: Int(epoch), bytes: packed)
        lock.lock()
        let hasClosures = !handlers[SocketEvent.Kind.message.rawValue].isEmpty
        if hasClosures { run = messages }
        return tell(loops, hasClosures, bytes: packed.count) { Array(messages) }
    }

    func onEvent(event: WxSocketBindings.SocketEvent) -> Bool {
        let event = SocketEvent(event)
        lock.lock()
        let audience = handlers[event.kind.rawValue]
        if !audience.isEmpty { steps.append(Telling(event: event, audience: audience)) }
        let (allHandlers, allLoops) = (handlers, loops)
        if event.isFinal {
            hasEnded = true
            handlers = handlers.map { _ in [] }
            loops = []
        }
        // Closures are let go of outside the lock: destroying them may run the app's code.
        defer { withExtendedLifetime(allHandlers) {} }
        return tell(allLoops, !audience.isEmpty, bytes: event.size, isLast: event.isFinal) { [event] }
    }

    func onWake() {
        lock.lock()
        busy += 1
        let newcomers = joining
        joining = []
        let present = presentState()
        let wakes = newcomers.compactMap { admit($0, present) }
        let isMine = beginDraining()
        lock.unlock()
        for wake in wakes { wake() }
        if isMine { drain() }
        lock.withLock { busy -= 1 }
    }

    /// With `lock` held, which it releases. True: everybody has been told, and all loops have room. False: Rust is told
    /// when that is so.
    private func tell(
        _ loops: [any Outlet], _ hasClosures: Bool, bytes: Int, isLast: Bool = false, _ events: () -> [SocketEvent]
    ) -> Bool {
        busy += 1 + loops.count + (hasClosures ? 1 : 0)
        closuresAreBusy = hasClosures
        let isMine = hasClosures && beginDraining()
        lock.unlock()
        // A program may end with its loop: what its closures do at the end comes first, if that can be.
        if isMine, isLast { drain() }
        if !loops.isEmpty {
            let events = events()
            for loop in loops where loop.offer(events, bytes: bytes, from: self) { done() }
        }
        if isMine, !isLast { drain() }
        return lock.withLock {
            busy -= 1
            return busy == 0
        }
    }

    /// One of those who were busy with the batch is not any more. The call that brought the batch is one of them; so the
    /// last one comes after it has answered false, or is about to.
    func done() {
        lock.lock()
        let isLast = oneIsDone()
        lock.unlock()
        if isLast { resume() }
    }

    private func oneIsDone() -> Bool {
        busy -= 1
        return busy == 0
    }

    // MARK: Closures

    func add(_ kind: SocketEvent.Kind, _ call: @escaping Closure) -> ListenerToken {
        let handler = Handler(kind, call)
        join(.closure(handler))
        return handler.token
    }

    func remove(_ token: ListenerToken, _ kind: SocketEvent.Kind) {
        let isIt = { (handler: Handler) in handler.token == token && handler.kind == kind }
        lock.lock()
        // Those who go are let go of outside the lock.
        let (handlersBefore, joiningBefore) = (handlers, joining)
        handlers[kind.rawValue].removeAll(where: isIt)
        joining.removeAll { if case .closure(let handler) = $0 { isIt(handler) } else { false } }
        // It may be in the audience of an event that waits or is being told, even if it is in no list any more.
        for handlers in [handlersBefore[kind.rawValue], telling?.audience ?? []] + steps.map(\.audience) {
            for handler in handlers where isIt(handler) { handler.isOff = true }
        }
        lock.unlock()
        withExtendedLifetime((handlersBefore, joiningBefore)) {}
    }

    /// With `lock` held. True: the caller drains, once it has released the lock. Otherwise somebody does, or will, or
    /// there is nothing to tell.
    private func beginDraining() -> Bool {
        if queue != nil {
            drainLater()
            return false
        }
        guard !isDraining, !steps.isEmpty || run != nil else { return false }
        isDraining = true
        return true
    }

    /// With `lock` held.
    private func drainLater() {
        guard !isDraining, !steps.isEmpty || run != nil else { return }
        isDraining = true
        (queue ?? late).async { self.drainForAWhile() }
    }

    /// On the app's queue, which others use too: what is left waits behind them.
    private func drainForAWhile() {
        let begin = DispatchTime.now().uptimeNanoseconds
        let isOver = drain { DispatchTime.now().uptimeNanoseconds - begin < Bound.nanoseconds }
        if !isOver { (queue ?? late).async { self.drainForAWhile() } }
    }

    /// False: there is no more time, and perhaps more to tell.
    @discardableResult
    private func drain(while hasTime: () -> Bool = { true }) -> Bool {
        while hasTime() {
            guard let telling = next() else { return true }
            for handler in telling.audience {
                if lock.withLock({ handler.isOff }) { continue }
                do {
                    try handler.call(telling.event)
                } catch {
                    lock.withLock { failed += 1 }
                    SocketLog.warn("a listener failed: \(error)")
                }
            }
        }
        return false
    }

    /// What the closures are told next; nil: there is no more, and the draining is over.
    private func next() -> Telling? {
        lock.lock()
        // Its closures may be let go of here, and that runs the app's code: outside the lock.
        let before = telling
        defer { withExtendedLifetime(before) {} }
        telling = nil
        if !steps.isEmpty {
            telling = steps.removeFirst()
        } else if let message = run?.next() {
            // Whoever came in the meantime hears it, and whoever went does not.
            telling = Telling(event: message, audience: handlers[SocketEvent.Kind.message.rawValue])
        }
        if let telling {
            lock.unlock()
            return telling
        }
        run = nil
        isDraining = false
        let isLast = closuresAreBusy && oneIsDone()
        closuresAreBusy = false
        lock.unlock()
        if isLast { resume() }
        return nil
    }

    // MARK: Loops

    func attach<Element>(_ pipe: Pipe<Element>) {
        pipe.settle(in: self)
        join(.loop(pipe))
    }

    /// For a loop that was there before the dial: it hears everything.
    func attachFirst<Element>(_ pipe: Pipe<Element>) {
        pipe.settle(in: self)
        lock.withLock { loops.append(pipe) }
        native.listen(messages: true)
    }

    /// The task is over. What waits in Rust is all there is (at most 1,024 events), and the socket is gone: a loop that
    /// nobody reads has no reason to keep the closures from the end.
    func end() {
        let loops = lock.withLock {
            isEnding = true
            return self.loops
        }
        for loop in loops { loop.makeRoom() }
    }

    func detach(_ pipe: AnyObject) {
        lock.withLock {
            loops.removeAll { $0 === pipe }
            joining.removeAll { if case .loop(let loop) = $0 { loop === pipe } else { false } }
        }
    }

    // MARK: Newcomers

    private func join(_ newcomer: Newcomer) {
        lock.lock()
        var wake: Wake?
        if busy == 0, native.wakeListener() {
            joining.append(newcomer)
        } else {
            // In the middle of a batch, or after the end.
            wake = admit(newcomer, presentState())
            drainLater()
        }
        lock.unlock()
        wake?()
    }

    private func presentState() -> [SocketEvent] { native.presentState().map { SocketEvent($0) } }

    /// With `lock` held. A newcomer hears how things are, then the rest of the messages that the closures are being told,
    /// then what comes.
    private func admit(_ newcomer: Newcomer, _ present: [SocketEvent]) -> Wake? {
        switch newcomer {
        case .closure(let handler):
            for event in present where event.kind == handler.kind {
                steps.append(Telling(event: event, audience: [handler]))
            }
            guard !hasEnded else { return nil }
            handlers[handler.kind.rawValue].append(handler)
            native.listen(messages: handler.kind == .message)
            return nil
        case .loop(let loop):
            if isEnding { loop.makeRoom() }
            let wake = loop.begin(with: present + (run.map { Array($0) } ?? []), ended: hasEnded)
            guard !hasEnded else { return wake }
            loops.append(loop)
            native.listen(messages: true)
            return wake
        }
    }

    var failures: Int { lock.withLock { failed } }
}
