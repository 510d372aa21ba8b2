// Distributes the events of one task. The engine calls one listener, the hub; the app has many closures and loops.
//
//   delivery thread (Rust) ──▶ EventHub ──▶ steps, run ──▶ closures, on the app's queue or actor
//                                  └──────▶ Pipe ×n ──▶ for await
//
// There is one batch at a time. It ends when all closures have been called and every loop has room again; only then
// does the engine deliver the next one. No thread of the engine waits for that.

import Dispatch
import Foundation
internal import WxSocketBindings

/// How much may wait for a loop: enough to keep the loop busy, and little memory for a phone.
enum Bound {
    static let events = 256
    static let bytes = 1 << 20
    /// The longest time that closures run on the app's queue or actor before others get it: half of the 16 ms that a
    /// screen has for a picture.
    static let nanoseconds: UInt64 = 8_000_000
}

/// Work that has to wait until a lock is released, because it may run the app's code; nil: there is none.
typealias Wake = @Sendable () -> Void

/// The engine owns the hub until the final close was delivered, and the hub owns the closures of the app. The hub also
/// owns the engine's task, so that a batch can end after the app has released its ``SocketTask``.
final class EventHub: BatchListener, PipeHome, @unchecked Sendable {
    private enum Newcomer {
        case closure(Handler)
        case loop(any Outlet)
    }

    /// An event, and the closures that are called with it.
    private struct Telling {
        let event: SocketEvent
        let audience: [Handler]
        /// How many of them have been called.
        var told = 0
    }

    private let native: Native
    private let queue: DispatchQueue?

    private let lock = NSLock()
    // Guarded by `lock`.
    /// The closures, by kind.
    private var handlers = [[Handler]](repeating: [], count: SocketEvent.Kind.allCases.count)
    private var loops: [any Outlet] = []
    /// The closures and loops that `onWake` will admit.
    private var joining: [Newcomer] = []
    /// The engine has delivered the final close.
    private var hasEnded = false
    /// The task is over; the final close and some events before it may still be on their way.
    private var isEnding = false
    /// The events that the closures receive before `run`, each with the closures that were there when it came.
    private var steps: [Telling] = []
    /// The messages of the batch that the closures have not received.
    private var run: PackedMessages?
    /// The event with which closures are being called.
    private var telling: Telling?
    /// Whether `drain` runs, or will run soon.
    private var isDraining = false
    /// The number of parties that are busy with the batch: the call that brought it, the closures together, and each
    /// loop without room. Above zero, the present state that the engine reports is that of the batch.
    private var busy = 0
    private var closuresAreBusy = false
    private var failed = 0
    /// The number under which the engine knows this hub; set before there are listeners.
    private var number: Int64 = 0
    /// Without a `callbackQueue`: for closures that have to be called when no thread of the engine is calling the hub.
    private lazy var late = DispatchQueue(label: "dev.wxsocket.late")

    init(_ native: Native, queue: DispatchQueue?) {
        self.native = native
        self.queue = queue
    }

    /// Makes the engine call this hub.
    func attach() {
        let number = native.setBatchListener(listener: self)
        lock.withLock { self.number = number }
    }

    private func resume() { native.resumeDelivery(listener: lock.withLock { number }) }

    // MARK: Called by the engine

    func onMessages(epoch: Int64, packed: Data) -> Bool {
        let messages = PackedMessages(epoch: Int(epoch), bytes: packed)
        lock.lock()
        // The present state is that of before this batch, which the newcomers get too.
        let wakes = admitNewcomers()
        let hasClosures = !handlers[SocketEvent.Kind.message.rawValue].isEmpty
        if hasClosures { run = messages }
        return tell(loops, hasClosures, wakes, bytes: packed.count) { Array(messages) }
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
        // The present state is that of after this event, which the newcomers do not get again.
        let wakes = admitNewcomers()
        // Closures are released outside the lock, because that may run a `deinit` of the app.
        defer { withExtendedLifetime(allHandlers) {} }
        return tell(allLoops, !audience.isEmpty, wakes, bytes: event.size, isLast: event.isFinal) { [event] }
    }

