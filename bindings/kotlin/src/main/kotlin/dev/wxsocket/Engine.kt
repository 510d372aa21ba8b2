package dev.wxsocket

import com.sun.jna.Native
import java.nio.ByteBuffer

/**
 * Calls the engine directly, without the generated code, for what is done with every message. The arguments are plain
 * numbers. The generated code passes structures by value, which JNA reads by reflection, and needs up to five calls
 * for one `send`. The table at [Turns] has the figures. A `send` of 20 bytes takes half a microsecond, so JNI would save
 * little.
 */
internal object Engine {
    init {
        // The generated code finds the library in the same way.
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
        // A UTF-16 unit needs at most three bytes of UTF-8. Only for large texts it is worth counting them.
        val room = if (text.length <= Scratch.ROOM / 3) text.length * 3 else text.utf8Length()
        return Scratches.with(room) { wxsocket_send(task, 1, it.address, it.put(text)) }
    }

    fun send(task: Long, bytes: ByteBuffer): Int =
        Scratches.with(bytes.remaining()) { wxsocket_send(task, 0, it.address, it.put(bytes)) }
}
