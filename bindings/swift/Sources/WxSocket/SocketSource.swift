// Sequences without a task, for objects that stand in for one in an app's own tests.

import Foundation

/// Fills a ``SocketSequence`` by hand; for an app's own tests.
///
/// Every loop over ``sequence`` receives what is sent after it began. There is no bound and no back-pressure.
public final class SocketSource<Element: Sendable>: PipeHome, @unchecked Sendable {
    private let lock = NSLock()
    // Guarded by `lock`.
    private var pipes: [Pipe<Element>] = []
    /// What was sent before the first loop; nil: there was one.
    private var early: [Element]?
    /// What a loop begins with.
    private var newest: Element?
    private var isFinished = false

    /// Makes a source whose first loop also receives what was sent before it began.
    public init() { early = [] }

    /// Makes a source whose loops begin with the element that was sent last, or this one if there was none.
    public init(newest: Element) { self.newest = newest }

    /// The sequence that this object fills.
    public var sequence: SocketSequence<Element> {
        SocketSequence(owner: self) { [self] in attach() }
    }

    /// Gives an element to every loop. Nothing happens after `finish()`.
    public func send(_ element: Element) {
        let pipes = lock.withLock { () -> [Pipe<Element>] in
            if !isFinished {
                early?.append(element)
                if newest != nil { newest = element }
            }
            return self.pipes
        }
        for pipe in pipes { pipe.push(element, isLast: false) }
    }

    /// Ends every loop, and those that begin later once they have heard what waits for them.
    public func finish() {
        let pipes = lock.withLock {
            isFinished = true
            defer { self.pipes = [] }
            return self.pipes
        }
        for pipe in pipes { pipe.finish() }
    }

    private func attach() -> Pipe<Element> {
        let pipe = Pipe<Element> { _ in nil }
        pipe.settle(in: self)
        lock.withLock {
            for element in early ?? newest.map({ [$0] }) ?? [] { pipe.push(element, isLast: false) }
            early = nil
            if isFinished { pipe.finish() } else { pipes.append(pipe) }
        }
        return pipe
    }

    func detach(_ pipe: AnyObject) {
        lock.withLock { pipes.removeAll { $0 === pipe } }
    }
}
