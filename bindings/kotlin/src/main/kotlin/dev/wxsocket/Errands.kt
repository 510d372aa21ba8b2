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
 * begun after [FIRST_NS] is taken back and given to the executor again, which has a place for it now
 * or is stuck; each time in a row it has twice as long, at most [LONGEST_NS], so that the queue of
 * one that is stuck hardly grows. A turn that was taken back does nothing when it is begun after all.
 */
internal object Errands {
    /** Between two looks. */
    private const val LOOK_NS = 500_000_000L
    private const val FIRST_NS = 2_000_000_000L
    private const val LONGEST_NS = 300_000_000_000L

    /** Shorter than this, a main thread may be busy at the start of an app. */
    private const val WORTH_A_LINE_NS = 8_000_000_000L

    private val waiting: MutableSet<Errand> = ConcurrentHashMap.newKeySet()

    @Volatile private var idle = false

    /** It waits for as long as there is nothing to look at: an idle process must not wake. */
    private val watch by lazy { thread(isDaemon = true, name = "wxsocket-executors") { look() } }

    /**
     * Offers turns a second time. An executor may block whoever gives it something, or carry it out
     * in the caller's thread, so it is not done by the one that watches.
     */
    private val again by lazy {
        val threads = ThreadFactory { Thread(it, "wxsocket-executors-again").apply { isDaemon = true } }
        ThreadPoolExecutor(4, 4, 5, TimeUnit.SECONDS, LinkedBlockingQueue(), threads).apply { allowCoreThreadTimeOut(true) }
    }

    /** False: [executor] did not take the turn, which is to be carried out here. */
    fun give(delivery: Delivery, executor: Executor): Boolean {
        val service = executor as? ExecutorService
        // One that discards what comes too late does not say so.
        if (service?.isTerminated == true) return false
        val errand = Errand(delivery, executor)
        try {
            waiting += errand
            val watch = watch
            if (idle) LockSupport.unpark(watch)
            executor.execute(errand)
            return true
        } catch (e: Throwable) {
            // It may have done it all the same, or be about to.
            val isOurs = errand.claim()
            // It was shut down, or is broken. Those who wait for the end must hear of it all the same.
            complain(Level.WARNING, e) { "the app's executor takes no more events" }
            return !isOurs
        }
    }

    private fun look() {
        while (true) {
            idle = true
            // Whoever comes after this line sees that it is idle.
            if (waiting.isEmpty()) LockSupport.park(this)
            idle = false
            LockSupport.parkNanos(this, LOOK_NS)
            try {
                waiting.forEach { it.look() }
            } catch (e: Throwable) {
                complain(Level.SEVERE, e) { "the app's executors cannot be watched" }
            }
        }
    }

    /** A turn for [executor] to carry out; whoever claims it does it, and nobody else. */
    private class Errand(private val delivery: Delivery, private val executor: Executor) : Runnable {
        private val claimed = AtomicBoolean()
        private val given = System.nanoTime()
        private val patience = minOf(FIRST_NS shl minOf(delivery.notBegun, 10), LONGEST_NS)

        fun claim(): Boolean = claimed.compareAndSet(false, true).also { if (it) waiting -= this }

        fun look() {
            val isLost = (executor as? ExecutorService)?.isTerminated == true
            val isLate = System.nanoTime() - given > patience
            if (!isLost && !isLate || !claim()) return
            if (isLost) {
                // Its events are still there, and the next turn finds nobody to give them to.
                delivery.putBack()
                return endTurn(delivery.number, true)
            }
            if (patience >= WORTH_A_LINE_NS) {
                val seconds = patience / 1_000_000_000
                complain(Level.WARNING, null) { "the app's executor has not begun to tell the events of a socket for $seconds s" }
            }
            delivery.notBegun++
            // The turn goes on: no more events are taken out of the engine for one that is stuck.
            again.execute { if (!give(delivery, executor) && delivery.carryOut()) endTurn(delivery.number, false) }
        }

        override fun run() {
            if (!claim()) return
            delivery.notBegun = 0
            if (delivery.carryOut()) endTurn(delivery.number, false)
        }
    }
}
