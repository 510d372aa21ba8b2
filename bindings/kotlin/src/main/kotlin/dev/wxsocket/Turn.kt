package dev.wxsocket

import java.nio.Buffer
import java.nio.ByteBuffer

/**
 * Takes turns from the engine for one thread, one after the other. A turn is one task with a batch of its events. It
 * stays outside the heap until [TurnReader] reads it.
 */
internal open class Turn {
    /** The task of this turn; 0 until it has been read. */
    var task = 0L
        private set

    /** The task whose turn this thread has finished; the engine is told with the next [take]. 0: none. */
    var owed = 0L

    /** The version of [state]; a larger one is newer. */
    var version = 0L
        private set
    lateinit var state: SocketState
        private set

    /** The news of a task. When they are there, this is no turn and needs no end. */
    var news: Bulletin? = null
        private set

    private val reader = TurnReader()
    private var scratch = Scratch.kept(Scratch.ROOM)
    private var len = 0

    val events: List<SocketEvent> get() = reader.events

    /** The newest message that was skipped because the heap had no room for it. */
    val lost: Lost? get() = reader.lost

    /** Ends the turn that is [owed], then waits for the next one. Returns false when none came in time. */
    open fun take(maxEvents: Int, waitMs: Long): Boolean {
        task = 0
        len = Engine.wxsocket_next_turn(owed, maxEvents, waitMs, scratch.address, scratch.room)
        owed = 0
        check(len > 0) { "the engine failed" }
        // A turn that does not fit the buffer is a turn. Task 0 means that there is none.
        return len > scratch.room || scratch.buffer.getLong(0) != 0L
    }

    /** Reads the turn and returns its delivery; `null` when [find] knows none. */
    fun read(find: (Long) -> Delivery?): Delivery? {
        if (len in scratch.room + 1..MOST_KEPT) grow()
        // When memory runs out while reading, it is read again from its beginning: no other thread has this turn.
        if (len <= scratch.room) return patiently { read(scratch.buffer, find) }
        // It stays in the engine until there is memory.
        return patiently { Large(len) }.use {
            Engine.wxsocket_take_turn(it.address, len)
            patiently { read(it.scratch.buffer, find) }
        }
    }

    /** Allocates a larger buffer, also for later turns, and takes the turn into it. */
    private fun grow() {
        scratch = Scratch.keptIfThere(len.takeHighestOneBit() * 2) ?: return
        Engine.wxsocket_take_turn(scratch.address, scratch.room)
    }

    private fun read(from: ByteBuffer, find: (Long) -> Delivery?): Delivery? {
        (from as Buffer).clear()
        task = from.getLong()
        version = from.getLong()
        state = reader.state(from)
        val isNews = from.get() != TurnReader.NONE
        // From here on the turn is ended, also after an exception.
        if (!isNews) owed = task
        val delivery = patiently { find(task) } ?: return null
        if (isNews) news = reader.news(from, state) else reader.read(from, delivery.refused)
        return delivery
    }

    /** Drops what was read, because the next turn may come much later. */
    fun forget() {
        reader.events.clear()
        news = null
    }

    private companion object {
        /** Larger turns are not kept in memory. A batch of 256 messages of 1 KiB is half of it. */
        const val MOST_KEPT = 512 * 1024 - 1
    }
}
