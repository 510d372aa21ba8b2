package dev.wxsocket

import dev.wxsocket.ffi.endTurn
import dev.wxsocket.ffi.wakeTask
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.Executor
import java.util.concurrent.RejectedExecutionException
import java.util.concurrent.atomic.AtomicInteger
import java.util.logging.Level
import java.util.logging.Logger

internal val log: Logger = Logger.getLogger("dev.wxsocket")

/**
 * The threads that take events out of the engine, for all tasks: daemons, so that the JVM ends
 * with the app's `main`, and few, whatever the number of tasks.
 *
 * Each asks the engine for the next *turn*: one task and a batch of its events. While a turn
 * lasts the engine gives that task to no other thread, which keeps its events in order and, if
 * the turn takes long, its socket unread. One thread more than are busy always waits, so that a
 * listener that blocks keeps nobody else waiting.
 *
 * What chose this (`bindings/kotlin/bench path`, two busy cores, JDK 17, JNA 5.19):
 *
 * | | flood of 32 B, us a message | echo of 20 B, p50 us | threads |
 * |---|---|---|---|
 * | turns, with the calls of [Engine] | 0.16 | 71 | 2, and 1 per listener that blocks |
 * | a thread per task that pulls, generated code | 0.26 | 103 | 1 per task |
 * | callback interface, thread initializer set | 34 | 145 | the engine's, attached |
 */
internal object Turns {
    /** These wait for ever; with one they would be made and ended all the time. */
    private const val KEPT = 2

    /** With this many listeners blocked at once, the next task waits after all. */
    private const val MOST = 256

    /** How long a thread beyond [KEPT] waits for work. */
    private const val SPARE_MS = 5_000L
    private const val BATCH = 256

    private val deliveries = ConcurrentHashMap<Long, Delivery>()
    private val threads = AtomicInteger()
    private val waiting = AtomicInteger()

    /** Ends the turn that a task joined with: now there is somebody for the next ones. */
    fun begin(delivery: Delivery) {
        add(delivery)
        endTurn(delivery.number, true)
    }

    fun add(delivery: Delivery) {
        deliveries[delivery.number] = delivery
        if (threads.get() == 0) addThread()
    }

    fun remove(delivery: Delivery) {
        deliveries.remove(delivery.number)
    }

    /** Asks for a turn, even of a task that is over. */
    fun wake(delivery: Delivery) {
        add(delivery)
        wakeTask(delivery.number)
    }

    private fun addThread() {
        if (threads.incrementAndGet() > MOST) {
            threads.decrementAndGet()
            return
        }
        Thread(::serve, "wxsocket-events").apply { isDaemon = true }.start()
    }

    private fun serve() {
        val turn = Turn()
        var done = 0L
        while (true) {
            val spare = threads.get() > KEPT
            waiting.incrementAndGet()
            try {
                turn.next(done, BATCH, if (spare) SPARE_MS else Long.MAX_VALUE)
            } catch (e: OutOfMemoryError) {
                // That turn is lost, and its task with it; the others' are not.
                log.log(Level.SEVERE, "no memory for the events of a socket", e)
                waiting.decrementAndGet()
                done = 0
                continue
            }
            done = 0
            if (waiting.decrementAndGet() == 0 && turn.task != 0L) addThread()
            if (turn.task == 0L) {
                val left = threads.decrementAndGet()
                if (left >= KEPT) return
                threads.incrementAndGet()
                continue
            }
            val delivery = deliveries[turn.task]
            if (delivery == null) {
                done = turn.task
                continue
            }
            try {
                delivery.enter(turn)
                done = run(delivery)
            } catch (e: Throwable) {
                // Nothing of the app's gets here; one task's bug must not be every task's.
                log.log(Level.SEVERE, "a turn failed", e)
                done = turn.task
            }
        }
    }

    /** Has a turn carried out, here or where the app wants it. The task whose turn is over, or 0. */
    private fun run(delivery: Delivery): Long {
        val executor = delivery.executor
        if (executor != null) {
            try {
                executor.execute { if (delivery.run()) endTurn(delivery.number, false) }
                return 0
            } catch (e: RejectedExecutionException) {
                // It was shut down. Those who wait for the end must hear of it all the same.
                log.log(Level.WARNING, "the app's executor takes no more events", e)
            }
        }
        return if (delivery.run()) delivery.number else 0
    }
}

/** Where listeners are called if the app does not say; `null`: on the threads of [Turns]. */
internal fun defaultExecutor(): Executor? =
    // The class is in the AAR only; elsewhere nobody asks for it.
    if (System.getProperty("java.vm.name") == "Dalvik") dev.wxsocket.android.MainThread else null
