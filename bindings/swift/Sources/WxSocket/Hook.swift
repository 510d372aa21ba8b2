// Calls the app's `async` closure `beforeConnect` from a thread of the engine, which waits for the result.

import Foundation
internal import WxSocketBindings

/// The `beforeConnect` that the engine calls.
final class Hook: BeforeConnect, @unchecked Sendable {
    typealias Ask =
        @Sendable (_ epoch: Int, _ attempt: Int, _ lastError: ErrorEvent?) async throws -> ConnectDecision

    private let ask: Ask

    private let lock = NSLock()
    // Guarded by `lock`.
    /// The calls that have not returned, by the number of their request.
    private var calls: [Int64: Question] = [:]
    /// The results of the requests up to this number are no longer wanted.
    private var withdrawn: Int64 = 0

    init(_ ask: @escaping Ask) { self.ask = ask }

    func beforeConnect(request: ConnectRequest) throws -> ConnectDecision {
        let question = Question()
        let isLate = lock.withLock {
            calls[request.number] = question
            return request.number <= withdrawn
        }
        defer { lock.withLock { calls[request.number] = nil } }
        if isLate { throw CancellationError() }
        // This waits on a thread of the engine, and the closure runs on those of Swift's tasks.
        return try question.answer { [ask] in
            try await ask(Int(request.epoch), Int(request.attempt), request.lastError.map(ErrorEvent.init))
        }
    }

    func withdraw(number: Int64) throws {
        let late = lock.withLock {
            withdrawn = max(withdrawn, number)
            return calls.filter { $0.key <= number }.values
        }
        for question in late { question.withdraw() }
    }
}

/// One call of the app's closure, for which one thread waits.
private final class Question: @unchecked Sendable {
    private let gate = NSCondition()
    // Guarded by `gate`.
    private var result: Result<ConnectDecision, any Error>?
    private var task: Task<Void, Never>?

    /// Calls the closure and waits for its result, or until `withdraw()` is called.
    func answer(_ ask: @escaping @Sendable () async throws -> ConnectDecision) throws -> ConnectDecision {
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

    /// Ends the wait with an error and cancels the closure; does not wait until the closure returns.
    func withdraw() {
        settle(.failure(CancellationError()))?.cancel()
    }

    /// Sets the result if there is none yet.
    @discardableResult
    private func settle(_ result: Result<ConnectDecision, any Error>) -> Task<Void, Never>? {
        gate.withLock {
            if self.result == nil { self.result = result }
            gate.signal()
            return task
        }
    }
}
