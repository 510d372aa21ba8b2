// `receive()`: one message per call, and nothing lost between calls.

import Foundation
import Testing
import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1))) struct ReceiveTests {
    @Test func eachCallReturnsTheNextMessage() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        for turn in 0..<100 {
            try task.send("first \(turn)")
            try task.send("second \(turn)")
            try task.send(Data([1, 2]))
            #expect(try await task.receive() == .text("first \(turn)"))
            // All are here before the second is asked for.
            try await eventually { task.stats.messagesIn == 3 * turn + 3 }
            #expect(try await task.receive() == .text("second \(turn)"))
            #expect(try await task.receive().binary == Data([1, 2]))
        }
    }

    @Test func theFirstCallReturnsWhatCameBeforeIt() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": [{"send": "a"}, {"send": "b"}]}]}]"#)
        let task = try connectSocket(server.url())
        try await eventually { task.stats.messagesIn == 2 }
        #expect(try await task.receive() == .text("a"))
        #expect(try await task.receive() == .text("b"))
    }

    @Test func whoDoesNotCallSlowsTheServerAndLosesNothing() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 20000, "bytes": 1024}}}]}]"#)
        // The answer to a heartbeat counts as a message.
        let task = try connectSocket(server.url()) { $0.heartbeat.enabled = false }
        _ = try await task.receive()
        try await eventually { task.stats.messagesIn > 1_024 }
        // A call that is cancelled is no reason to go on.
        let cancelled = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await task.receive()
        }
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        for count in 2...20_000 {
            _ = try await task.receive()
            if count.isMultiple(of: 1_000) { #expect(task.stats.messagesIn - count <= 4_096) }
        }
        #expect(task.stats.messagesIn == 20_000)
    }

    @Test func aCallThatIsCancelledTakesNoMessage() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        try await task.opened()
        for turn in 0..<50 {
            let call = Task { try await task.receive() }
            // Cancelled before it waits, while it waits, or when the message comes.
            if !turn.isMultiple(of: 3) { await Task.yield() }
            try task.send("\(turn)")
            call.cancel()
            do {
                #expect(try await call.value == .text("\(turn)"))
            } catch is CancellationError {
                #expect(try await task.receive() == .text("\(turn)"))
            }
        }
    }

    @Test func severalCallsMayWaitAtOnce() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "go"}, "do": [{"send": "1"}, {"send": "2"}, {"send": "3"}, {"send": "4"}]}]}]"#)
        let task = try connectSocket(server.url())
        let got = try await withThrowingTaskGroup(of: String?.self) { group in
            for _ in 0..<3 { group.addTask { try await task.receive().text } }
            try task.send("go")
            return try await group.reduce(into: []) { $0.append($1 ?? "") }
        }
        #expect(got.sorted() == ["1", "2", "3"])
        #expect(try await task.receive() == .text("4"))
    }

    @Test func aConnectionThatComesBackGoesOn() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": [{"send": "a"}, "drop"]}]}, {"rules": [{"on": "open", "do": {"send": "b"}}]}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.delay = .fixed(.milliseconds(1)) }
        #expect(try await task.receive() == .text("a"))
        #expect(try await task.receive() == .text("b"))
    }

    @Test func theEndIsThrownAfterTheLastMessage() async throws {
        let script = { (end: String) in #"[{"rules": [{"on": "open", "do": [{"send": "a"}, {"send": "b"}, \#(end)]}]}]"# }
        for _ in 0..<10 {
            let server = try ScriptedServer(script: script(#"{"close": {"code": 4001, "reason": "bye"}}"#))
            let task = try connectSocket(server.url()) { $0.reconnect.enabled = false }
            #expect(try await task.receive() == .text("a"))
            #expect(try await task.receive() == .text("b"))
            for _ in 0..<2 {
                let end = await thrown(CloseEvent.self) { try await task.receive() }
                #expect(end?.code == 4_001)
            }
        }
        let server = try ScriptedServer(script: script(#""drop""#))
        let task = try connectSocket(server.url()) { $0.reconnect.enabled = false }
        for _ in 0..<2 { _ = try await task.receive() }
        #expect(await thrown(ErrorEvent.self) { try await task.receive() }?.kind == .connectionLost)
    }

    @Test func closeEndsACallThatWaits() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        try await task.opened()
        let call = Task { try await task.receive() }
        task.close()
        #expect(await thrown(CloseEvent.self) { try await call.value }?.code == 1_000)
        // On a task that is over, as the first call.
        let second = try connectSocket(server.url())
        second.close()
        try await second.closed()
        #expect(await thrown(CloseEvent.self) { try await second.receive() }?.code == 1_000)
    }

    @Test func aTaskThatIsLetGoIsClosedThoughItsMessagesWait() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 3000, "bytes": 20}}}]}]"#)
        let log = Log<Int>()
        do {
            let task = try connectSocket(server.url()) { $0.callbackQueue = nil }
            task.onClose { log.add($0.code) }
            _ = try await task.receive()
            try await eventually { task.stats.messagesIn > 400 }
        }
        #expect(await server.saw(ended: 1))
        try await eventually { log.all == [1_000] }
    }
}

@Suite struct LookupTests {
    @Test func aHeaderIsFoundInAnyCase() async throws {
        let server = try ScriptedServer(
            script: #"[{"handshake": {"headers": [["X-Room", "blue"], ["Set-Cookie", "a=1"], ["set-cookie", "b=2"]]}}]"#)
        let header = try await connectSocket(server.url()).opened().header
        for name in ["x-room", "X-ROOM", "X-Room"] { #expect(header.value(name) == "blue") }
        #expect(header.value("X-Roo") == nil && header.value("") == nil)
        #expect(header.values("SET-COOKIE") == ["a=1", "b=2"] && header.values("x") == [])
        // Only ASCII letters: `@` and the backtick differ by the same bit.
        #expect([Header(name: "a@", value: "")].value("a`") == nil)
    }

    @Test func aMessageEventHasItsTextOrItsBytes() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        let log = Log<String>()
        task.onMessage { log.add("\($0.text ?? "-") \($0.bytes?.count ?? -1)") }
        try task.send("hi")
        try task.send(Data([1, 2, 3]))
        try await eventually { log.all == ["hi -1", "- 3"] }
    }
}
