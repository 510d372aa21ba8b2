// Closures: many, late, off, blocking and throwing.

import Foundation
import Testing
import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1))) struct ListenerTests {
    static let lines = Log<String>()

    @Test func severalListenersHearTheSameInTheOrderTheyCame() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        let log = Log<String>()
        for name in ["a", "b", "c"] {
            task.onMessage { log.add(name + ($0.data.text ?? "")) }
        }
        try task.send("1")
        try task.send("2")
        try await eventually { log.all.count == 6 }
        #expect(log.all == ["a1", "b1", "c1", "a2", "b2", "c2"])
    }

    @Test func lateListenersHearWhatStillCounts() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        try await task.opened()
        let log = Log<String>()
        task.onOpen { log.add(SocketEvent.open($0).line) }
        try await eventually { log.all == ["open 1 attempt 0"] }
        task.onClose { log.add("early " + SocketEvent.close($0).line) }
        task.close()
        try await eventually { log.all.count == 2 }
        task.onClose { log.add("late " + SocketEvent.close($0).line) }
        task.onOpen { _ in log.add("never") }
        try await eventually { log.all.count == 3 }
        #expect(log.all == ["open 1 attempt 0", "early close 1 1000 final", "late close 1 1000 final"])
        #expect(await task.transcript() == ["close 1 1000 final"])
    }

    /// A life may be over before the line after `connectSocket` has run.
    @Test func whoeverListensFirstHearsWhatNobodyHeard() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": [{"send": "hi"}, "drop"]}]}]"#)
        func over() async throws -> SocketTask {
            let task = try connectSocket(server.url()) { $0.reconnect.enabled = false }
            try await task.closed()
            return task
        }
        #expect(
            try await over().transcript() == [
                "open 1 attempt 0", "message 1 hi", "error 1 connectionLost", "close 1 1006 final",
            ])
        let task = try await over()
        let log = Log<String>()
        task.onMessage { log.add(SocketEvent.message($0).line) }
        task.onClose { log.add(SocketEvent.close($0).line) }
        try await eventually { log.all.count == 2 }
        #expect(log.all == ["message 1 hi", "close 1 1006 final"])
    }

    /// Its own documentation says so: who wants them is to come first.
    @Test func messagesOfAConnectionThatIsOverAreGoneForThoseWhoComeAfterItsClose() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": [{"send": "hi"}, "drop"]}]}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.enabled = false }
        let closes = Log<Int>()
        task.onClose { closes.add($0.code) }
        try await eventually { closes.all == [1_006] }
        #expect(await task.transcript() == ["error 1 connectionLost", "close 1 1006 final"])
        #expect(task.stats.messagesIn == 1 && task.stats.messagesDiscarded == 1)
    }

    @Test func aListenerThatJoinsInTheMiddleHearsEachEventOnce() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 20000, "bytes": 10}}}]}]"#)
        for queue in [nil, DispatchQueue(label: "app")] {
            let task = try connectSocket(server.url()) { $0.callbackQueue = queue }
            let first = Log<Int>()
            let opens = Log<Int>()
            task.onMessage { [weak task] in
                first.add($0.epoch)
                // From inside a callback, in the middle of the flood.
                if first.all.count.isMultiple(of: 1_000) { task?.onOpen { opens.add($0.epoch) } }
            }
            try await eventually { first.all.count == 20_000 && opens.all.count == 20 }
            task.close()
            try await task.closed()
            #expect(opens.all == Array(repeating: 1, count: 20))
            #expect(first.all.count == 20_000)
        }
    }

    @Test func whoIsOffHearsNothingMore() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        let log = Log<String>()
        let tokens = Log<ListenerToken>()
        tokens.add(
            task.onMessage { [weak task] in
                log.add("off " + ($0.data.text ?? ""))
                task?.offMessage(tokens.all[0])
            })
        task.onMessage { log.add("on " + ($0.data.text ?? "")) }
        let open = task.onOpen { _ in log.add("open") }
        task.offOpen(open)
        try task.send("1")
        try task.send("2")
        try await eventually { log.all.contains("on 2") }
        #expect(log.all.filter { $0 != "open" } == ["off 1", "on 1", "on 2"])
    }

    /// Each event is on its way to both already when the first one takes the second one off.
    @Test(arguments: [false, true])
    func whoIsTakenOffByTheListenerBeforeItHearsNothingOfThatEvent(_ onQueue: Bool) async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": {"text": "go"}, "do": [{"send": "hi"}, "drop"]}]}, {}]"#)
        for final in [false, true] {
            let task = try connectSocket(server.url()) {
                $0.callbackQueue = onQueue ? DispatchQueue(label: "app") : nil
                $0.reconnect.delay = .fixed(.milliseconds(1))
            }
            let log = Log<String>()
            let messageToken = Log<ListenerToken>()
            let errorToken = Log<ListenerToken>()
            let closeToken = Log<ListenerToken>()
            let isTime = { @Sendable (event: CloseEvent) in (event.retry == nil) == final }
            task.onMessage { [weak task] _ in task?.offMessage(messageToken.all[0]) }
            task.onError { [weak task] _ in task?.offError(errorToken.all[0]) }
            task.onClose { [weak task] in if isTime($0) { task?.offClose(closeToken.all[0]) } }
            messageToken.add(task.onMessage { _ in log.add("message") })
            errorToken.add(task.onError { _ in log.add("error") })
            closeToken.add(task.onClose { if isTime($0) { log.add("close") } })
            try await task.opened()
            if !final {
                try task.send("go")
                try await eventually { task.stats.opens == 2 }
            }
            task.close()
            try await task.closed()
            // Called after those.
            let end = Log<Bool>()
            task.onClose { if $0.retry == nil { end.add(true) } }
            try await eventually { end.all.count == 1 }
            #expect(log.all == [])
        }
    }

    @Test(arguments: [false, true])
    func aTokenOfAnotherKindTakesNothingOff(_ ownKind: Bool) async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "go"}, "do": [{"send": "hi"}, "drop"]}]}]"#)
        let queue = DispatchQueue(label: "app")
        // Nobody is called before the listeners are off.
        queue.suspend()
        let task = try connectSocket(server.url()) {
            $0.reconnect.enabled = false
            $0.callbackQueue = queue
        }
        let log = Log<String>()
        let tokens = [
            task.onOpen { _ in log.add("open") },
            task.onMessage { _ in log.add("message") },
            task.onError { _ in log.add("error") },
            task.onClose { _ in log.add("close") },
        ]
        let offs = [task.offOpen, task.offMessage, task.offError, task.offClose]
        for (kind, token) in tokens.enumerated() {
            for (other, off) in offs.enumerated() where (other == kind) == ownKind { off(token) }
        }
        queue.resume()
        try task.send("go")
        try await task.closed()
        // Called after those.
        let end = Log<Bool>()
        task.onClose { _ in end.add(true) }
        try await eventually { end.all.count == 1 }
        #expect(log.all == (ownKind ? [] : ["open", "message", "error", "close"]))
    }

    @Test(arguments: [false, true])
    func aListenerThatThrowsHarmsNothing(_ onQueue: Bool) async throws {
        let server = try ScriptedServer(script: "")
        // The process has one log, and this test runs twice at once.
        let lines = Self.lines
        SocketLog.set(.warn) { _, line in lines.add(line) }
        let task = try connectSocket(server.url()) { $0.callbackQueue = onQueue ? DispatchQueue(label: "app") : nil }
        let log = Log<String>()
        task.onOpen { _ in throw Boom() }
        task.onMessage { _ in throw Boom() }
        task.onMessage { log.add($0.data.text ?? "") }
        try task.send("1")
        try task.send("2")
        try await eventually { log.all == ["1", "2"] && task.stats.listenerFailures == 3 }
        #expect(task.readyState == .open)
        try await eventually { lines.all.contains("a listener failed: Boom()") }
    }

    @Test func aListenerThatBlocksStallsOnlyItsOwnTask() async throws {
        let server = try ScriptedServer(script: "")
        let release = DispatchSemaphore(value: 0)
        var stuck: [SocketTask] = []
        // More than the threads that serve all tasks.
        for _ in 0..<6 {
            let task = try connectSocket(server.url()) {
                // A heartbeat that goes on shows that only the listener is stuck.
                $0.heartbeat.interval = .milliseconds(5)
                $0.heartbeat.timeout = .seconds(30)
            }
            task.onMessage { _ in release.wait() }
            try task.send("block")
            stuck.append(task)
        }
        let other = try connectSocket(server.url())
        try other.send("alive")
        var messages = other.messages.makeAsyncIterator()
        #expect(await messages.next() == .text("alive"))
        let watched = stuck
        let beats = { @Sendable in watched.map(\.stats.messagesIn).min() ?? 0 }
        let before = beats()
        try await eventually { beats() > before + 3 }
        for _ in stuck { release.signal() }
        for task in stuck {
            task.close()
            try await task.closed()
        }
    }

    @Test func closuresRunOnTheAppsQueueInOrder() async throws {
        let server = try ScriptedServer(script: "")
        let queue = DispatchQueue(label: "app")
        nonisolated(unsafe) let key = DispatchSpecificKey<Bool>()
        queue.setSpecific(key: key, value: true)
        let task = try connectSocket(server.url()) { $0.callbackQueue = queue }
        let log = Log<String>()
        let elsewhere = Log<String>()
        let check = { @Sendable (what: String) in if DispatchQueue.getSpecific(key: key) != true { elsewhere.add(what) } }
        task.onOpen { _ in check("open") }
        task.onMessage { check("message"); log.add($0.data.text ?? "") }
        task.onClose { _ in check("close"); log.add("close") }
        try await task.opened()
        let sent = (1...3_000).map { "\($0)" }
        for text in sent { try task.send(text) }
        try await eventually { log.all.count == 3_000 }
        task.close()
        try await eventually { log.all.count == 3_001 }
        #expect(log.all == sent + ["close"])
        #expect(elsewhere.all == [])
    }

    @Test func closuresShareTheAppsQueueWithOthers() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": 400, "bytes": 20}}}]}]"#)
        let queue = DispatchQueue(label: "app")
        let task = try connectSocket(server.url()) { $0.callbackQueue = queue }
        let (heard, waited) = (Log<Bool>(), Log<Int>())
        task.onMessage { _ in
            heard.add(true)
            let before = heard.all.count
            queue.async { waited.add(heard.all.count - before) }
            usleep(3_000)
        }
        try await task.opened()
        try task.send("go")
        try await eventually { waited.all.count == 400 }
        // Three of them take 8 ms.
        #expect(waited.all.max()! < 10)
    }

    /// However the last of those who are busy with a batch comes to its end, the next one follows, once.
    @Test(arguments: [false, true])
    func closuresAndLoopsOfEverySpeedHearTheSame(_ onQueue: Bool) async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": 10000, "bytes": 20}}}]}]"#)
        let task = try connectSocket(server.url()) { $0.callbackQueue = onQueue ? DispatchQueue(label: "app") : nil }
        let count = Log<Bool>()
        task.onMessage { _ in count.add(true) }
        try await task.opened()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for loop in 0..<6 {
                var events = task.events.makeAsyncIterator()
                // It is admitted.
                #expect(await events.next()?.line == "open 1 attempt 0")
                group.addTask { [events] in
                    var (events, heard) = (events, 0)
                    while heard < 10_000, await events.next() != nil {
                        heard += 1
                        if loop > 2, heard.isMultiple(of: 50 * loop) { try await Task.sleep(for: .milliseconds(1)) }
                        // One goes in the middle, when others wait for it.
                        if loop == 5, heard == 5_000 { return 10_000 }
                    }
                    return heard
                }
            }
            try task.send("go")
            for try await heard in group { #expect(heard == 10_000) }
        }
        try await eventually { count.all.count == 10_000 }
    }

    /// What still waits for the queue when nobody holds the task any more does not keep the socket.
    @Test func aQueueThatIsBusyDoesNotKeepATaskThatWasLetGo() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 3000, "bytes": 20}}}]}]"#)
        let queue = DispatchQueue(label: "app")
        queue.suspend()
        let log = Log<Int>()
        do {
            let task = try connectSocket(server.url()) { $0.callbackQueue = queue }
            task.onMessage { _ in }
            task.onClose { log.add($0.code) }
            try await eventually { task.stats.messagesIn > 1_024 }
        }
        #expect(await server.saw(ended: 1))
        #expect(server.connections()[0].closeCode == 1_000)
        queue.resume()
        try await eventually { log.all == [1_000] }
    }

    @Test func aQueueThatIsBusySlowsTheServerAndBoundsTheMemory() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 20000, "bytes": 1024}}}]}]"#)
        let queue = DispatchQueue(label: "app")
        queue.suspend()
        let task = try connectSocket(server.url()) { $0.callbackQueue = queue }
        let count = Log<Bool>()
        task.onMessage { _ in count.add(true) }
        // Rust's mailbox is full (1,024 events, the open among them); what else was read waits here.
        try await eventually { task.stats.messagesIn >= 1_023 }
        #expect(task.stats.messagesIn <= 4_096)
        queue.resume()
        try await eventually { count.all.count == 20_000 }
    }
}
