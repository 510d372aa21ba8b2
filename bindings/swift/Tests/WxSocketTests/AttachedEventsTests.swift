// A sequence that is there before the dial: it hears everything.

import Foundation
import Testing
@testable import WxSocket
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1))) struct AttachedEventsTests {
    @Test func aSequenceInTheOptionsHearsEverythingFromTheFirstDialOn() async throws {
        let server = try ScriptedServer(
            script: #"[{"handshake": {"status": 503}}, {"rules": [{"on": "open", "do": [{"send": "hi"}, "drop"]}]}, {}]"#)
        let events = SocketEvents()
        let task = try connectSocket(server.url()) {
            $0.reconnect.delay = .fixed(.milliseconds(1))
            $0.events = events
        }
        // Who comes now would hear only the last of it.
        try await eventually { task.stats.opens == 2 && task.state == .open }
        task.close()
        var lines: [String] = []
        for await event in events { lines.append(event.line) }
        #expect(lines == [
            "error 1 httpStatus", "close 1 1006 attempt 1", "open 2 attempt 1", "message 2 hi", "error 2 connectionLost",
            "close 2 1006 attempt 2", "open 3 attempt 2", "close 3 1000 final",
        ])
    }

    @Test func aSequenceInTheOptionsSlowsTheServerAndKeepsNoTaskAlive() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 20000, "bytes": 1024}}}]}]"#)
        let events = SocketEvents()
        weak var gone: SocketTask?
        do {
            let task = try connectSocket(server.url()) { $0.events = events }
            gone = task
            try await task.opened()
            try await eventually { task.stats.messagesIn > 600 }
            #expect(task.stats.messagesIn < 4_096)
        }
        #expect(gone == nil)
        #expect(await server.saw(ended: 1))
        var last: String?
        for await event in events { last = event.line }
        #expect(last == "close 1 1000 final")
    }

    /// Nobody reads it, and nobody can.
    @Test func aSequenceThatIsLetGoHoldsNobodyUp() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 20000, "bytes": 64}}}]}]"#)
        for isBegun in [false, true] {
            let task = try connectSocket(server.url()) { $0.events = SocketEvents() }
            let events = SocketEvents()
            let other = try connectSocket(server.url()) { $0.events = events }
            if isBegun { for await _ in events { break } }
            try await eventually { task.stats.messagesIn == 20_000 && (!isBegun || other.stats.messagesIn == 20_000) }
        }
    }

    /// It stalls the task for as long as that has a socket, and not after the end.
    @Test(arguments: [false, true])
    func aSequenceThatNobodyReadsKeepsNobodyFromTheEnd(_ isLoop: Bool) async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"flood": {"count": 20000, "bytes": 20}}}]}]"#)
        let events = SocketEvents()
        let log = Log<String>()
        weak var held: Log<Bool>?
        var messages: SocketSequence<Message>.Iterator?
        try await {
            let captured = Log<Bool>()
            held = captured
            let task = try connectSocket(server.url()) {
                $0.callbackQueue = nil
                $0.closeTimeout = .milliseconds(100)
                if !isLoop { $0.events = events }
            }
            if isLoop { messages = task.messages.makeAsyncIterator() }
            task.onClose {
                captured.add(true)
                log.add(SocketEvent.close($0).line)
            }
            // Everybody's room is used up.
            try await eventually { task.stats.messagesIn > 1_024 }
            task.close()
            try await task.closed()
        }()
        try await eventually { log.all == ["close 1 1000 final"] }
        nonisolated(unsafe) let isGone = { held == nil }
        try await eventually { isGone() }
        // What was read from the socket is kept for a loop that comes late.
        if isLoop {
            var heard = 0
            while await messages?.next() != nil { heard += 1 }
            #expect(heard > 256)
        } else {
            var lines: [String] = []
            for await event in events { lines.append(event.line) }
            #expect(lines.count > 256 && lines.last == "close 1 1000 final")
        }
    }

    @Test func aLoopThatNoTaskCanFillAnyMoreEnds() async throws {
        let events = SocketEvents()
        var first = events.makeAsyncIterator()
        _ = thrown(WxError.self) { try connectSocket("http://localhost") { $0.events = events } }
        #expect(await first.next() == nil)
        let error = thrown(WxError.self) { try connectSocket("ws://localhost") { $0.events = events } }
        #expect(error?.field == "events")
        // Let go of without a task.
        var alone = { SocketEvents().makeAsyncIterator() }()
        #expect(await alone.next() == nil)
    }

    @Test func stepsCountAgainstTheBound() async throws {
        let header = String(repeating: "x", count: 12_000)
        let server = try ScriptedServer(script: #"[{"handshake": {"status": 503, "headers": [["X-A", "\#(header)"]]}}]"#)
        let events = SocketEvents()
        let task = try connectSocket(server.url()) {
            $0.events = events
            $0.reconnect.delay = .fixed(.zero)
            $0.reconnect.maxAttempts = .unlimited
        }
        let text = String(repeating: "y", count: 1_000)
        for _ in 0..<3 { try task.send(text) }
        // No dial begins any more: everybody's room is used up.
        try await eventually { task.state == .suspended }
        // 1 MiB here, half of that in Rust, and what was under way.
        #expect(task.stats.epoch * 12_000 < 2 << 20)
        task.close()
        var sizes: [SocketEvent.Kind: Int] = [:]
        for await event in events { sizes[event.kind] = max(event.size, sizes[event.kind] ?? 0) }
        #expect(sizes[.error]! > 12_000 && sizes[.error]! < 13_000)
        #expect(sizes[.close]! >= 3_000)
    }

    @Test func aSequenceIsForOneTaskAndOneLoop() async throws {
        let server = try ScriptedServer(script: "")
        let events = SocketEvents()
        // What is refused takes nothing.
        _ = thrown(WxError.self) { try connectSocket("http://localhost") { $0.events = events } }
        let task = try connectSocket(server.url()) { $0.events = events }
        let error = thrown(WxError.self) { try connectSocket(server.url()) { $0.events = events } }
        #expect(error?.field == "events" && error?.kind == .invalidArgument)
        var first = events.makeAsyncIterator()
        var second = events.makeAsyncIterator()
        #expect(await second.next() == nil)
        #expect(await first.next()?.line == "open 1 attempt 0")
        task.close()
        #expect(await first.next()?.line == "close 1 1000 final")
        #expect(await first.next() == nil)
    }
}
