// Waiters and states are served whatever closures, queues and loops do; and nothing is lost before anyone listens.

import Foundation
import Testing
import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1))) struct ApartTests {
    private static let flood = #"[{"rules": [{"on": "open", "do": [{"send": "bye"}, {"flood": {"count": 3000, "bytes": 20}}]}]}]"#

    /// As many as do not fill the mailbox when a loop has taken its share: a full one begins no dial.
    private static let burst = #"[{"rules": [{"on": "open", "do": [{"send": "bye"}, {"flood": {"count": 1000, "bytes": 20}}]}]}, {}]"#

    /// More than a loop's bound waits, in the loop and behind it.
    private func isFlooded(_ task: SocketTask) async throws {
        try await eventually { task.stats.messagesIn > 400 }
    }

    /// Waits for this connection's open. The one before it may be told for a moment after `pause()` has returned.
    private func open(_ epoch: Int, of task: SocketTask) async throws -> OpenEvent? {
        let deadline = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < deadline {
            let open = try await task.opened()
            if open.epoch == epoch { return open }
            try await Task.sleep(for: .milliseconds(2))
        }
        return nil
    }

    @Test func theCloseCanBeAwaitedInTheLoopThatAskedForIt() async throws {
        let server = try ScriptedServer(script: Self.flood)
        let task = try connectSocket(server.url()) { $0.heartbeat.enabled = false }
        var end: CloseEvent?
        for await message in task.messages where message == .text("bye") {
            try await isFlooded(task)
            task.close()
            end = try await task.closed()
            break
        }
        #expect(end?.code == 1_000 && end?.retry == nil)
    }

    @Test func theNextOpenCanBeAwaitedInTheLoopThatAskedForIt() async throws {
        let server = try ScriptedServer(script: Self.burst)
        let task = try connectSocket(server.url()) { $0.heartbeat.enabled = false }
        var next: OpenEvent?
        for await message in task.messages where message == .text("bye") {
            try await isFlooded(task)
            task.pause()
            task.resume()
            next = try await open(2, of: task)
            break
        }
        #expect(next?.epoch == 2)
        task.close()
    }

    /// The queue has a closure to call and does not come to it: as a main thread that is busy.
    @Test func waitersAndStatesDoNotNeedTheQueue() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "go"}, "do": [{"flood": {"count": 3000, "bytes": 20}}, "drop"]}]}, {}]"#)
        let queue = DispatchQueue(label: "app")
        queue.suspend()
        // A queue that is released while it is suspended ends the process.
        var isSuspended = true
        defer { if isSuspended { queue.resume() } }
        let task = try connectSocket(server.url()) {
            $0.callbackQueue = queue
            $0.reconnect.delay = .fixed(.zero)
        }
        let log = Log<String>()
        task.onOpen { log.add("open \($0.epoch)") }
        task.onMessage { _ in }
        task.onClose { log.add(SocketEvent.close($0).line) }
        #expect(try await task.opened().epoch == 1)
        var states = task.states.makeAsyncIterator()
        #expect(await states.next() == .open)
        task.pause()
        while let state = await states.next(), state != .suspended {}
        task.resume()
        while let state = await states.next(), state != .open {}
        #expect(try await open(2, of: task)?.epoch == 2)
        #expect(log.all == [])
        task.close()
        #expect(try await task.closed().code == 1_000)
        while let state = await states.next() { if state == .closed { break } }
        #expect(await states.next() == nil)
        #expect(log.all == [])
        queue.resume()
        isSuspended = false
        try await eventually { log.all.last == "close 2 1000 final" }
        // Events are not thinned out for closures, however late.
        #expect(log.all == ["open 1", "close 1 1006 paused attempt 0", "open 2", "close 2 1000 final"])
    }

    /// The same with messages that nobody takes: the mailbox is full.
    @Test(arguments: [false, true])
    func waitersAndStatesDoNotNeedMessagesToBeTaken(_ byAClosure: Bool) async throws {
        let server = try ScriptedServer(script: Self.burst)
        let queue = DispatchQueue(label: "app")
        queue.suspend()
        defer { queue.resume() }
        let task = try connectSocket(server.url()) {
            $0.callbackQueue = queue
            $0.heartbeat.enabled = false
        }
        let messages = task.messages.makeAsyncIterator()
        if byAClosure { task.onMessage { _ in } }
        #expect(try await task.opened().epoch == 1)
        try await isFlooded(task)
        var states = task.states.makeAsyncIterator()
        #expect(await states.next() == .open)
        task.pause()
        while let state = await states.next(), state != .suspended {}
        task.resume()
        #expect(try await open(2, of: task)?.epoch == 2)
        task.close()
        #expect(try await task.closed().code == 1_000)
        withExtendedLifetime(messages) {}
    }

    /// Without a queue it is the library's own thread that the closure holds up.
    @Test func waitersAndStatesDoNotNeedAClosureToReturn() async throws {
        let server = try ScriptedServer(script: Self.burst)
        let task = try connectSocket(server.url()) {
            $0.callbackQueue = nil
            $0.heartbeat.enabled = false
        }
        let (entered, release) = (Log<Bool>(), DispatchSemaphore(value: 0))
        task.onMessage { _ in
            guard entered.all.isEmpty else { return }
            entered.add(true)
            release.wait()
        }
        defer { release.signal() }
        try await eventually { !entered.all.isEmpty }
        // The closure may be called before the state is reported, which comes on another thread.
        try await task.opened()
        var states = task.states.makeAsyncIterator()
        #expect(await states.next() == .open)
        task.pause()
        while let state = await states.next(), state != .suspended {}
        task.resume()
        #expect(try await open(2, of: task)?.epoch == 2)
        task.close()
        #expect(try await task.closed().code == 1_000)
    }

    /// A closure that is called with each message, which nobody registered, would need the queue.
    @Test(arguments: [false, true])
    func aLoopDoesNotNeedTheQueueOfClosuresForSomethingElse(_ withOnClose: Bool) async throws {
        let server = try ScriptedServer(script: Self.flood)
        let queue = DispatchQueue(label: "app")
        queue.suspend()
        var isSuspended = true
        defer { if isSuspended { queue.resume() } }
        let task = try connectSocket(server.url()) { $0.callbackQueue = queue }
        let closes = Log<Int>()
        // First: once somebody listens for closes only, no more than 256 messages are kept for a loop that comes later.
        var messages = task.messages.makeAsyncIterator()
        if withOnClose { task.onClose { closes.add($0.code) } }
        var count = 0
        while count < 3_001, await messages.next() != nil { count += 1 }
        #expect(count == 3_001)
        task.close()
        try await task.closed()
        queue.resume()
        isSuspended = false
        if withOnClose { try await eventually { closes.all == [1_000] } }
    }

    enum First: CaseIterable { case closure, closureOnQueue, messages, events }

    /// Everything that a server says as soon as it can, to an app that takes its time.
    @Test(arguments: First.allCases)
    func nothingIsLostBeforeTheFirstListenerComes(_ first: First) async throws {
        let server = try ScriptedServer(script: Self.flood)
        let task = try connectSocket(server.url()) {
            $0.callbackQueue = first == .closureOnQueue ? DispatchQueue(label: "app") : nil
        }
        try await task.opened()
        try await isFlooded(task)
        try await Task.sleep(for: .seconds(1))
        var heard: [Message] = []
        switch first {
        case .closure, .closureOnQueue:
            let log = Log<Message>()
            task.onMessage { log.add($0.data) }
            try await eventually { log.all.count == 3_001 }
            heard = log.all
        case .messages:
            for await message in task.messages {
                heard.append(message)
                if heard.count == 3_001 { break }
            }
        case .events:
            var events = task.events.makeAsyncIterator()
            #expect(await events.next()?.line == "open 1 attempt 0")
            while heard.count < 3_001, case .message(let event) = await events.next() { heard.append(event.data) }
        }
        #expect(heard.count == 3_001)
        #expect(heard.first == .text("bye"))
    }

    /// The same when the connection is over by then: messages first, then how it ended.
    @Test func whatCameBeforeAnEndIsNotLostEither() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": [{"flood": {"count": 500, "bytes": 20}}, {"close": {"code": 4001, "reason": "bye"}}]}]}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.enabled = false }
        #expect(try await task.closed().code == 4_001)
        var count = 0
        for await _ in task.messages { count += 1 }
        #expect(count == 500)
    }

    /// As the rule of the WebSocket API: who listens for something else does not want the messages. The socket is read.
    @Test func listenersForOtherThingsDoNotStopTheReading() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": "open", "do": [{"flood": {"count": 20000, "bytes": 100}}, {"close": {"code": 4001}}]}]}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.enabled = false }
        let closes = Log<Int>()
        task.onClose { closes.add($0.code) }
        try await eventually { closes.all == [4_001] }
    }
}
