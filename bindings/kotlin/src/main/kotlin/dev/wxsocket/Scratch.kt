package dev.wxsocket

import com.sun.jna.Native
import com.sun.jna.Pointer
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.CharBuffer
import java.nio.charset.CodingErrorAction
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.atomic.AtomicReferenceArray

/** Memory outside the heap, which the engine reads and writes at [address]. */
internal class Scratch private constructor(val buffer: ByteBuffer, val address: Long) {
    private val encoder by lazy(LazyThreadSafetyMode.NONE) {
        Charsets.UTF_8.newEncoder()
            .onMalformedInput(CodingErrorAction.REPLACE)
            // The JDK's own replacement is a question mark; see `scalar`.
            .replaceWith(byteArrayOf(0xEF.toByte(), 0xBF.toByte(), 0xBD.toByte()))
    }

    val room: Int get() = buffer.capacity()

    /** Puts [bytes] here; its position stays where it is. */
    fun put(bytes: ByteBuffer): Int {
        // `Buffer`: `ByteBuffer`'s own `clear` is not in older Androids.
        (buffer as Buffer).clear()
        buffer.put(bytes.duplicate())
        return buffer.position()
    }

    /** Puts [text] here in UTF-8. */
    fun put(text: String): Int {
        (buffer as Buffer).clear()
        encoder.reset().encode(CharBuffer.wrap(text), buffer, true)
        return buffer.position()
    }

    companion object {
        /** Enough for nearly every message. */
        const val ROOM = 64 * 1024

        /** So long nobody asks for memory that is kept once there was none. */
        private const val PAUSE_NS = 10_000_000_000L

        /** When there was none, by [System.nanoTime]; 0: there always was. */
        @Volatile private var failed = 0L

        /**
         * As [kept]; `null` when there is no such memory. A JVM that has none collects all garbage several
         * times and waits half a second before it says so; for [PAUSE_NS] it is not asked again.
         */
        fun keptIfThere(room: Int): Scratch? {
            val failed = failed
            if (failed != 0L && System.nanoTime() - failed < PAUSE_NS) return null
            return try {
                kept(room)
            } catch (_: OutOfMemoryError) {
                this.failed = System.nanoTime() or 1
                null
            }
        }

        /** Memory that is freed when the garbage collector finds this. */
        fun kept(room: Int): Scratch {
            val buffer = ByteBuffer.allocateDirect(room)
            return Scratch(buffer, Pointer.nativeValue(Native.getDirectBufferPointer(buffer)))
        }

        /** Memory at [address], which somebody else frees. */
        fun at(address: Long, room: Int): Scratch =
            // JNA gives it the processor's order, the engine writes the network's.
            Scratch(Pointer(address).getByteBuffer(0, room.toLong()).order(ByteOrder.BIG_ENDIAN), address)
    }
}

/** Memory for one use, freed at its end and not counted by the JVM. */
internal class Large(room: Int) : AutoCloseable {
    val address: Long = Native.malloc(room.toLong().coerceAtLeast(1))

    val scratch: Scratch

    init {
        if (address == 0L) throw OutOfMemoryError("no $room bytes outside the heap")
        try {
            scratch = Scratch.at(address, room)
        } catch (e: Throwable) {
            close()
            throw e
        }
    }

    override fun close(): Unit = Native.free(address)
}

/**
 * The memory that messages are sent from. It is dear to make, so a few pieces are kept, for all
 * threads: the many threads of a server, or virtual ones, must not hold one each. A call that
 * finds none, or whose message is larger, gets memory of its own.
 */
internal object Scratches {
    private const val MOST = 8

    private val free = AtomicReferenceArray<Scratch>(MOST)
    private val made = AtomicInteger()

    /** Calls [use] with memory of at least [room] bytes. */
    inline fun <T> with(room: Int, use: (Scratch) -> T): T {
        val scratch = (if (room <= Scratch.ROOM) take() else null) ?: return Large(room).use { use(it.scratch) }
        try {
            return use(scratch)
        } finally {
            give(scratch)
        }
    }

    fun take(): Scratch? {
        for (i in 0 until MOST) {
            // Read first: an exchange is dear when other threads look here too.
            if (free.get(i) != null) free.getAndSet(i, null)?.let { return it }
        }
        if (made.get() >= MOST) return null
        if (made.incrementAndGet() <= MOST) {
            // If there is none, what one message needs may still be there.
            Scratch.keptIfThere(Scratch.ROOM)?.let { return it }
        }
        made.decrementAndGet()
        return null
    }

    fun give(scratch: Scratch) {
        // There are no more of them than places.
        for (i in 0 until MOST) if (free.get(i) == null && free.compareAndSet(i, null, scratch)) return
    }
}

/** How many bytes this takes in UTF-8, with U+FFFD for each half of a surrogate pair. */
internal fun String.utf8Length(): Int {
    var bytes = length.toLong()
    var at = 0
    while (at < length) {
        val char = this[at++]
        if (char < '\u0080') continue
        bytes += if (char < '\u0800') 1 else 2
        // Four bytes for the two of a pair.
        if (char.isHighSurrogate() && at < length && this[at].isLowSurrogate()) at++
    }
    return Math.toIntExact(bytes)
}
