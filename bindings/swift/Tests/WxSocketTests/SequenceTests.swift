// `for await`: back-pressure, cancellation, and what a loop hears.

import Foundation
import Testing
import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1))) struct SequenceTests {
    @Test func aSlowLoopSlowsTheServerAndLosesNothing() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 20000, "bytes": 1024}}}]}]"#)
        let task = try connectSocket(server.url())
        var heard = 0
        var furthestAhead = 0
        for await _ in task.messages {
            heard += 1
            if heard.isMultiple(of: 100) {
                furthestAhead = max(furthestAhead, task.stats.messagesIn - heard)
                try await Task.sleep(for: .milliseconds(1))
            }
            if heard == 20_000 { break }
        }
        #expect(heard == 20_000)
        // Rust's mailbox (1,024), the pipe and the loop's batch (256 each), and turns under way.
        #expect(furthestAhead <= 2_048)
        #expect(furthestAhead > 500, "the loop was not slower than the server")
    }

    @Test func aLoopThatIsAbandonedHoldsNobodyUp() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 20000, "bytes": 64}}}]}]"#)
        let task = try connectSocket(server.url())
        for await _ in task.messages { break }
        var heard = 0
        for await event in task.events {
            if case .message = event { heard += 1 }
            if task.stats.messagesIn == 20_000 { task.close() }
        }
        #expect(heard <= 20_000)
        #expect(try await task.closed().code == 1_000)
    }

    @Test func messagesFromBeforeTheFirstLoopAreNotLost() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"send": "welcome"}}]}]"#)
        let task = try connectSocket(server.url())
        try await task.opened()
        try await eventually { task.stats.messagesIn == 1 }
        for await message in task.messages {
            #expect(message == .text("welcome"))
            break
        }
        let log = Log<Message>()
        let second = try connectSocket(server.url())
        try await second.opened()
        try await eventually { second.stats.messagesIn == 1 }
        second.onMessage { log.add($0.data) }
        try await eventually { log.all == [.text("welcome")] }
    }

    @Test func anIteratorThatIsKeptLosesNothing() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        var messages = task.messages.makeAsyncIterator()
        for turn in 0..<100 {
            try task.send("first \(turn)")
            try task.send("second \(turn)")
            #expect(await messages.next() == .text("first \(turn)"))
            // Both are here before the second is asked for.
            try await eventually { task.stats.messagesIn == 2 * turn + 2 }
            #expect(await messages.next() == .text("second \(turn)"))
        }
        task.close()
        #expect(await messages.next() == nil)
        #expect(try await task.closed().code == 1_000)
    }

    @Test func severalLoopsHearTheSame() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        async let one = task.transcript()
        async let two = task.transcript()
        try await task.opened()
        // Before the answer can come: the others hear it, so that nobody who comes later does.
        var messages = task.messages.makeAsyncIterator()
        try task.send("x")
        while let message = await messages.next(), message != .text("x") {}
        task.close()
        #expect(await one.last == "close 1 1000 final")
        #expect(await two.first == "open 1 attempt 0")
        #expect(await one == two)
    }

    @Test func statesFollowTheTask() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": {"status": 503}}, {"handshake": "hang"}, {}]"#)
        let task = try connectSocket(server.url()) {
            $0.reconnect.delay = .fixed(.seconds(30))
            $0.reconnect.stableAfter = .seconds(1_000)
        }
        var seen: [String] = []
        for await state in task.states {
            seen.append("\(state)".prefix { $0.isLetter } + "")
            switch state {
            case .waiting(let attempt, let delay):
                #expect(attempt == 1 && delay > .seconds(20) && delay <= .seconds(30))
                task.reconnectNow()
            case .connecting(let attempt) where seen.contains("waiting") && !seen.contains("suspended"):
                // Nothing but the state tells of this dial.
                #expect(attempt == 0)
                #expect(await server.saw(connections: 2))
                task.setNetwork(available: false)
            case .suspended: task.setNetwork(available: true)
            case .open: task.close()
            default: break
            }
        }
        // Only the newest is kept for a loop, so that short ones may be missing.
        #expect(seen.filter { $0 != "closing" }.suffix(6).contains("connecting"))
        #expect(seen.contains("waiting") && seen.contains("suspended") && seen.contains("open"))
        #expect(seen.last == "closed" && task.state == .closed)
    }

    @Test func cancellingAWaitEndsOnlyTheWait() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": "hang"}, {}]"#)
        let task = try connectSocket(server.url())
        let opened = Task { try await task.opened() }
        let closed = Task { try await task.closed() }
        let loop = Task { for await _ in task.messages {} }
        #expect(await server.saw(connections: 1))
        for wait in [opened.cancel, closed.cancel, loop.cancel] { wait() }
        await #expect(throws: CancellationError.self) { try await opened.value }
        await #expect(throws: CancellationError.self) { try await closed.value }
        await loop.value
        #expect(task.readyState == .connecting)
        let cancelled = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await task.opened()
        }
        await #expect(throws: CancellationError.self) { try await cancelled.value }
    }

    /// As a timeout around `next()` does it.
    @Test func anIteratorOutlivesANextThatIsCancelled() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": 100, "bytes": 3}}}]}]"#)
        let task = try connectSocket(server.url())
        let messages = Unchecked(value: task.messages.makeAsyncIterator())
        try await task.opened()
        // Cancelled before it waits, or while it does.
        for pause in [0, 20] {
            let next = Task {
                var messages = messages.value
                return await messages.next()
            }
            try await Task.sleep(for: .milliseconds(pause))
            next.cancel()
            #expect(await next.value == nil)
        }
        try task.send("go")
        var (kept, heard) = (messages.value, 0)
        while heard < 100, await kept.next() != nil { heard += 1 }
        #expect(heard == 100)
        task.close()
        #expect(await kept.next() == nil)
    }

    @Test func aLoopThatIsCancelledStallsNobody() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": 20000, "bytes": 20}}}]}]"#)
        let task = try connectSocket(server.url()) { $0.callbackQueue = nil }
        let heard = Log<Bool>()
        task.onMessage { _ in heard.add(true) }
        try await task.opened()
        let ready = Unchecked(value: task.messages.makeAsyncIterator())
        let inLoop = Log<Bool>()
        let loop = Task {
            var messages = ready.value
            while await messages.next() != nil {
                inLoop.add(true)
                try? await Task.sleep(for: .seconds(1_000))
            }
        }
        try task.send("go")
        try await eventually { inLoop.all.count == 1 }
        loop.cancel()
        await loop.value
        // A copy of its iterator is still there.
        try await eventually { heard.all.count == 20_000 }
        // Nobody has asked it for more than it may keep.
        var kept = ready.value
        while await kept.next() != nil {}
        #expect(task.readyState == .open)
    }

    @Test(arguments: [false, true])
    func copiesOfAnIteratorMayWaitAtOnce(_ isEnd: Bool) async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        let messages = Unchecked(value: task.messages.makeAsyncIterator())
        let answered = Log<Bool>()
        let waits = (0..<3).map { _ in
            Task {
                var messages = messages.value
                answered.add(await messages.next() != nil)
            }
        }
        try await task.opened()
        if isEnd {
            task.close()
        } else {
            // One message after the other: a copy keeps what comes together.
            for count in 1...3 {
                try task.send("\(count)")
                try await eventually { answered.all.count >= count }
            }
        }
        for wait in waits { await wait.value }
        #expect(answered.all == Array(repeating: !isEnd, count: 3))
    }

    @Test func aLoopKeepsItsSocketAndEndsWithIt() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"messages": 2}, "do": {"close": {}}}]}]"#)
        func messages() throws -> SocketSequence<Message> {
            let task = try connectSocket(server.url()) { $0.reconnect.enabled = false }
            try task.send("1")
            try task.send("2")
            return task.messages
        }
        var heard: [Message] = []
        for await message in try messages() { heard.append(message) }
        #expect(heard == [.text("1"), .text("2")])
    }
}
