// Who comes late hears how things are, not how they came to be.

import Foundation
import Testing
import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1))) struct LateTests {
    /// Connections that are dropped as soon as they are open, then what `last` says.
    private func flaps(_ count: Int, then last: String) -> String {
        let drops = Array(repeating: #"{"rules": [{"on": "open", "do": "drop"}]}"#, count: count)
        return "[" + (drops + [last]).joined(separator: ", ") + "]"
    }

    private func restless(_ server: ScriptedServer, _ queue: DispatchQueue? = nil) throws -> SocketTask {
        try connectSocket(server.url()) {
            $0.reconnect.delay = .fixed(.milliseconds(1))
            $0.reconnect.maxAttempts = .unlimited
            $0.callbackQueue = queue
        }
    }

    @Test(arguments: [false, true])
    func onAnOpenTaskTheyHearItsOpenAndNothingElse(_ onQueue: Bool) async throws {
        let server = try ScriptedServer(script: flaps(50, then: "{}"))
        let task = try restless(server, onQueue ? DispatchQueue(label: "app") : nil)
        let opens = Log<Int>()
        task.onOpen { opens.add($0.epoch) }
        try await eventually { opens.all.last == 51 }
        let log = Log<String>()
        task.onClose { log.add(SocketEvent.close($0).line) }
        task.onError { log.add(SocketEvent.error($0).line) }
        task.onOpen { log.add("open \($0.epoch)") }
        task.onMessage { log.add(SocketEvent.message($0).line) }
        try await eventually { log.all.count >= 1 }
        try task.send("x")
        try await eventually { log.all.last == "message 51 x" }
        task.close()
        try await eventually { log.all.last?.hasSuffix("final") == true }
        #expect(log.all == ["open 51", "message 51 x", "close 51 1000 final"])
    }

    @Test func onATaskThatDialsAgainTheyHearTheLastErrorAndClose() async throws {
        let refusals = Array(repeating: #"{"handshake": {"status": 503}}"#, count: 5)
        let server = try ScriptedServer(script: "[" + (refusals + [#"{"handshake": "hang"}"#]).joined(separator: ", ") + "]")
        let task = try restless(server)
        let closes = Log<Int>()
        task.onClose { closes.add($0.epoch) }
        #expect(await server.saw(connections: 6))
        try await eventually { closes.all.last == 5 }
        let log = Log<String>()
        task.onOpen { log.add("open \($0.epoch)") }
        task.onError { log.add(SocketEvent.error($0).line) }
        task.onClose { log.add(SocketEvent.close($0).line) }
        try await eventually { log.all.count >= 2 }
        task.close()
        try await eventually { log.all.last?.hasSuffix("final") == true }
        #expect(log.all == ["error 5 httpStatus", "close 5 1006 attempt 5", "close 6 1000 final"])
    }

    /// An open connection that is lost, rather than a dial that fails.
    @Test func afterALossTheyHearItOnceEach() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "drop"}, "do": "drop"}]}, {"handshake": "hang"}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.delay = .fixed(.seconds(1_000)) }
        let closes = Log<Int>()
        task.onClose { closes.add($0.epoch) }
        try task.send("drop")
        try await eventually { closes.all == [1] }
        let log = Log<String>()
        for _ in 0..<2 {
            task.onOpen { log.add("open \($0.epoch)") }
            task.onClose { log.add(SocketEvent.close($0).line) }
            task.onError { log.add(SocketEvent.error($0).line) }
        }
        try await eventually { log.all.count == 4 }
        #expect(log.all.sorted() == [
            "close 1 1006 attempt 1", "close 1 1006 attempt 1", "error 1 connectionLost", "error 1 connectionLost",
        ])
        task.close()
        try await eventually { log.all.count == 6 }
        #expect(log.all.suffix(2) == ["close 1 1000 final", "close 1 1000 final"] || log.all.suffix(2) == ["close 2 1000 final", "close 2 1000 final"])
    }

    @Test(arguments: [false, true])
    func aSequenceBeginsWithThePresentState(_ isOpen: Bool) async throws {
        let server = try ScriptedServer(script: flaps(50, then: isOpen ? "{}" : #"{"handshake": "hang"}"#))
        let task = try restless(server)
        let heard = Log<String>()
        task.onOpen { heard.add("open \($0.epoch)") }
        task.onClose { heard.add("close \($0.epoch)") }
        try await eventually { heard.all.last == (isOpen ? "open 51" : "close 50") }
        // Twice: the first one to come takes nothing from the second.
        for _ in 0..<2 {
            var events = task.events.makeAsyncIterator()
            if isOpen {
                guard case .open(let open) = await events.next() else { return #expect(Bool(false)) }
                #expect(open.epoch == 51)
            } else {
                #expect(await events.next()?.line == "error 50 connectionLost")
                #expect(await events.next()?.line.hasPrefix("close 50 1006 attempt") == true)
            }
        }
        var events = task.events.makeAsyncIterator()
        task.close()
        var lines: [String] = []
        while let event = await events.next() { lines.append(event.line) }
        #expect(lines.count == (isOpen ? 2 : 3) && lines.last == "close 51 1000 final")
        // And on a task that is over: the last close, and no error of another connection.
        #expect(await task.transcript() == ["close 51 1000 final"])
    }

    @Test func onATaskThatIsOverTheyHearItsEnd() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": [{"send": "hi"}, "drop"]}]}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.enabled = false }
        let messages = Log<Bool>()
        let ends = Log<Bool>()
        task.onMessage { _ in messages.add(true) }
        task.onClose { _ in ends.add(true) }
        try await eventually { messages.all.count == 1 && ends.all.count == 1 }
        let log = Log<String>()
        task.onOpen { _ in log.add("open") }
        task.onMessage { log.add(SocketEvent.message($0).line) }
        task.onError { log.add(SocketEvent.error($0).line) }
        task.onClose { log.add(SocketEvent.close($0).line) }
        try await eventually { log.all.last?.hasSuffix("final") == true }
        // The open is over, and the message was for those who were there.
        #expect(log.all == ["error 1 connectionLost", "close 1 1006 final"])
        #expect(await task.transcript() == ["error 1 connectionLost", "close 1 1006 final"])
    }

    private final class Kept: @unchecked Sendable {
        var iterator: SocketSequence<Message>.Iterator
        init(_ iterator: SocketSequence<Message>.Iterator) { self.iterator = iterator }
    }

    @Test(arguments: [false, true])
    func anIteratorThatIsMadeInAClosureHearsTheNextMessageFirst(_ onQueue: Bool) async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": 200, "bytes": 3}}}]}]"#)
        let task = try connectSocket(server.url()) { $0.callbackQueue = onQueue ? DispatchQueue(label: "app") : nil }
        let heard = Log<Int>()
        let made = Log<Kept>()
        task.onMessage { [weak task] event in
            if let task, made.all.isEmpty { made.add(Kept(task.messages.makeAsyncIterator())) }
            heard.add(event.epoch)
        }
        try task.send("go")
        try await eventually { heard.all.count == 200 }
        task.close()
        var count = 0
        while await made.all[0].iterator.next() != nil { count += 1 }
        #expect(count == 199)
    }

    /// A listener that comes from inside a closure hears the next message, and that closure's own only once.
    @Test(arguments: [false, true])
    func aListenerThatIsAddedInAClosureHearsTheNextMessageFirst(_ onQueue: Bool) async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": 200, "bytes": 3}}}]}]"#)
        let task = try connectSocket(server.url()) { $0.callbackQueue = onQueue ? DispatchQueue(label: "app") : nil }
        let first = Log<Int>()
        let second = Log<Int>()
        task.onMessage { [weak task] event in
            if first.all.isEmpty { task?.onMessage { second.add($0.epoch) } }
            first.add(event.epoch)
        }
        try task.send("go")
        try await eventually { first.all.count == 200 && second.all.count >= 199 }
        task.close()
        try await task.closed()
        #expect(second.all.count == 199)
    }

    /// A loop that is full holds up what comes for others, and not how they begin.
    @Test(arguments: [false, true])
    func aLoopThatIsFullKeepsNobodyFromHearingHowThingsAre(_ onQueue: Bool) async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 3000, "bytes": 20}}}]}]"#)
        let task = try connectSocket(server.url()) { $0.callbackQueue = onQueue ? DispatchQueue(label: "app") : nil }
        var full = task.messages.makeAsyncIterator()
        // The mailbox is full behind it.
        try await eventually { task.stats.messagesIn > 1_024 }
        let opens = Log<Int>()
        task.onOpen { opens.add($0.epoch) }
        try await eventually { opens.all == [1] }
        do {
            var events = task.events.makeAsyncIterator()
            #expect(await events.next()?.line == "open 1 attempt 0")
        }
        var count = 0
        while count < 3_000, await full.next() != nil { count += 1 }
        #expect(count == 3_000)
    }

    /// A loop that begins between two batches, the second of which fills another loop, gets the present state all the same.
    @Test func aLoopThatBeginsBetweenTwoBatchesIsNotForgotten() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 2000, "bytes": 20}}}]}]"#)
        for _ in 0..<60 {
            let task = try connectSocket(server.url()) { $0.callbackQueue = nil }
            let full = task.messages.makeAsyncIterator()
            try await eventually { task.stats.messagesIn > 0 }
            var events = task.events.makeAsyncIterator()
            #expect(await events.next()?.line == "open 1 attempt 0")
            task.close()
            withExtendedLifetime(full) {}
        }
    }

    /// Who is the first to listen is not late: everything is kept for them.
    @Test func theFirstOneHearsEverythingInItsOrder() async throws {
        let server = try ScriptedServer(
            script: #"[{"handshake": {"status": 503}}, {"rules": [{"on": "open", "do": [{"send": "hi"}, "drop"]}]}, {}]"#)
        let task = try restless(server)
        try await eventually { task.stats.opens == 2 && task.state == .open }
        var events = task.events.makeAsyncIterator()
        var lines: [String] = []
        while lines.last != "open 3 attempt 2", let event = await events.next() { lines.append(event.line) }
        #expect(lines == [
            "error 1 httpStatus", "close 1 1006 attempt 1", "open 2 attempt 1", "message 2 hi", "error 2 connectionLost",
            "close 2 1006 attempt 2", "open 3 attempt 2",
        ])
        // The next one is late.
        var late = task.events.makeAsyncIterator()
        #expect(await late.next()?.line == "open 3 attempt 2")
    }
}
