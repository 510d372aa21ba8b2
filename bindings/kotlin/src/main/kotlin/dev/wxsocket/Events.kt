package dev.wxsocket

import kotlin.time.ComparableTimeMark
import kotlin.time.Duration

// Enums and plain records are generated types with an alias here. The other types are written by hand, because the
// generated ones have no equality of bytes and no common type of events.

/** A named set of values for all options; [Preset.WX] is the default. */
public typealias Preset = dev.wxsocket.ffi.Preset

/** The kind of a failure. Each kind has a number and a text that never change. */
public typealias ErrorKind = dev.wxsocket.ffi.ErrorKind

/** The WebSocket API's `readyState`. */
public typealias ReadyState = dev.wxsocket.ffi.ReadyState

/** Which message is dropped when the queue is full. */
public typealias OverflowPolicy = dev.wxsocket.ffi.OverflowPolicy

/** One HTTP header. Its name keeps upper and lower case; see [value]. */
public typealias Header = dev.wxsocket.ffi.Header

/** How long each step of a dial took, under the names of the wx API; milliseconds. */
public typealias SocketProfile = dev.wxsocket.ffi.SocketProfile

/** A WebSocket message, text or binary. It may be empty. */
public sealed interface Message {
    /** A text message. */
    public class Text(public val text: String) : Message {
        override fun equals(other: Any?): Boolean = other is Text && text == other.text

        override fun hashCode(): Int = text.hashCode()

        override fun toString(): String = text
    }

    /** A binary message. Two are equal when their bytes are equal. */
    public class Binary(public val bytes: ByteArray) : Message {
        override fun equals(other: Any?): Boolean = other is Binary && bytes.contentEquals(other.bytes)

        override fun hashCode(): Int = bytes.contentHashCode()

        override fun toString(): String = "Binary(${bytes.size} bytes)"
    }
}

/**
 * One event of a task. Per connection (`epoch`): at most one [OpenEvent], then messages, then at
 * most one [ErrorEvent], then exactly one [CloseEvent].
 */
public sealed interface SocketEvent {
    /** The number of the connection in this task; 1 is the first. */
    public val epoch: Long
}

/**
 * A listener: in Kotlin and in Java a lambda. A Kotlin function that is passed twice is the same listener, so
 * `offOpen(f)` removes what `onOpen(f)` added; in Java keep the object and pass it again.
 */
public fun interface EventListener<in E : SocketEvent> {
    /** Takes one event. What it throws is logged and counted, and nothing else happens. */
    @Throws(Exception::class)
    public fun onEvent(event: E)
}

/** A connection is open: `send` writes to it from now on. */
public data class OpenEvent(
    override val epoch: Long,
    /** The number of attempts since the last stable connection; 0 when the first dial succeeded. */
    val attempt: Int,
    /** The headers of the server's answer, in order, in their original case, with duplicates. */
    val header: List<Header>,
    /** The sub-protocol that the server chose. */
    val protocol: String?,
    /** How long each step of the dial took. */
    val profile: SocketProfile,
    /** Queued messages that were not sent because they were older than `queue.maxAge`. */
    val unsent: List<Message>,
) : SocketEvent

/** A message arrived. */
public data class MessageEvent(override val epoch: Long, val data: Message) : SocketEvent {
    /** The text of a text message; `null` for a binary one. */
    public val text: String? get() = (data as? Message.Text)?.text

    /** The bytes of a binary message; `null` for a text. */
    public val bytes: ByteArray? get() = (data as? Message.Binary)?.bytes
}

/** A connection failed, before or after it was open. Its [CloseEvent] follows. */
public data class ErrorEvent(
    override val epoch: Long,
    val kind: ErrorKind,
    /** The number of the kind. */
    val errCode: Int,
    /** The English text of the kind, in the form of the wx API. */
    val errMsg: String,
    /** The text of the operating system or of a library, for people to read. */
    val detail: String,
    /** The HTTP status when the server refused the upgrade. */
    val httpStatus: Int?,
    val httpHeader: List<Header>,
    /** The first bytes of the body of the refusal, at most 1 KiB. */
    val httpBody: Message.Binary,
) : SocketEvent

