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
 * Turns that the app's executors were given. An executor may never begin one, and not say so: it is
 * shut down with the turn in its queue, it discards what it has no room for, somebody empties the
 * queue of a handler. Its task would be silent for good, and whoever waits for its end would wait
 * for ever. So a thread looks, for as long as there is a turn that has not begun.
 *
 * A turn that an executor was shut down with is carried out by a thread of [Turns]. One that has not
 * begun after [FIRST_NS] is given to the executor again, which has a place for it now or is stuck.
 * Each time it has twice as long, at most [LONGEST_NS], so that the queue of one that is stuck
 * hardly grows. Whichever copy of a turn is begun first carries it out, and the others do nothing.
 *
 * How much time a task's turns are given is learnt: at least twice what the last turn took to begin, and
 * after a quick one half of what the last turn was given. So an executor that is slow but
 * steady is given each turn once.
 */
internal object Errands {
    /** Before the first look at a turn. The next look comes when the turn is twice as old, and so on. */
    private const val LOOK_NS = 500_000_000L
    private const val FIRST_NS = 2_000_000_000L
    private const val LONGEST_NS = 300_000_000_000L

    /** From this level on a turn has [LONGEST_NS]. */
    private const val LAST_LEVEL = 8

    /** Shorter than this, a main thread may be busy at the start of an app. */
    private const val WORTH_A_LINE_NS = 8_000_000_000L

    private val waiting: MutableSet<Errand> = ConcurrentHashMap.newKeySet()

    /** When the next look is due, by [System.nanoTime] since [zero]; until then the process is not woken. */
    @Volatile private var nextLook = Long.MAX_VALUE
    private val zero = System.nanoTime()

    private val watch by lazy { thread(isDaemon = true, name = "wxsocket-executors") { look() } }

    /**
     * Gives turns to executors that may block whoever gives them something, or carry it out in the
     * caller's thread: not to be done by the thread that looks, nor by the last one of [Turns].
     */
    private val aside by lazy {
        val threads = ThreadFactory { Thread(it, "wxsocket-executors-again").apply { isDaemon = true } }
        ThreadPoolExecutor(4, 4, 5, TimeUnit.SECONDS, LinkedBlockingQueue(), threads).apply { allowCoreThreadTimeOut(true) }
    }

    private fun now() = System.nanoTime() - zero

    /** True: it was shut down, and begins nothing any more. */
    private fun isOver(executor: Executor): Boolean =
        try {
            (executor as? ExecutorService)?.isTerminated == true
        } catch (_: Exception) {
            // It is the app's own code, and those that are looked at next must not suffer from it.
            false
        }

    /** How long a turn waits at this level, in nanoseconds, before it is given again. */
    private fun timeAt(level: Int) = minOf(FIRST_NS shl level, LONGEST_NS)

    /** False: [executor] did not take the turn, which is to be carried out here. */
    fun give(delivery: Delivery, executor: Executor): Boolean {
        var errand: Errand? = null
        try {
            // One that discards what comes too late does not say so.
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

    /** As [give], by another thread than the caller's; [otherwise] is called if the executor did not take it. */
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
            // Whoever gives something after this line wakes this thread.
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
            // What woke it is looked at a while later, together with all that comes until then.
            if (now() < next) {
                nextLook = now() + LOOK_NS
                LockSupport.parkNanos(this, LOOK_NS)
            }
        }
    }

    /** A turn for [executor] to carry out; whoever claims it does it, and nobody else. */
    private class Errand(private val delivery: Delivery, private val executor: Executor) : Runnable {
        private val claimed = AtomicBoolean()
        private val given = now()

        // The rest is the watching thread's.
        private var level = delivery.patience
        private var offered = given
        private var due = given + LOOK_NS

        private fun claim(): Boolean = claimed.compareAndSet(false, true).also { if (it) waiting -= this }

        /** Gives it to the executor. False: the executor did not take it, and the caller has claimed it. */
        fun offer(): Boolean =
            try {
                executor.execute(this)
                true
            } catch (e: Throwable) {
                // It may have done it all the same, or be about to.
                val isOurs = claim()
                // It was shut down, or is broken. Those who wait for the end must hear of it all the same.
                complain(Level.WARNING, e) { "the app's executor takes no more events" }
                !isOurs
            }

        /** Looks if it is time to. When the next look is due. */
        fun look(now: Long): Long {
            if (now < due) return due
            if (isOver(executor)) {
                if (claim()) {
                    // Its events are still there, and the next turn finds nobody to give them to.
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
            // The turn goes on: no more events are taken out of the engine for one that is stuck.
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
