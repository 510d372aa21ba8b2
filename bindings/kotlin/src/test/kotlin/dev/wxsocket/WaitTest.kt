package dev.wxsocket

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executor
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.atomic.AtomicReference
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertTrue

/** Waiters, the state and collectors depend neither on each other nor on the app's executor. */
class WaitTest {
    private fun <T> soon(block: suspend CoroutineScope.() -> T): T = runBlocking { withTimeout(PATIENCE_MS, block) }

    /** An executor that begins nothing until it is free. */
    private class Busy : Executor {
        private val held = ArrayList<Runnable>()
        private var isFree = false

        val given: Int get() = synchronized(held) { held.size }

        override fun execute(command: Runnable) {
            synchronized(held) { if (!isFree) return held.plusAssign(command) }
            command.run()
        }

        fun free() {
            synchronized(held) { isFree = true }
            held.forEach(Runnable::run)
        }
    }

    @Test
    fun `awaitOpen and awaitClosed return on the thread of the executor`() = withServer { server ->
        val main = Executors.newSingleThreadExecutor()
        val codes = main.submit<Int> {
            val task = connectSocket(server.url()) {
                executor = main
                onOpen {}
                onClose {}
            }
            soon { task.awaitOpen() }
            task.close(3000)
            soon { task.awaitClosed() }.code
        }
        assertEquals(3000, codes.get(2 * PATIENCE_MS, TimeUnit.MILLISECONDS))
        main.shutdown()
    }

    @Test
    fun `a collector does not need the executor`() = withServer("""[{"rules": [{"on": "open", "do": {"send": "1"}}]}]""") { server ->
        val busy = Busy()
        val alone = connectSocket(server.url()) { executor = busy }
        assertEquals("1", soon { "${alone.messages.first()}" })
        assertEquals(0, busy.given, "there is nothing for listeners")
        alone.close()
        // With a listener that waits for the executor, and one that does not want what comes.
        for (wants in listOf(true, false)) {
            val task = connectSocket(server.url()) {
                executor = busy
                if (wants) onMessage {} else onClose {}
            }
            assertEquals("1", soon { "${task.messages.first()}" })
            task.close()
            soon { task.awaitClosed() }
        }
        busy.free()
    }

    @Test
    fun `whoever closes and waits for the end inside a collector goes on`() = withServer(
        """[{"rules": [{"on": {"text": "go"}, "do": [{"send": "bye"}, {"flood": {"count": 3000, "bytes": 20}}]}]}]""",
    ) { server ->
        val task = connectSocket(server.url()) { heartbeat { enabled = false } }
        val code = soon {
            async(Dispatchers.IO) {
                var code = 0
                task.send("go")
                task.messages.collect {
                    if (code != 0) return@collect
                    until("flood") { task.stats.messagesIn >= 1000 }
                    task.close(3000)
                    code = task.awaitClosed().code
                }
                code
            }.await()
        }
        assertEquals(3000, code)
    }

    @Test
    fun `state and waiters are told although a collector or a listener is stuck`() = withServer { server ->
        val release = CountDownLatch(1)
        for (isListener in listOf(true, false)) {
            server.setScript(
                """[{"rules": [{"on": {"text": "go"}, "do": [{"flood": {"count": 1000, "bytes": 20}}, "drop"]}]}, {"handshake": "refuse"}]""",
            )
            val stuck = CountDownLatch(1)
            val closes = AtomicInteger()
            val task = connectSocket(server.url()) {
                heartbeat { enabled = false }
                comeBackFast(2)
                onClose { closes.incrementAndGet() }
                if (isListener) {
                    onMessage {
                        stuck.countDown()
                        release.await()
                    }
                }
            }
            soon {
                val collecting = launch(Dispatchers.IO) {
                    if (!isListener) {
                        task.messages.collect {
                            stuck.countDown()
                            awaitCancellation()
                        }
                    }
                }
                task.awaitOpen()
                task.send("go")
                stuck.await()
                assertEquals(1006, task.awaitClosed().code)
                assertEquals(SocketState.Closed, task.state.first { it == SocketState.Closed })
                if (isListener) release.countDown()
                collecting.cancelAndJoin()
            }
            until("closes") { closes.get() == 3 }
        }
    }

