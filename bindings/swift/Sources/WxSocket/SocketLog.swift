import Foundation
public import WxSocketBindings

/// The importance of a log line.
public typealias LogLevel = WxSocketBindings.LogLevel

/// The log of the library. Its lines never contain a header, a query string or a payload. When a closure of the app
/// throws, the line contains the text of that error.
public enum SocketLog {
    /// Calls `write` with each line of `level` or more important. A later call replaces both.
    ///
    /// The lines of the engine come on one thread that does nothing else. The line about a closure that threw comes on
    /// the thread that called the closure. So two threads may call `write` at the same time.
    ///
    /// Returns false, and changes nothing, if the process has another Rust logger already, which receives the lines.
    @discardableResult
    public static func set(_ level: LogLevel, _ write: @escaping @Sendable (LogLevel, String) -> Void) -> Bool {
        let sink = Sink(write)
        guard setLogger(level: level, sink: sink) else { return false }
        let isWanted = level != .off && level != .error
        lock.withLock { current = isWanted ? sink : nil }
        return true
    }

    /// Writes a line of this layer.
    static func warn(_ line: String) {
        lock.withLock { current }?.log(level: .warn, line: line)
    }

    private static let lock = NSLock()
    nonisolated(unsafe) private static var current: Sink? // Guarded by `lock`.

    private final class Sink: LogSink {
        let write: @Sendable (LogLevel, String) -> Void
        init(_ write: @escaping @Sendable (LogLevel, String) -> Void) { self.write = write }
        func log(level: LogLevel, line: String) { write(level, line) }
    }
}
