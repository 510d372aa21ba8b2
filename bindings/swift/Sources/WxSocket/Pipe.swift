// What waits for one loop, between the library's threads, which must not wait, and the loop, which must not block.

import Foundation

/// Where the hub puts events for one loop.
protocol Outlet: AnyObject, Sendable {
    /// The loop is admitted: it hears these first.
    func begin(with events: [SocketEvent], ended: Bool) -> Wake?
    /// Takes a batch. False: there is no room for another one; `hub.done()` is called once there is.
    func offer(_ events: [SocketEvent], bytes: Int, from hub: EventHub) -> Bool
}

/// Who fills pipes, and forgets those that nobody empties any more.
protocol PipeHome: AnyObject, Sendable {
    func detach(_ pipe: AnyObject)
}

final class Pipe<Element: Sendable>: Outlet, @unchecked Sendable {
    private let select: @Sendable (SocketEvent) -> Element?
    /// Keeps only the newest, and always has room.
    private let newestOnly: Bool

    private let lock = NSLock()
    // Guarded by `lock`.
    private weak var home: (any PipeHome)?
    private var buffer: [Element] = []
    private var bytes = 0
    private var waiting: UnsafeContinuation<[Element], Never>?
    private var ended = false
    /// It waits for room here.
    private var stalled: EventHub?

    init(newestOnly: Bool = false, _ select: @escaping @Sendable (SocketEvent) -> Element?) {
        self.newestOnly = newestOnly
        self.select = select
    }

    func settle(in home: any PipeHome) { lock.withLock { self.home = home } }

    func begin(with events: [SocketEvent], ended isLast: Bool) -> Wake? {
        let elements = events.compactMap(select)
        return lock.withLock { put(elements, bytes: 0, isLast: isLast) }
    }

    func offer(_ events: [SocketEvent], bytes: Int, from hub: EventHub) -> Bool {
        let elements = events.compactMap(select)
        let isLast = events.last?.isFinal == true
        let (wake, hasRoom) = lock.withLock {
            let wake = put(elements, bytes: bytes, isLast: isLast)
            // After the end nobody waits for room.
            let hasRoom = ended || elements.isEmpty || buffer.count < Bound.events && self.bytes < Bound.bytes
            if !hasRoom { stalled = hub }
            return (wake, hasRoom)
        }
        wake?()
        return hasRoom
    }

    func push(_ element: Element, isLast: Bool) {
        lock.withLock { put([element], bytes: 0, isLast: isLast) }?()
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

    /// Everything there is, or what comes next; empty: that was all.
    func take() async -> [Element] {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                lock.withLock {
                    waiting = continuation
                    return handOver()
                }?()
            }
        } onCancel: {
            cancel()
        }
    }

    /// With `lock` held.
    private func put(_ elements: [Element], bytes: Int, isLast: Bool) -> Wake? {
        guard !ended else { return nil }
        if newestOnly { buffer = elements } else { buffer += elements }
        if !elements.isEmpty { self.bytes += bytes }
        ended = isLast
        return handOver()
    }

    /// With `lock` held: serves whoever waits, if there is something to say. That may run the app's code (an executor of
    /// its own), so it happens when the lock is released.
    private func handOver() -> Wake? {
        guard let loop = waiting, ended || !buffer.isEmpty else { return nil }
        let (batch, hub) = (buffer, stalled)
        waiting = nil
        buffer = []
        bytes = 0
        stalled = nil
        return {
            loop.resume(returning: batch)
            hub?.done()
        }
    }
}
