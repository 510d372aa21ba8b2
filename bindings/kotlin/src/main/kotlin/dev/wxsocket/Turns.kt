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

/** Logs, and never throws: a failure of the log, or of making the text, must not end a thread that all tasks need. */
internal inline fun complain(level: Level, e: Throwable?, what: () -> String) {
    try {
        log.log(level, what(), e)
    } catch (_: Throwable) {
        // Without memory nothing can be logged.
    }
}

/** Waits 50 ms before something is tried again. */
internal fun pause() {
    // A listener may have left its thread interrupted; then `parkNanos` would return at once.
    Thread.interrupted()
    LockSupport.parkNanos(50_000_000L)
}

/** Repeats [attempt], which needs little memory, until there is memory for it. */
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
 * Runs the threads that take events from the engine, for all tasks. They are daemons, so that the JVM ends with the
 * app's `main`, and their number does not depend on the number of tasks.
 *
 * Each thread asks the engine for the next *turn*: one task with a batch of its events. During a turn the engine gives
 * this task to no other thread. So its events stay in order, and its socket is not read while a turn takes long. The
 * [News] of a task may come between turns and during a turn.
 *
 * A listener that blocks must not delay other tasks. So there is always one more thread than are busy. When the
 * largest number is reached, the last thread calls no listeners: it gives events to collectors and executors, and
 * leaves listeners to the next free thread. One thread takes only news.
 *
 * Measurements that led to this (`bindings/kotlin/bench path`, two busy cores, JDK 17, JNA 5.19):
 *
 * | | flood of 32 B, us a message | echo of 20 B, p50 us | threads |
 * |---|---|---|---|
 * | turns, with the calls of [Engine] | 0.16 | 71 | 3, and 1 per listener that blocks |
 * | a thread per task that pulls, generated code | 0.26 | 103 | 1 per task |
 * | callback interface, thread initializer set | 34 | 145 | the engine's, attached |
 */
internal object Turns {
    /** How long a thread waits for work before it ends, when enough other threads wait too. */
    @Volatile internal var spareMs = 5_000L

    /** Two threads never end: with one, threads would be made and ended all the time. */
    private val forAll = Crew("wxsocket-events", batch = 256, kept = 2, most = 256)

    /** More than one only when a coroutine blocks the thread that wakes it (see [News]). */
    private val forNews = Crew("wxsocket-news", batch = 0, kept = 1, most = 64)

    /** Turns whose listeners wait for the next free thread, because there are as many threads as there may be. */
    private val held = ConcurrentLinkedQueue<Delivery>()

    private val deliveries = ConcurrentHashMap<Long, Delivery>()
    private val joins = Any()

    /** Adds the delivery that [join] makes. Its turns come after [begin]. */
    fun join(join: () -> Delivery): Delivery = synchronized(joins) { join().also(::add) }

    /** Ends the turn in which the task was made, so that the next ones can come. */
    fun begin(delivery: Delivery): Unit = endTurn(delivery.number, false)

    /**
     * Finds the delivery of a task. News may come before [join] has added it; then this waits for the lock. The
     * function is made once, so that finding the delivery of a turn allocates nothing.
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

    /** Adds a thread, which takes its turns with [turn]. */
    internal fun addThread(turn: Turn = Turn()): Boolean = forAll.add(turn)

    /** Has the listeners called by another thread, without a new turn. Returns false when there is no thread for it. */
    fun carryOut(delivery: Delivery): Boolean =
        try {
            forAll.add(Turn(), delivery)
        } catch (e: Throwable) {
            complain(Level.SEVERE, e) { "no thread for the events of sockets" }
            false
        }

    /** A group of threads with the same work. [batch] is the number of events that they ask for; 0 means news only. */
    private class Crew(private val name: String, private val batch: Int, private val kept: Int, private val most: Int) {
        private val takesTurns = batch > 0
        private val threads = AtomicInteger()
        private val waiting = AtomicInteger()

        /** When the last turn began for which no other thread was waiting. */
        @Volatile private var neededAll = System.nanoTime()

