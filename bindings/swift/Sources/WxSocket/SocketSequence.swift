// The sequences for `for await`, with back-pressure: a slow loop slows the server.

import Foundation

/// The messages, events or states of a task, as a sequence.
///
/// Each loop receives everything that comes after it began. A slow loop slows its task: when 256 messages or 1 MiB wait
/// for the loop, the task delivers nothing to anybody, and soon the socket is no longer read. Messages that are already
/// being delivered at that moment (at most 256) still arrive. A loop ends with the task, or when the Swift task in
/// which it runs is cancelled. A loop keeps the socket open, as a reference to the ``SocketTask`` does.
///
/// In a Swift task that is cancelled, `next()` returns nil. An iterator that is kept can be used again in another Swift
/// task and has lost nothing. Until then it does not slow the task; when 256 messages or 1 MiB wait for it and more
/// come, it ends. Several copies of an iterator may be used at once: each message goes to one of them.
public struct SocketSequence<Element: Sendable>: AsyncSequence, Sendable {
    public typealias Failure = Never

    /// The object that a loop keeps alive: the task.
    let owner: any AnyObject & Sendable
    let attach: @Sendable () -> Pipe<Element>

    public func makeAsyncIterator() -> Iterator { Iterator(tap: Tap(owner: owner, pipe: attach())) }

    public struct Iterator: AsyncIteratorProtocol {
        let tap: Tap<Element>
        /// The elements that were taken from the pipe together, in reverse order. So there is one lock for many
        /// elements.
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

/// All events of a task since its first dial, for `events` in the options of ``connectSocket(_:_:)``.
///
///     let events = SocketEvents()
///     let task = try connectSocket(url) { $0.events = events }
///     for await event in events { … }
///
/// One object is for one task and for one loop. The loop may begin at any time; a second loop ends at once. Until it is
/// read, it slows its task as a slow loop does. Unlike other loops it does not keep the socket open. When
/// ``connectSocket(_:_:)`` throws, a loop that waits already ends, and the next call needs a new object.
public final class SocketEvents: AsyncSequence, @unchecked Sendable {
    public typealias Element = SocketEvent
    public typealias Failure = Never

    private let pipe = Pipe<SocketEvent> { $0 }

    private let lock = NSLock()
    // Guarded by `lock`.
    private var hasTask = false
    private var hasLoop = false

    public init() {}

    // Without a loop there will be no reader any more, and without a task nothing that could be read.
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

    /// Gives the pipe to `make`, which makes the task. Throws if another task has it, or what `make` throws.
    func claim<Result>(_ make: (Pipe<SocketEvent>) throws(WxError) -> Result) throws(WxError) -> Result {
        let isFirst = lock.withLock {
            defer { hasTask = true }
            return !hasTask
        }
        guard isFirst else { throw .invalid("events", "belongs to another task, or to one that could not be made") }
        do { return try make(pipe) } catch {
            // A loop would wait without end. If there is none, the next call of `connectSocket` may use this object.
            let isWaiting = lock.withLock {
                hasTask = hasLoop
                return hasLoop
            }
            if isWaiting { pipe.cancel() }
            throw error
        }
    }
}

/// What an iterator and its copies share. When the last of them is released, its pipe is emptied for good.
final class Tap<Element: Sendable>: Sendable {
    let owner: (any AnyObject & Sendable)?
    let pipe: Pipe<Element>

    init(owner: (any AnyObject & Sendable)?, pipe: Pipe<Element>) {
        self.owner = owner
        self.pipe = pipe
    }

    deinit { pipe.cancel() }
}
