// How an app tests its own code: with a task that does what the test tells it.

import Foundation
import Observation
import SocketModel
import Testing
@testable import WxSocket
import WxSocketFakes
import WxSocketTestingBindings

/// An app's class, as it is written without a thought of tests but for the connector.
@MainActor private final class Chat {
    private(set) var lines: [String] = []
    private(set) var isOnline = false
    private let task: any WebSocketTask

    init(connect: SocketConnector = .live, url: String = "wss://example.com/room") throws {
        task = try connect(url) { $0.header("X-Room", "blue") }
        task.onOpen { [weak self] _ in
            self?.isOnline = true
            self?.say("hi")
        }
        task.onMessage { [weak self] in self?.lines.append($0.text ?? "") }
        task.onClose { [weak self] in
            self?.isOnline = false
            if $0.retry == nil { self?.lines.append("(\($0.code))") }
        }
    }

    func say(_ text: String) {
        do { try task.send(text) } catch { lines.append(error.errMsg) }
    }

    func leave() { task.close() }
}

@Suite(.timeLimit(.minutes(1))) struct AppTests {
    @Test @MainActor func anAppIsTestedWithAFake() async throws {
        let fake = FakeSocketTask()
        let chat = try Chat(connect: fake.connector)
        #expect(fake.setup?.url == "wss://example.com/room")
        #expect(fake.setup?.header.value("x-room") == "blue")
        await fake.open()
        #expect(chat.isOnline && fake.sent == [.text("hi")])
        await fake.deliver("hello")
        await fake.lose(retry: .init(attempt: 1, delay: .seconds(1)))
        #expect(!chat.isOnline && chat.lines == ["hello"])
        await fake.open(OpenEvent(epoch: 2))
        #expect(chat.isOnline)
        fake.failSends(with: WxError(kind: .queueFull))
        chat.say("too much")
        #expect(chat.lines == ["hello", "SocketTask.send:fail the queue is full"])
        await fake.lose()
        #expect(chat.lines.last == "(1006)")
    }

    @Test @MainActor func theSameAppWorksWithARealTask() async throws {
        let server = try ScriptedServer(script: "")
        let chat = try Chat(url: server.url())
        while chat.lines != ["hi"] { try await Task.sleep(for: .milliseconds(2)) }
        chat.leave()
        while chat.lines != ["hi", "(1000)"] { try await Task.sleep(for: .milliseconds(2)) }
    }

    @Test func aFakeHasSequencesAndCanBeAwaited() async throws {
        let fake = FakeSocketTask()
        let task: any WebSocketTask = fake
        var (messages, states) = (task.messages.makeAsyncIterator(), task.states.makeAsyncIterator())
        #expect(await states.next() == .connecting(attempt: 0))
        let opened = Task { try await task.opened() }
        let received = Task { try await (task.receive(), task.receive()) }
        await fake.open(OpenEvent(epoch: 3))
        #expect(try await opened.value.epoch == 3 && task.readyState == .open)
        await fake.deliver("a")
        await fake.deliver(.binary(Data([1])))
        #expect(try await received.value == (.text("a"), .binary(Data([1]))))
        #expect(await messages.next() == .text("a"))
        #expect(await messages.next() == .binary(Data([1])))
        let cancelled = Task { try await task.receive() }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        task.close()
        #expect(try await task.closed().code == 1_000)
        #expect(await messages.next() == nil)
        #expect(await thrown(CloseEvent.self) { try await task.receive() }?.code == 1_000)
        var seen: [SocketState] = []
        while let state = await states.next() { seen.append(state) }
        #expect(seen == [.open, .closed])
        var events: [SocketEvent.Kind] = []
        for await event in task.events { events.append(event.kind) }
        #expect(events == [.open, .message, .message, .close])
    }

    @Test @MainActor func theModelShowsWhatTheConnectionDoes() async throws {
        let fake = FakeSocketTask()
        let model = SocketModel(connector: fake.connector)
        model.connect("wss://example.com")
        let changed = Log<Bool>()
        withObservationTracking { _ = model.messages } onChange: { changed.add(true) }
        await fake.open()
        await fake.deliver("hello")
        #expect(model.messages == [.text("hello")] && changed.all == [true])
        #expect(model.send("hi") && fake.sent == [.text("hi")])
        while model.state != .open { await Task.yield() }
        await fake.lose(ErrorEvent(kind: .connectionLost, errMsg: "gone"), retry: .init(attempt: 1))
        #expect(model.notice == "gone")
        model.disconnect()
        while model.state != .closed { await Task.yield() }
    }

    @Test @MainActor func aModelThatIsLetGoClosesItsConnection() async throws {
        let server = try ScriptedServer(script: "")
        do {
            let model = SocketModel()
            model.connect(server.url())
            while model.state != .open { try await Task.sleep(for: .milliseconds(2)) }
        }
        #expect(await server.saw(ended: 1))
        #expect(server.connections()[0].closeCode == 1_000)
    }
}
