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

/** A message that did not fit the heap. */
internal class Lost(val epoch: Long, val size: Int)

/**
 * Reads the events of a turn one by one; the generated code would read the same bytes all at once. A message that does
 * not fit the heap is skipped, with all later messages of its connection. Everything else is read as soon as there is
 * memory for it.
 */
internal class TurnReader {
    val events = ArrayList<SocketEvent>()

    /** The newest message that was skipped. */
    var lost: Lost? = null
        private set

    /** The connection whose messages are skipped. */
    private var refused = 0L

    /** Small messages are copied here first, because an array on the heap is read faster. */
    private val bytes = ByteArray(Scratch.ROOM)
    private val view = ByteBuffer.wrap(bytes)

    fun state(from: ByteBuffer): SocketState = again(from) { FfiConverterTypeSocketState.read(from).lift() }

    /** Reads the newest open, error and close of a task that is in [state]. */
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

    /** Reads the unsent messages. Those that do not fit the heap are left out, because the event must be delivered. */
    private fun unsent(from: ByteBuffer): List<Message> = buildList {
        repeat(from.getInt()) {
            val isText = from.getInt() == TEXT_MESSAGE
            val size = from.getInt()
            val payload = payload(from, isText, size)
            if (payload != null) add(payload) else complain(Level.SEVERE, null) { "an unsent message of $size bytes is lost: no memory" }
        }
    }

    /** Reads packed messages up to [end], in the form that `BatchListener` describes. */
    private fun unpack(from: ByteBuffer, epoch: Long, end: Int) {
        while (from.position() < end && epoch != refused) {
            val start = from.position()
            val part = minOf(end - start, bytes.size)
            from.get(bytes, 0, part)
            val read = unpack(epoch, part)
            from.moveTo(start + read)
            // The message is larger than the array, or the heap is full.
            if (read == 0) message(from, epoch, from.get() == TEXT)
        }
        from.moveTo(end)
    }

    /** Reads the complete messages in the first [part] bytes and returns the number of bytes that were read. */
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
            // The caller reads this message again, by itself.
        }
        return at
    }

    /** Reads one message that begins with its length. */
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

    /** Reads the content of a message; `null` when it does not fit the heap. */
    private fun payload(from: ByteBuffer, isText: Boolean, size: Int): Message? {
        val start = from.position()
        // There will soon be room for a small message. For a large one the JVM has already collected all garbage.
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

    /** Reads something small; repeats this until there is memory for it. */
    private inline fun <T> again(from: ByteBuffer, read: () -> T): T {
        val start = from.position()
        return patiently {
            from.moveTo(start)
            read()
        }
    }

    /** Sets the position. `Buffer`, because `ByteBuffer` has no `position` of its own in older Androids. */
    private fun ByteBuffer.moveTo(position: Int) {
        (this as Buffer).position(position)
    }

    companion object {
        /** With the pauses this takes a second. */
        const val TRIES = 20

        // The numbers of the variants of `TurnEvent`, `SocketEvent` and `Message` in the generated code.
        const val MESSAGES = 1
        const val OPEN_EVENT = 1
        const val MESSAGE_EVENT = 2
        const val ERROR_EVENT = 3
        const val CLOSE_EVENT = 4
        const val TEXT_MESSAGE = 1

        /** A packed message begins with its kind and its length. */
        const val TEXT: Byte = 0
        const val HEAD = 1 + Int.SIZE_BYTES

        /** Marks an optional value that is absent. */
        const val NONE: Byte = 0
    }
}
