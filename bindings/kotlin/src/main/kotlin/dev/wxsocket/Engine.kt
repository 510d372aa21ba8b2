package dev.wxsocket

import com.sun.jna.Native
import com.sun.jna.Pointer
import dev.wxsocket.ffi.FfiConverterTypeSocketEvent
import dev.wxsocket.ffi.FfiConverterTypeSocketState
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.CharBuffer
import java.nio.charset.CodingErrorAction

/**
 * The two calls that are made for every message, with plain numbers for arguments, past the
 * generated code: that passes structures by value, which JNA takes apart by reflection, and makes
 * up to five calls for one `send`. [Turns] has the figures. A `send` of 20 B takes half a
 * microsecond in all, the flood waits for the engine's own thread: JNI would have little to add.
 */
internal object Engine {
    init {
        // The same file, found in the same way, as the generated code's.
        Native.register(Engine::class.java, System.getProperty("uniffi.component.wxsocket.libraryOverride") ?: "wxsocket")
    }

    @JvmStatic external fun wxsocket_send(task: Long, isText: Int, data: Long, len: Int): Int

    @JvmStatic external fun wxsocket_next_turn(done: Long, maxEvents: Int, waitMs: Long, out: Long, room: Int): Int

    @JvmStatic external fun wxsocket_take_turn(out: Long, room: Int): Int

    const val SENT = 0
    const val QUEUED = 1
    const val DROPPED = 2
    const val QUEUED_FOR_OTHERS = 3

    /** Each thread's memory outside the heap, which the engine reads and writes. */
    val scratch: ThreadLocal<Scratch> = object : ThreadLocal<Scratch>() {
        override fun initialValue() = Scratch()
    }
}

/** Memory outside the heap. It is dear to make, and to ask for its address. */
internal class Scratch {
    private var buffer = ByteBuffer.allocateDirect(0)
    var address = 0L
        private set
    private val encoder = Charsets.UTF_8.newEncoder()
        .onMalformedInput(CodingErrorAction.REPLACE)
        // The JDK's own replacement is a question mark; see `scalar`.
        .replaceWith(byteArrayOf(0xEF.toByte(), 0xBF.toByte(), 0xBD.toByte()))

    val room: Int get() = buffer.capacity()

    init {
        grow(64 * 1024)
    }

    fun grow(room: Int) {
        if (room <= buffer.capacity()) return
        buffer = ByteBuffer.allocateDirect(room)
        address = Pointer.nativeValue(Native.getDirectBufferPointer(buffer))
    }

    /** A single huge message must not stay for ever. */
    fun shrink() {
        if (buffer.capacity() > MOST_KEPT) {
            buffer = ByteBuffer.allocateDirect(0)
            grow(64 * 1024)
        }
    }

    /** Puts [bytes] here; its position stays where it is. */
    fun put(bytes: ByteBuffer): Int {
        grow(bytes.remaining())
        // `Buffer`: `ByteBuffer`'s own `clear` is not in older Androids.
        (buffer as Buffer).clear()
        buffer.put(bytes.duplicate())
        return buffer.position()
    }

    /** Puts [text] here in UTF-8. */
    fun put(text: String): Int {
        // Three bytes are the most that one of UTF-16 can need.
        grow(Math.multiplyExact(text.length, 3))
        (buffer as Buffer).clear()
        encoder.reset().encode(CharBuffer.wrap(text), buffer, true)
        return buffer.position()
    }

    /** Copies the first [len] bytes into [bytes]. */
    fun get(bytes: ByteArray, len: Int) {
        (buffer as Buffer).clear()
        buffer.get(bytes, 0, len)
    }

    private companion object {
        const val MOST_KEPT = 4 * 1024 * 1024
    }
}

/** A task's turn; used again and again by the thread that takes it. */
internal open class Turn {
    var task = 0L
        private set
    lateinit var state: SocketState
        private set
    val events = ArrayList<SocketEvent>()
    private var bytes = ByteArray(64 * 1024)

    /** Ends the turn of [done], then waits for the next one. */
    open fun next(done: Long, maxEvents: Int, waitMs: Long) {
        val scratch = Engine.scratch.get()
        var len = Engine.wxsocket_next_turn(done, maxEvents, waitMs, scratch.address, scratch.room)
        if (len > scratch.room) {
            scratch.grow(len)
            len = Engine.wxsocket_take_turn(scratch.address, scratch.room)
        }
        if (len > bytes.size) bytes = ByteArray(len)
        scratch.get(bytes, len)
        scratch.shrink()
        read(ByteBuffer.wrap(bytes, 0, len))
        if (bytes.size > 4 * 1024 * 1024) bytes = ByteArray(64 * 1024)
    }

    /** As the generated code would read it, but for packed messages, which are read in one go. */
    private fun read(from: ByteBuffer) {
        task = from.getLong()
        state = FfiConverterTypeSocketState.read(from).lift()
        events.clear()
        repeat(from.getInt()) {
            if (from.getInt() == MESSAGES) {
                unpack(from, from.getLong(), from.getInt())
            } else {
                events += FfiConverterTypeSocketEvent.read(from).lift()
            }
        }
    }

    /** Reads a run of [len] bytes, in the form that `BatchListener` describes. */
    private fun unpack(from: ByteBuffer, epoch: Long, len: Int) {
        var at = from.position()
        val end = at + len
        while (at < end) {
            val isText = bytes[at] == TEXT
            val size = from.getInt(at + 1)
            at += HEAD
            events += MessageEvent(
                epoch,
                if (isText) Message.Text(String(bytes, at, size, Charsets.UTF_8)) else Message.Binary(bytes.copyOfRange(at, at + size)),
            )
            at += size
        }
        (from as Buffer).position(end)
    }

    private companion object {
        /** The first variant of `TurnEvent`; as the generated code reads it. */
        const val MESSAGES = 1

        /** Before a packed message: its kind and its length. */
        const val TEXT: Byte = 0
        const val HEAD = 1 + Int.SIZE_BYTES
    }
}
