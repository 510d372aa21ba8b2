package dev.wxsocket

import dev.wxsocket.ffi.FfiConverterBoolean
import dev.wxsocket.ffi.FfiConverterInt
import dev.wxsocket.ffi.FfiConverterLong
import dev.wxsocket.ffi.FfiConverterOptionalString
import dev.wxsocket.ffi.FfiConverterOptionalTypeRetryInfo
import dev.wxsocket.ffi.FfiConverterSequenceTypeHeader
import dev.wxsocket.ffi.FfiConverterString
import dev.wxsocket.ffi.FfiConverterTypeErrorEvent
import dev.wxsocket.ffi.FfiConverterTypeSocketProfile
import dev.wxsocket.ffi.FfiConverterTypeSocketState
import java.nio.Buffer
import java.nio.ByteBuffer
import java.util.logging.Level

/** A message for which the heap had no room. */
internal class Lost(val epoch: Long, val size: Int)

/**
 * Reads the events of a turn one by one, in the form in which the generated code would read them
 * all at once. A message for which the heap has no room is skipped, with all that follows it on its
 * connection; everything else is read as soon as there is memory for it.
 */
internal class TurnReader {
    val events = ArrayList<SocketEvent>()

    /** The newest message that was skipped. */
    var lost: Lost? = null
        private set

    /** The connection whose messages are skipped. */
    private var refused = 0L

    /** Small messages are read from here: a heap array is read faster. */
    private val bytes = ByteArray(Scratch.ROOM)
    private val view = ByteBuffer.wrap(bytes)

    fun state(from: ByteBuffer): SocketState = again(from) { FfiConverterTypeSocketState.read(from).lift() }

    /** Reads the newest steps of a task that is in [state]. */
    fun news(from: ByteBuffer, state: SocketState): Bulletin = again(from) {
        Bulletin(state, optional(from, ::open), optional(from, ::error), optional(from, ::close))
    }

    private inline fun <T> optional(from: ByteBuffer, read: (ByteBuffer) -> T): T? =
        if (from.get() == NONE) null else read(from)

    fun read(from: ByteBuffer, refused: Long) {
        events.clear()
        lost = null
        this.refused = refused
        repeat(from.getInt()) {
            when (from.getInt()) {
                MESSAGES -> unpack(from, from.getLong(), from.getInt() + from.position())
                else -> event(from)
            }
        }
    }

    private fun event(from: ByteBuffer) {
        val kind = from.getInt()
        if (kind == MESSAGE_EVENT) return message(from, from.getLong(), from.getInt() == TEXT_MESSAGE)
        events += again(from) {
            when (kind) {
                OPEN_EVENT -> open(from)
                ERROR_EVENT -> error(from)
                CLOSE_EVENT -> close(from)
                else -> throw IllegalStateException("no event of kind $kind")
            }
        }
    }

    private fun open(from: ByteBuffer) = OpenEvent(
        FfiConverterLong.read(from),
        FfiConverterInt.read(from),
        FfiConverterSequenceTypeHeader.read(from),
        FfiConverterOptionalString.read(from),
        FfiConverterTypeSocketProfile.read(from),
        unsent(from),
    )

    private fun error(from: ByteBuffer): ErrorEvent = FfiConverterTypeErrorEvent.read(from).lift()

    private fun close(from: ByteBuffer) = CloseEvent(
        FfiConverterLong.read(from),
        FfiConverterInt.read(from),
        FfiConverterString.read(from),
        FfiConverterBoolean.read(from),
        FfiConverterOptionalTypeRetryInfo.read(from)?.lift(),
        unsent(from),
    )

    /** The messages that come back to the app; an end has to be told even if they do not fit. */
    private fun unsent(from: ByteBuffer): List<Message> = buildList {
        repeat(from.getInt()) {
            val isText = from.getInt() == TEXT_MESSAGE
            val size = from.getInt()
            val payload = payload(from, isText, size)
            if (payload != null) add(payload) else complain(Level.SEVERE, null) { "an unsent message of $size bytes is lost: no memory" }
        }
    }

    /** Reads a run of messages up to [end], in the form that `BatchListener` describes. */
    private fun unpack(from: ByteBuffer, epoch: Long, end: Int) {
        while (from.position() < end && epoch != refused) {
            val start = from.position()
            val part = minOf(end - start, bytes.size)
            from.get(bytes, 0, part)
            val read = unpack(epoch, part)
            from.moveTo(start + read)
            // Larger than the array, or the heap is full.
            if (read == 0) message(from, epoch, from.get() == TEXT)
        }
        from.moveTo(end)
    }

    /** Reads the messages that are whole within the first [part] bytes. How far it has come. */
    private fun unpack(epoch: Long, part: Int): Int {
        var at = 0
        try {
            while (part - at >= HEAD) {
                val size = view.getInt(at + 1)
                if (size > part - at - HEAD) break
                val isText = bytes[at] == TEXT
                events += MessageEvent(
                    epoch,
                    if (isText) {
                        Message.Text(String(bytes, at + HEAD, size, Charsets.UTF_8))
                    } else {
                        Message.Binary(bytes.copyOfRange(at + HEAD, at + HEAD + size))
                    },
                )
                at += HEAD + size
            }
        } catch (_: OutOfMemoryError) {
            // The one that it was at is tried again, by itself.
        }
        return at
    }

    /** Reads one message, which begins with its length. */
    private fun message(from: ByteBuffer, epoch: Long, isText: Boolean) {
        val size = from.getInt()
        if (epoch == refused) return from.moveTo(from.position() + size)
        val payload = payload(from, isText, size)
        if (payload != null) {
            patiently { events += MessageEvent(epoch, payload) }
        } else {
            patiently { lost = Lost(epoch, size) }
            refused = epoch
        }
    }

    /** `null`: the heap has no room for it. */
    private fun payload(from: ByteBuffer, isText: Boolean, size: Int): Message? {
        val start = from.position()
        // For a small one there will be room again soon; for a large one the JVM has made all it can.
        repeat(if (size <= Scratch.ROOM) TRIES else 1) {
            try {
                from.moveTo(start)
                val payload = ByteArray(size)
                from.get(payload)
                return if (isText) Message.Text(String(payload, Charsets.UTF_8)) else Message.Binary(payload)
            } catch (_: OutOfMemoryError) {
                if (size <= Scratch.ROOM) pause()
            }
        }
        from.moveTo(start + size)
        return null
    }

    /** Reads something small from here on until there is memory for it. */
    private inline fun <T> again(from: ByteBuffer, read: () -> T): T {
        val start = from.position()
        return patiently {
            from.moveTo(start)
            read()
        }
    }

    /** `Buffer`: `ByteBuffer`'s own `position` is not in older Androids. */
    private fun ByteBuffer.moveTo(position: Int) {
        (this as Buffer).position(position)
    }

    companion object {
        /** With pauses in between, a second. */
        const val TRIES = 20

        // The variants as the generated code numbers them: of `TurnEvent`, `SocketEvent`, `Message`.
        const val MESSAGES = 1
        const val OPEN_EVENT = 1
        const val MESSAGE_EVENT = 2
        const val ERROR_EVENT = 3
        const val CLOSE_EVENT = 4
        const val TEXT_MESSAGE = 1

        /** Before a packed message: its kind and its length. */
        const val TEXT: Byte = 0
        const val HEAD = 1 + Int.SIZE_BYTES

        /** An optional value that is not there. */
        const val NONE: Byte = 0
    }
}
