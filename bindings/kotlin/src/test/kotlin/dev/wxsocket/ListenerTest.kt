package dev.wxsocket

import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executors
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import java.util.logging.Level
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** Who is told what, where, and what a listener can break: nothing. */
class ListenerTest {
    // Failing listeners are logged with their stack; the tests make many.
    @BeforeEach fun quiet() { log.level = Level.OFF }

    @AfterEach fun loud() { log.level = null }

    @Test
    fun `late listeners get the open and the end that they missed, once`() = withServer { server ->
        val it = record(server.url())
        it.expect<OpenEvent>()
        val opens = LinkedBlockingQueue<OpenEvent>()
        it.task.onOpen { opens += it }
        assertEquals(1, opens.take1().epoch)
        it.task.send("after")
        it.expect<MessageEvent>()
        assertTrue(opens.isEmpty(), "told once")
        it.task.close(3000, "end")
        it.expect<CloseEvent>()
        val closes = LinkedBlockingQueue<CloseEvent>()
        it.task.onClose { closes += it }
        it.task.onOpen { opens += it }
        it.task.onClose { closes += it }
        assertEquals(listOf(3000, 3000), List(2) { closes.take1().code })
        assertTrue(opens.isEmpty(), "it is not open any more")
    }

    @Test
    fun `messages of a connection that is over are gone for a late listener`() = withServer(
        """[{"rules": [{"on": "open", "do": [{"send": "1"}, {"send": "2"}, "drop"]}]},
            {"rules": [{"on": "open", "do": {"send": "3"}}]}]""",
    ) { server ->
        val opens = LinkedBlockingQueue<OpenEvent>()
        val task = connectSocket(server.url()) {
            comeBackFast()
            onOpen { opens += it }
        }
        while (opens.take1().epoch < 2) Unit
        val got = LinkedBlockingQueue<String>()
        task.onMessage { got += it.text }
        assertEquals("3", got.take1())
        assertEquals(2, task.stats.messagesDiscarded)
        val late = LinkedBlockingQueue<String>()
        task.onMessage { late += it.text }
        task.send("4")
        assertEquals("4", got.take1())
        assertEquals("4", late.take1())
        task.close()
    }

