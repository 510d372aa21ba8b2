package dev.wxsocket

import dev.wxsocket.ffi.endTurn
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.Executor
import java.util.concurrent.ExecutorService
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.ThreadFactory
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.locks.LockSupport
import java.util.logging.Level
import kotlin.concurrent.thread

/**
 * Gives turns to the app's executors and watches those that have not begun.
 *
 * An executor may drop a turn without an exception: it is shut down while the turn is in its queue, it discards tasks
 * when its queue is full, or the app removes the messages of a handler. Without a remedy, the task would deliver no
 * more events. So a thread checks the turns that have not begun, as long as there are any.
 *
 * When the executor was shut down, a thread of [Turns] carries the turn out. When a turn has not begun after
 * [FIRST_NS], it is given to the executor again, because its queue may have room now. The time doubles each time, up to
 * [LONGEST_NS], so that the queue of a stuck executor hardly grows. The first copy of a turn that is begun carries it
 * out; the others do nothing.
 *
 * The first time is learnt for each task: at least twice as long as the last turn took to begin, and half of the last
 * time after a quick one. So a slow and steady executor is given each turn once.
 */
internal object Errands {
    /** The time until the first check of a turn. The next check comes when the turn is twice as old, and so on. */
    private const val LOOK_NS = 500_000_000L
    private const val FIRST_NS = 2_000_000_000L
    private const val LONGEST_NS = 300_000_000_000L

    /** From this level on a turn has [LONGEST_NS]. */
    private const val LAST_LEVEL = 8

    /** A delay of at least this is logged. At the start of an app a main thread may be busy for less. */
    private const val WORTH_A_LINE_NS = 8_000_000_000L

    private val waiting: MutableSet<Errand> = ConcurrentHashMap.newKeySet()

    /** When the next check is due, as [System.nanoTime] since [zero]. The watching thread sleeps until then. */
    @Volatile private var nextLook = Long.MAX_VALUE
    private val zero = System.nanoTime()

    private val watch by lazy { thread(isDaemon = true, name = "wxsocket-executors") { look() } }

    /**
     * Calls executors that may block the caller or run the turn in the caller's thread. The watching thread and the
     * last free thread of [Turns] must not call them.
     */
    private val aside by lazy {
        val threads = ThreadFactory { Thread(it, "wxsocket-executors-again").apply { isDaemon = true } }
        ThreadPoolExecutor(4, 4, 5, TimeUnit.SECONDS, LinkedBlockingQueue(), threads).apply { allowCoreThreadTimeOut(true) }
    }

    private fun now() = System.nanoTime() - zero

    /** Returns true when the executor was shut down and has ended. */
    private fun isOver(executor: Executor): Boolean =
        try {
            (executor as? ExecutorService)?.isTerminated == true
        } catch (_: Exception) {
            // Code of the app failed. The checks of other executors go on.
            false
        }

    /** Returns how long a turn waits at this level, in nanoseconds, before it is given again. */
    private fun timeAt(level: Int) = minOf(FIRST_NS shl level, LONGEST_NS)

    /** Gives a turn to [executor]. Returns false when it was not taken; then the caller carries it out. */
    fun give(delivery: Delivery, executor: Executor): Boolean {
        var errand: Errand? = null
        try {
            // Some executors discard tasks after their end without an exception.
            if (isOver(executor)) return false
            errand = Errand(delivery, executor)
            waiting += errand
            val watch = watch
            if (nextLook > now() + LOOK_NS) LockSupport.unpark(watch)
        } catch (e: Throwable) {
            if (errand != null) waiting -= errand
            complain(Level.WARNING, e) { "the app's executor cannot be given events" }
            return false
        }
        return errand.offer()
    }

    /** As [give], on another thread. [otherwise] is called when the executor did not take the turn. */
    fun giveAside(delivery: Delivery, executor: Executor, otherwise: () -> Unit) {
        try {
            aside.execute { if (!give(delivery, executor)) otherwise() }
        } catch (e: Throwable) {
            complain(Level.SEVERE, e) { "no thread for the app's executors" }
            otherwise()
        }
    }

    private fun look() {
        while (true) {
            // A call of `give` after this line wakes this thread.
            nextLook = Long.MAX_VALUE
            val now = now()
            var next = Long.MAX_VALUE
            try {
                waiting.forEach { next = minOf(next, it.look(now)) }
            } catch (e: Throwable) {
                complain(Level.SEVERE, e) { "the app's executors cannot be watched" }
                next = now + LOOK_NS
            }
            nextLook = next
            if (next == Long.MAX_VALUE) LockSupport.park(this) else LockSupport.parkNanos(this, next - now())
            // Woken by `give`: waits a while, to check all turns that come until then at once.
            if (now() < next) {
                nextLook = now() + LOOK_NS
                LockSupport.parkNanos(this, LOOK_NS)
            }
        }
    }

    /** A turn that was given to [executor]. Only the thread that claims it carries it out. */
    private class Errand(private val delivery: Delivery, private val executor: Executor) : Runnable {
        private val claimed = AtomicBoolean()
        private val given = now()

        // The fields below belong to the watching thread.
        private var level = delivery.patience
        private var offered = given
        private var due = given + LOOK_NS

        private fun claim(): Boolean = claimed.compareAndSet(false, true).also { if (it) waiting -= this }

        /** Gives it to the executor. Returns false when it was not taken; then this thread has claimed it. */
        fun offer(): Boolean =
            try {
                executor.execute(this)
                true
            } catch (e: Throwable) {
                // The executor may have run it before it threw.
                val isOurs = claim()
                // It was shut down or is broken. The last events of the task must be delivered all the same.
                complain(Level.WARNING, e) { "the app's executor takes no more events" }
                !isOurs
            }

        /** Checks the turn if that is due. Returns when the next check is due. */
        fun look(now: Long): Long {
            if (now < due) return due
            if (isOver(executor)) {
                if (claim()) {
                    // The next turn delivers its events, on a thread of [Turns].
                    delivery.putBack()
                    endTurn(delivery.number, true)
                }
                return Long.MAX_VALUE
            }
            if (now >= offered + timeAt(level)) offerAgain(now)
            due = minOf(now + (now - given).coerceIn(LOOK_NS, LONGEST_NS), offered + timeAt(level))
            return due
        }

        private fun offerAgain(now: Long) {
            val waited = timeAt(level)
            if (waited >= WORTH_A_LINE_NS) {
                val seconds = waited / 1_000_000_000
                complain(Level.WARNING, null) { "the app's executor has not begun to tell the events of a socket for $seconds s" }
            }
            level = minOf(level + 1, LAST_LEVEL)
            offered = now
            // The turn does not end here: no more events are taken from the engine for a stuck executor.
            aside.execute { if (!claimed.get() && !offer()) carryOut() }
        }

        override fun run() {
            if (!claim()) return
            val waited = now() - given
            val enough = (0 until LAST_LEVEL).firstOrNull { timeAt(it) >= 2 * waited } ?: LAST_LEVEL
            delivery.patience = maxOf(enough, delivery.patience - 1)
            carryOut()
        }

        private fun carryOut() {
            if (delivery.carryOut()) endTurn(delivery.number, false)
        }
    }
}
