// Pause, network, foreground, and the app's word before each dial.

import Foundation
import Testing
import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1))) struct SignalTests {
    @Test func pauseHangsUpAndResumeDialsAtOnce() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) { $0.reconnect.delay = .fixed(.seconds(30)) }
        var events = task.events.makeAsyncIterator()
        #expect(await events.next()?.line == "open 1 attempt 0")
        task.pause()
        guard case .close(let close) = await events.next() else { return #expect(Bool(false)) }
        #expect(close.code == 1_006 && close.reason == "paused" && close.retry != nil && close.retry?.delay == nil)
        #expect(task.readyState == .connecting)
        #expect(try task.send("kept") == .queued(dropped: []))
        task.resume()
        #expect(await events.next()?.line == "open 2 attempt 0")
        #expect(await events.next()?.line == "message 2 kept")
    }

    @Test func withoutNetworkNothingIsDialled() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": {"text": "drop"}, "do": "drop"}]}, {}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.delay = .fixed(.zero) }
        var events = task.events.makeAsyncIterator()
        #expect(await events.next()?.line == "open 1 attempt 0")
        task.setNetwork(available: false)
        try task.send("drop")
        #expect(await events.next()?.line == "error 1 connectionLost")
        guard case .close(let close) = await events.next() else { return #expect(Bool(false)) }
        #expect(close.retry != nil && close.retry?.delay == nil)
        task.setNetwork(available: true)
        #expect(await events.next()?.line == "open 2 attempt 0")
    }

    @Test func theBackgroundInterruptsAndTheForegroundComesBack() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) { $0.background = .interrupt(after: .milliseconds(1)) }
        var events = task.events.makeAsyncIterator()
        #expect(await events.next()?.line == "open 1 attempt 0")
        task.setForeground(false)
        guard case .close(let close) = await events.next() else { return #expect(Bool(false)) }
        #expect(close.code == 1_006 && close.reason == "interrupted" && close.retry?.delay == nil)
        task.setForeground(true)
        #expect(await events.next()?.line == "open 2 attempt 0")
    }

    @Test func reconnectNowEndsTheWait() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": "refuse"}, {}]"#)
        let task = try connectSocket(server.url()) { $0.reconnect.delay = .fixed(.seconds(1_000)) }
        var events = task.events.makeAsyncIterator()
        while let event = await events.next() {
            if case .close(let close) = event {
                #expect(close.retry?.delay == .seconds(1_000))
                break
            }
        }
        task.reconnectNow()
        #expect(await events.next()?.line == "open 2 attempt 0")
    }

    @Test func beforeConnectBringsAFreshToken() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": {"status": 401}}, {}]"#)
        let errors = Log<Int?>()
        let task = try connectSocket(server.url() + "/old") {
            $0.reconnect.delay = .fixed(.zero)
            let url = server.url()
            $0.beforeConnect = { _, attempt, lastError in
                errors.add(lastError?.httpStatus)
                guard attempt > 0 else { return .proceed }
                return .change(url: url + "/new", header: [Header(name: "Token", value: "\(attempt)")])
            }
        }
        try await task.opened()
        #expect(errors.all == [nil, 401])
        let seen = server.connections()
        #expect(seen.map(\.requestPath) == ["/old", "/new"])
        #expect(seen[1].header.contains { $0.name == "Token" && $0.value == "1" })
    }

    @Test func beforeConnectMayWaitForItsAnswer() async throws {
        actor Store {
            func path() async throws -> String {
                try await Task.sleep(for: .milliseconds(1))
                return "/fresh"
            }
        }
        let server = try ScriptedServer(script: "")
        let (url, store) = (server.url(), Store())
        // More at once than the threads that Swift's tasks have.
        let tasks = try (0..<32).map { _ in
            try connectSocket(url + "/old") {
                $0.beforeConnect = { _, _, _ in .change(url: url + (try await store.path())) }
            }
        }
        for task in tasks { try await task.opened() }
        #expect(server.connections().map(\.requestPath) == Array(repeating: "/fresh", count: 32))
    }

    /// Whatever the number of tasks: others go on.
    @Test(arguments: [false, true])
    func anAnswerThatNobodyWaitsForIsCancelled(_ closed: Bool) async throws {
        let server = try ScriptedServer(script: "")
        let asked = Log<Bool>()
        let cancelled = Log<Bool>()
        let stuck = try (0..<16).map { _ in
            try connectSocket(server.url()) {
                if !closed { $0.timeout = .milliseconds(50) }
                $0.reconnect.maxAttempts = .unlimited
                $0.reconnect.delay = .fixed(.zero)
                $0.beforeConnect = { _, _, _ in
                    asked.add(true)
                    await withTaskCancellationHandler {
                        // It does not notice, for longer than the test may run.
                        await Task { try? await Task.sleep(for: .seconds(1_000)) }.value
                    } onCancel: {
                        cancelled.add(true)
                    }
                    return .proceed
                }
            }
        }
        try await eventually { asked.all.count >= 16 }
        let last = try connectSocket(server.url()) { $0.beforeConnect = { _, _, _ in .proceed } }
        if closed { for task in stuck { task.close() } }
        try await last.opened()
        try await eventually { cancelled.all.count >= 16 }
        withExtendedLifetime(stuck) {}
    }

    @Test func aPauseCancelsAnAnswerButNotTheNext() async throws {
        let server = try ScriptedServer(script: "")
        let asked = Log<Bool>()
        let cancelled = Log<Bool>()
        let task = try connectSocket(server.url()) {
            $0.beforeConnect = { _, _, _ in
                asked.add(true)
                guard asked.all.count == 1 else { return .proceed }
                do { try await Task.sleep(for: .seconds(1_000)) } catch { cancelled.add(true) }
                return .proceed
            }
        }
        try await eventually { asked.all.count == 1 }
        task.pause()
        try await eventually { cancelled.all.count == 1 }
        task.resume()
        #expect(try await task.opened().epoch == 2)
        #expect(asked.all.count == 2)
    }

    /// Whatever the listeners do at that moment.
    @Test func aPauseCancelsAnAnswerWhileAListenerIsBusy() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": "drop"}]}, {}]"#)
        let cancelled = Log<Bool>()
        let asked = Log<Int>()
        let release = DispatchSemaphore(value: 0)
        defer { release.signal() }
        let task = try connectSocket(server.url()) {
            $0.callbackQueue = nil
            $0.reconnect.delay = .fixed(.zero)
            $0.beforeConnect = { _, attempt, _ in
                asked.add(attempt)
                guard asked.all.count == 2 else { return .proceed }
                do { try await Task.sleep(for: .seconds(1_000)) } catch { cancelled.add(true) }
                return .proceed
            }
        }
        task.onOpen { _ in release.wait() }
        try await eventually { asked.all.count == 2 }
        task.pause()
        try await eventually { cancelled.all.count == 1 }
    }

    @Test func beforeConnectMayStop() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) {
            $0.beforeConnect = { _, _, _ in .stop(reason: "signed out") }
        }
        let error = await thrown(ErrorEvent.self) { try await task.opened() }
        #expect(error?.kind == .stopped && error?.detail == "signed out")
        #expect(server.connections().isEmpty)
    }

    @Test func aBeforeConnectThatThrowsCostsAnAttempt() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) {
            $0.reconnect.delay = .fixed(.zero)
            $0.beforeConnect = { _, attempt, _ in
                if attempt == 0 { throw Boom() }
                return .proceed
            }
        }
        var events = task.events.makeAsyncIterator()
        guard case .error(let error) = await events.next() else { return #expect(Bool(false)) }
        #expect(error.kind == .beforeConnect && error.detail.contains("Boom"))
        #expect(await events.next()?.line == "close 1 1006 attempt 1")
        #expect(await events.next()?.line == "open 2 attempt 1")
    }
}
