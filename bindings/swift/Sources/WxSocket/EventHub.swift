// Between Rust, which calls one listener, and the app, which has many: closures and sequences.
//
//   Rust's delivery thread ──▶ EventHub ──▶ pending ──▶ closures, on the app's queue
//                                  └─────▶ Pipe ×n ──▶ for await
//
// Everything on the way is bounded. When a bound is reached, Rust's thread waits here; Rust then stops reading the
// socket, and in the end the server waits. Only this task notices.

import Dispatch
import Foundation
internal import WxSocketBindings

/// What may wait for a queue or a sequence: enough to keep it busy, nothing that a phone would notice.
enum Bound {
    static let events = 256
    static let bytes = 1 << 20
}

/// Rust owns it, and it owns the app's closures; so it must not own the task, or neither would ever be freed.
final class EventHub: BatchListener, @unchecked Sendable {
    typealias Closure = @Sendable (SocketEvent) throws -> Void

    private final class Handler: Sendable {
        let token = ListenerToken()
        let kind: SocketEvent.Kind
        /// It came after this many events, of which it was told what still counts.
        let since: UInt64
        /// The task was over when it came: there is nothing to take it off from.
        let afterEnd: Bool
        let call: Closure

        init(kind: SocketEvent.Kind, since: UInt64, afterEnd: Bool, call: @escaping Closure) {
            self.kind = kind
            self.since = since
            self.afterEnd = afterEnd
            self.call = call
        }
    }

    private struct Job {
        let number: UInt64
        let event: SocketEvent
        /// For a listener that came late; nil: for all.
        var only: Handler?
    }

    private let queue: DispatchQueue?
    /// Rust's, for as long as it may ask: it may own the task.
    private weak var hook: Hook?

    private let gate = NSCondition()
    // Guarded by `gate`.
    private var pending: [Job] = []
    private var pendingBytes = 0
    private var draining = false
    private var number: UInt64 = 0
    private var open: OpenEvent?
    private var error: ErrorEvent?
    private var end: CloseEvent?
    private var pipes: [any Outlet] = []
    private var statePipes: [Pipe<SocketState>] = []
    /// Events from before anyone listened for their kind, the newest of them.
    private var early: [SocketEvent] = []
    private var earlyBytes = 0
    /// The kinds that someone has listened for.
    private var wanted: Set<SocketEvent.Kind> = []

    /// Apart from `gate`, so that calling closures does not wait for Rust's thread.
    private let book = NSLock()
    // Guarded by `book`.
    private var handlers: [Handler] = []
    private var failed = 0

    init(queue: DispatchQueue?, hook: Hook?) {
        self.queue = queue
        self.hook = hook
    }

    // MARK: What Rust calls

    func onMessages(epoch: Int64, packed: Data) {
        packed.withUnsafeBytes { bytes in
            let messages = PackedMessages(bytes: bytes)
            let event = { (data: Message) in SocketEvent.message(MessageEvent(epoch: Int(epoch), data: data)) }
            if var number = beginCalling(messages.count) {
                messages.forEach {
                    run(event($0), number, only: nil)
                    number += 1
                }
                drain()
            } else {
                var events: [SocketEvent] = []
                messages.forEach { events.append(event($0)) }
                arrived(events, bytes: packed.count)
            }
        }
    }

    /// Where nothing but closures hears messages, and nothing is waiting, they are called as the messages are read: the
    /// number of the first, or nil. Whoever gets a number drains at the end.
    private func beginCalling(_ count: Int) -> UInt64? {
        gate.withLock {
            guard queue == nil, !draining, pipes.isEmpty, wanted.contains(.message) else { return nil }
            draining = true
            defer { number += UInt64(count) }
            return number + 1
        }
    }

    func onEvent(event: WxSocketBindings.SocketEvent) {
        let event = SocketEvent(event)
        if case .close(let close) = event { hook?.end(close) }
        arrived([event], bytes: event.size)
    }

    func onState(state: WxSocketBindings.SocketState) {
        let pipes = gate.withLock { statePipes }
        for pipe in pipes { pipe.push([SocketState(state)]) }
    }

    private func arrived(_ events: [SocketEvent], bytes: Int) {
        gate.lock()
        while pending.count >= Bound.events || pendingBytes >= Bound.bytes { gate.wait() }
        let first = number + 1
        number += UInt64(events.count)
        for event in events where event.kind != .message || !wanted.contains(.message) { remember(event) }
        let pipes = self.pipes
        let statePipes = self.statePipes
        if end != nil { (self.pipes, self.statePipes) = ([], []) }
        if queue == nil, !draining {
            // The usual case without a queue: nothing is put aside.
            draining = true
            gate.unlock()
            for (index, event) in events.enumerated() { run(event, first + UInt64(index), only: nil) }
            drain()
        } else {
            for (index, event) in events.enumerated() {
                pending.append(Job(number: first + UInt64(index), event: event))
            }
            pendingBytes += bytes
            startDraining()
            gate.unlock()
        }
        if events.last?.isFinal == true { for pipe in statePipes { pipe.finish() } }
        for pipe in pipes { pipe.offer(events, bytes: bytes) }
    }

