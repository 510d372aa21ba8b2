// Nothing outlives its use.

import Foundation
import Testing
@testable import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(2)), .serialized) struct LifetimeTests {
    @Test func theLastReferenceClosesTheSocket() async throws {
        let server = try ScriptedServer(script: "")
        let log = Log<String>()
        weak var hub: EventHub?
        weak var gone: SocketTask?
        try await {
            let task = try connectSocket(server.url())
            hub = task.hub
            gone = task
            task.onClose { log.add(SocketEvent.close($0).line) }
            try await task.opened()
        }()
        #expect(gone == nil)
        #expect(await server.saw(ended: 1))
        #expect(server.connections()[0].closeCode == 1_000)
        nonisolated(unsafe) let last = { hub == nil }
        try await eventually { last() }
        #expect(log.all == ["close 1 1000 final"])
    }

    @Test func aTaskThatIsOverLetsGoOfItsClosures() async throws {
        let server = try ScriptedServer(script: "")
        weak var gone: SocketTask?
        try await {
            let task = try connectSocket(server.url())
            gone = task
            // Strongly: a cycle, until the end.
            task.onMessage { _ in task.close() }
            try task.send("x")
            try await task.closed()
        }()
        nonisolated(unsafe) let isGone = { gone == nil }
        try await eventually { isGone() }
    }

    @Test func connectingAndClosingLeavesNothingBehind() async throws {
        func cycles(_ count: Int) async throws {
            // The server keeps a record of every connection, in this process.
            let server = try ScriptedServer(script: "")
            for _ in 0..<count {
                let task = try connectSocket(server.url())
                task.onMessage { _ in task.close() }
                try task.send("x")
                try await task.closed()
            }
        }
        for _ in 0..<3 { try await cycles(100) }
        let before = try residentBytes()
        for _ in 0..<10 { try await cycles(100) }
        let growth = try residentBytes() - before
        #expect(growth < 6 << 20, "\(growth) bytes after 1,000 cycles")
    }

    @Test func abandonedTasksAreFreed() async throws {
        let server = try ScriptedServer(script: "")
        for _ in 0..<50 {
            let task = try connectSocket(server.url())
            task.onOpen { _ in }
        }
        try await eventually { server.openConnections() == 0 }
    }
}
