package dev.wxsocket

import dev.wxsocket.ffi.endTurn
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.Executor
import java.util.concurrent.ExecutorService
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.locks.LockSupport
import java.util.logging.Level
import kotlin.concurrent.thread

/**
 * Turns that the app's executors were given. An `ExecutorService` may be shut down with a turn in
 * its queue, which it then never begins and nobody ends: its task would be silent for good, and
 * whoever waits for its end would wait for ever. Nothing tells of that, so a thread looks, for as
 * long as there is a turn that has not begun.
 */
internal object Errands {
    /** Until somebody notices that an executor is gone. */
    private const val LOOK_NS = 500_000_000L

    private val waiting: MutableSet<Errand> = ConcurrentHashMap.newKeySet()

    @Volatile private var idle = false

    /** It waits for as long as there is nothing to look at: an idle process must not wake. */
    private val watch by lazy { thread(isDaemon = true, name = "wxsocket-executors") { look() } }

    /** False: [executor] did not take the turn, which is to be carried out here. */
    fun give(delivery: Delivery, executor: Executor): Boolean {
        val service = executor as? ExecutorService
        // One that discards what comes too late does not say so.
        if (service?.isTerminated == true) return false
        val errand = Errand(delivery, service)
        try {
            if (service != null) {
                waiting += errand
                val watch = watch
                if (idle) LockSupport.unpark(watch)
            }
            executor.execute(errand)
            return true
        } catch (e: Throwable) {
            // It may have done it all the same, or be about to.
            val isOurs = errand.claim()
            // It was shut down, or is broken. Those who wait for the end must hear of it all the same.
            log.log(Level.WARNING, "the app's executor takes no more events", e)
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
            for (errand in waiting) {
                // Its events are still there; the next turn finds nobody to give them to.
                if (errand.isLost && errand.claim()) endTurn(errand.number, true)
            }
        }
    }

    /** A turn for [service] to carry out; whoever claims it does it, and nobody else. */
    private class Errand(private val delivery: Delivery, private val service: ExecutorService?) : Runnable {
        private val claimed = AtomicBoolean()

        val number: Long get() = delivery.number
        val isLost: Boolean get() = service?.isTerminated == true

        fun claim(): Boolean = claimed.compareAndSet(false, true).also { if (it) waiting -= this }

        override fun run() {
            if (claim() && delivery.carryOut()) endTurn(number, false)
        }
    }
}