    @Test
    fun `of what nobody hears the newest is kept, and little`() {
        fun hear(count: Int, size: Int, expected: List<Int>) = withServer(
            """[{"rules": [{"on": {"text": "go"}, "do": [${(1..count).joinToString { """{"send": "${"$it".padEnd(size)}"}""" }}]}]}]""",
        ) { server ->
            val opened = CountDownLatch(1)
            val task = connectSocket(server.url()) {
                onOpen { opened.countDown() }
                onError {}
                onClose {}
            }
            assertTrue(opened.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
            task.send("go")
            until("message $count") { task.stats.messagesIn == count.toLong() }
            val got = LinkedBlockingQueue<Int>()
            task.onMessage { got += it.text!!.trimEnd().toInt() }
            assertEquals(expected, List(expected.size) { got.take1() })
            assertEquals(count - expected.size.toLong(), task.stats.messagesDiscarded)
            val late = LinkedBlockingQueue<Int>()
            task.onMessage { late += it.text!!.toInt() }
            task.send("0")
            assertEquals(listOf(0, 0), listOf(got.take1(), late.take1()), "the second one gets nothing old")
            task.close()
        }
        hear(300, 0, (45..300).toList())
        hear(100, 100 * 1024, (91..100).toList())
    }

    @Test
    fun `off removes one or all, and only of its kind`() = withServer { server ->
        val it = record(server.url())
        it.expect<OpenEvent>()
        val got = LinkedBlockingQueue<String>()
        val first = { event: MessageEvent -> got.add("first " + event.text); Unit }
        val second = { event: MessageEvent -> got.add("second " + event.text); Unit }
        it.task.onMessage(first)
        it.task.onMessage(second)
        it.task.send("a")
        assertEquals(listOf("first a", "second a"), List(2) { got.take1() })
        it.task.offMessage(first)
        it.task.offOpen(null)
        it.task.send("b")
        assertEquals("second b", got.take1())
        it.expect<MessageEvent>()
        it.expect<MessageEvent>()
        it.task.offMessage()
        it.task.send("c")
        it.task.close()
        it.expect<CloseEvent>()
        assertTrue(got.isEmpty())
    }

    @Test
    fun `off finds a listener whatever the turns are at`() = withServer { server ->
        val it = record(server.url())
        it.expect<OpenEvent>()
        // Each has turns of its own going on while the other one comes and goes.
        val removed = AtomicInteger()
        List(2) { _ ->
            thread {
                repeat(20_000) { _ ->
                    val listener = { _: MessageEvent -> removed.incrementAndGet(); Unit }
                    it.task.onMessage(listener)
                    it.task.offMessage(listener)
                }
            }
        }.forEach(Thread::join)
        it.task.send("anybody?")
        assertEquals("anybody?", it.expect<MessageEvent>().text)
        it.task.close()
        it.expect<CloseEvent>()
        assertEquals(0, removed.get(), "of those that were taken off")
    }

    @Test
    fun `a listener that throws harms nothing, whatever it throws`() = withServer { server ->
        val failures = listOf(
            IllegalStateException("x"), AssertionError("y"), NotImplementedError(), StackOverflowError(),
        )
        var next = 0
        val it = record(server.url()) {
            onOpen { throw failures[0] }
            onMessage { throw failures[next++ % failures.size] }
            onClose { throw failures[1] }
        }
        it.expect<OpenEvent>()
        repeat(8) { n ->
            it.task.send("$n")
            assertEquals("$n", it.expect<MessageEvent>().text)
        }
        it.task.close()
        it.expect<CloseEvent>()
        assertEquals(10, it.task.stats.listenerFailures)
    }

    @Test
    fun `a listener that blocks keeps no other task waiting`() = withServer { server ->
        val release = CountDownLatch(1)
        val blocked = CountDownLatch(8)
        val slow = List(8) {
            connectSocket(server.url()).apply {
                onOpen {
                    blocked.countDown()
                    release.await()
                }
            }
        }
        assertTrue(blocked.await(PATIENCE_MS, TimeUnit.MILLISECONDS), "all eight block at once")
        val it = record(server.url())
        it.expect<OpenEvent>()
        it.task.send("through")
        assertEquals("through", it.expect<MessageEvent>().text)
        release.countDown()
        (slow + it.task).forEach { it.close() }
    }

    @Test
    fun `listeners that block and a quiet time leave a thread for the others`() = withServer { server ->
        val spareMs = Turns.spareMs
        Turns.spareMs = 20
        val release = CountDownLatch(1)
        val blocked = CountDownLatch(2)
        val slow = List(2) {
            connectSocket(server.url()) {
                onOpen {
                    blocked.countDown()
                    release.await()
                }
            }
        }
        try {
            assertTrue(blocked.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
            // Many times as long as a thread without work stays.
            Thread.sleep(1_000)
            val it = record(server.url())
            it.expect<OpenEvent>()
            it.task.close()
            it.expect<CloseEvent>()
        } finally {
            Turns.spareMs = spareMs
            release.countDown()
            slow.forEach { it.close() }
        }
    }

    @Test
    fun `the threads are few, named, and daemons`() = withServer { server ->
        untilFewThreads()
        val threads = LinkedBlockingQueue<Thread>()
        val tasks = List(50) {
            connectSocket(server.url()).apply {
                onOpen { send("x") }
                onMessage { threads += Thread.currentThread() }
            }
        }
        val seen = List(50) { threads.take1() }.toSet()
        assertTrue(seen.all { it.isDaemon && it.name == "wxsocket-events" }, "$seen")
        // Two, and those that a moment of many busy listeners has added.
        assertTrue(seen.size < 20, "${seen.size} threads")
        tasks.forEach { it.close() }
    }

    @Test
    fun `listeners are called on the executor of the options`() = withServer { server ->
        val executor = Executors.newSingleThreadExecutor { Thread(it, "the app's") }
        val threads = LinkedBlockingQueue<String>()
        val task = connectSocket(server.url()) { this.executor = executor }
        task.onOpen { threads += Thread.currentThread().name; task.send("x") }
        task.onMessage { threads += Thread.currentThread().name }
        task.onClose { threads += Thread.currentThread().name }
        assertEquals(listOf("the app's", "the app's"), List(2) { threads.take1() })
        task.close()
        assertEquals("the app's", threads.take1())

        // An executor that has been shut down takes nothing; the end is told all the same.
        val orphan = connectSocket(server.url()) { this.executor = executor }
        executor.shutdown()
        val closes = LinkedBlockingQueue<CloseEvent>()
        orphan.onClose { closes += it }
        orphan.close()
        assertEquals(1000, closes.take1().code)
    }
}