/** A connection is over. Without [retry] the task is over too. */
public data class CloseEvent(
    override val epoch: Long,
    /** The code of the server's close frame; 1005 if that had none, 1006 without a close frame; or the code given to `close`. */
    val code: Int,
    val reason: String,
    /** True when both sides sent a close frame. */
    val wasClean: Boolean,
    /** The attempt that follows; `null` when this is the last event of the task. */
    val retry: Retry?,
    /** At the end of the task, the messages that were accepted and never sent, in order. */
    val unsent: List<Message>,
) : SocketEvent

/** The attempt that follows a close. */
public data class Retry(
    val attempt: Int,
    /** The largest number of attempts; `null` when there is no limit. */
    val max: Int?,
    /** The time until the attempt; `null` while the task is suspended. */
    @get:JvmName("getDelay")
    val delay: Duration?,
)

/** The state of a task, in more detail than [ReadyState]. */
public sealed interface SocketState {
    /** Dialling. [attempt] is 0 for the first dial, and counts the attempts to reconnect. */
    public data class Connecting(val attempt: Int) : SocketState

    /** Waiting: attempt number [attempt] follows at [until]. */
    public data class Waiting(val attempt: Int, val until: ComparableTimeMark) : SocketState

    /**
     * Not dialling, because there is no network, the task is paused, the app is in the background, or too many events
     * wait for a listener.
     */
    public data object Suspended : SocketState

    /** The connection is open. */
    public data object Open : SocketState

    /** `close` was called; the task waits for the server's close frame, at most for `closeTimeout`. */
    public data object Closing : SocketState

    /** The task is over; this state never changes. */
    public data object Closed : SocketState
}

/** What `send` did with a message. */
public sealed interface SendOutcome {
    /** The message was handed to the open connection. */
    public data object Sent : SendOutcome

    /** The message is kept for the next open. [dropped] are older messages that were removed for it or were too old. */
    public data class Queued(val dropped: List<Message>) : SendOutcome

    /** The message is not kept: the queue is full, and its policy is to drop the newest. */
    public data object Dropped : SendOutcome
}

/** Counters and times of a task. Bytes are bytes of payload. Messages of the heartbeat do not count. */
public data class SocketStats(
    /** The number of the newest connection; 0 before the first. */
    val epoch: Long,
    /** The number of attempts since the last stable connection. */
    val attempt: Int,
    /** The number of connections that opened. */
    val opens: Long,
    /** The number of messages that were accepted for sending, and their bytes. */
    val messagesOut: Long,
    val bytesOut: Long,
    /** The number of messages that were received, and their bytes. */
    val messagesIn: Long,
    val bytesIn: Long,
    /** The last round trip of a heartbeat, and the smoothed one as in TCP (RFC 6298). */
    @get:JvmName("getLastRtt")
    val lastRtt: Duration?,
    @get:JvmName("getSmoothedRtt")
    val smoothedRtt: Duration?,
    /** How often a listener has thrown an exception. */
    val listenerFailures: Long,
    /**
     * The number of messages that were received and discarded. There are two cases:
     *
     * - The app listens to opens, errors or closes and not to messages. The newest 256 messages of the
     *   present connection (at most 1 MiB) are kept for the first listener of messages; older ones are
     *   discarded, and all of them when the connection ends.
     * - The task is closing, 1,024 events or 1 MiB wait for delivery, and the app has taken none for 250 ms. Messages
     *   that arrive then are discarded.
     *
     * These are not counted: a message that did not fit the heap and the later ones of its connection, and messages
     * that wait for a collector when it leaves.
     */
    val messagesDiscarded: Long,
    /** The error of the last connection that failed. */
    val lastError: ErrorEvent?,
)

/** The answer of `beforeConnect`. */
public sealed interface ConnectDecision {
    /** Dials as the options say. */
    public data object Proceed : ConnectDecision

    /** Dials with these values; for `null` the options hold. */
    public data class Change @JvmOverloads constructor(
        val url: String? = null,
        val header: List<Header>? = null,
        val protocols: List<String>? = null,
    ) : ConnectDecision

    /** Does not dial and ends the task. [reason] becomes the detail of the error. */
    public data class Stop @JvmOverloads constructor(val reason: String = "") : ConnectDecision
}
