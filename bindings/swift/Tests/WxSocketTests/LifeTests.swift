// The life of a task, as the contract has it.

import Foundation
import Testing
import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1))) struct LifeTests {
    @Test func echoesEveryKindAndSize() async throws {
        let server = try ScriptedServer(script: "")
        let sent: [Message] = [
            .text("hello"), .text("héllo 🌍"), .text(""), .binary(Data([0, 255, 7])), .binary(Data()),
            .text(String(repeating: "x", count: 1 << 20)), .binary(Data(repeating: 7, count: 1 << 20)),
        ]
        let task = try connectSocket(server.url())
        var received: [Message] = []
        // The queue holds 1 MiB while nothing is open yet.
        try await task.opened()
        for message in sent { try task.send(message) }
        for await message in task.messages {
            received.append(message)
            if received.count == sent.count { task.close() }
        }
        #expect(received == sent)
        #expect(try await task.closed().wasClean)
        #expect(server.connections()[0].violations == [])
    }

    @Test func sendsWhateverHasItsBytesInOnePiece() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        try task.send([1, 2, 3])
        try task.send([])
        try task.send(Data([9, 8, 7, 6])[1...2])
        var messages = task.messages.makeAsyncIterator()
        #expect(await messages.next() == .binary(Data([1, 2, 3])))
        #expect(await messages.next() == .binary(Data()))
        #expect(await messages.next() == .binary(Data([8, 7])))
    }

    @Test func theOpenEventTellsOfTheHandshake() async throws {
        let server = try ScriptedServer(
            script: #"[{"handshake": {"headers": [["X-One", "1"], ["x-one", "2"]], "protocol": "b"}}]"#)
        let task = try connectSocket(server.url() + "/room?id=1") {
            $0.header("X-Token", "secret")
            $0.protocols = ["a", "b"]
        }
        let open = try await task.opened()
        #expect(open.epoch == 1 && open.attempt == 0 && open.protocol == "b")
        #expect(open.header.filter { $0.name.lowercased() == "x-one" }.map(\.name) == ["X-One", "x-one"])
        #expect(open.profile.cost > 0 && open.profile.connectEnd >= open.profile.connectStart)
        let seen = server.connections()[0]
        #expect(seen.requestPath == "/room?id=1" && seen.protocolsOffered == ["a", "b"])
        #expect(seen.header.contains { $0.name == "X-Token" && $0.value == "secret" })
    }

    @Test func sendWorksInsideOnOpenAndTheStateChangesFirst() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        let states = Log<ReadyState>()
        task.onOpen { [weak task] _ in
            if let task { states.add(task.readyState) }
            try task?.send("from onOpen")
        }
        task.onMessage { [weak task] _ in task?.close() }
        task.onClose { [weak task] _ in if let task { states.add(task.readyState) } }
        try await task.closed()
        try await eventually { states.all.count == 2 }
        #expect(states.all == [.open, .closed])
        #expect(server.connections()[0].texts == ["from onOpen"])
    }

    @Test(arguments: ["open", "message", "error", "close"])
    func closeWorksInsideEachCallback(_ callback: String) async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "drop me"}, "do": "drop"}]}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.delay = .fixed(.seconds(30)) }
        let log = Log<String>()
        let close = { @Sendable [weak task] (here: String) in
            if here == callback { try task?.close(code: 3_001, reason: "in \(here)") }
        }
        task.onOpen { log.add(SocketEvent.open($0).line); try close("open") }
        task.onMessage { log.add(SocketEvent.message($0).line); try close("message") }
        task.onError { log.add(SocketEvent.error($0).line); try close("error") }
        task.onClose { log.add(SocketEvent.close($0).line); try close("close") }
        try task.send(callback == "error" || callback == "close" ? "drop me" : "hello")

        let end = try await task.closed()
        #expect(end.code == 3_001 && end.reason == "in \(callback)" && end.retry == nil)
        let expected =
            switch callback {
            case "open": ["open 1 attempt 0", "close 1 3001 in open final"]
            case "message": ["open 1 attempt 0", "message 1 hello", "close 1 3001 in message final"]
            default:
                [
                    "open 1 attempt 0", "error 1 connectionLost", "close 1 1006 attempt 1",
                    "close 2 3001 in \(callback) final",
                ]
            }
        try await eventually { log.all.last?.hasSuffix("final") == true }
        // What the server echoes to a client that is closing may or may not arrive.
        #expect(log.all.filter { callback != "open" || !$0.hasPrefix("message") } == expected)
        #expect(task.readyState == .closed)
    }

    @Test func aNewTaskMayBeMadeInsideOnClose() async throws {
        let server = try ScriptedServer(script: "")
        let url = server.url()
        let second = Log<SocketTask>()
        let first = try connectSocket(url)
        first.onClose { _ in second.add(try connectSocket(url)) }
        try await first.opened()
        first.close()
        try await eventually { second.all.count == 1 }
        #expect(try await second.all[0].opened().epoch == 1)
    }

    @Test func closeIsLegalAtAnyTimeAndCountsOnce() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": "hang"}]"#)
        let task = try connectSocket(server.url())
        #expect(await server.saw(connections: 1))
        #expect(task.readyState == .connecting)
        try task.close(code: 4_000, reason: "first")
        try task.close(code: 4_001, reason: "second")
        #expect(await task.transcript() == ["close 1 4000 first final"])
        #expect(throws: WxError.self) { try task.send("too late") }
        do throws(WxError) { try task.send("too late") } catch {
            #expect(error.kind == .notConnected && error.errCode == 10_002)
        }
    }

    @Test func theServersCodeAndReasonAreTold() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": {"close": {"code": 4321, "reason": "bye"}}}]}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.enabled = false }
        #expect(await task.transcript() == ["open 1 attempt 0", "close 1 4321 bye final"])
    }

    @Test(arguments: [
        (#"{"rules": [{"on": "open", "do": {"close": {}}}]}"#, ["open 1 attempt 0", "close 1 1005 final"]),
        (#"{"rules": [{"on": "open", "do": "eof"}]}"#, ["open 1 attempt 0", "error 1 connectionLost", "close 1 1006 final"]),
        (
            #"{"rules": [{"on": "open", "do": {"garbage": "81 02 ff fe"}}]}"#,
            ["open 1 attempt 0", "error 1 invalidUtf8", "close 1 1007 invalid UTF-8 final"]
        ),
        (
            #"{"rules": [{"on": "open", "do": {"flood": {"count": 1, "bytes": 2000}}}]}"#,
            ["open 1 attempt 0", "error 1 tooBig", "close 1 1009 message too big final"]
        ),
        (#"{"handshake": "wrongUpgrade"}"#, ["error 1 badUpgrade", "close 1 1006 final"]),
        (#"{"handshake": {"status": 503}}"#, ["error 1 httpStatus", "close 1 1006 final"]),
    ])
    func closeCodesTellTheTruth(_ script: String, _ expected: [String]) async throws {
        let server = try ScriptedServer(script: "[\(script)]")
        let task = try connectSocket(server.url()) {
            $0.reconnect.enabled = false
            $0.maxMessageBytes = 1_000
        }
        #expect(await task.transcript() == expected)
    }

    @Test func aRefusedUpgradeCarriesStatusHeadersAndBody() async throws {
        let server = try ScriptedServer(
            script: #"[{"handshake": {"status": 403, "headers": [["X-Why", "token"]], "body": "expired"}}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.stopStatuses = [403] }
        let error = await thrown(ErrorEvent.self) { try await task.opened() }
        #expect(error?.httpStatus == 403 && error?.httpBody == Data("expired".utf8))
        #expect(error?.httpHeader.contains(Header(name: "X-Why", value: "token")) == true)
        #expect(error?.errCode == 690_020 && error?.errMsg == "connectSocket:fail invalid HTTP status")
        #expect(try await task.closed().retry == nil)
    }

    @Test func comesBackAndCountsItsAttempts() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": "drop"}]}, {"handshake": "refuse"}, {}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.delay = .fixed(.milliseconds(1)) }
        var lines: [String] = []
        for await event in task.events {
            lines.append(event.line)
            if case .open(let open) = event, open.epoch == 3 { task.close() }
        }
        #expect(
            lines.filter { !$0.hasPrefix("error 2") } == [
                "open 1 attempt 0", "error 1 connectionLost", "close 1 1006 attempt 1", "close 2 1006 attempt 2",
                "open 3 attempt 2", "close 3 1000 final",
            ])
        #expect(task.stats.opens == 2 && task.stats.epoch == 3)
    }

    @Test func theLimitOfAttemptsEndsTheTask() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": {"status": 500}}]"#)
        let task = try connectSocket(server.url()) {
            $0.reconnect.delay = .fixed(.zero)
            $0.reconnect.maxAttempts = 2
        }
        #expect(
            await task.transcript() == [
                "error 1 httpStatus", "close 1 1006 attempt 1", "error 2 httpStatus", "close 2 1006 attempt 2",
                "error 3 reconnectLimit", "close 3 1006 final",
            ])
    }

    @Test func aStopCodeEndsTheTask() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"close": {"code": 4001}}}]}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.stopCodes = [4_001] }
        #expect(await task.transcript() == ["open 1 attempt 0", "close 1 4001 final"])
    }

    @Test func aLostHeartbeatEndsTheConnection() async throws {
        let server = try ScriptedServer(script: #"[{"answerHeartbeats": false}]"#)
        let task = try connectSocket(server.url()) {
            $0.reconnect.enabled = false
            $0.heartbeat.interval = .milliseconds(10)
            $0.heartbeat.timeout = .milliseconds(30)
        }
        #expect(
            await task.transcript() == [
                "open 1 attempt 0", "error 1 heartbeatTimeout", "close 1 1006 heartbeat timeout final",
            ])
        #expect(server.connections()[0].heartbeats == 1)
    }

    @Test func answeredHeartbeatsAreMeasuredAndHidden() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) {
            $0.heartbeat.interval = .milliseconds(1)
            $0.heartbeat.reply = .prefix("po")
        }
        let log = Log<Message>()
        task.onMessage { log.add($0.data) }
        try await eventually { task.stats.messagesIn >= 3 }
        #expect(log.all.isEmpty)
        let rtt = try #require(task.stats.smoothedRTT)
        #expect(rtt > .zero && rtt < .seconds(5))
    }

    /// Not "The operation could not be completed", and nothing that should not be in a log.
    @Test func errorsSayWhatHappened() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": {"status": 503}}]"#)
        let refused = try connectSocket(server.url()) { $0.reconnect.enabled = false }
        let error = try #require(await thrown(ErrorEvent.self) { try await refused.opened() })
        #expect(error.localizedDescription == "\(error.errMsg): \(error.detail)")
        #expect("\(error)" == error.localizedDescription)
        let closed = try connectSocket(server.url())
        closed.pause()
        try closed.send("secret")
        try closed.close(code: 3_000, reason: "signed out")
        let close = try #require(await thrown(CloseEvent.self) { try await closed.opened() })
        #expect(close.unsent == [.text("secret")])
        #expect(close.localizedDescription == "the connection was closed with 3000: signed out")
        #expect("\(close)" == close.localizedDescription)
    }
}
