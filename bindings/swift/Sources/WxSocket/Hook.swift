// The engine asks on a thread that may block; the app answers in an `async` closure.

import Foundation
internal import WxSocketBindings

/// `beforeConnect` as Rust sees it.
final class Hook: BeforeConnect, @unchecked Sendable {
    typealias Ask = @Sendable (_ attempt: Int, _ lastError: ErrorEvent?) async throws -> ConnectDecision

    private let ask: Ask

    private let lock = NSLock()
    // Guarded by `lock`.
    private var asking: Question?
    /// Every connection asks once. Rust does not say for which it asks, but what failed before is the one before.
    private var epoch = 0
    /// The newest connection that is over.
    private var over = 0

    init(_ ask: @escaping Ask) { self.ask = ask }

    func beforeConnect(attempt: Int32, lastError: WxSocketBindings.ErrorEvent?) throws
        -> WxSocketBindings.ConnectDecision
    {
        let error = lastError.map(ErrorEvent.init)
        let question = Question()
        let (before, isLate) = lock.withLock {
            let before = asking
            asking = question
            epoch = max(epoch, error?.epoch ?? 0) + 1
            return (before, epoch <= over)
        }
        before?.withdraw()
        if isLate { throw CancellationError() }
        // Waits on Rust's thread; those of Swift's tasks stay free to find the answer.
        switch try question.answer(by: { [ask] in try await ask(Int(attempt), error) }) {
        case .proceed: return .proceed
        case .change(let url, let header, let protocols): return .change(url: url, header: header, protocols: protocols)
        case .stop(let reason): return .stop(reason: reason)
        }
    }

    /// A connection is over: an answer for it is of no use, and a task asks no more while four calls wait.
    func end(_ event: CloseEvent) {
        let late = lock.withLock {
            over = event.retry == nil ? .max : event.epoch
            return epoch <= over ? asking : nil
        }
        late?.withdraw()
    }
}

/// One call of the app's closure, and the thread that waits for it.
private final class Question: @unchecked Sendable {
    private let gate = NSCondition()
    // Guarded by `gate`.
    private var result: Result<ConnectDecision, any Error>?
    private var task: Task<Void, Never>?

    func answer(by ask: @escaping @Sendable () async throws -> ConnectDecision) throws -> ConnectDecision {
        gate.lock()
        defer { gate.unlock() }
        if result == nil {
            task = Task {
                do { settle(.success(try await ask())) } catch { settle(.failure(error)) }
            }
        }
        while true {
            if let result { return try result.get() }
            gate.wait()
        }
    }

    /// Does not wait for the closure to notice.
    func withdraw() {
        settle(.failure(CancellationError()))?.cancel()
    }

    /// The first one counts.
    @discardableResult
    private func settle(_ result: Result<ConnectDecision, any Error>) -> Task<Void, Never>? {
        gate.withLock {
            if self.result == nil { self.result = result }
            gate.signal()
            return task
        }
    }
}
