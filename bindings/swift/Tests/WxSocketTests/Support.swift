// Nothing here sleeps for long enough: tests wait for what they expect, and a test that hangs is ended by its time limit.

import Foundation
import Testing
@testable import WxSocket
import WxSocketTestingBindings

extension ScriptedServer {
    /// Waiting blocks, and the threads of Swift's tasks are few.
    private func off(_ wait: @escaping @Sendable () -> Bool) async -> Bool {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: wait()) }
        }
    }

    func saw(connections: UInt32) async -> Bool {
        await off { self.waitConnections(count: connections, timeoutMs: 20_000) }
    }

    func saw(messages: UInt32) async -> Bool {
        await off { self.waitMessages(count: messages, timeoutMs: 20_000) }
    }

    func saw(ended: UInt32) async -> Bool {
        await off { self.waitEnded(count: ended, timeoutMs: 20_000) }
    }
}

/// A list that closures write and tests read.
final class Log<Element: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var list: [Element] = []

    func add(_ element: Element) { lock.withLock { list.append(element) } }
    var all: [Element] { lock.withLock { list } }
}

/// For what the compiler cannot know to be safe.
struct Unchecked<Value>: @unchecked Sendable { let value: Value }

extension SocketEvent {
    /// One line, with everything that a rule is about.
    var line: String {
        switch self {
        case .open(let event): return "open \(event.epoch) attempt \(event.attempt)"
        case .message(let event): return "message \(event.epoch) \(event.data.text ?? "\(event.data.count) bytes")"
        case .error(let event): return "error \(event.epoch) \(event.kind)"
        case .close(let event):
            let next = event.retry.map { "attempt \($0.attempt)" } ?? "final"
            return "close \(event.epoch) \(event.code) \(event.reason.isEmpty ? "" : event.reason + " ")\(next)"
        }
    }
}

extension SocketTask {
    /// All events until the end.
    func transcript() async -> [String] {
        var lines: [String] = []
        for await event in events { lines.append(event.line) }
        return lines
    }
}

/// Waits for something that nothing announces.
func eventually(_ condition: @Sendable () -> Bool, _ location: SourceLocation = #_sourceLocation) async throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while !condition() {
        guard ContinuousClock.now < deadline else {
            Issue.record("it did not come to that", sourceLocation: location)
            return
        }
        try await Task.sleep(for: .milliseconds(2))
    }
}

/// Bytes of memory that the process has in RAM.
func residentBytes() throws -> Int {
    let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")[1]
    return try #require(Int(pages)) * sysconf(Int32(_SC_PAGESIZE))
}

struct Boom: Error {}

/// The error of this type that `call` throws.
func thrown<E: Error>(
    _ type: E.Type, _ location: SourceLocation = #_sourceLocation, _ call: () throws -> some Any
) -> E? {
    do {
        _ = try call()
        Issue.record("nothing was thrown", sourceLocation: location)
    } catch let error as E {
        return error
    } catch {
        Issue.record(error, sourceLocation: location)
    }
    return nil
}

func thrown<E: Error>(
    _ type: E.Type, _ location: SourceLocation = #_sourceLocation, _ call: () async throws -> some Any
) async -> E? {
    do {
        _ = try await call()
        Issue.record("nothing was thrown", sourceLocation: location)
    } catch let error as E {
        return error
    } catch {
        Issue.record(error, sourceLocation: location)
    }
    return nil
}
