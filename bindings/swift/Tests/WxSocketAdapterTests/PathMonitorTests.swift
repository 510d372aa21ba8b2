// `PathMonitor` against a fake of Network: what is told, when, and to whom.

#if canImport(Network)
import Foundation
import Network
import Testing
@testable import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1)), .serialized) struct PathMonitorTests {
    private let wifi = NWPath(.satisfied, "Wi-Fi")
    private let cellular = NWPath(.satisfied, "cellular")
    private let nothing = NWPath(.unsatisfied)

    private func watch(_ task: SocketTask, settle: Duration = .milliseconds(50)) throws -> (PathMonitor, NWPathMonitor) {
        (PathMonitor(task, settle: settle), try #require(NWPathMonitor.last))
    }

    /// A task whose dial never ends. It stops dialling when it is told that there is no network.
    private func hanging(_ server: ScriptedServer) throws -> SocketTask {
        try connectSocket(server.url()) {
            $0.reconnect.delay = .fixed(.seconds(1_000))
            $0.callbackQueue = nil
        }
    }

    @Test(arguments: [
        (NWInterface(.wifi, "en0"), NetworkKind.wifi), (NWInterface(.cellular, "pdp_ip0"), .cellular),
        (NWInterface(.wiredEthernet, "en1"), .ethernet), (NWInterface(.other, "utun3"), .vpn),
        (NWInterface(.other, "awdl0"), .other), (NWInterface(.loopback, "lo0"), .other),
    ]) func whatThePathSaysIsTold(_ interface: NWInterface, _ kind: NetworkKind) {
        let path = NWPath(.satisfied, "a", [interface], isExpensive: true, isConstrained: true)
        let expected = NetworkStatus(available: true, id: "1", kind: kind, metered: true, constrained: true)
        #expect(NetworkStatus(path, id: "1") == expected)
        #expect(NetworkStatus(NWPath(.requiresConnection), id: "2") == NetworkStatus(available: true, id: "2"))
        #expect(NetworkStatus(nothing, id: "3").available == false)
    }

    @Test func withoutNetworkNothingIsDialledUntilThereIsOne() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": "hang"}, {}]"#)
        let task = try hanging(server)
        #expect(await server.saw(connections: 1))
        let (monitor, path) = try watch(task)
        path.tell(nothing)
        try await eventually { task.state == .suspended }
        path.tell(wifi)
        #expect(try await task.opened().epoch == 2)
        withExtendedLifetime(monitor) {}
    }

    @Test func aGapIsNotToldBeforeItHasLasted() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": "hang"}, {"handshake": "hang"}, {}]"#)
        let task = try hanging(server)
        let closes = Log<String>()
        task.onClose { closes.add(SocketEvent.close($0).line) }
        #expect(await server.saw(connections: 1))
        let (monitor, path) = try watch(task)
        // From Wi-Fi to Wi-Fi through nothing, and to cellular and back.
        path.tell(wifi, nothing, wifi)
        path.tell(nothing, cellular, nothing, wifi)
        path.tell(nothing)
        try await eventually { task.state == .suspended }
        // Had a gap been told before that, this would be another connection's.
        try await eventually { closes.all.count == 1 }
        #expect(closes.all[0].hasPrefix("close 1 1006 interrupted"))
        withExtendedLifetime(monitor) {}
    }

    @Test func pathsThatGoOnToChangeAreToldInTheEnd() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) { $0.heartbeat.interval = .seconds(1_000) }
        try await task.opened()
        let (monitor, path) = try watch(task, settle: .milliseconds(400))
        path.tell(wifi)
        // Each change comes long before the one before has settled.
        var changes = 0
        while server.connections()[0].heartbeats == 0, changes < 400 {
            changes += 1
            path.tell(NWPath(.satisfied, "cellular \(changes)"))
            await path.rest(0.02)
        }
        #expect(server.connections()[0].heartbeats >= 1)
        withExtendedLifetime(monitor) {}
    }

    @Test func aMonitorThatFollowsAnotherOneEndsWhatThatOneTold() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": "hang"}, {}]"#)
        let task = try hanging(server)
        #expect(await server.saw(connections: 1))
        do {
            let (monitor, path) = try watch(task)
            path.tell(nothing)
            try await eventually { task.state == .suspended }
            withExtendedLifetime(monitor) {}
        }
        let (monitor, path) = try watch(task)
        path.tell(wifi)
        #expect(try await task.opened().epoch == 2)
        withExtendedLifetime(monitor) {}
    }

    @Test func anotherNetworkAsksAnOpenConnectionForASignOfLife() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) { $0.heartbeat.interval = .seconds(1_000) }
        try await task.opened()
        let (monitor, path) = try watch(task, settle: .milliseconds(10))
        // The first path is no change.
        path.tell(wifi)
        await path.rest(0.1)
        path.tell(cellular)
        try await eventually { server.connections()[0].heartbeats == 1 }
        // Nor is the same path again.
        path.tell(cellular)
        await path.rest(0.1)
        path.tell(NWPath(.requiresConnection))
        await path.rest(0.1)
        try await eventually { server.connections()[0].heartbeats >= 2 }
        // What was asked because of any of them is written before this.
        try task.send("x")
        #expect(await server.saw(messages: 1))
        #expect(server.connections()[0].heartbeats == 2 && task.stats.opens == 1)
        withExtendedLifetime(monitor) {}
    }

    @Test func aMonitorKeepsNoTaskAlive() async throws {
        let server = try ScriptedServer(script: "")
        let (monitor, path) = try await {
            let task = try connectSocket(server.url())
            try await task.opened()
            return try watch(task)
        }()
        #expect(await server.saw(ended: 1))
        path.tell(wifi, nothing)
        await path.rest(0.1)
        withExtendedLifetime(monitor) {}
    }

    @Test func tasksAndMonitorsEndByThemselves() async throws {
        let server = try ScriptedServer(script: "")
        weak var goneTask: SocketTask?
        weak var goneMonitor: PathMonitor?
        let path = try await {
            let task = try connectSocket(server.url())
            try await task.opened()
            let (monitor, path) = try watch(task, settle: .zero)
            (goneTask, goneMonitor) = (task, monitor)
            // These are still to be told when the task and the monitor are gone.
            path.tell(wifi, nothing)
            return path
        }()
        #expect(await server.saw(ended: 1))
        nonisolated(unsafe) let areGone = { goneTask == nil && goneMonitor == nil }
        try await eventually { areGone() && path.isCancelled }
        path.tell(cellular)
    }
}
#endif
