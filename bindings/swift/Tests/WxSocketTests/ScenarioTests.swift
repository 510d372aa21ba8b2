// Plays every file of tests/scenarios/: the same contract that Rust and Kotlin play, through this language's own face.

import Foundation
import Testing
@testable import WxSocket
import WxSocketTestingBindings

private let directory = URL(filePath: #filePath).appending(path: "../../../../../tests/scenarios").standardized

private let files: [String] = {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
    return all.filter { $0.hasSuffix(".json") }.sorted()
}()

@Suite(.timeLimit(.minutes(1))) struct ScenarioTests {
    @Test func thereAreScenarios() { #expect(!files.isEmpty) }

    @Test(arguments: files) func goesAsWritten(_ file: String) async throws {
        let scenario = try Scenario(json: String(contentsOf: directory.appending(path: file), encoding: .utf8))
        let lines = Log<String>()
        weak var hub: EventHub?
        try await {
            let task = try connectSocket(scenario.options())
            hub = task.hub
            let listeners = Listeners(task, lines)
            for kind in scenario.listen() { listeners.add(kind) }
            var seen = 0
            for step in scenario.steps() {
                switch step {
                case .wait(let word):
                    let from = seen
                    @Sendable func place() -> Int? { lines.all.dropFirst(from).firstIndex { $0.hasPrefix(word + " ") } }
                    try await eventually { place() != nil }
                    seen = try #require(place(), "no \(word) after \(lines.all)") + 1
                case .send(let text): lines.add(answer { () throws(WxError) in try task.send(text) })
                case .sendHex(let bytes): lines.add(answer { () throws(WxError) in try task.send(bytes) })
                case .close(let code, let reason):
                    do throws(WxError) { try task.close(code: Int(code), reason: reason) } catch {
                        lines.add("refused \(error.errCode)")
                    }
                case .pause: task.pause()
                case .resume: task.resume()
                case .reconnectNow: task.reconnectNow()
                case .network(let available): task.setNetwork(available: available)
                case .foreground(let foreground): task.setForeground(foreground)
                case .listen(let kind): listeners.add(kind)
                case .off(let kind): listeners.remove(kind)
                case .state(let word): try await eventually { task.state.word == word }
                case .received(let count): try await eventually { task.stats.messagesIn >= count }
                default: #expect(try await blocking { try scenario.serverStep(step: step) })
                }
            }
        }()
        // What still arrives is too much: nothing can once Rust has let go of its listener.
        nonisolated(unsafe) let isOver = { hub == nil }
        try await eventually { isOver() }
        #expect(lines.all == scenario.expect(), "\(scenario.about())")
    }
}

/// Closures that write the lines of a transcript.
private final class Listeners {
    private let task: SocketTask
    private let lines: Log<String>
    private var tokens: [(EventKind, ListenerToken)] = []

    init(_ task: SocketTask, _ lines: Log<String>) { (self.task, self.lines) = (task, lines) }

    func add(_ kind: EventKind) {
        let lines = lines
        let token =
            switch kind {
            case .open: task.onOpen { lines.add("open \($0.epoch) attempt=\($0.attempt) protocol=\($0.protocol ?? "-")") }
            case .message: task.onMessage { lines.add("message \($0.epoch) \($0.data.words)") }
            case .error:
                task.onError { lines.add("error \($0.epoch) \($0.errCode) http=\($0.httpStatus.map(String.init) ?? "-")") }
            case .close: task.onClose { lines.add("close \($0.epoch) \($0.words)") }
            }
        tokens.append((kind, token))
    }

    func remove(_ kind: EventKind) {
        for (other, token) in tokens where other == kind {
            switch kind {
            case .open: task.offOpen(token)
            case .message: task.offMessage(token)
            case .error: task.offError(token)
            case .close: task.offClose(token)
            }
        }
        tokens.removeAll { $0.0 == kind }
    }
}

extension SocketState {
    fileprivate var word: String { String("\(self)".prefix { $0.isLetter }) }
}

private func answer(_ send: () throws(WxError) -> SendOutcome) -> String {
    do throws(WxError) {
        return switch try send() {
        case .sent: "sent"
        case .queued: "queued"
        case .dropped: "dropped"
        }
    } catch {
        return "refused \(error.errCode)"
    }
}

/// Calls what blocks on a thread that may.
private func blocking<Result: Sendable>(_ call: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Swift.Result(catching: call)) }
    }
}

extension Message {
    fileprivate var words: String {
        switch self {
        case .text(let text): "text \(text)"
        case .binary(let bytes): "binary " + bytes.map { String(format: "%02x", $0) }.joined()
        }
    }
}

extension CloseEvent {
    fileprivate var words: String {
        let next = retry.map {
            let delay = $0.delay.map { "\($0.components.seconds * 1_000 + $0.components.attoseconds / 1_000_000_000_000_000)" }
            return "retry=\($0.attempt)\($0.max.map { "/\($0)" } ?? "") in \(delay ?? "-")"
        }
        return "\(code) '\(reason)' \(wasClean ? "clean" : "unclean") \(next ?? "final")"
    }
}
