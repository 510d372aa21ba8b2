// The buffer of one loop. The threads of the library put events in and never wait; the loop takes them out and is
// suspended, not blocked, while there are none.

import Foundation

/// The end of a pipe at which the hub puts events in.
protocol Outlet: AnyObject, Sendable {
    /// Puts the first events in, when the hub admits the loop.
    func begin(with events: [SocketEvent], ended: Bool) -> Wake?
    /// Puts a batch in. Returns false if there is no room for another one; then `hub.done()` is called when there is.
    func offer(_ events: [SocketEvent], bytes: Int, from hub: EventHub) -> Bool
    /// Removes the bound. Called when the task is over, because only a bounded number of events can follow.
    func makeRoom()
}

/// An object that fills pipes.
protocol PipeHome: AnyObject, Sendable {
    /// Forgets a pipe whose loop has ended.
    func detach(_ pipe: AnyObject)
}

/// The buffer of one loop; see the top of this file.
final class Pipe<Element: Sendable>: Outlet, @unchecked Sendable {
    /// One call of `take`. Guarded by the pipe's lock.
    private final class Wait: @unchecked Sendable {
        var continuation: UnsafeContinuation<[Element], Never>?
        var isCancelled = false
    }

    private let select: @Sendable (SocketEvent) -> Element?
    /// Keeps only the newest, and always has room.
    private let newestOnly: Bool
    /// `take` returns one element, and the others wait for the next call. They keep waiting, and the pipe stays full,
    /// when the Swift task of a caller is cancelled: unlike an iterator, the pipe of `receive()` cannot be released
    /// before its task.
    private let oneEach: Bool

    private let lock = NSLock()
    // Guarded by `lock`.
    private weak var home: (any PipeHome)?
    private var buffer: [Element] = []
    private var bytes = 0
    /// The calls of `take` that are suspended. There may be several, by copies of one iterator.
    private var waiting: [Wait] = []
    private var ended = false
    /// A call of `take` was cancelled, and there was no other call since.
    private var isUnattended = false
    /// The hub that waits for room in this pipe.
    private var stalled: EventHub?
    /// Whether the bound was removed.
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
            // A loop that has ended or is not read for now delays nobody.
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

    /// Notes that nothing more comes. What is in the buffer can still be taken.
    func finish() {
        lock.withLock { () -> Wake? in
            ended = true
            return handOver()
        }?()
    }

    /// Empties the pipe for good. Called when its loop has ended.
    func cancel() {
        let (home, wake) = lock.withLock {
            ended = true
            buffer = []
            // The hub that waits for room is released even if the loop is not suspended.
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

    /// Returns everything in the buffer, or waits for what comes next; with `oneEach` one element of that. An empty
    /// result means that nothing more comes, or that the caller's Swift task is cancelled.
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

    /// Notes that the loop's Swift task is cancelled. Its iterator may be used again later, so that events are still
    /// kept for it; but the hub does not wait until it has room.
    func leave() { leave(nil) }

    /// Notes that the iterator is used again after `leave()`.
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

    /// Called with `lock` held.
    private func put(_ elements: [Element], bytes: Int, isLast: Bool) -> Wake? {
        guard !ended else { return nil }
        if newestOnly { buffer = elements } else { buffer += elements }
        if !elements.isEmpty { self.bytes += bytes }
        ended = isLast
        return handOver()
    }

    /// Whether there is no room for another batch. The lock is held.
    private var isFull: Bool { !isWide && (buffer.count >= Bound.events || bytes >= Bound.bytes) }

    /// Called with `lock` held. Decides what each suspended call of `take` returns, if there is anything to return. The
    /// calls are resumed by the result, outside the lock, because an executor of the app's own may run there.
    private func handOver() -> Wake? {
        guard !waiting.isEmpty, ended || !buffer.isEmpty else { return nil }
        // Each call gets one element, and the last one gets the rest. At the end there may be nothing for some calls.
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
