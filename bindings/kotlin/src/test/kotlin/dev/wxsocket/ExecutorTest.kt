package dev.wxsocket

import dev.wxsocket.testing.ffi.ScriptedServer
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import java.lang.management.ManagementFactory
import java.nio.BufferUnderflowException
import java.util.concurrent.BlockingQueue
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executor
import java.util.concurrent.Executors
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
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

    /** Tells when it has been given something; its only thread is busy until it is freed or shut down. */
    private class Busy(queue: BlockingQueue<Runnable> = LinkedBlockingQueue()) : ThreadPoolExecutor(1, 1, 0, TimeUnit.SECONDS, queue) {
        val given = CountDownLatch(2)
        val free = CountDownLatch(1)

        init {
            execute {
                try {
                    free.await()
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
    fun `an executor that drops a turn without a word is asked again`() = withServer { server ->
        // What comes while its thread is busy is discarded, as a handler's queue that is emptied.
        for (isPlain in listOf(false, true)) {
            val executor = Busy(SynchronousQueue()).apply { rejectedExecutionHandler = ThreadPoolExecutor.DiscardPolicy() }
            val it = record(server.url()) { this.executor = if (isPlain) Executor(executor::execute) else executor }
            assertTrue(executor.given.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
            executor.free.countDown()
            it.expect<OpenEvent>()
            it.task.send("x")
            assertEquals("x", it.expect<MessageEvent>().text)
            it.task.close()
            it.expect<CloseEvent>()
            assertTrue(it.isEmpty, "everything was told once")
            executor.shutdown()
        }
    }

    @Test
    fun `a stuck executor is not buried in turns`() = withServer { server ->
        val given = LinkedBlockingQueue<Runnable>()
        val it = record(server.url()) { executor = Executor(given::add) }
        val turns = List(2) { given.take1() }
        assertTrue(it.isEmpty)
        assertEquals(null, given.poll(2, TimeUnit.SECONDS), "it has twice as long the next time")
        turns.forEach(Runnable::run)
        // The turn may have been one without events.
        val rest = Thread { while (true) given.take().run() }.apply { isDaemon = true }
        rest.start()
        it.expect<OpenEvent>()
        assertTrue(it.isEmpty, "the first one was taken back")
        it.task.close()
        it.expect<CloseEvent>()
    }

    @Test
    fun `an executor that is always late is given each turn once`() = withServer { server ->
        val late = Executors.newScheduledThreadPool(1)
        val given = AtomicInteger()
        val it = record(server.url()) {
            heartbeat { enabled = false }
            executor = Executor { turn ->
                given.incrementAndGet()
                late.schedule(turn, 3, TimeUnit.SECONDS)
            }
        }
        it.expect<OpenEvent>()
        val before = given.get()
        repeat(3) { n ->
            it.task.send("$n")
            assertEquals("$n", it.expect<MessageEvent>().text)
        }
        // Each message in a turn of its own, and perhaps one turn without events.
        assertTrue(given.get() - before <= 4, "3 turns were given ${given.get() - before} times")
        it.task.close()
        it.expect<CloseEvent>()
        late.shutdown()
    }

    @Test
    fun `an executor that drops everything is looked at more and more rarely`() {
        val heard = fork("-Xmx64m", Dropped::class.java.name)
        val looks = heard.lines().single { it.startsWith("HEARD ") }.removePrefix("HEARD ").toInt()
        assertTrue(looks <= 8, "$looks looks in 14 s\n$heard")
    }

    @Test
    fun `a thread that cannot take a turn lives on`() {
        val failures = CountDownLatch(3)
        val next = CountDownLatch(1)
        Turns.addThread(object : Turn() {
            override fun take(maxEvents: Int, waitMs: Long): Boolean {
                if (failures.count > 0) {
                    failures.countDown()
                    throw BufferUnderflowException()
                }
                next.countDown()
                return super.take(maxEvents, waitMs)
            }
        })
        assertTrue(next.await(PATIENCE_MS, TimeUnit.MILLISECONDS), "it waits for the next one")
    }
}

/** An executor that never begins anything; how often that is looked at between the third second and the 17th. */
object Dropped {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val server = ScriptedServer("[]")
        val task = connectSocket(server.url()) {
            heartbeat { enabled = false }
            executor = Executor { }
            onOpen { }
        }
        runBlocking { task.awaitOpen() }
        Thread.sleep(3_000)
        val before = looks()
        Thread.sleep(14_000)
        println("HEARD ${looks() - before}")
        task.close()
        Runtime.getRuntime().halt(0)
    }

    private fun looks(): Long {
        val watch = Thread.getAllStackTraces().keys.single { it.name == "wxsocket-executors" }
        return ManagementFactory.getThreadMXBean().getThreadInfo(watch.id).waitedCount
    }
}
