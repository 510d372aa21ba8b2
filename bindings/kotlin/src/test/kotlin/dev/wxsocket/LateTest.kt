package dev.wxsocket

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.lang.ref.WeakReference
import java.util.concurrent.CountDownLatch
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicReference
import kotlin.test.assertEquals
import kotlin.test.assertIs
import kotlin.test.assertTrue

/** What those hear who come before, during and after what happens. */
class LateTest {
    private val scope = CoroutineScope(Dispatchers.IO + SupervisorJob())

    private fun <T> result(deferred: Deferred<T>): T = runBlocking { withTimeout(PATIENCE_MS) { deferred.await() } }

    private fun numbers(count: Int) = (1..count).joinToString { """{"send": "$it"}""" }

    @Test
    fun `a flood with nobody there is not lost to the first who comes`() {
        val script = """[{"rules": [{"on": "open", "do": [{"send": "bye"}, {"flood": {"count": 3000, "bytes": 20}}]}]}]"""
        fun flood(hear: (SocketTask) -> List<String>) = withServer(script) { server ->
            val task = connectSocket(server.url()) { heartbeat { enabled = false } }
            // As much as the engine takes without anybody who listens.
            until("flood") { task.stats.messagesIn >= 1000 }
            val heard = hear(task)
            assertEquals(3001 to "bye", heard.size to heard.first())
            assertEquals(0, task.stats.messagesDiscarded)
            task.close()
        }
        flood { task -> result(scope.async { task.messages.take(3001).toList().map { "$it" } }) }
        flood { task ->
            val got = LinkedBlockingQueue<String>()
            task.onMessage { got += it.text }
            List(3001) { got.take1() }
        }
    }

    @Test
    fun `the first collector hears connections that are over`() = withServer(
        """[{"rules": [{"on": "open", "do": [{"send": "1"}, "drop"]}]}, {"rules": [{"on": "open", "do": {"send": "2"}}]}]""",
    ) { server ->
        val task = connectSocket(server.url()) { comeBackFast() }
        until("second connection") { task.stats.messagesIn == 2L }
        val kinds = result(scope.async { task.events.take(6).toList() }).map { it::class.simpleName + it.epoch }
        assertEquals(
            listOf("OpenEvent1", "MessageEvent1", "ErrorEvent1", "CloseEvent1", "OpenEvent2", "MessageEvent2"),
            kinds,
        )
        task.close()
    }

    @Test
    fun `whoever comes within a message hears the next one first`() = withServer(
        """[{"rules": [{"on": {"text": "go"}, "do": [${numbers(200)}]}]}]""",
    ) { server ->
        val task = connectSocket(server.url())
        val collected = AtomicReference<Deferred<List<String>>>()
        val late = List(3) { LinkedBlockingQueue<String>() }
        val all = LinkedBlockingQueue<String>()
        task.onMessage { event ->
            if (event.text == "1") {
                collected.set(scope.async(Dispatchers.Unconfined) { task.messages.take(199).toList().map { "$it" } })
                for (queue in late) task.onMessage { queue += it.text }
            }
            all += event.text
        }
        runBlocking { task.awaitOpen() }
        task.send("go")
        assertEquals((1..200).toList(), List(200) { all.take1().toInt() })
        for (queue in late) assertEquals((2..200).toList(), List(199) { queue.take1().toInt() })
        assertEquals((2..200).toList(), result(collected.get()).map { it.toInt() })
        task.close()
    }

    @Test
    fun `whoever comes within an open hears that open and everything after it`() = withServer(
        """[{"rules": [{"on": "open", "do": [${numbers(200)}]}]}]""",
    ) { server ->
        val opens = LinkedBlockingQueue<Long>()
        val second = LinkedBlockingQueue<Int>()
        val collected = AtomicReference<Deferred<List<SocketEvent>>>()
        lateinit var task: SocketTask
        val made = CountDownLatch(1)
        task = connectSocket(server.url()) {
            // Somebody wants the messages from the beginning.
            onMessage {}
            onOpen {
                made.await()
                task.onOpen { opens += it.epoch }
                task.onMessage { second += it.text!!.toInt() }
                collected.set(scope.async(Dispatchers.Unconfined) { task.events.take(201).toList() })
            }
        }
        // The open comes with all of the messages.
        until("messages") { task.stats.messagesIn == 200L }
        made.countDown()
        assertEquals(1, opens.take1())
        assertEquals((1..200).toList(), List(200) { second.take1() })
        val events = result(collected.get())
        assertIs<OpenEvent>(events.first())
        assertEquals((1..200).toList(), events.drop(1).map { (it as MessageEvent).text!!.toInt() })
        task.close()
        assertEquals(0, opens.size, "told once")
    }

    @Test
    fun `nothing of connections that are over is told on an open one`() = withServer(
        """[{"rules": [{"on": "open", "do": "drop"}]}, {"rules": [{"on": "open", "do": "drop"}]},
            {"rules": [{"on": "open", "do": "drop"}]}, {}]""",
    ) { server ->
        val it = record(server.url()) { comeBackFast() }
        while ((it.next() as? OpenEvent)?.epoch != 4L) Unit
        val heard = LinkedBlockingQueue<SocketEvent>()
        it.task.onError { heard += it }
        it.task.onClose { heard += it }
        it.task.onOpen { heard += it }
        assertEquals(4, assertIs<OpenEvent>(heard.take1()).epoch)
        assertIs<OpenEvent>(result(scope.async { it.task.events.first() }))
        assertTrue(heard.isEmpty(), "$heard")
        it.task.close()
        assertEquals(4, assertIs<CloseEvent>(heard.take1()).epoch)
    }