    @Test
    fun `an open that is over at once is awaited too`() = withServer(
        """[{"handshake": "refuse"}, {"rules": [{"on": "open", "do": "drop"}]}, {"handshake": "refuse"}]""",
    ) { server ->
        val waits = CountDownLatch(1)
        val task = connectSocket(server.url()) {
            comeBackFast(2)
            beforeConnect { _, _, _ ->
                waits.await()
                ConnectDecision.Proceed
            }
        }
        val opened = CoroutineScope(Dispatchers.IO).async(start = CoroutineStart.UNDISPATCHED) { task.awaitOpen() }
        waits.countDown()
        assertEquals(2, soon { opened.await() }.epoch)
        val end = soon { task.awaitClosed() }
        val why = assertThrows<WxException.Ended> { soon { task.awaitOpen() } }
        assertEquals(end, why.close)
        assertEquals(end.epoch, why.error?.epoch)
    }

    @Test
    fun `a hook that suspends is cancelled at the end, whatever listeners do`() = withServer { server ->
        val asked = CountDownLatch(1)
        val cancelled = CountDownLatch(1)
        val busy = Busy()
        val task = connectSocket(server.url()) {
            executor = busy
            onClose {}
            beforeConnect { _, _, _ ->
                asked.countDown()
                try {
                    awaitCancellation()
                } finally {
                    cancelled.countDown()
                }
            }
        }
        assertTrue(asked.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
        val waiting = CoroutineScope(Dispatchers.IO).async(start = CoroutineStart.UNDISPATCHED) { task.awaitClosed() }
        task.close()
        assertTrue(cancelled.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
        assertEquals(1000, soon { waiting.await() }.code)
        busy.free()
    }

    @Test
    fun `the state does not wait for a collector of it that is told at once`() {
        val news = News(SocketState.Connecting(0)) {}
        val stuck = CountDownLatch(1)
        val free = CountDownLatch(1)
        val known = AtomicReference<SocketState>()
        val collecting = CoroutineScope(Dispatchers.Unconfined).launch {
            news.state.collect {
                if (it != SocketState.Open) return@collect
                known.set(news.known.state)
                stuck.countDown()
                free.await()
            }
        }
        val first = thread { news.tell(2, Bulletin(SocketState.Open)) }
        assertTrue(stuck.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
        val second = thread {
            news.stand(3, SocketState.Closing)
            news.tell(4, Bulletin(SocketState.Closed))
        }
        second.join(PATIENCE_MS)
        val isWaiting = second.isAlive
        free.countDown()
        assertEquals(SocketState.Open, known.get(), "what is known goes with the state")
        assertFalse(isWaiting, "it waits for the collector")
        assertEquals(SocketState.Closed, news.state.value)
        assertEquals(SocketState.Closed, news.known.state)
        first.join()
        collecting.cancel()
    }

    @Test
    fun `whoever blocks where it is told at once keeps no other task waiting`() = withServer { server ->
        val free = CountDownLatch(1)
        val blocked = CountDownLatch(20)
        val begin = CountDownLatch(1)
        try {
            val tasks = List(20) { n ->
                // Nobody is open before somebody waits: it would be this thread that blocks.
                val task = connectSocket(server.url()) {
                    beforeConnect { _, _, _ ->
                        begin.await()
                        ConnectDecision.Proceed
                    }
                }
                CoroutineScope(Dispatchers.Unconfined).launch {
                    if (n % 2 == 0) task.awaitOpen() else task.state.first { it == SocketState.Open }
                    blocked.countDown()
                    free.await()
                }
                task
            }
            begin.countDown()
            assertTrue(blocked.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
            val other = connectSocket(server.url())
            soon {
                other.awaitOpen()
                for (task in tasks) {
                    task.close()
                    task.awaitClosed()
                    assertEquals(SocketState.Closed, task.state.value)
                }
            }
            other.close()
        } finally {
            free.countDown()
        }
        untilFewThreads()
    }

    @Test
    fun `an older state never takes the place of a newer one`() {
        val news = News(SocketState.Connecting(0)) {}
        news.tell(2, Bulletin(SocketState.Open))
        news.stand(1, SocketState.Connecting(1))
        assertEquals(SocketState.Open, news.state.value)
        news.stand(4, SocketState.Closed)
        news.tell(3, Bulletin(SocketState.Open))
        assertEquals(SocketState.Closed, news.state.value)
        news.tell(4, Bulletin(SocketState.Closed))
        news.tell(3, Bulletin(SocketState.Open))
        assertEquals(SocketState.Closed, news.known.state)
    }
}
