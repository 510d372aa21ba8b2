import Foundation
public import WxSocketBindings

/// How much is logged.
public typealias LogLevel = WxSocketBindings.LogLevel

/// The library's log. Its lines never hold a header, a query string or a payload; but when a closure throws, the line
/// holds the text of that error, which is the app's own.
public enum SocketLog {
    /// Sends lines of `level` and worse to `write`; a later call replaces both. The engine's lines come on a thread that
    /// is only for this. The line about a closure that threw comes on the thread or queue that called the closure. So
    /// `write` may be called from two threads at once.
    ///
    /// False: the process has a Rust logger already, which gets the lines instead, and nothing has changed.
    @discardableResult
    public static func set(_ level: LogLevel, _ write: @escaping @Sendable (LogLevel, String) -> Void) -> Bool {
        let sink = Sink(write)
        guard setLogger(level: level, sink: sink) else { return false }
        let isWanted = level != .off && level != .error
        lock.withLock { current = isWanted ? sink : nil }
        return true
    }

    /// A line of this layer's own.
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
