// Bad input gets a typed error that names the field, and nothing is lost.

import Foundation
import Testing
import WxSocket
import WxSocketTestingBindings

struct Bad: Sendable, CustomTestStringConvertible {
    let field: String
    var url = "ws://127.0.0.1:1"
    var configure: @Sendable (inout SocketSetup) -> Void = { _ in }
    var testDescription: String { field }
}

@Suite(.timeLimit(.minutes(1))) struct ArgumentTests {
    // Not in the macro's argument: closures there crash the compiler of Swift 6.0.
    static let bad: [Bad] = [
        Bad(field: "url", url: ""),
        Bad(field: "url", url: "http://example.com"),
        Bad(field: "url", url: "ws://example.com/#fragment"),
        Bad(field: "header") { $0.header("bad name", "x") },
        Bad(field: "header") { $0.header("X", "a\r\nInjected: b") },
        Bad(field: "header") { $0.header("Referer", "x") },
        Bad(field: "header") { $0.header("Sec-WebSocket-Key", "x") },
        Bad(field: "protocols") { $0.protocols = ["a", "a"] },
        Bad(field: "protocols") { $0.protocols = ["a b"] },
        Bad(field: "timeout") { $0.timeout = .zero },
        Bad(field: "timeout") { $0.timeout = .seconds(-1) },
        Bad(field: "timeout") { $0.timeout = .nanoseconds(-1) },
        Bad(field: "timeout") { $0.timeout = .seconds(Int64.max) },
        Bad(field: "timeout") { $0.timeout = .seconds(Int64.min) },
        Bad(field: "closeTimeout") { $0.closeTimeout = .seconds(-1) },
        Bad(field: "maxMessageBytes") { $0.maxMessageBytes = 0 },
        Bad(field: "maxBufferedBytes") { $0.maxBufferedBytes = .max },
        Bad(field: "background") { $0.background = .interrupt(after: .seconds(-1)) },
        Bad(field: "reconnect.delay") { $0.reconnect.delay = .fixed(.seconds(-1)) },
        Bad(field: "reconnect.delay.max") {
            $0.reconnect.delay = .fullJitter(
                first: .zero, min: .seconds(2), max: .seconds(1), slowAfter: .seconds(60), slow: .seconds(60))
        },
        Bad(field: "reconnect.maxAttempts") { $0.reconnect.maxAttempts = .attempts(0) },
        Bad(field: "reconnect.maxAttempts") { $0.reconnect.maxAttempts = .attempts(.min) },
        Bad(field: "reconnect.maxAttempts") { $0.reconnect.maxAttempts = .attempts(.max) },
        Bad(field: "reconnect.maxAttempts") { $0.reconnect.maxAttempts = .attempts(1 << 32 + 1) },
        Bad(field: "reconnect.stableAfter") { $0.reconnect.stableAfter = .zero },
        Bad(field: "reconnect.stopCodes") { $0.reconnect.stopCodes = [.max] },
        Bad(field: "reconnect.stopStatuses") { $0.reconnect.stopStatuses = [99] },
        Bad(field: "heartbeat.interval") { $0.heartbeat.interval = .seconds(-1) },
        Bad(field: "heartbeat.timeout") { $0.heartbeat.timeout = .zero },
        Bad(field: "heartbeat.reply") { $0.heartbeat.reply = .prefix("") },
        Bad(field: "heartbeat.reply") { $0.heartbeat.reply = .jsonField("") },
        Bad(field: "queue.messages") { $0.queue.messages = 0 },
        Bad(field: "queue.bytes") { $0.queue.bytes = -1 },
        Bad(field: "queue.maxAge") { $0.queue.maxAge = .zero },
        Bad(field: "tls.caPem") { $0.tls.caPem = "no certificate" },
    ]

    @Test(arguments: bad)
    func anInvalidOptionIsNamed(_ bad: Bad) throws {
        let error = thrown(WxError.self) { try connectSocket(bad.url, bad.configure) }
        #expect(error?.kind == .invalidArgument)
        #expect(error?.field == bad.field)
        #expect(error?.errCode == (bad.field == "url" ? 600_009 : 600_008))
        #expect(error?.errMsg == "connectSocket:fail invalid \(bad.field): \(error?.reason ?? "")")
        #expect(error?.localizedDescription == error?.errMsg)
        #expect(error.map { "\($0)" } == error?.errMsg)
        #expect(error?.errMsg.contains("_") == false)
    }

    @Test func theReasonSpeaksOfTheOptionsOfSwift() {
        let zero = thrown(WxError.self) { try connectSocket("ws://127.0.0.1:1") { $0.heartbeat.interval = .zero } }
        #expect(zero?.reason == "0 ms is not between 1 and 2147483647 ms")
        let unordered = thrown(WxError.self) {
            try connectSocket("ws://127.0.0.1:1") {
                $0.reconnect.delay = .fullJitter(
                    first: .zero, min: .seconds(2), max: .seconds(1), slowAfter: .seconds(60), slow: .seconds(60))
            }
        }
        #expect(unordered?.reason == "1000 ms is less than min (2000 ms)")
        let many = thrown(WxError.self) {
            try connectSocket("ws://127.0.0.1:1") { $0.reconnect.maxAttempts = .attempts(.max) }
        }
        #expect(many?.reason == "9223372036854775807 is not between 1 and 2147483647")
    }

    @Test func bytesOfEveryKindAreRefusedAlike() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        task.close()
        let error = thrown(WxError.self) { try task.send([1, 2, 3] as [UInt8]) }
        #expect(error?.kind == .notConnected && error?.errCode == 10_002)
        #expect(error == thrown(WxError.self) { try task.send(Data([1, 2, 3])) })
    }

    @Test func theShortestTimeIsAMillisecond() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": "hang"}]"#)
        let task = try connectSocket(server.url()) {
            $0.timeout = .nanoseconds(1)
            $0.reconnect.enabled = false
        }
        #expect(await task.transcript() == ["error 1 timeout", "close 1 1006 final"])
    }

    @Test(arguments: [-1, 0, 999, 1_001, 2_999, 5_000, Int.max, Int.min])
    func aWrongCloseCodeChangesNothing(_ code: Int) async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        let error = thrown(WxError.self) { try task.close(code: code) }
        #expect(error?.field == "code")
        #expect(try await task.opened().epoch == 1)
    }

    @Test func aReasonMayHave123BytesOfUTF8() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url())
        let longest = String(repeating: "é", count: 61) + "x"
        try await task.opened()
        let error = thrown(WxError.self) { try task.close(code: 1_000, reason: longest + "x") }
        #expect(error?.field == "reason")
        #expect(task.readyState == .open)
        try task.close(code: 3_000, reason: longest)
        #expect(try await task.closed().reason == longest)
        #expect(await server.saw(ended: 1))
        #expect(server.connections()[0].closeReason == longest)
    }

    @Test func aFullQueueRefusesAndLosesNothing() async throws {
        let server = try ScriptedServer(script: "")
        let task = try connectSocket(server.url()) { $0.queue.messages = 2 }
        task.pause()
        #expect(try task.send("1") == .queued(dropped: []))
        #expect(try task.send("2") == .queued(dropped: []))
        let error = thrown(WxError.self) { try task.send("3") }
        #expect(error?.kind == .queueFull && error?.errCode == 10_001)
        #expect(error?.errMsg == "SocketTask.send:fail the queue is full")
        #expect(task.bufferedAmount == 2)
        task.resume()
        #expect(await server.saw(messages: 2))
        #expect(server.connections().last?.texts == ["1", "2"])
    }

    @Test func whatGivesWayIsHandedBack() async throws {
        let server = try ScriptedServer(script: #"[{"handshake": "hang"}]"#)
        let oldest = try connectSocket(server.url()) {
            $0.queue.messages = 1
            $0.queue.overflow = .dropOldest
        }
        try oldest.send("1")
        #expect(try oldest.send("2") == .queued(dropped: [.text("1")]))
        let newest = try connectSocket(server.url()) {
            $0.queue.messages = 1
            $0.queue.overflow = .dropNewest
        }
        try newest.send("1")
        #expect(try newest.send("2") == .dropped)
        newest.close()
        #expect(try await newest.closed().unsent == [.text("1")])
        let none = try connectSocket(server.url()) { $0.queue.enabled = false }
        #expect(throws: WxError.self) { try none.send("1") }
    }
}
