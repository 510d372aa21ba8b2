package dev.wxsocket

import java.nio.Buffer
import java.nio.ByteBuffer

/**
 * A task's turn; used again and again by the thread that takes it. It lies outside the heap until
 * it has been read, which [TurnReader] does.
 */
internal open class Turn {
    /** The task that it is of; 0: not known yet. */
    var task = 0L
        private set

    /** The task whose turn is over for this thread, which ends with the next one taken; 0: none. */
    var owed = 0L

    /** Of two states of a task, the one with the larger version is newer. */
    var version = 0L
        private set
    lateinit var state: SocketState
        private set

    /** Not `null`: this is no turn, and there is nothing to end. */
    var news: Bulletin? = null
        private set

    private val reader = TurnReader()
    private var scratch = Scratch.kept(Scratch.ROOM)
    private var len = 0

    val events: List<SocketEvent> get() = reader.events

    /** The newest message that was skipped because the heap had no room for it. */
    val lost: Lost? get() = reader.lost

    /** Ends the turn that is [owed], then waits for the next one. False: there was none in time. */
    open fun take(maxEvents: Int, waitMs: Long): Boolean {
        task = 0
        len = Engine.wxsocket_next_turn(owed, maxEvents, waitMs, scratch.address, scratch.room)
        owed = 0
        check(len > 0) { "the engine failed" }
        // What does not fit is something. Nothing is a turn of task 0.
        return len > scratch.room || scratch.buffer.getLong(0) != 0L
    }

    /** Reads it, unless [find] knows nobody that it is for. */
    fun read(find: (Long) -> Delivery?): Delivery? {
        if (len in scratch.room + 1..MOST_KEPT) grow()
        // If memory runs out on the way, it is read from its beginning again: nobody else has this turn.
        if (len <= scratch.room) return patiently { read(scratch.buffer, find) }
        // It stays in the engine until there is memory.
        return patiently { Large(len) }.use {
            Engine.wxsocket_take_turn(it.address, len)
            patiently { read(it.scratch.buffer, find) }
        }
    }

    /** Takes it into memory that is kept, for the next turns as large as this. */
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
        // Whatever happens from here on, it ends.
        if (!isNews) owed = task
        val delivery = patiently { find(task) } ?: return null
        if (isNews) news = reader.news(from, state) else reader.read(from, delivery.refused)
        return delivery
    }

    /** Lets go of what was read: nobody knows when the next turn comes. */
    fun forget() {
        reader.events.clear()
        news = null
    }

    private companion object {
        /** What a flood of messages of 1 KiB needs, with some to spare. */
        const val MOST_KEPT = 512 * 1024 - 1
    }
}
