package dev.wxsocket

/**
 * A call was refused: nothing was sent, nothing was lost, nothing changed.
 *
 * [errCode] is a stable number and [errMsg] a fixed text in wx form, the same in every language but
 * for the names of options.
 */
public sealed class WxException(
    public val errCode: Int,
    public val errMsg: String,
    cause: Throwable? = null,
) : Exception(errMsg, cause) {
    /**
     * An argument or option is not valid: [field] says which, by its name in Kotlin
     * (`heartbeat.interval`), [reason] what would be right.
     */
    public class InvalidArgument internal constructor(
        public val field: String,
        public val reason: String,
        errCode: Int,
        errMsg: String,
    ) : WxException(errCode, errMsg)

    /** The task is closing or closed, or its connection is not open and it has no queue. */
    public class NotConnected internal constructor(errCode: Int, errMsg: String) : WxException(errCode, errMsg)

    /** The queue has no room for the message. */
    public class QueueFull internal constructor(errCode: Int, errMsg: String) : WxException(errCode, errMsg)

    /**
     * The library cannot work: the operating system refuses a thread or an event queue. [reason] is for people. A
     * later call may succeed.
     */
    public class Unavailable internal constructor(public val reason: String, errCode: Int, errMsg: String) :
        WxException(errCode, errMsg)

    /** What was waited for will not happen: the task ended with [close], if it failed for [error]. */
    public class Ended internal constructor(
        public val close: CloseEvent,
        public val error: ErrorEvent?,
    ) : WxException(error?.errCode ?: NOT_CONNECTED, error?.errMsg ?: "connectSocket:fail WebSocket is closed")

    /** A bug of the library; please report it. */
    public class Internal internal constructor(cause: Throwable) :
        WxException(UNKNOWN, "connectSocket:fail unknown error", cause)

    private companion object {
        const val NOT_CONNECTED = 10_002
        const val UNKNOWN = 600_000
    }
}

/** Calls the engine; whatever it throws leaves as a [WxException]. */
internal inline fun <T> engine(call: () -> T): T =
    try {
        call()
    } catch (e: dev.wxsocket.ffi.WxException) {
        throw when (e) {
            is dev.wxsocket.ffi.WxException.InvalidArgument -> e.lift()
            is dev.wxsocket.ffi.WxException.NotConnected -> WxException.NotConnected(e.errCode, e.errMsg)
            is dev.wxsocket.ffi.WxException.QueueFull -> WxException.QueueFull(e.errCode, e.errMsg)
            is dev.wxsocket.ffi.WxException.Unavailable -> WxException.Unavailable(e.reason, e.errCode, e.errMsg)
        }
    } catch (e: dev.wxsocket.ffi.InternalException) {
        throw WxException.Internal(e)
    }

/** With the option's name as it is written in Kotlin. */
internal fun dev.wxsocket.ffi.WxException.InvalidArgument.lift(): WxException.InvalidArgument {
    val property = field.replace(Regex("_([a-z])")) { it.groupValues[1].uppercase() }
    return WxException.InvalidArgument(property, reason, errCode, errMsg.replace("$field: $reason", "$property: $reason"))
}
