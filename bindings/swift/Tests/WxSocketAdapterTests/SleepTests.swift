// `AppLifecycle` against a fake of AppKit: a Mac that sleeps.

#if canImport(AppKit)
import AppKit
import Testing
@testable import WxSocket
import WxSocketTestingBindings

@MainActor @Suite(.timeLimit(.minutes(1)), .serialized) struct SleepTests {
    private func post(_ name: NSNotification.Name) {
        NSWorkspace.shared.notificationCenter.post(name: name, object: nil)
    }

    /// A Mac does not wait for the end of the grace.
    @Test func tasksHangUpBeforeTheMacSleeps() async throws {
        let server = try ScriptedServer(script: "")
        let policies: [BackgroundPolicy] = [.interrupt(after: .seconds(1_000)), .keep]
        let tasks = try policies.map { policy in
            try connectSocket(server.url()) { $0.background = policy }
        }
        for task in tasks { try await task.opened() }
        let lifecycle = AppLifecycle(tasks[0], tasks[1])
        post(NSWorkspace.willSleepNotification)
        #expect(tasks.map(\.state) == [.suspended, .open])
        #expect(await server.saw(ended: 1))
        #expect(server.connections().compactMap(\.closeCode) == [1_001])
        post(NSWorkspace.didWakeNotification)
        #expect(try await tasks[0].opened().epoch == 2)
        #expect(tasks[1].stats.opens == 1)
        withExtendedLifetime(lifecycle) {}
    }

    @Test func tasksAreNotKeptAlive() async throws {
        let server = try ScriptedServer(script: "")
        weak var gone: SocketTask?
        let lifecycle = try await {
            let task = try connectSocket(server.url())
            gone = task
            try await task.opened()
            return AppLifecycle(task)
        }()
        #expect(gone == nil)
        #expect(await server.saw(ended: 1))
        post(NSWorkspace.willSleepNotification)
        post(NSWorkspace.didWakeNotification)
        withExtendedLifetime(lifecycle) {}
    }
}
#endif
