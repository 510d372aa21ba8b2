package dev.wxsocket

import dev.wxsocket.ffi.LogSink
import dev.wxsocket.ffi.setLogger
import java.util.function.BiConsumer

/** How much is logged. */
public typealias LogLevel = dev.wxsocket.ffi.LogLevel

/**
 * Sets where the engine's log goes. Its lines never contain a header, a query string or a payload.
 *
 * Exceptions of listeners are logged by `java.util.logging` under `dev.wxsocket`, with their stack and their text. The
 * app decides what is in that text.
 */
public object SocketLog {
    /**
     * Passes the lines of [level] and more severe ones to [write], on a thread of their own. A later call replaces
     * both. Returns false, and changes nothing, when the process already has another Rust logger; that one gets the
     * lines.
     */
    @JvmStatic
    public fun set(level: LogLevel, write: BiConsumer<LogLevel, String>): Boolean = setLogger(level, Sink(write))

    private class Sink(private val write: BiConsumer<LogLevel, String>) : LogSink {
        override fun log(level: LogLevel, line: String) {
            try {
                write.accept(level, line)
            } catch (_: Throwable) {
                // The log itself failed, so this cannot be logged.
            }
        }
    }
}