        fun start() {
            if (threads.get() == 0) add(Turn())
        }

        /** Adds a thread, which begins with the listeners of [first]. Returns false when there are [most] threads already. */
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
                    // Without memory even the handling of a failure may fail. The thread goes on.
                }
            }
        }

        private fun serveAll(turn: Turn) {
            while (true) {
                try {
                    if (!serveOnce(turn)) return
                } catch (e: Throwable) {
                    // A bug of the library; exceptions of the app are caught elsewhere. Other tasks must go on, and
                    // a failure that repeats must not keep a core busy.
                    complain(Level.SEVERE, e) { "a turn failed" }
                    pause()
                    again(turn)
                }
            }
        }

        /** Takes one turn and carries it out. Returns false when this thread is not needed any more. */
        private fun serveOnce(turn: Turn): Boolean {
            // Only waiting threads count: the others may be blocked for ever.
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
                if (others == 0) neededAll = System.nanoTime()
                carry(turn, isLast = others == 0)
                // The engine gives turns to the waiting threads one after the other, so that little work keeps many
                // threads from ever waiting for long. One that was not needed for some time ends with its turn.
                if (others < kept || System.nanoTime() - neededAll < spareMs * 1_000_000) return true
                if (turn.owed != 0L) endTurn(turn.owed, false)
                turn.owed = 0
                threads.decrementAndGet()
                return false
            }
            if (others < kept) return true
            threads.decrementAndGet()
            return false
        }

        /** Calls the listeners of a turn that [carry] has left for a free thread. */
        private fun tellHeld(delivery: Delivery, turn: Turn, isLast: Boolean) {
            // It may take long.
            if (turn.owed != 0L) endTurn(turn.owed, false)
            turn.owed = 0
            turn.owed = run(delivery, mayBlock = !isLast || addSpare())
        }

        /** Adds a thread that waits. Returns false when there are as many as there may be. */
        private fun addSpare(): Boolean =
            try {
                add(Turn())
            } catch (e: Throwable) {
                // The system refused a thread. If this turn takes long, the next one waits for it.
                complain(Level.SEVERE, e) { "no thread for the events of sockets" }
                true
            }

        /**
         * Reads a turn or news and carries them out. [isLast] means that no other thread waits for the next turn, which
         * matters when this one takes long.
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

    /** Ends a turn that failed and asks for another one, which delivers the rest of its events. */
    private fun again(turn: Turn) {
        if (turn.owed == 0L) return
        try {
            // On an executor the listeners may still be called with this turn.
            find(turn.owed)?.let { if (it.executor == null) it.putBack() }
            endTurn(turn.owed, true)
            turn.owed = 0
        } catch (_: Throwable) {
            // It then ends when this thread takes the next one, which allocates nothing.
        }
    }

    /** Carries a turn out, here or on the app's executor. Returns the task if its turn is over, or else 0. */
    private fun run(delivery: Delivery, mayBlock: Boolean = true): Long {
        val executor = delivery.executor
        if (!mayBlock) {
            if (executor == null) held += delivery else Errands.giveAside(delivery, executor) { held += delivery }
            return 0
        }
        if (executor != null && Errands.give(delivery, executor)) return 0
        return if (delivery.carryOut()) delivery.number else 0
    }

    /** Ends a connection with a message that did not fit the heap, as one with a message that is too big. */
    private fun refuse(delivery: Delivery, lost: Lost) {
        delivery.refused = lost.epoch
        complain(Level.SEVERE, null) { "a socket's message of ${lost.size} bytes is lost: no memory" }
        patiently {
            refuseMessage(delivery.number, lost.epoch, "no room in the heap for a message of ${lost.size} bytes")
        }
    }
}

/** Returns the executor for listeners when the app sets none; `null` means the threads of [Turns]. */
internal fun defaultExecutor(): Executor? =
    // Only the AAR contains this class, and it is not loaded elsewhere.
    if (System.getProperty("java.vm.name") == "Dalvik") dev.wxsocket.android.MainThread else null
