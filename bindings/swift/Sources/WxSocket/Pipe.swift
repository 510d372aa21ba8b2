// What waits for one loop, between the library's threads, which must not wait, and the loop, which must not block.

import Foundation

/// Where the hub puts events for one loop.
protocol Outlet: AnyObject, Sendable {
    /// The loop is admitted: it hears these first.
    func begin(with events: [SocketEvent], ended: Bool) -> Wake?
    /// Takes a batch. False: there is no room for another one; `hub.done()` is called once there is.
    func offer(_ events: [SocketEvent], bytes: Int, from hub: EventHub) -> Bool
    /// The task is over, and what is left is bounded: from now on there is room for all of it.
    func makeRoom()
}

/// Who fills pipes, and forgets those that nobody empties any more.
protocol PipeHome: AnyObject, Sendable {
    func detach(_ pipe: AnyObject)
}

final class Pipe<Element: Sendable>: Outlet, @unchecked Sendable {
    /// One call of `take`. Guarded by the pipe's lock.
    private final class Wait: @unchecked Sendable {
        var continuation: UnsafeContinuation<[Element], Never>?
        var isCancelled = false
    }

    private let select: @Sendable (SocketEvent) -> Element?
    /// Keeps only the newest, and always has room.
    private let newestOnly: Bool
    /// `take` returns one element, and the others wait for the next call. They also wait when the caller's Swift task is
    /// cancelled, and then nothing more is delivered: there is no iterator that could be let go of.
    private let oneEach: Bool

    private let lock = NSLock()
    // Guarded by `lock`.
    private weak var home: (any PipeHome)?
    private var buffer: [Element] = []
    private var bytes = 0
    /// Those who wait for something to come. Copies of one iterator may do so at once.
    private var waiting: [Wait] = []
    private var ended = false
    /// A wait was cancelled, and nobody has asked for anything since.
    private var isUnattended = false
    /// It waits for room here.
    private var stalled: EventHub?
    /// No bound any more.
    private var isWide = false

    init(newestOnly: Bool = false, oneEach: Bool = false, _ select: @escaping @Sendable (SocketEvent) -> Element?) {
        self.newestOnly = newestOnly
        self.oneEach = oneEach
        self.select = select
    }

    func settle(in home: any PipeHome) { lock.withLock { self.home = home } }

    func begin(with events: [SocketEvent], ended isLast: Bool) -> Wake? {
        let elements = events.compactMap(select)
        let bytes = events.reduce(0) { $0 + $1.size }
        return lock.withLock { put(elements, bytes: bytes, isLast: isLast) }
    }

    func offer(_ events: [SocketEvent], bytes: Int, from hub: EventHub) -> Bool {
        let elements = events.compactMap(select)
        let isLast = events.last?.isFinal == true
        let (wake, hasRoom, isForsaken) = lock.withLock {
            let isForsaken = isUnattended && isFull && !elements.isEmpty
            let wake = isForsaken ? nil : put(elements, bytes: bytes, isLast: isLast)
            // After the end nobody waits for room.
            let hasRoom = ended || isUnattended || elements.isEmpty || !isFull
            if !hasRoom { stalled = hub }
            return (wake, hasRoom, isForsaken)
        }
        wake?()
        if isForsaken { cancel() }
        return hasRoom
    }

    func makeRoom() {
        let hub = lock.withLock {
            isWide = true
            defer { stalled = nil }
            return stalled
        }
        hub?.done()
    }

    func push(_ element: Element, isLast: Bool) {
        lock.withLock { put([element], bytes: 0, isLast: isLast) }?()
    }

    /// Nothing more comes; what waits is still taken.
    func finish() {
        lock.withLock { () -> Wake? in
            ended = true
            return handOver()
        }?()
    }

    /// The loop wants no more.
    func cancel() {
        let (home, wake) = lock.withLock {
            ended = true
            buffer = []
            // Whoever waits for room has it, even if the loop does not wait.
            let (wake, hub) = (handOver(), stalled)
            stalled = nil
            let both: Wake = {
                wake?()
                hub?.done()
            }
            return (self.home, both)
        }
        wake()
        home?.detach(self)
    }

    /// Everything there is, or what comes next; with `oneEach` one element of that. Empty: that was all, or the caller's
    /// Swift task is cancelled.
    func take() async -> [Element] {
        let wait = Wait()
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                lock.withLock { () -> Wake? in
                    if wait.isCancelled { return { continuation.resume(returning: []) } }
                    wait.continuation = continuation
                    waiting.append(wait)
                    isUnattended = false
                    return handOver()
                }?()
            }
        } onCancel: {
            leave(wait)
        }
    }

    /// The loop's Swift task is cancelled. Its iterator may be asked again later, so what comes is kept for it; but
    /// nobody waits until it has room.
    func leave() { leave(nil) }

    /// It is asked again after that.
    func comeBack() { lock.withLock { isUnattended = false } }

    private func leave(_ wait: Wait?) {
        let (continuation, hub) = lock.withLock { () -> (UnsafeContinuation<[Element], Never>?, EventHub?) in
            wait?.isCancelled = true
            let isWaiting = waiting.contains { $0 === wait }
            waiting.removeAll { $0 === wait }
            let continuation = isWaiting ? wait?.continuation : nil
            if oneEach { return (continuation, nil) }
            isUnattended = waiting.isEmpty
            defer { stalled = nil }
            return (continuation, stalled)
        }
        continuation?.resume(returning: [])
        hub?.done()
    }

    /// With `lock` held.
    private func put(_ elements: [Element], bytes: Int, isLast: Bool) -> Wake? {
        guard !ended else { return nil }
        if newestOnly { buffer = elements } else { buffer += elements }
        if !elements.isEmpty { self.bytes += bytes }
        ended = isLast
        return handOver()
    }

    /// With `lock` held.
    private var isFull: Bool { !isWide && (buffer.count >= Bound.events || bytes >= Bound.bytes) }

    /// With `lock` held: serves whoever waits, if there is something to say. That may run the app's code (an executor of
    /// its own), so it happens when the lock is released.
    private func handOver() -> Wake? {
        guard !waiting.isEmpty, ended || !buffer.isEmpty else { return nil }
        // Each gets one, the last one gets the rest. At the end there may be nothing for some.
        let served = ended ? waiting.count : min(waiting.count, buffer.count)
        var (rest, shares) = (buffer[...], [(Wait, [Element])]())
        for wait in waiting.prefix(served - 1) {
            shares.append((wait, Array(rest.prefix(1))))
            rest = rest.dropFirst()
        }
        shares.append((waiting[served - 1], Array(oneEach ? rest.prefix(1) : rest)))
        waiting.removeFirst(served)
        buffer = oneEach ? Array(rest.dropFirst()) : []
        let hub = buffer.isEmpty ? stalled : nil
        if buffer.isEmpty {
            bytes = 0
            stalled = nil
        }
        return { [shares] in
            for (wait, share) in shares { wait.continuation?.resume(returning: share) }
            hub?.done()
        }
    }
}
