package dev.wxsocket

import com.sun.jna.Native
import java.nio.ByteBuffer

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

    fun send(task: Long, text: String): Int {
        // Three bytes are the most that one of UTF-16 can need; counting pays for large ones.
        val room = if (text.length <= Scratch.ROOM / 3) text.length * 3 else text.utf8Length()
        return Scratches.with(room) { wxsocket_send(task, 1, it.address, it.put(text)) }
    }

    fun send(task: Long, bytes: ByteBuffer): Int =
        Scratches.with(bytes.remaining()) { wxsocket_send(task, 0, it.address, it.put(bytes)) }
}
