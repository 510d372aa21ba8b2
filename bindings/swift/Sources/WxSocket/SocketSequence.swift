// `for await`, with back-pressure: a slow loop slows the server.

import Foundation

/// What a task tells, as a sequence. Each loop hears everything from its beginning on; a loop that is slow stalls its
/// task: when 256 messages or 1 MiB wait for it, the task tells nobody anything more, and then the socket is no longer
/// read. What is under way at that moment (at most 256 messages) still arrives. It ends with the task, or when the
/// loop's Swift task is cancelled. A loop keeps its socket open, as a reference to the ``SocketTask`` does.
///
/// In a Swift task that is cancelled, `next()` answers nil; an iterator that is kept may be asked again in another one
/// and has lost nothing, but until then it stalls nobody, and it is over if more comes than 256 messages or 1 MiB.
/// Copies of an iterator may be asked at once: each message goes to one of them.
public struct SocketSequence<Element: Sendable>: AsyncSequence, Sendable {
    public typealias Failure = Never

    /// What a loop keeps alive: its task.
    let owner: any AnyObject & Sendable
    let attach: @Sendable () -> Pipe<Element>

    public func makeAsyncIterator() -> Iterator { Iterator(tap: Tap(owner: owner, pipe: attach())) }

    public struct Iterator: AsyncIteratorProtocol {
        let tap: Tap<Element>
        /// Taken at once and handed out one by one: the lock is for batches. In reverse.
        private var batch: [Element] = []
        private var hasLeft = false

        init(tap: Tap<Element>) { self.tap = tap }

        public mutating func next() async -> Element? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> Element? {
            if Task.isCancelled {
                tap.pipe.leave()
                hasLeft = true
                return nil
            }
            if hasLeft {
                tap.pipe.comeBack()
                hasLeft = false
            }
            if let next = batch.popLast() { return next }
            batch = await tap.pipe.take()
            batch.reverse()
            return batch.popLast()
        }
    }
}

/// Everything that a task tells, from its first dial on: for `events` in the options of ``connectSocket(_:_:)``.
///
///     let events = SocketEvents()
///     let task = try connectSocket(url) { $0.events = events }
///     for await event in events { … }
///
/// It is for one task and for one loop, which may begin at any time; a second loop ends at once. Until it is read, it
/// stalls its task as a slow loop does. Unlike other loops it does not keep the socket open. When ``connectSocket(_:_:)``
/// throws, a loop that waits already ends, and it takes another one of these for the next attempt.
public final class SocketEvents: AsyncSequence, @unchecked Sendable {
    public typealias Element = SocketEvent
    public typealias Failure = Never

    private let pipe = Pipe<SocketEvent> { $0 }

    private let lock = NSLock()
    // Guarded by `lock`.
    private var hasTask = false
    private var hasLoop = false

    public init() {}

    /// Nobody can come any more: to read, or to fill it.
    deinit { if !hasLoop || !hasTask { pipe.cancel() } }

    public func makeAsyncIterator() -> SocketSequence<SocketEvent>.Iterator {
        let isFirst = lock.withLock {
            defer { hasLoop = true }
            return !hasLoop
        }
        if isFirst { return .init(tap: Tap(owner: nil, pipe: pipe)) }
        let nothing = Pipe<SocketEvent> { $0 }
        nothing.cancel()
        return .init(tap: Tap(owner: nil, pipe: nothing))
    }

    /// What its one task is to fill, if `make` makes one.
    func claim<Result>(_ make: (Pipe<SocketEvent>) throws(WxError) -> Result) throws(WxError) -> Result {
        let isFirst = lock.withLock {
            defer { hasTask = true }
            return !hasTask
        }
        guard isFirst else { throw .invalid("events", "belongs to another task, or to one that could not be made") }
        do { return try make(pipe) } catch {
            // A loop would wait for ever. Without one, the next attempt may have it.
            let isWaiting = lock.withLock {
                hasTask = hasLoop
                return hasLoop
            }
            if isWaiting { pipe.cancel() }
            throw error
        }
    }
}

/// A loop's hold on its task; when the loop ends, nothing is kept for it any more.
final class Tap<Element: Sendable>: Sendable {
    let owner: (any AnyObject & Sendable)?
    let pipe: Pipe<Element>

    init(owner: (any AnyObject & Sendable)?, pipe: Pipe<Element>) {
        self.owner = owner
        self.pipe = pipe
    }

    deinit { pipe.cancel() }
}