    func onWake() {
        lock.lock()
        busy += 1
        let wakes = admitNewcomers()
        let isMine = beginDraining()
        lock.unlock()
        for wake in wakes { wake() }
        if isMine { drain() }
        lock.withLock { busy -= 1 }
    }

    /// Begins a batch. Called with `lock` held; releases it. Returns true if all closures have been called and all
    /// loops have room. If it returns false, `resume()` follows when that is so.
    private func tell(
        _ loops: [any Outlet], _ hasClosures: Bool, _ wakes: [Wake], bytes: Int, isLast: Bool = false,
        _ events: () -> [SocketEvent]
    ) -> Bool {
        busy += 1 + loops.count + (hasClosures ? 1 : 0)
        closuresAreBusy = hasClosures
        let isMine = beginDraining()
        lock.unlock()
        for wake in wakes { wake() }
        // A program often ends with its loop, so the closures are called with the final close before the loop ends.
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

    /// Notes that one party is no longer busy with the batch. If it was the last one, the call that brought the batch
    /// has returned false or is about to, and the engine is told to go on.
    func done() {
        lock.lock()
        let isLast = oneIsDone()
        lock.unlock()
        if isLast { resume() }
    }

    /// Called with `lock` held. Returns true if nobody is busy any more.
    private func oneIsDone() -> Bool {
        busy -= 1
        return busy == 0
    }

    // MARK: Closures

    func add(_ handler: Handler) -> ListenerToken {
        join(.closure(handler))
        return handler.token
    }

    func remove(_ token: ListenerToken, _ kind: SocketEvent.Kind) {
        let isIt = { (handler: Handler) in handler.token == token && handler.kind == kind }
        lock.lock()
        // The closures are released outside the lock.
        let (handlersBefore, joiningBefore) = (handlers, joining)
        handlers[kind.rawValue].removeAll(where: isIt)
        joining.removeAll { if case .closure(let handler) = $0 { isIt(handler) } else { false } }
        // An event that waits or is being delivered keeps its closures even if they are in no list any more.
        for handlers in [handlersBefore[kind.rawValue], telling?.audience ?? []] + steps.map(\.audience) {
            for handler in handlers where isIt(handler) { handler.isOff = true }
        }
        lock.unlock()
        withExtendedLifetime((handlersBefore, joiningBefore)) {}
    }

    /// Returns where this closure is called.
    private func place(of handler: Handler) -> Place {
        switch handler.actor {
        case nil: queue == nil ? .anywhere : queue === DispatchQueue.main ? .main : .queue
        case let actor? where actor === MainActor.shared: .main
        case let actor?: .actor(actor)
        }
    }

    /// Called with `lock` held. Returns true if there are events for closures and the caller has to call `drain()`
    /// after it has released the lock. Returns false if there are none, if they are being delivered already, or if that
    /// has been scheduled at another place.
    private func beginDraining() -> Bool {
        guard !isDraining, let first = firstPlace else { return false }
        isDraining = true
        if case .anywhere = first { return true }
        drainLater(at: first)
        return false
    }

    /// Called with `lock` held. Schedules the delivery of the events for closures; never on the calling thread.
    private func drainLater() {
        guard !isDraining, let first = firstPlace else { return }
        isDraining = true
        drainLater(at: first)
    }

    /// Where the next closure is called; nil: there are no events for closures. The lock is held.
    private var firstPlace: Place? {
        guard !steps.isEmpty || run != nil else { return nil }
        let audience = steps.first?.audience ?? handlers[SocketEvent.Kind.message.rawValue]
        return audience.first.map(place) ?? .anywhere
    }

    private func drainLater(at place: Place) {
        switch place {
        case .anywhere: late.async { self.drainForAWhile(at: place) }
        case .queue: (queue ?? late).async { self.drainForAWhile(at: place) }
        case .main: DispatchQueue.main.async { self.drainForAWhile(at: place) }
        case .actor(let actor): Task { await self.drain(on: actor) }
        }
    }

    private func drain(on actor: isolated any Actor) { drainForAWhile(at: .actor(actor)) }

    /// Drains for a limited time, because others use the queue or the actor too. The rest is scheduled behind them.
    private func drainForAWhile(at place: Place) {
        let begin = DispatchTime.now().uptimeNanoseconds
        drain(at: place) { DispatchTime.now().uptimeNanoseconds - begin < Bound.nanoseconds }
    }

    /// Calls closures in order, until there are no more events, the next closure belongs to another place, or the time
    /// is over. In the last two cases the rest is scheduled.
    private func drain(at place: Place = .anywhere, while hasTime: () -> Bool = { true }) {
        while true {
            switch next(at: place) {
            case .call(let handler, let event):
                do {
                    try handler.call(event)
                } catch {
                    lock.withLock { failed += 1 }
                    SocketLog.warn("a listener failed: \(error)")
                }
                if !hasTime() { return drainLater(at: place) }
            case .moveOn: continue
            case .elsewhere(let other): return drainLater(at: other)
            case .over: return
            }
        }
    }

    private enum Step {
        case call(Handler, SocketEvent)
        /// All closures have been called with one event; the next event follows.
        case moveOn
        case elsewhere(Place)
        /// There are no more events for closures, and the draining is over.
        case over
    }

    private func next(at here: Place) -> Step {
        lock.lock()
        while let told = telling?.told, let audience = telling?.audience, told < audience.count {
            let handler = audience[told]
            let place = place(of: handler)
            if !handler.isOff, !(place == here) {
                lock.unlock()
                return .elsewhere(place)
            }
            telling?.told += 1
            if !handler.isOff, let event = telling?.event {
                lock.unlock()
                return .call(handler, event)
            }
        }
        // Its closures may be released here. That may run a `deinit` of the app, so it happens outside the lock.
        let before = telling
        defer { withExtendedLifetime(before) {} }
        telling = nil
        if !steps.isEmpty {
            telling = steps.removeFirst()
        } else if let message = run?.next() {
            // Closures that were added in the meantime are called too, and those that were removed are not.
            telling = Telling(event: message, audience: handlers[SocketEvent.Kind.message.rawValue])
        }
        if telling != nil {
            lock.unlock()
            return .moveOn
        }
        run = nil
        isDraining = false
        let isLast = closuresAreBusy && oneIsDone()
        closuresAreBusy = false
        lock.unlock()
        if isLast { resume() }
        return .over
    }

    // MARK: Loops

    func attach<Element>(_ pipe: Pipe<Element>) {
        pipe.settle(in: self)
        join(.loop(pipe))
    }

    /// Adds a loop that was there before the dial. It receives all events.
    func attachFirst<Element>(_ pipe: Pipe<Element>) {
        pipe.settle(in: self)
        lock.withLock { loops.append(pipe) }
        native.listen(messages: true)
    }

    /// Called when the task is over. No more than the 1,024 events that the engine keeps can follow, so loops need no
    /// bound any more: a loop that is not read would only keep the closures from receiving the final close.
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
            // In the middle of a batch the engine does not call `onWake`, and after the end there is no engine.
            wake = admit(newcomer, presentState())
            drainLater()
        }
        lock.unlock()
        wake?()
    }

    /// Called with `lock` held. Admits those who came between two batches. Usually `onWake` does, but a batch may come
    /// first, and nothing else comes before it is done, which a full loop can delay for ever.
    private func admitNewcomers() -> [Wake] {
        guard !joining.isEmpty else { return [] }
        let newcomers = joining
        joining = []
        let present = presentState()
        return newcomers.compactMap { admit($0, present) }
    }

    private func presentState() -> [SocketEvent] { native.presentState().map { SocketEvent($0) } }

    /// Called with `lock` held. Gives a new closure or loop the present state. A loop also receives the rest of the
    /// messages that the closures are receiving; a closure receives them with the others.
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
