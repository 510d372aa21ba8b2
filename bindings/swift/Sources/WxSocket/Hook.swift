// The engine asks on a thread that may block; the app answers in an `async` closure.

import Foundation
internal import WxSocketBindings

/// `beforeConnect` as Rust sees it.
final class Hook: BeforeConnect, @unchecked Sendable {
    typealias Ask =
        @Sendable (_ epoch: Int, _ attempt: Int, _ lastError: ErrorEvent?) async throws -> ConnectDecision

    private let ask: Ask

    private let lock = NSLock()
    // Guarded by `lock`.
    /// The calls under way, by the number of their request.
    private var calls: [Int64: Question] = [:]
    /// Nobody wants the answers to the requests up to this number.
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
        // Waits on Rust's thread; those of Swift's tasks stay free to find the answer.
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

/// One call of the app's closure, and the thread that waits for it.
private final class Question: @unchecked Sendable {
    private let gate = NSCondition()
    // Guarded by `gate`.
    private var result: Result<ConnectDecision, any Error>?
    private var task: Task<Void, Never>?

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
