// How fast, and against what: URLSessionWebSocketTask on the same machine against the same server.
//
//   bindings/swift/bench            builds the release library if it is not there, and runs this
//
// Every figure is the median of several runs, one after the other and interleaved with the peer's, so that a machine
// that is busy is busy for both.

import Foundation
#if canImport(FoundationNetworking)
import FoundationNetworking
#endif
import WxSocket
import WxSocketTestingBindings

let rounds = CommandLine.arguments.compactMap { $0.hasPrefix("--rounds=") ? Int($0.dropFirst(9)) : nil }.first ?? 5
let floods = 100_000

func seconds(_ body: () async throws -> Void) async rethrows -> Double {
    let clock = ContinuousClock()
    return try await clock.measure(body) / .seconds(1)
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

func percentile(_ values: [Double], _ share: Double) -> Double {
    values.sorted()[min(values.count - 1, Int(Double(values.count) * share))]
}

func print(_ name: String, _ ours: Double, _ theirs: Double?, _ unit: String) {
    func number(_ value: Double) -> String { String(format: value < 10 ? "%8.3f" : "%8.1f", value) }
    var line = name.padding(toLength: 40, withPad: " ", startingAt: 0) + number(ours) + " " + unit
    if let theirs { line += number(theirs) + " " + unit + String(format: "  %5.1f×", theirs / ours) }
    print(line)
    fflush(nil)
}

func floodScript(_ bytes: Int, binary: Bool = false, count: Int = floods) -> String {
    #"[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": \#(count), "bytes": \#(bytes), "binary": \#(binary)}}}]}]"#
}

/// Signals when it has been called so often.
final class Countdown: @unchecked Sendable {
    private let lock = NSLock()
    private var left: Int
    private var waiting: CheckedContinuation<Void, Never>?

    init(_ count: Int) { left = count }

    func tick() {
        lock.lock()
        left -= 1
        let done = left == 0 ? waiting : nil
        lock.unlock()
        done?.resume()
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            lock.lock()
            let isDone = left <= 0
            waiting = continuation
            lock.unlock()
            if isDone { continuation.resume() }
        }
    }
}

// MARK: Ours

enum Receiving: String, CaseIterable { case listener, queue, loop }

func ourFlood(_ bytes: Int, _ receiving: Receiving) async throws -> Double {
    let server = try ScriptedServer(script: floodScript(bytes))
    let task = try connectSocket(server.url()) {
        $0.heartbeat.enabled = false
        $0.callbackQueue = receiving == .queue ? DispatchQueue(label: "bench") : nil
    }
    try await task.opened()
    let countdown = Countdown(floods)
    if receiving != .loop { task.onMessage { _ in countdown.tick() } }
    let time = try await seconds {
        if receiving == .loop {
            var messages = task.messages.makeAsyncIterator()
            try task.send("go")
            for _ in 0..<floods { _ = await messages.next() }
        } else {
            try task.send("go")
            await countdown.wait()
        }
    }
    task.close()
    try await task.closed()
    return time
}

func ourEcho(_ bytes: Int, _ count: Int) async throws -> [Double] {
    let server = try ScriptedServer(script: "")
    let task = try connectSocket(server.url()) {
        $0.heartbeat.enabled = false
        $0.tcpNoDelay = true
    }
    try await task.opened()
    var messages = task.messages.makeAsyncIterator()
    let text = String(repeating: "x", count: bytes)
    var times: [Double] = []
    for _ in 0..<count {
        times.append(
            try await seconds {
                try task.send(text)
                _ = await messages.next()
            })
    }
    task.close()
    try await task.closed()
    return times
}