    private func remember(_ event: SocketEvent) {
        switch event {
        case .open(let event): open = event
        case .error(let event): error = event
        case .message: break
        case .close(let event):
            open = nil
            if event.retry == nil { end = event }
        }
        guard !wanted.contains(event.kind) else { return }
        early.append(event)
        earlyBytes += event.size
        // As in the WebSocket API, what nobody listens for is gone, if a little later.
        while early.count > Bound.events || earlyBytes > Bound.bytes {
            let oldest = early.remove(at: early.firstIndex { $0.kind == .message } ?? 0)
            earlyBytes -= oldest.size
        }
    }

    // MARK: Closures

    func add(_ kind: SocketEvent.Kind, _ call: @escaping Closure) -> ListenerToken {
        gate.withLock {
            let handler = Handler(kind: kind, since: number, afterEnd: end != nil, call: call)
            for event in missed([kind]) {
                pending.append(Job(number: number, event: event, only: handler))
                pendingBytes += event.size
            }
            if end == nil { book.withLock { handlers.append(handler) } }
            if !pending.isEmpty { startDraining() }
            return handler.token
        }
    }

    func remove(_ token: ListenerToken, _ kind: SocketEvent.Kind) {
        replaceHandlers { $0.filter { $0.token != token || $0.kind != kind } }
    }

    /// What someone who comes now has missed: everything that nobody listened for, and what still holds of the rest.
    /// Who only waits for something leaves it to others.
    private func missed(_ kinds: [SocketEvent.Kind], onlyWaits: Bool = false) -> [SocketEvent] {
        var events = early.filter { kinds.contains($0.kind) }
        if kinds.contains(.open), wanted.contains(.open), let open { events.insert(.open(open), at: 0) }
        if kinds.contains(.close), wanted.contains(.close), let end { events.append(.close(end)) }
        if !onlyWaits {
            early.removeAll { kinds.contains($0.kind) }
            earlyBytes = early.reduce(0) { $0 + $1.size }
            wanted.formUnion(kinds)
        }
        return events
    }

    /// With `gate` held: has someone empty `pending`.
    private func startDraining() {
        guard !draining else { return }
        draining = true
        // Without a queue this is someone who came late, and not to be called back before `onOpen` returns.
        (queue ?? .global()).async { self.drain() }
    }

    private func drain() {
        gate.lock()
        while !pending.isEmpty {
            let batch = pending
            pending = []
            pendingBytes = 0
            gate.broadcast()
            gate.unlock()
            for job in batch { run(job.event, job.number, only: job.only) }
            // Others use the queue too.
            if let queue { return queue.async { self.drain() } }
            gate.lock()
        }
        draining = false
        gate.unlock()
    }

    private func run(_ event: SocketEvent, _ number: UInt64, only: Handler?) {
        let kind = event.kind
        for handler in listeners(number, only) where handler.kind == kind {
            do {
                try handler.call(event)
            } catch {
                book.withLock { failed += 1 }
                SocketLog.warn("a listener failed: \(error)")
            }
        }
        // Nothing follows: let go of the closures, which may own the task.
        if only == nil, event.isFinal { replaceHandlers { _ in [] } }
    }

    /// What goes is let go of outside the lock: destroying a closure may run the app's code.
    private func replaceHandlers(_ change: ([Handler]) -> [Handler]) {
        let before = book.withLock {
            let before = handlers
            handlers = change(before)
            return before
        }
        withExtendedLifetime(before) {}
    }

    private func listeners(_ number: UInt64, _ only: Handler?) -> [Handler] {
        book.lock()
        defer { book.unlock() }
        guard let only else {
            // Almost always all of them.
            return handlers.allSatisfy { $0.since < number } ? handlers : handlers.filter { $0.since < number }
        }
        return only.afterEnd || handlers.contains { $0 === only } ? [only] : []
    }

    // MARK: Sequences

    func attach<Element>(_ pipe: Pipe<Element>, replaying kinds: [SocketEvent.Kind], onlyWaits: Bool = false) {
        gate.withLock {
            pipe.begin(with: missed(kinds, onlyWaits: onlyWaits), ended: end != nil)
            if end == nil { pipes.append(pipe) }
        }
    }

    /// With the state of now first: asked here, so that no newer one overtakes it.
    func attach(_ pipe: Pipe<SocketState>, now: () -> SocketState) {
        gate.withLock {
            pipe.push([end == nil ? now() : .closed])
            if end == nil { statePipes.append(pipe) } else { pipe.finish() }
        }
    }

    func detach(_ pipe: any Outlet) {
        gate.withLock {
            pipes.removeAll { $0 === pipe }
            statePipes.removeAll { $0 === pipe }
        }
    }

    // MARK: What is known

    var currentOpen: OpenEvent? { gate.withLock { open } }
    var finalClose: CloseEvent? { gate.withLock { end } }
    /// What the last connection died of, if it did.
    var finalError: ErrorEvent? { gate.withLock { error?.epoch == end?.epoch ? error : nil } }
    var failures: Int { book.withLock { failed } }
}
