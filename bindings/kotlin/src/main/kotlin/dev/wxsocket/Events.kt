package dev.wxsocket

import kotlin.time.ComparableTimeMark
import kotlin.time.Duration

// Plain words and numbers are the engine's own types under their public names: declared once,
// documented once. Whatever is awkward in Kotlin as it comes out of the engine is written here.

/** A set of rules under one name; [Preset.WX] is the default. */
public typealias Preset = dev.wxsocket.ffi.Preset

/** What kind of failure; each has a stable number and text. */
public typealias ErrorKind = dev.wxsocket.ffi.ErrorKind

/** The WebSocket API's `readyState`. */
public typealias ReadyState = dev.wxsocket.ffi.ReadyState

/** What gives way when the queue is full. */
public typealias OverflowPolicy = dev.wxsocket.ffi.OverflowPolicy

/** One HTTP header, its name in the case that was written. */
public typealias Header = dev.wxsocket.ffi.Header

/** How long each step of a dial took, under the names of the wx API; milliseconds. */
public typealias SocketProfile = dev.wxsocket.ffi.SocketProfile

/** A WebSocket message: text stays text and bytes stay bytes, empty ones included. */
public sealed interface Message {
    /** A text message. */
    public class Text(public val text: String) : Message {
        override fun equals(other: Any?): Boolean = other is Text && text == other.text

        override fun hashCode(): Int = text.hashCode()

        override fun toString(): String = text
    }

    /** A binary message; equal to another one with the same content. */
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
    /** Which connection of the task: 1 is the first. */
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

/** The connection is open; `send` works from here on. */
public data class OpenEvent(
    override val epoch: Long,
    /** Attempts that were needed since the last stable connection; 0: none. */
    val attempt: Int,
    /** The headers of the server's answer, in order, original case, duplicates kept. */
    val header: List<Header>,
    /** The sub-protocol that the server chose. */
    val protocol: String?,
    /** How long it took. */
    val profile: SocketProfile,
    /** Queued messages that grew older than the queue's limit; they were not sent. */
    val unsent: List<Message>,
) : SocketEvent

/** A message arrived. */
public data class MessageEvent(override val epoch: Long, val data: Message) : SocketEvent {
    /** The text, if it is a text message. */
    public val text: String? get() = (data as? Message.Text)?.text

    /** The bytes, if it is a binary message. */
    public val bytes: ByteArray? get() = (data as? Message.Binary)?.bytes
}

/** A connection failed, before or after it was open; its [CloseEvent] follows. */
public data class ErrorEvent(
    override val epoch: Long,
    val kind: ErrorKind,
    /** The kind's stable number. */
    val errCode: Int,
    /** The kind's fixed English text, in wx form. */
    val errMsg: String,
    /** What the operating system or a library said; for people. */
    val detail: String,
    /** The status of a refused upgrade. */
    val httpStatus: Int?,
    val httpHeader: List<Header>,
    /** The first bytes of its body, at most 1 KiB. */
    val httpBody: Message.Binary,
) : SocketEvent

/** A connection is over; without [retry] the task is. */
public data class CloseEvent(
    override val epoch: Long,
    /** What the server sent, 1005 if it sent none, 1006 without a close frame, or the app's own. */
    val code: Int,
    val reason: String,
    /** Both sides sent a close frame. */
    val wasClean: Boolean,
    /** What comes next; `null`: nothing, this is the last event of the task. */
    val retry: Retry?,
    /** At the end of the task: messages that were accepted and never sent, in order. */
    val unsent: List<Message>,
) : SocketEvent

/** The attempt that follows a close. */
public data class Retry(
    val attempt: Int,
    /** The limit, if there is one. */
    val max: Int?,
    /** How long until then; `null` while the task is suspended. */
    @get:JvmName("getDelay")
    val delay: Duration?,
)

/** Where a task is in its life; finer than [ReadyState]. */
public sealed interface SocketState {
    /** Dialling or shaking hands; [attempt] 0 is no attempt to come back. */
    public data class Connecting(val attempt: Int) : SocketState

    /** Between two attempts: number [attempt] follows at [until]. */
    public data class Waiting(val attempt: Int, val until: ComparableTimeMark) : SocketState

    /**
     * No attempt is due: offline, paused, in the background, or too many events wait for a
     * listener.
     */
    public data object Suspended : SocketState

    /** Open. */
    public data object Open : SocketState

    /** The app asked to close; the server's answer is awaited, for a bounded time. */
    public data object Closing : SocketState

    /** Final. */
    public data object Closed : SocketState
}

/** What became of a message that was sent. */
public sealed interface SendOutcome {
    /** Handed to the open connection. */
    public data object Sent : SendOutcome

    /** Kept for the next open. [dropped]: older messages that gave way or grew too old. */
    public data class Queued(val dropped: List<Message>) : SendOutcome

    /** The queue is full and its policy is to drop the newest: not kept. */
    public data object Dropped : SendOutcome
}

/** Numbers about a task. Bytes are those of payloads; what a heartbeat sends does not count. */
public data class SocketStats(
    /** The newest connection; 0 before the first. */
    val epoch: Long,
    /** Attempts used since the last stable connection. */
    val attempt: Int,
    /** Connections that opened. */
    val opens: Long,
    /** Messages accepted for sending, and their bytes. */
    val messagesOut: Long,
    val bytesOut: Long,
    /** Messages received, and their bytes. */
    val messagesIn: Long,
    val bytesIn: Long,
    /** The newest round trip of a heartbeat, and all of them smoothed as in TCP (RFC 6298). */
    @get:JvmName("getLastRtt")
    val lastRtt: Duration?,
    @get:JvmName("getSmoothedRtt")
    val smoothedRtt: Duration?,
    /** What listeners have thrown. */
    val listenerFailures: Long,
    /**
     * Messages that were received and that the engine discarded. There are two cases:
     *
     * - The app listens to opens, errors or closes and not to messages. The newest 256 messages of the
     *   present connection (at most 1 MiB) are kept for the first listener of messages; older ones are
     *   discarded, and all of them when the connection ends.
     * - The task is closing, 1,024 events or 1 MiB wait to be told, and the app has made no room for
     *   250 ms. What arrives then is discarded.
     *
     * Not counted: a message that did not fit the heap, with those behind it on its connection, and what a
     * collector was given and left without taking.
     */
    val messagesDiscarded: Long,
    /** What ended the last connection that failed. */
    val lastError: ErrorEvent?,
)

/** What `beforeConnect` answers. */
public sealed interface ConnectDecision {
    /** Dial as the options say. */
    public data object Proceed : ConnectDecision

    /** Dial with these instead; what is `null` stays as in the options. */
    public data class Change @JvmOverloads constructor(
        val url: String? = null,
        val header: List<Header>? = null,
        val protocols: List<String>? = null,
    ) : ConnectDecision

    /** Do not dial; the task is over. [reason] becomes the error's detail. */
    public data class Stop @JvmOverloads constructor(val reason: String = "") : ConnectDecision
}
