package dev.wxsocket

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.GlobalScope
import kotlinx.coroutines.DelicateCoroutinesApi
import kotlinx.coroutines.Job
import kotlinx.coroutines.async
import kotlinx.coroutines.cancel
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.yield
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.lang.ref.WeakReference
import java.util.concurrent.CyclicBarrier
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.atomic.AtomicInteger
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** Messages one by one, a task that ends with a scope, and the other short cuts. */
class ReceiveTest {
    private fun <T> test(block: suspend CoroutineScope.() -> T): T = runBlocking { withTimeout(PATIENCE_MS) { block() } }

    private suspend fun SocketTask.receiveText(): String = assertIs<Message.Text>(receive()).text

    @Test
    fun `each call receives one message, in order, and none is lost in between`() = withServer { server ->
        test {
            val task = connectSocket(server.url())
            task.send("0")
            assertEquals("0", task.receiveText())
            for (i in 1..500) task.send("$i")
            // They are all here, or will be, before anybody asks.
            assertTrue(server.waitMessages(501u, PATIENCE_MS.toUInt()))
            for (i in 1..500) {
                assertEquals("$i", task.receiveText())
                if (i % 100 == 0) yield()
            }
            task.send(byteArrayOf(1))
            assertEquals(Message.Binary(byteArrayOf(1)), task.receive())
            task.close()
        }
    }

    @Test
    fun `a call that is cancelled takes no message`() = withServer { server ->
        test {
            val task = connectSocket(server.url())
            task.awaitOpen()
            val received = LinkedBlockingQueue<String>()
            repeat(300) { i ->
                // What an `async` returns is lost when it is cancelled at its end, so the call notes what it received.
                val call = launch(Dispatchers.Default) { received += task.receiveText() }
                task.send("$i")
                // The message comes before, while or after the call is cancelled.
                if (i % 3 == 0) yield()
                call.cancelAndJoin()
            }
            while (received.size < 300) received += task.receiveText()
            assertEquals(List(300) { "$it" }, received.toList())
            val cancelled = launch(start = CoroutineStart.UNDISPATCHED) { task.receive() }
            cancelled.cancelAndJoin()
            assertTrue(cancelled.isCancelled)
            task.close()
        }
    }

    @Test
    fun `calls at the same time get one message each`() = withServer { server ->
        test {
            val task = connectSocket(server.url())
            val calls = List(20) { async(Dispatchers.Default) { task.receiveText() } }
            repeat(20) { task.send("$it") }
            assertEquals(List(20) { "$it" }.toSet(), calls.map { it.await() }.toSet())
            task.close()
        }
    }

    @Test
    fun `it throws when the task is over, after the last message`() = withServer { server ->
        test {
            val task = connectSocket(server.url())
            task.send("last")
            assertEquals("last", task.receiveText())
            val waiting = async(start = CoroutineStart.UNDISPATCHED) { runCatching { task.receive() }.exceptionOrNull() }
            task.close(4000, "bye")
            assertEquals(4000, assertIs<WxException.Ended>(waiting.await()).close.code)
            repeat(2) { assertEquals("bye", assertThrows<WxException.Ended> { runBlocking { task.receive() } }.close.reason) }
        }
    }

    @Test
    fun `it throws the error that ended the task, also later`() = withServer("""[{"handshake": {"status": 404}}]""") { server ->
        test {
            val first = connectSocket(server.url()) { reconnect { enabled = false } }
            val ended = assertThrows<WxException.Ended> { runBlocking { first.receive() } }
            assertEquals(ended.error?.errCode, ended.errCode)
            assertEquals(first.awaitClosed(), ended.close)
            assertThrows<WxException.Ended> { runBlocking { first.receive() } }
        }
    }

    @Test
    fun `a task is freed although its messages were received, and some wait`() = withServer { server ->
        fun abandon(): WeakReference<SocketTask> = test {
            val task = connectSocket(server.url())
            task.send("a")
            task.receive()
            // More than may wait, so that a turn is under way for good.
            repeat(400) { task.send("x".repeat(1_000)) }
            assertTrue(server.waitMessages(401u, PATIENCE_MS.toUInt()))
            WeakReference(task)
        }
        val gone = abandon()
        until("end of the task") {
            System.gc()
            gone.get() == null && server.waitEnded(1u, 20u)
        }
    }

    @Test
    fun `whoever receives keeps the task`() = withServer { server ->
        test {
            val call = connectSocket(server.url()).let { task ->
                task.awaitOpen()
                async(Dispatchers.Default, CoroutineStart.UNDISPATCHED) { task.receiveText() }
            }
            repeat(5) { System.gc() }
            server.sendTextAll("still there")
            assertEquals("still there", call.await())
        }
    }

    @Test
    fun `a task closes with its scope`() = withServer { server ->
        test {
            val scope = CoroutineScope(Job())
            val task = connectSocket(server.url()).closeWith(scope)
            task.awaitOpen()
            scope.cancel()
            assertEquals(1000, task.awaitClosed().code)
            // A scope that is over already closes at once.
            assertEquals(1000, connectSocket(server.url()).closeWith(scope).awaitClosed().code)
        }
    }

    @Test
    fun `a scope keeps its task until the task is over, and no longer`() = withServer { server ->
        val scope = CoroutineScope(Job())
        fun begin(): WeakReference<SocketTask> = WeakReference(connectSocket(server.url()).closeWith(scope))
        val held = begin()
        assertTrue(server.waitConnections(1u, PATIENCE_MS.toUInt()))
        repeat(5) { System.gc() }
        checkNotNull(held.get()) { "the scope let go of it" }.close()
        until("end of the task") {
            System.gc()
            held.get() == null
        }
        scope.cancel()
    }

    @OptIn(DelicateCoroutinesApi::class)
    @Test
    fun `a scope that never ends is refused`() {
        connectSocket("ws://127.0.0.1:1").use { task -> assertThrows<IllegalArgumentException> { task.closeWith(GlobalScope) } }
    }

    @Test
    fun `headers are found in any case`() {
        val headers = listOf(Header("Content-Type", "a"), Header("content-type", "b"), Header("X", ""))
        assertEquals("a", headers.value("CONTENT-type"))
        assertEquals("", headers.value("x"))
        assertNull(headers.value("content"))
    }

    @Test
    fun `warming up may be called on any thread, again and again`() {
        assertEquals("warm", fork("-Xmx64m", "dev.wxsocket.WarmsUp").trim())
    }
}

/** Warms up on several threads at once, in a JVM that has not connected yet; then everything works, and no thread was made. */
object WarmsUp {
    @JvmStatic
    fun main(args: Array<String>) {
        val done = AtomicInteger()
        val together = CyclicBarrier(4)
        List(4) {
            thread {
                together.await()
                repeat(3) { WxSocket.warmUp() }
                done.incrementAndGet()
            }
        }.forEach(Thread::join)
        check(done.get() == 4)
        check(Thread.getAllStackTraces().keys.none { it.name.startsWith("wxsocket") })
        connectSocket("ws://127.0.0.1:1").close()
        println("warm")
    }
}
