// `AppLifecycle` against a fake of UIKit: leaving, coming back, and background time.

#if canImport(UIKit)
import Testing
import UIKit
@testable import WxSocket
import WxSocketTestingBindings

@MainActor @Suite(.timeLimit(.minutes(1)), .serialized) struct AppLifecycleTests {
    private let system = SystemDouble.shared
    /// Longer than a test may take.
    private static let never = BackgroundPolicy.interrupt(after: .seconds(1_000))

    init() { system.reset() }

    private func open(_ server: ScriptedServer, _ background: BackgroundPolicy) async throws -> SocketTask {
        let task = try connectSocket(server.url()) {
            $0.background = background
            $0.callbackQueue = nil
        }
        try await task.opened()
        return task
    }

    /// Whether all background time was given back, and nothing was misused.
    private func isSettled() -> Bool { system.unfinished == 0 && system.complaints == [] }

    @Test func theAppStaysAwakeUntilTheGraceIsOver() async throws {
        let server = try ScriptedServer(script: "")
        let task = try await open(server, .interrupt(after: .milliseconds(50)))
        let atEnd = Log<SocketState>()
        system.reset { [weak task] in if let task { atEnd.add(task.state) } }
        let lifecycle = AppLifecycle(task)
        system.leave()
        #expect(system.asked == 1 && system.unfinished == 1)
        try await eventually { SystemDouble.shared.unfinished == 0 }
        #expect(atEnd.all == [.suspended])
        #expect(await server.saw(ended: 1))
        #expect(server.connections()[0].closeCode == 1_001)
        system.comeBack()
        #expect(try await task.opened().epoch == 2)
        #expect(isSettled() && system.asked == 1)
        withExtendedLifetime(lifecycle) {}
    }

    @Test func tasksHangUpAtOnceWhenIOSGivesLessTime() async throws {
        let server = try ScriptedServer(script: "")
        let tasks = [
            try await open(server, Self.never), try await open(server, Self.never), try await open(server, .keep),
        ]
        let lifecycle = AppLifecycle(tasks[0], tasks[1], tasks[2])
        system.leave()
        #expect(system.asked == 1)
        #expect(tasks.map(\.state) == [.open, .open, .open])
        system.expire()
        #expect(isSettled())
        #expect(tasks.map(\.state) == [.suspended, .suspended, .open])
        #expect(await server.saw(ended: 2))
        #expect(server.connections().compactMap(\.closeCode) == [1_001, 1_001])
        system.comeBack()
        #expect(try await tasks[0].opened().epoch == 2)
        #expect(try await tasks[1].opened().epoch == 2)
        #expect(tasks[2].stats.opens == 1)
        withExtendedLifetime(lifecycle) {}
    }

    @Test func aTaskThatReconnectsInTheBackgroundHangsUpWhenTheTimeIsOver() async throws {
        let server = try ScriptedServer(script: "")
        let task = try await open(server, .interrupt(after: .milliseconds(1)))
        let other = try await open(server, Self.never)
        // The other one needs the time.
        let lifecycle = AppLifecycle(task, other)
        system.leave()
        try await eventually { task.state == .suspended }
        task.reconnectNow()
        #expect(try await task.opened().epoch == 2)
        system.expire()
        #expect(task.state == .suspended && other.state == .suspended && isSettled())
        system.comeBack()
        #expect(try await task.opened().epoch == 3)
        withExtendedLifetime(lifecycle) {}
    }

    @Test func aDialIsGivenUpBeforeTheAppIsSuspended() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": "hang"}, {}]"#)
        let task = try connectSocket(server.url()) { $0.background = Self.never }
        let lifecycle = AppLifecycle(task)
        #expect(await server.saw(connections: 1))
        system.leave()
        system.expire()
        #expect(task.state == .suspended && isSettled())
        system.comeBack()
        #expect(try await task.opened().epoch == 2)
        withExtendedLifetime(lifecycle) {}
    }

    @Test func withoutBackgroundTimeTasksHangUpAtOnce() async throws {
        let server = try ScriptedServer(script: "")
        let task = try await open(server, Self.never)
        system.reset(refusing: true)
        let lifecycle = AppLifecycle(task)
        system.leave()
        #expect(system.asked == 1 && isSettled())
        #expect(task.state == .suspended)
        #expect(await server.saw(ended: 1))
        #expect(server.connections()[0].closeCode == 1_001)
        withExtendedLifetime(lifecycle) {}
    }

    @Test func backInTimeTheConnectionStaysAndTheTimeIsGivenBack() async throws {
        let server = try ScriptedServer(script: "")
        let task = try await open(server, Self.never)
        let lifecycle = AppLifecycle(task)
        for visit in 1...3 {
            system.leave()
            #expect(system.asked == visit && system.unfinished == 1)
            system.comeBack()
            #expect(isSettled())
        }
        var messages = task.messages.makeAsyncIterator()
        try task.send("still here")
        #expect(await messages.next() == .text("still here"))
        #expect(task.stats.opens == 1)
        withExtendedLifetime(lifecycle) {}
    }

    @Test func whatNeedsNoTimeAsksForNone() async throws {
        let server = try ScriptedServer(script: "")
        let kept = try await open(server, .keep)
        let closed = try await open(server, Self.never)
        closed.close()
        try await closed.closed()
        let lifecycle = AppLifecycle(kept, closed)
        system.leave()
        #expect(system.asked == 0)
        system.comeBack()
        #expect(kept.state == .open && isSettled())
        withExtendedLifetime(lifecycle) {}
    }

    /// No notification tells an app that was launched by a push that it is in the background.
    @Test func anAppThatIsLaunchedInTheBackgroundIsThere() async throws {
        let server = try ScriptedServer(script: "")
        let task = try await open(server, Self.never)
        system.reset(.background)
        let lifecycle = AppLifecycle(task)
        #expect(system.asked == 1)
        system.expire()
        #expect(task.state == .suspended && isSettled())
        // iOS may post only this one when such an app comes to the foreground.
        system.becomeActive()
        #expect(try await task.opened().epoch == 2)
        withExtendedLifetime(lifecycle) {}
    }

    @Test func tasksAreNotKeptAlive() async throws {
        let server = try ScriptedServer(script: "")
        weak var gone: SocketTask?
        let lifecycle = try await {
            let task = try await open(server, Self.never)
            gone = task
            return AppLifecycle(task)
        }()
        #expect(gone == nil)
        #expect(await server.saw(ended: 1))
        #expect(server.connections()[0].closeCode == 1_000)
        system.leave()
        #expect(system.asked == 0)
        system.comeBack()
        withExtendedLifetime(lifecycle) {}
    }

    @Test func timeIsGivenBackByALifecycleThatIsGone() async throws {
        let server = try ScriptedServer(script: "")
        let tasks = [try await open(server, .interrupt(after: .milliseconds(20))), try await open(server, Self.never)]
        for task in tasks {
            weak var gone: AppLifecycle?
            do {
                let lifecycle = AppLifecycle(task)
                gone = lifecycle
                system.leave()
            }
            #expect(gone == nil && system.unfinished == 1)
            if task === tasks[1] { system.expire() }
            try await eventually { SystemDouble.shared.unfinished == 0 }
            #expect(task.state == .suspended && isSettled())
        }
    }

    /// The main queue is what an app with an interface gets unless it says otherwise.
    @Test func closuresAreCalledOnTheMainQueue() async throws {
        let server = try ScriptedServer(script: "")
        nonisolated(unsafe) let key = DispatchSpecificKey<Bool>()
        DispatchQueue.main.setSpecific(key: key, value: true)
        let task = try connectSocket(server.url())
        let onMain = Log<Bool?>()
        task.onOpen { _ in onMain.add(DispatchQueue.getSpecific(key: key)) }
        try await eventually { onMain.all == [true] }
    }
}
#endif
