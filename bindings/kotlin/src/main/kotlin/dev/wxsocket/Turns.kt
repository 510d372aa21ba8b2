package dev.wxsocket

import dev.wxsocket.ffi.endTurn
import dev.wxsocket.ffi.refuseMessage
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.Executor
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.locks.LockSupport
import java.util.logging.Level
import java.util.logging.Logger

internal val log: Logger = Logger.getLogger("dev.wxsocket")

/**
 * Logs. It never throws: a thread that all tasks need has no other place to tell of a failure, and
 * without memory not even the text can be made.
 */
internal inline fun complain(level: Level, e: Throwable?, what: () -> String) {
    try {
        log.log(level, what(), e)
    } catch (_: Throwable) {
        // Without memory there is no line either.
    }
}

/** Waits a moment for things to get better. */
internal fun pause() {
    // A listener may have left its thread interrupted, which would make this no pause.
    Thread.interrupted()
    LockSupport.parkNanos(50_000_000L)
}

/** Calls [attempt] again and again for as long as there is no memory for it, which is little. */
internal inline fun <T> patiently(attempt: () -> T): T {
    while (true) {
        try {
            return attempt()
        } catch (_: OutOfMemoryError) {
            pause()
        }
    }
}

/**
 * The threads that take events out of the engine, for all tasks: daemons, so that the JVM ends
 * with the app's `main`, and few, whatever the number of tasks.
 *
 * Each asks the engine for the next *turn*: one task and a batch of its events. While a turn
 * lasts the engine gives that task to no other thread, which keeps its events in order and, if
 * the turn takes long, its socket unread. A task's [News] come between turns, or during one.
 *
 * A listener that blocks must keep nobody else waiting. So one thread more than are busy always
 * waits; when there are as many threads as there may be, the last one calls no listeners: it gives
 * events to collectors and executors, and leaves listeners to the next thread that is free. And one
 * thread takes news only.
 *
 * What chose this (`bindings/kotlin/bench path`, two busy cores, JDK 17, JNA 5.19):
 *
 * | | flood of 32 B, us a message | echo of 20 B, p50 us | threads |
 * |---|---|---|---|
 * | turns, with the calls of [Engine] | 0.16 | 71 | 3, and 1 per listener that blocks |
 * | a thread per task that pulls, generated code | 0.26 | 103 | 1 per task |
 * | callback interface, thread initializer set | 34 | 145 | the engine's, attached |
 */
internal object Turns {
    /** How long a thread waits for work while enough others wait, too. */
    @Volatile internal var spareMs = 5_000L

    /** Two wait for ever: with one, threads would be made and ended all the time. */
    private val forAll = Crew("wxsocket-events", batch = 256, kept = 2, most = 256)

    /** More than one only if a coroutine blocks where it is told (see [News]). */
    private val forNews = Crew("wxsocket-news", batch = 0, kept = 1, most = 64)

    /** Turns whose listeners are to be told by the next thread that is free: there are no more threads. */
    private val held = ConcurrentLinkedQueue<Delivery>()

    private val deliveries = ConcurrentHashMap<Long, Delivery>()
    private val joins = Any()

    /** Adds the delivery of a task that [join]s; its turns come once [begin] has ended the first one. */
    fun join(join: () -> Delivery): Delivery = synchronized(joins) { join().also(::add) }

    /** Ends the turn that a task joined with: now there is somebody for the next ones. */
    fun begin(delivery: Delivery): Unit = endTurn(delivery.number, false)

    /**
     * Finds the delivery of a task. News may come before those who joined have added it. Made once: a turn that
     * was taken must not be lost for want of memory before anybody knows whose it is.
     */
    private val find = { number: Long -> deliveries[number] ?: synchronized(joins) { deliveries[number] } }

    fun add(delivery: Delivery) {
        deliveries[delivery.number] = delivery
        forNews.start()
        forAll.start()
    }

    fun remove(delivery: Delivery) {
        deliveries.remove(delivery.number)
    }

    /** [turn]: what the thread takes its turns with. */
    internal fun addThread(turn: Turn = Turn()): Boolean = forAll.add(turn)

    /** Has listeners told by a thread of their own, without a new turn. False: there is none. */
    fun carryOut(delivery: Delivery): Boolean =
        try {
            forAll.add(Turn(), delivery)
        } catch (e: Throwable) {
            complain(Level.SEVERE, e) { "no thread for the events of sockets" }
            false
        }

    /** Threads that do the same: [batch] is what they ask the engine for. */
    private class Crew(private val name: String, private val batch: Int, private val kept: Int, private val most: Int) {
        private val takesTurns = batch > 0
        private val threads = AtomicInteger()
        private val waiting = AtomicInteger()

        fun start() {
            if (threads.get() == 0) add(Turn())
        }