    @Test
    fun `after the end everybody hears its error and its close`() = withServer("""[{"rules": [{"on": "open", "do": "drop"}]}]""") { server ->
        val it = record(server.url()) { reconnect { enabled = false } }
        it.toTheEnd()
        val late = listOf("ErrorEvent", "CloseEvent")
        repeat(3) { _ ->
            assertEquals(late, result(scope.async { it.task.events.toList() }).map { it::class.simpleName })
            assertEquals(emptyList(), result(scope.async { it.task.messages.toList() }))
        }
        // Many at once, and one that comes while another is told.
        val heard = LinkedBlockingQueue<String>()
        repeat(20) { _ ->
            it.task.onError { heard += "error" }
            it.task.onClose { _ ->
                heard += "close"
                it.task.onClose { heard += "inner" }
            }
        }
        val words = List(60) { heard.take1() }
        assertEquals(mapOf("error" to 20, "close" to 20, "inner" to 20), words.groupingBy { it }.eachCount())
    }

    @Test
    fun `a flow in the options misses nothing, whenever it is collected`() = withServer(
        """[{"rules": [{"on": "open", "do": [{"send": "1"}, {"send": "2"}, {"close": {"code": 4000}}]}]}]""",
    ) { server ->
        val inbox: Flow<Message>
        val life: Flow<SocketEvent>
        val early: Flow<Message>
        val started = AtomicReference<Deferred<List<Message>>>()
        val over = CountDownLatch(1)
        val task = connectSocket(server.url()) {
            reconnect { enabled = false }
            inbox = messages()
            life = events()
            early = messages()
            started.set(scope.async(start = CoroutineStart.UNDISPATCHED) { early.toList() })
            onClose { over.countDown() }
        }
        assertTrue(over.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
        runBlocking { task.awaitClosed() }
        val expected = listOf("1", "2")
        assertEquals(expected, result(started.get()).map { "$it" })
        assertEquals(expected, result(scope.async { inbox.toList() }).map { "$it" })
        val kinds = listOf("OpenEvent", "MessageEvent", "MessageEvent", "CloseEvent")
        assertEquals(kinds, result(scope.async { life.toList() }).map { it::class.simpleName })
        assertThrows<IllegalStateException> { result(scope.async { inbox.toList() }) }
    }

    @Test
    fun `a flow in options that are refused fails as they do`() {
        val collected = AtomicReference<Deferred<List<Message>>>()
        assertThrows<WxException.InvalidArgument> {
            connectSocket("http://wrong") {
                val inbox = messages()
                // Its failure is its result, not that of all others.
                collected.set(CoroutineScope(Dispatchers.Unconfined).async { inbox.toList() })
            }
        }
        assertThrows<WxException.InvalidArgument> { result(collected.get()) }
    }

    @Test
    fun `a flow in options that throw fails as they do`() {
        val collected = AtomicReference<Deferred<List<Message>>>()
        assertThrows<NumberFormatException> {
            connectSocket("ws://127.0.0.1:1") {
                val inbox = messages()
                collected.set(CoroutineScope(Dispatchers.Unconfined).async { inbox.toList() })
                header("x", "${"no number".toInt()}")
            }
        }
        assertThrows<NumberFormatException> { result(collected.get()) }
    }

    @Test
    fun `a flow in the options that nobody collects makes the server wait, and no longer once it is`() = withServer(
        """[{"rules": [{"on": "open", "do": {"flood": {"count": 4000, "bytes": 16384}}}]}]""",
    ) { server ->
        val inbox: Flow<Message>
        val heard = LinkedBlockingQueue<Int>()
        val task = connectSocket(server.url()) {
            heartbeat { enabled = false }
            inbox = messages()
            onMessage { heard += 1 }
        }
        var before = -1L
        while (task.stats.messagesIn != before || before <= 0) {
            before = task.stats.messagesIn
            Thread.sleep(200)
        }
        assertTrue(before in 1..400, "$before of 4000 messages were taken from the socket")
        assertEquals(4000, result(scope.async { inbox.take(4000).toList() }).size)
        repeat(4000) { heard.take1() }
        task.close()
    }

    @Test
    fun `whoever collects from a flow of the options keeps the task`() = withServer { server ->
        val got = LinkedBlockingQueue<String>()
        fun connect(): WeakReference<SocketTask> {
            val inbox: Flow<Message>
            val task = connectSocket(server.url()) { inbox = messages() }
            scope.async { inbox.collect { got += "$it" } }
            runBlocking { task.awaitOpen() }
            task.send("a")
            assertEquals("a", got.take1())
            return WeakReference(task)
        }
        val task = connect()
        repeat(5) {
            System.gc()
            server.sendTextAll("b")
            assertEquals("b", got.take1())
        }
        task.get()!!.close()
    }

    @Test
    fun `nothing is kept of a task that is over, listened to or not`() = withServer { server ->
        fun live(listen: Boolean): List<WeakReference<*>> {
            val task = connectSocket(server.url())
            runBlocking { task.awaitOpen() }
            if (listen) {
                val over = CountDownLatch(1)
                task.onClose { over.countDown() }
                task.close()
                assertTrue(over.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
                runBlocking { task.awaitClosed() }
            }
            return listOf(WeakReference(task), WeakReference(task.delivery))
        }
        for (listen in listOf(true, false)) {
            val gone = live(listen)
            until("end of what was kept") {
                System.gc()
                gone.all { it.get() == null }
            }
        }
    }
}
