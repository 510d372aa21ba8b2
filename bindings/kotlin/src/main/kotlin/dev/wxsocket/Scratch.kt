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

/** A buffer outside the heap, which the engine reads and writes at [address]. */
internal class Scratch private constructor(val buffer: ByteBuffer, val address: Long) {
    private val encoder by lazy(LazyThreadSafetyMode.NONE) {
        Charsets.UTF_8.newEncoder()
            .onMalformedInput(CodingErrorAction.REPLACE)
            // The JDK's own replacement is a question mark; see `scalar`.
            .replaceWith(byteArrayOf(0xEF.toByte(), 0xBF.toByte(), 0xBD.toByte()))
    }

    val room: Int get() = buffer.capacity()

    /** Copies [bytes] here and returns their number. Their position does not change. */
    fun put(bytes: ByteBuffer): Int {
        // `Buffer`: `ByteBuffer`'s own `clear` is not in older Androids.
        (buffer as Buffer).clear()
        buffer.put(bytes.duplicate())
        return buffer.position()
    }

    /** Writes [text] here in UTF-8 and returns the number of bytes. */
    fun put(text: String): Int {
        (buffer as Buffer).clear()
        encoder.reset().encode(CharBuffer.wrap(text), buffer, true)
        return buffer.position()
    }

    companion object {
        /** Enough for nearly every message. */
        const val ROOM = 64 * 1024

        /** After a failed allocation the next one is tried after this time. */
        private const val PAUSE_NS = 10_000_000_000L

        /** The time of the last failed allocation, as [System.nanoTime]; 0 when none has failed. */
        @Volatile private var failed = 0L

        /**
         * As [kept]; `null` when there is no memory. Before it reports that, a JVM runs several garbage collections and
         * waits half a second; so this does not ask again for [PAUSE_NS].
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

        /** Allocates memory that is freed when this object is garbage-collected. */
        fun kept(room: Int): Scratch {
            val buffer = ByteBuffer.allocateDirect(room)
            return Scratch(buffer, Pointer.nativeValue(Native.getDirectBufferPointer(buffer)))
        }

        /** Refers to memory at [address], which the caller frees. */
        fun at(address: Long, room: Int): Scratch =
            // JNA sets the byte order of the processor; the engine writes big endian.
            Scratch(Pointer(address).getByteBuffer(0, room.toLong()).order(ByteOrder.BIG_ENDIAN), address)
    }
}

/** A buffer for one use. It is freed by [close], and the JVM's limit for direct buffers does not count it. */
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
 * Keeps the buffers that messages are sent from. They are expensive to make, so up to [MOST] are kept, for all threads:
 * a server with many threads must not hold one for each. A call that finds no free buffer, or has a larger message,
 * allocates its own.
 */
internal object Scratches {
    private const val MOST = 8

    private val free = AtomicReferenceArray<Scratch>(MOST)
    private val made = AtomicInteger()

    /** Calls [use] with a buffer of at least [room] bytes. */
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
            // The read comes first, because an exchange is expensive when other threads use the same place.
            if (free.get(i) != null) free.getAndSet(i, null)?.let { return it }
        }
        if (made.get() >= MOST) return null
        if (made.incrementAndGet() <= MOST) {
            // Without memory for this, there may still be enough for one message.
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

/** Returns the number of bytes in UTF-8, with U+FFFD for each half of a surrogate pair that is alone. */
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