/// What a call of `send` costs, with a server that only listens.
func ourSend(_ bytes: Int, _ count: Int) async throws -> Double {
    let server = try ScriptedServer(script: #"[{"echo": false}]"#)
    let task = try connectSocket(server.url()) {
        $0.heartbeat.enabled = false
        $0.maxBufferedBytes = 1 << 30
    }
    try await task.opened()
    let text = String(repeating: "x", count: bytes)
    let time = try await seconds { for _ in 0..<count { try task.send(text) } }
    task.close()
    try await task.closed()
    return time / Double(count)
}

func ourBinary(_ count: Int) async throws -> Double {
    let server = try ScriptedServer(script: "")
    let task = try connectSocket(server.url()) { $0.heartbeat.enabled = false }
    try await task.opened()
    var messages = task.messages.makeAsyncIterator()
    let bytes = Data(repeating: 7, count: 1 << 20)
    let time = try await seconds {
        for _ in 0..<count {
            try task.send(bytes)
            _ = await messages.next()
        }
    }
    task.close()
    try await task.closed()
    return time / Double(count)
}

// MARK: URLSession, as its documentation has it: receive, handle, receive again

func peer(_ server: ScriptedServer) async throws -> URLSessionWebSocketTask {
    var request = URLRequest(url: URL(string: server.url())!)
    // Foundation on Linux asks for "keep-alive", which a strict server refuses (RFC 6455, 4.2.1).
    request.setValue("Upgrade", forHTTPHeaderField: "Connection")
    let task = URLSession.shared.webSocketTask(with: request)
    // On Linux this is libcurl's buffer, of at most 10 MiB.
    task.maximumMessageSize = 4 << 20
    task.resume()
    try await Task.sleep(for: .milliseconds(50))
    return task
}

/// FoundationNetworking fails at random (libcurl's error 43) when a message is sent while the upgrade is still under way;
/// nothing tells when it is over. So the peer has several tries.
func patiently<Result>(_ measure: () async throws -> Result) async throws -> Result {
    for _ in 0..<20 {
        if let result = try? await measure() { return result }
    }
    return try await measure()
}

func peerFlood(_ bytes: Int) async throws -> Double {
    let server = try ScriptedServer(script: floodScript(bytes))
    let task = try await peer(server)
    let time = try await seconds {
        try await task.send(.string("go"))
        for _ in 0..<floods { _ = try await task.receive() }
    }
    task.cancel(with: .normalClosure, reason: nil)
    return time
}

func peerEcho(_ bytes: Int, _ count: Int) async throws -> [Double] {
    let server = try ScriptedServer(script: "")
    let task = try await peer(server)
    let text = String(repeating: "x", count: bytes)
    var times: [Double] = []
    for _ in 0..<count {
        times.append(
            try await seconds {
                try await task.send(.string(text))
                _ = try await task.receive()
            })
    }
    task.cancel(with: .normalClosure, reason: nil)
    return times
}

func peerSend(_ bytes: Int, _ count: Int) async throws -> Double {
    let server = try ScriptedServer(script: #"[{"echo": false}]"#)
    let task = try await peer(server)
    let text = String(repeating: "x", count: bytes)
    try await task.send(.string(text))
    let time = try await seconds { for _ in 0..<count { try await task.send(.string(text)) } }
    task.cancel(with: .normalClosure, reason: nil)
    return time / Double(count)
}

func peerBinary(_ count: Int) async throws -> Double {
    let server = try ScriptedServer(script: "")
    let task = try await peer(server)
    let bytes = Data(repeating: 7, count: 1 << 20)
    let time = try await seconds {
        for _ in 0..<count {
            try await task.send(.data(bytes))
            _ = try await task.receive()
        }
    }
    task.cancel(with: .normalClosure, reason: nil)
    return time / Double(count)
}

// MARK: Memory

func residentMiB() -> Double {
    guard let statm = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8),
        let pages = Int(statm.split(separator: " ")[1])
    else { return 0 }
    return Double(pages * sysconf(Int32(_SC_PAGESIZE))) / 1_048_576
}

func cycles(_ count: Int) async throws {
    for _ in 0..<count / 100 {
        // The server's record of connections is in this process too.
        let server = try ScriptedServer(script: "")
        for _ in 0..<100 {
            let task = try connectSocket(server.url())
            task.onMessage { _ in task.close() }
            try task.send("x")
            try await task.closed()
        }
    }
}

// MARK: All of it

let words = CommandLine.arguments.dropFirst().filter { !$0.hasPrefix("--") }
let (only, part) = (words.first, words.dropFirst().first)
func wanted(_ name: String) -> Bool { only == nil || only == name }
let withPeer = !CommandLine.arguments.contains("--alone")

print("".padding(toLength: 40, withPad: " ", startingAt: 0) + "  wxsocket   URLSession")
if wanted("flood") {
    for bytes in [32, 1_024] {
        for receiving in Receiving.allCases where part == nil || part == receiving.rawValue {
            var (ours, theirs): ([Double], [Double]) = ([], [])
            for _ in 0..<rounds {
                ours.append(try await ourFlood(bytes, receiving) / Double(floods) * 1e6)
                if withPeer { theirs.append(try await patiently { try await peerFlood(bytes) } / Double(floods) * 1e6) }
            }
            print("flood, \(bytes) B, to a \(receiving)", median(ours), withPeer ? median(theirs) : nil, "µs")
        }
    }
}
if wanted("echo") {
    for bytes in [20, 16_384] {
        var (ours, theirs): ([Double], [Double]) = ([], [])
        for _ in 0..<rounds {
            ours += try await ourEcho(bytes, 2_000)
            if withPeer { theirs += try await patiently { try await peerEcho(bytes, 2_000) } }
        }
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            print(
                "echo, \(bytes) B, \(name)", percentile(ours, share) * 1e6,
                withPeer ? percentile(theirs, share) * 1e6 : nil, "µs")
        }
    }
}
if wanted("send") {
    for bytes in [32, 1_024] {
        var (ours, theirs): ([Double], [Double]) = ([], [])
        for _ in 0..<rounds {
            ours.append(try await ourSend(bytes, 50_000) * 1e6)
            if withPeer { theirs.append(try await patiently { try await peerSend(bytes, 10_000) } * 1e6) }
        }
        print("send, \(bytes) B", median(ours), withPeer ? median(theirs) : nil, "µs")
    }
}
if wanted("binary") {
    var (ours, theirs): ([Double], [Double]) = ([], [])
    for _ in 0..<rounds {
        ours.append(try await ourBinary(50) * 1e6)
        if withPeer { theirs.append(try await patiently { try await peerBinary(50) } * 1e6) }
    }
    print("1 MiB binary there and back", median(ours), withPeer ? median(theirs) : nil, "µs")
}
if wanted("memory") {
    try await cycles(500)
    let before = residentMiB()
    try await cycles(10_000)
    print(String(format: "memory after 10,000 more connections: %+.1f MiB", residentMiB() - before))
}
