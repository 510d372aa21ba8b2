package dev.wxsocket

/**
 * Thrown when a call fails. Such a call changes nothing: no message was sent and none was lost.
 *
 * [errCode] never changes. [errMsg] is an English text in the form of the wx API; it is the same in all languages,
 * apart from the names of options.
 */
public sealed class WxException(
    public val errCode: Int,
    public val errMsg: String,
    cause: Throwable? = null,
) : Exception(errMsg, cause) {
    /**
     * An argument or option is not valid. [field] is its name in Kotlin (`heartbeat.interval`), and [reason] says what
     * is wrong.
     */
    public class InvalidArgument internal constructor(
        public val field: String,
        public val reason: String,
        errCode: Int,
        errMsg: String,
    ) : WxException(errCode, errMsg)

    /** The task is closing or closed, or its connection is not open and its queue is disabled. */
    public class NotConnected internal constructor(errCode: Int, errMsg: String) : WxException(errCode, errMsg)

    /** The queue has no room for the message. */
    public class QueueFull internal constructor(errCode: Int, errMsg: String) : WxException(errCode, errMsg)

    /**
     * The operating system refused a thread or an event queue that the library needs. [reason] is for people to read.
     * A later call may succeed.
     */
    public class Unavailable internal constructor(public val reason: String, errCode: Int, errMsg: String) :
        WxException(errCode, errMsg)

    /** The task ended before what was waited for. [close] is its last event, and [error] the failure that ended it. */
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

/** Calls the engine and converts its exceptions to [WxException]. */
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

/** Converts the exception, with the name of the option in Kotlin. */
internal fun dev.wxsocket.ffi.WxException.InvalidArgument.lift(): WxException.InvalidArgument {
    val property = field.replace(Regex("_([a-z])")) { it.groupValues[1].uppercase() }
    return WxException.InvalidArgument(property, reason, errCode, errMsg.replace("$field: $reason", "$property: $reason"))
}
