// Closures of the main actor and of other actors: they compile without a hop of their own, and are called where they
// belong.

import Foundation
import Testing
import WxSocket
import WxSocketTestingBindings

nonisolated(unsafe) private let mainKey = DispatchSpecificKey<Bool>()

/// As an app writes it.
@MainActor private final class ViewModel {
    var lines: [String] = []
    var isOpen = false
    var isClosed = false
    var faults: Set<String> = []

    func start(_ task: SocketTask) {
        task.onOpen { [weak self] _ in self?.isOpen = true }
        task.onMessage { [weak self] in self?.lines.append($0.data.text ?? "") }
        task.onMessage(check)
        task.onClose { [weak self] _ in self?.isClosed = true }
    }

    func check(_ event: MessageEvent) {
        // On Linux the main queue has no thread of its own, so the thread says nothing.
        if DispatchQueue.getSpecific(key: mainKey) != true { faults.insert("not on the main queue") }
        if !isOpen || isClosed { faults.insert("not in order") }
    }
}

private actor Room {
    private(set) var lines: [String] = []
    private(set) var failed = false

    func start(_ task: SocketTask) {
        task.onMessage {
            self.preconditionIsolated()
            self.lines.append($0.data.text ?? "")
            if $0.data.text == "boom" { throw Boom() }
        }
    }
}

@Suite(.timeLimit(.minutes(1))) struct ActorTests {
    private static let queues: [DispatchQueue?] = [nil, .main, DispatchQueue(label: "app")]

    @Test(arguments: 0..<3)
    @MainActor func closuresOfTheMainActorAreCalledThereInOrder(_ queue: Int) async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) { $0.callbackQueue = Self.queues[queue] }
        DispatchQueue.main.setSpecific(key: mainKey, value: true)
        let model = ViewModel()
        model.start(task)
        try await task.opened()
        let sent = (1...2_000).map { "\($0)" }
        for text in sent { try task.send(text) }
        while model.lines.count < sent.count { try await Task.sleep(for: .milliseconds(2)) }
        #expect(model.lines == sent)
        task.close()
        while !model.isClosed { try await Task.sleep(for: .milliseconds(2)) }
        #expect(model.faults == [])
    }

    /// Each event reaches all closures, in the order in which they were added, before the next event reaches any.
    @Test(arguments: 0..<3)
    func closuresOfSeveralPlacesAreCalledInOneOrder(_ queue: Int) async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) { $0.callbackQueue = Self.queues[queue] }
        let log = Log<String>()
        task.onMessage { log.add("a" + ($0.data.text ?? "")) }
        task.onMessage { @MainActor in
            MainActor.assertIsolated()
            log.add("b" + ($0.data.text ?? ""))
        }
        task.onMessage { log.add("c" + ($0.data.text ?? "")) }
        task.onMessage { @MainActor in log.add("d" + ($0.data.text ?? "")) }
        try await task.opened()
        let sent = 1...300
        for number in sent { try task.send("\(number)") }
        try await eventually { log.all.count == 4 * sent.count }
        #expect(log.all == sent.flatMap { number in ["a", "b", "c", "d"].map { $0 + "\(number)" } })
    }

    @Test(arguments: 0..<3)
    func closuresOfAnActorAreCalledThere(_ queue: Int) async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) { $0.callbackQueue = Self.queues[queue] }
        let room = Room()
        await room.start(task)
        try await task.opened()
        let sent = (1...500).map { "\($0)" } + ["boom", "after"]
        for text in sent { try task.send(text) }
        while await room.lines.count < sent.count { try await Task.sleep(for: .milliseconds(2)) }
        #expect(await room.lines == sent)
        #expect(task.stats.listenerFailures == 1)
    }

    /// The main actor is busy: the server is slowed down, and nothing is lost.
    @Test func aMainActorThatIsBusySlowsTheServer() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": 20000, "bytes": 1024}}}]}]"#)
        let task = try connectSocket(server.url()) { $0.callbackQueue = nil }
        let (heard, release, isHeld) = (Log<Bool>(), DispatchSemaphore(value: 0), Log<Bool>())
        task.onMessage { @MainActor _ in
            if heard.all.isEmpty {
                isHeld.add(true)
                // Stands for an interface that draws something large. The bound is only for a test that fails.
                _ = release.wait(timeout: .now() + 20)
            }
            heard.add(true)
        }
        try await task.opened()
        try task.send("go")
        try await eventually { isHeld.all.count == 1 && task.stats.messagesIn >= 1_023 }
        #expect(task.stats.messagesIn <= 4_096)
        release.signal()
        try await eventually { heard.all.count == 20_000 }
    }

    @Test func aClosureOfTheMainActorThatIsTakenOffThereHearsNothingMore() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) { $0.callbackQueue = nil }
        let (log, others) = (Log<String>(), Log<String>())
        await MainActor.run {
            let token = task.onMessage { log.add($0.data.text ?? "") }
            task.onMessage { [weak task] in
                others.add($0.data.text ?? "")
                task?.offMessage(token)
            }
        }
        try task.send("1")
        try task.send("2")
        try await eventually { others.all.count == 2 }
        #expect(log.all == ["1"])
    }
}
