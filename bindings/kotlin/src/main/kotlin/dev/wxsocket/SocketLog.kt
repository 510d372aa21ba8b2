package dev.wxsocket

import dev.wxsocket.ffi.LogSink
import dev.wxsocket.ffi.setLogger
import java.util.function.BiConsumer

/** How much is logged. */
public typealias LogLevel = dev.wxsocket.ffi.LogLevel

/**
 * The engine's log. Lines never hold a header, a query string or a payload.
 *
 * What goes wrong in listeners is logged by `java.util.logging`, under `dev.wxsocket`: with stack
 * and text of what they throw, so with whatever the app has put into that text.
 */
public object SocketLog {
    /**
     * Sends lines of [level] and worse to [write], on a thread that is only for this; a later
     * call replaces both.
     *
     * False: the process has a Rust logger already, which gets the lines instead, and nothing has
     * changed.
     */
    @JvmStatic
    public fun set(level: LogLevel, write: BiConsumer<LogLevel, String>): Boolean = setLogger(level, Sink(write))

    private class Sink(private val write: BiConsumer<LogLevel, String>) : LogSink {
        override fun log(level: LogLevel, line: String) {
            try {
                write.accept(level, line)
            } catch (_: Throwable) {
                // There is no better place to tell of it than the one that just failed.
            }
        }
    }
}
