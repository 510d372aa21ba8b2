package dev.wxsocket

import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import java.nio.BufferUnderflowException
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executor
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.logging.Level
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** Whatever the app's executor does with a turn, its task is told everything, once. */
class ExecutorTest {
    @BeforeEach fun quiet() { log.level = Level.OFF }

    @AfterEach fun loud() { log.level = null }

    private fun talk(url: String, executor: Executor) {
        val it = record(url) { this.executor = executor }
        it.expect<OpenEvent>()
        repeat(3) { n ->
            it.task.send("$n")
            assertEquals("$n", it.expect<MessageEvent>().text)
        }
        it.task.close()
        it.expect<CloseEvent>()
        assertTrue(it.isEmpty)
    }

    @Test
    fun `an executor may throw anything`() = withServer { server ->
        for (thrown in listOf(IllegalStateException(), AssertionError(), OutOfMemoryError("no thread"))) {
            talk(server.url()) { throw thrown }
            talk(server.url()) {
                it.run()
                throw thrown
            }
        }
    }

    /** Tells when it has been given something; its only thread is busy until it is shut down. */
    private class Busy : ThreadPoolExecutor(1, 1, 0, TimeUnit.SECONDS, LinkedBlockingQueue()) {
        val given = CountDownLatch(2)

        init {
            execute {
                try {
                    CountDownLatch(1).await()
                } catch (_: InterruptedException) {
                    // Shut down.
                }
            }
        }

        override fun execute(command: Runnable) {
            super.execute(command)
            given.countDown()
        }
    }

    @Test
    fun `a turn that is lost with its executor is carried out all the same`() = withServer { server ->
        for (policy in listOf(ThreadPoolExecutor.AbortPolicy(), ThreadPoolExecutor.DiscardPolicy())) {
            val executor = Busy().apply { rejectedExecutionHandler = policy }
            val it = record(server.url()) { this.executor = executor }
            assertTrue(executor.given.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
            assertTrue(it.isEmpty, "the executor has not begun")
            val lost = executor.shutdownNow()
            it.expect<OpenEvent>()
            it.task.close()
            assertEquals(1000, runBlocking { withTimeout(PATIENCE_MS) { it.task.awaitClosed() } }.code)
            it.expect<CloseEvent>()
            lost.forEach(Runnable::run)
            assertTrue(it.isEmpty, "everything was told once")
        }
        val watch = Thread.getAllStackTraces().keys.single { it.name == "wxsocket-executors" }
        val deadline = System.nanoTime() + PATIENCE_MS * 1_000_000
        while (watch.state != Thread.State.WAITING) {
            assertTrue(System.nanoTime() < deadline, "it still looks: ${watch.state}")
            Thread.sleep(5)
        }
    }

    @Test
    fun `a thread that cannot take a turn lives on`() {
        val failures = CountDownLatch(3)
        val next = CountDownLatch(1)
        Turns.addThread(object : Turn() {
            override fun take(done: Long, maxEvents: Int, waitMs: Long): Boolean {
                if (failures.count > 0) {
                    failures.countDown()
                    throw BufferUnderflowException()
                }
                next.countDown()
                return super.take(done, maxEvents, waitMs)
            }
        })
        assertTrue(next.await(PATIENCE_MS, TimeUnit.MILLISECONDS), "it waits for the next one")
    }
}