        /** Adds a thread, which tells the listeners of [first] before anything else. False: there are enough. */
        fun add(turn: Turn, first: Delivery? = null): Boolean {
            if (threads.incrementAndGet() > most) {
                threads.decrementAndGet()
                return false
            }
            try {
                Thread({ serve(turn, first) }, name).apply { isDaemon = true }.start()
            } catch (e: Throwable) {
                threads.decrementAndGet()
                throw e
            }
            return true
        }

        private fun serve(turn: Turn, first: Delivery?) {
            if (first != null) turn.owed = run(first)
            while (true) {
                try {
                    serveAll(turn)
                    return
                } catch (_: Throwable) {
                    // Without memory even the handling of a failure may fail. The thread lives on.
                }
            }
        }

        private fun serveAll(turn: Turn) {
            while (true) {
                try {
                    if (!serveOnce(turn)) return
                } catch (e: Throwable) {
                    // Nothing of the app's gets here. One task's bug must not be every task's, and what
                    // fails at once and for ever must not keep a core busy.
                    complain(Level.SEVERE, e) { "a turn failed" }
                    pause()
                    again(turn)
                }
            }
        }

        /** False: there is nothing to do for this thread. */
        private fun serveOnce(turn: Turn): Boolean {
            // Those that wait count, not all: the others may be blocked for good.
            val waiters = waiting.incrementAndGet()
            val left = if (waiters > 1 && takesTurns) held.poll() else null
            if (left != null) {
                tellHeld(left, turn, isLast = waiting.decrementAndGet() == 0)
                return true
            }
            val others: Int
            val hasOne = try {
                turn.take(batch, if (waiters > kept) spareMs else Long.MAX_VALUE)
            } finally {
                others = waiting.decrementAndGet()
            }
            if (hasOne) {
                carry(turn, isLast = others == 0)
                return true
            }
            if (others < kept) return true
            threads.decrementAndGet()
            return false
        }

        /** Tells the listeners of a turn that [carry] has left. */
        private fun tellHeld(delivery: Delivery, turn: Turn, isLast: Boolean) {
            // It may take long.
            if (turn.owed != 0L) endTurn(turn.owed, false)
            turn.owed = 0
            turn.owed = run(delivery, mayBlock = !isLast || addSpare())
        }

        /** False: there are as many threads as there may be. */
        private fun addSpare(): Boolean =
            try {
                add(Turn())
            } catch (e: Throwable) {
                // The system has none to give; the next turn waits for this one, if it takes long.
                complain(Level.SEVERE, e) { "no thread for the events of sockets" }
                true
            }

        /**
         * Reads a turn and has it carried out; or news, which have nothing to end. [isLast]: no thread
         * is left to wait for the next one, should this be one that takes long.
         */
        private fun carry(turn: Turn, isLast: Boolean) {
            val delivery = turn.read(find) ?: return
            val news = turn.news
            val mayBlock = !isLast || news != null && !patiently { delivery.news.isFollowed(news) } || addSpare()
            if (news != null) {
                patiently { delivery.news.tell(turn.version, news) }
                return turn.forget()
            }
            turn.lost?.let { refuse(delivery, it) }
            val isForListeners = delivery.begin(turn)
            turn.forget()
            turn.owed = if (isForListeners) run(delivery, mayBlock) else if (delivery.end()) delivery.number else 0
        }
    }

    /** Ends a turn that failed, and asks for another one, for what it has not told yet. */
    private fun again(turn: Turn) {
        if (turn.owed == 0L) return
        try {
            // Its listeners may not have heard it all; on an executor they still may.
            find(turn.owed)?.let { if (it.executor == null) it.putBack() }
            endTurn(turn.owed, true)
            turn.owed = 0
        } catch (_: Throwable) {
            // Then it ends when this thread takes the next one, which needs no memory.
        }
    }

    /** Has a turn carried out, here or where the app wants it. The task whose turn is over, or 0. */
    private fun run(delivery: Delivery, mayBlock: Boolean = true): Long {
        val executor = delivery.executor
        if (!mayBlock) {
            if (executor == null) held += delivery else Errands.giveAside(delivery, executor) { held += delivery }
            return 0
        }
        if (executor != null && Errands.give(delivery, executor)) return 0
        return if (delivery.carryOut()) delivery.number else 0
    }

    /** A message did not fit the heap: its connection ends there, as with one that is too big. */
    private fun refuse(delivery: Delivery, lost: Lost) {
        delivery.refused = lost.epoch
        complain(Level.SEVERE, null) { "a socket's message of ${lost.size} bytes is lost: no memory" }
        patiently {
            refuseMessage(delivery.number, lost.epoch, "no room in the heap for a message of ${lost.size} bytes")
        }
    }
}

/** Where listeners are called if the app does not say; `null`: on the threads of [Turns]. */
internal fun defaultExecutor(): Executor? =
    // The class is in the AAR only; elsewhere nobody asks for it.
    if (System.getProperty("java.vm.name") == "Dalvik") dev.wxsocket.android.MainThread else null
