// `for await`, with back-pressure: a slow loop slows the server.

import Foundation

/// What a task tells, as a sequence. Each loop hears everything from its beginning on; a loop that is slow stalls its
/// task: up to 256 messages or 1 MiB wait for it, then the socket is no longer read. It ends with the task, or when the
/// loop's Swift task is cancelled. A loop keeps its socket open, as a reference to the ``SocketTask`` does.
public struct SocketSequence<Element: Sendable>: AsyncSequence, Sendable {
    public typealias Failure = Never

    let task: SocketTask
    let attach: @Sendable (SocketTask) -> Pipe<Element>

    public func makeAsyncIterator() -> Iterator { Iterator(tap: Tap(task: task, pipe: attach(task))) }

    public struct Iterator: AsyncIteratorProtocol {
        let tap: Tap<Element>
        /// Taken at once and handed out one by one: the lock is for batches. In reverse.
        private var batch: [Element] = []

        init(tap: Tap<Element>) { self.tap = tap }

        public mutating func next() async -> Element? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> Element? {
            if Task.isCancelled { return nil }
            if let next = batch.popLast() { return next }
            batch = await tap.pipe.take()
            batch.reverse()
            return batch.popLast()
        }
    }
}

/// A loop's hold on its task; when the loop ends, nothing is kept for it any more.
final class Tap<Element: Sendable>: Sendable {
    let task: SocketTask
    let pipe: Pipe<Element>

    init(task: SocketTask, pipe: Pipe<Element>) {
        self.task = task
        self.pipe = pipe
    }

    deinit {
        task.hub.detach(pipe)
        pipe.cancel()
    }
}

/// Where the hub puts events for one loop.
protocol Outlet: AnyObject, Sendable {
    func offer(_ events: [SocketEvent], bytes: Int)
}

/// A bounded buffer between Rust's thread, which may wait, and a loop, which must not block.
final class Pipe<Element: Sendable>: Outlet, @unchecked Sendable {
    private let select: @Sendable (SocketEvent) -> Element?
    /// Keeps only the newest, and never makes anyone wait.
    private let newestOnly: Bool

    private let gate = NSCondition()
    // Guarded by `gate`.
    private var buffer: [Element] = []
    private var bytes = 0
    private var waiting: UnsafeContinuation<[Element], Never>?
    private var ended = false

    init(newestOnly: Bool = false, _ select: @escaping @Sendable (SocketEvent) -> Element?) {
        self.newestOnly = newestOnly
        self.select = select
    }

    func offer(_ events: [SocketEvent], bytes: Int) {
        let elements = events.compactMap(select)
        if !elements.isEmpty { push(elements, bytes: bytes) }
        if events.last?.isFinal == true { finish() }
    }

    func begin(with events: [SocketEvent], ended: Bool) {
        buffer = events.compactMap(select)
        self.ended = ended
    }

    func push(_ elements: [Element], bytes: Int = 0) {
        gate.lock()
        if newestOnly { buffer = [] }
        while !ended, buffer.count >= Bound.events || self.bytes >= Bound.bytes { gate.wait() }
        if !ended {
            buffer += newestOnly ? elements.suffix(1) : elements
            self.bytes += bytes
        }
        wake()
    }

    func finish() {
        gate.lock()
        ended = true
        wake()
    }

    /// The loop wants no more.
    func cancel() {
        gate.lock()
        ended = true
        buffer = []
        gate.broadcast()
        wake()
    }

    /// Everything there is, or what comes next; empty: that was all.
    func take() async -> [Element] {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                gate.lock()
                waiting = continuation
                wake()
            }
        } onCancel: {
            cancel()
        }
    }

    /// With `gate` held, which it releases: serves whoever waits, if there is something to say.
    private func wake() {
        guard let loop = waiting, ended || !buffer.isEmpty else { return gate.unlock() }
        let batch = buffer
        waiting = nil
        buffer = []
        bytes = 0
        gate.broadcast()
        gate.unlock()
        loop.resume(returning: batch)
    }
}
