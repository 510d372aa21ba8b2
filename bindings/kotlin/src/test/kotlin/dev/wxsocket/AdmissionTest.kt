package dev.wxsocket

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.firstOrNull
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Test
import java.lang.ref.WeakReference
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executor
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicReference
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** What a collector or a listener hears that comes while events are being told to others. */
class AdmissionTest {
    private val scope = CoroutineScope(Dispatchers.IO + SupervisorJob())

    @AfterEach fun end() = scope.cancel()

    private fun <T> soon(block: suspend CoroutineScope.() -> T): T = runBlocking { withTimeout(PATIENCE_MS, block) }

    private fun numbers(count: Int) = (1..count).joinToString { """{"send": "$it"}""" }

    private fun SocketTask.firstNumber(): Int = soon { "${messages.first()}".toInt() }

    @Test
    fun `a first message after another is a new one, while a listener is busy`() = withServer(
        """[{"rules": [{"on": {"text": "go"}, "do": [${numbers(20)}]}]}]""",
    ) { server ->
        val told = CountDownLatch(1)
        val free = CountDownLatch(1)
        val task = connectSocket(server.url()) {
            onMessage {
                told.countDown()
                free.await()
            }
        }
        soon { task.awaitOpen() }
        task.send("go")
        assertTrue(told.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
        until("messages") { task.stats.messagesIn == 20L }
        // The turn may have begun before the last of them came.
        val heard = try {
            List(3) { task.firstNumber() }
        } finally {
            free.countDown()
        }
        assertEquals(listOf(2, 3, 4), heard)
        task.close()
    }

    @Test
    fun `a first message after another is a new one, while a collector is busy`() = withServer(
        """[{"rules": [{"on": "open", "do": [${numbers(20)}]}]}]""",
    ) { server ->
        val told = CountDownLatch(1)
        val free = CountDownLatch(1)
        val begin = CountDownLatch(1)
        val task = connectSocket(server.url()) {
            val inbox = messages()
            // Within the thread that gives it the events.
            scope.launch(Dispatchers.Unconfined) {
                inbox.collect {
                    told.countDown()
                    free.await()
                }
            }
            beforeConnect { _, _, _ ->
                begin.await()
                ConnectDecision.Proceed
            }
        }
        begin.countDown()
        assertTrue(told.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
        until("messages") { task.stats.messagesIn == 20L }
        val heard = try {
            List(3) { task.firstNumber() }
        } finally {
            free.countDown()
        }
        assertTrue(heard.zipWithNext().all { (one, next) -> one < next } && heard.first() > 1, "$heard")
        task.close()
    }

    @Test
    fun `first messages in a loop never repeat one`() = withServer(
        """[{"rules": [{"on": {"text": "go"}, "do": [${numbers(3000)}, {"close": {"code": 4000}}]}]}]""",
    ) { server ->
        for (isListened in listOf(false, true)) {
            val task = connectSocket(server.url()) {
                heartbeat { enabled = false }
                reconnect { enabled = false }
                if (isListened) onMessage { Thread.yield() }
            }
            soon { task.awaitOpen() }
            val heard = scope.async {
                task.send("go")
                buildList {
                    while (true) add("${task.messages.firstOrNull() ?: break}".toInt())
                }
            }
            val numbers = soon { heard.await() }
            assertTrue(numbers.isNotEmpty())
            for ((one, next) in numbers.zipWithNext()) assertTrue(one < next, "$next after $one")
        }
    }

    @Test
    fun `a collector that an open begins hears the messages that came with it`() = withServer(
        """[{"rules": [{"on": "open", "do": [${numbers(200)}]}]}]""",
    ) { server ->
        // With a flow that nobody takes from, or without.
        for (hasFlow in listOf(false, true)) {
            val heard = LinkedBlockingQueue<Int>()
            val made = CountDownLatch(1)
            lateinit var task: SocketTask
            task = connectSocket(server.url()) {
                if (hasFlow) messages()
                onOpen {
                    made.await()
                    // Undispatched: with the flow, the messages are in this turn, and nobody else waits for them.
                    val start = if (hasFlow) CoroutineStart.UNDISPATCHED else CoroutineStart.DEFAULT
                    scope.launch(start = start) { task.messages.collect { heard += "$it".toInt() } }
                }
            }
            until("messages") { task.stats.messagesIn == 200L }
            made.countDown()
            assertEquals((1..200).toList(), List(200) { heard.take1() })
            task.close()
        }
    }

    @Test
    fun `a collector that a message begins hears what nobody has taken yet`() = withServer(
        """[{"rules": [{"on": "open", "do": [${numbers(200)}]}]}]""",
    ) { server ->
        val all = LinkedBlockingQueue<Int>()
        val made = CountDownLatch(1)
        val late = AtomicReference<Deferred<List<Int>>>()
        val inbox: Flow<Message>
        lateinit var task: SocketTask
        task = connectSocket(server.url()) {
            inbox = messages()
            onMessage {
                made.await()
                all += it.text!!.toInt()
                if (it.text == "1") {
                    late.set(scope.async(Dispatchers.Unconfined) { task.messages.take(199).toList().map { "$it".toInt() } })
                }
            }
        }
        until("messages") { task.stats.messagesIn == 200L }
        made.countDown()
        assertEquals((1..200).toList(), List(200) { all.take1() })
        assertEquals((2..200).toList(), soon { late.get().await() })
        assertEquals(200, soon { inbox.take(200).toList() }.size, "they were given to the one of the options, too")
        task.close()
    }

    @Test
    fun `a collector begins where another one is that has taken some`() = withServer(
        """[{"rules": [{"on": {"text": "go"}, "do": [${numbers(100)}]}]}]""",
    ) { server ->
        val told = CountDownLatch(1)
        val free = CountDownLatch(1)
        lateinit var task: SocketTask
        val inbox: Flow<Message>
        task = connectSocket(server.url()) {
            inbox = messages()
            onMessage {
                until("messages") { task.stats.messagesIn == 100L }
                told.countDown()
                free.await()
            }
        }
        val taken = CountDownLatch(3)
        scope.launch {
            inbox.collect {
                taken.countDown()
                if (taken.count == 0L) awaitCancellation()
            }
        }
        soon { task.awaitOpen() }
        task.send("go")
        assertTrue(taken.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
        assertTrue(told.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
        assertEquals(4, task.firstNumber())
        assertEquals(5, task.firstNumber(), "the one before has left")
        free.countDown()
        task.close()
    }

    @Test
    fun `a collector that waits hears everything that comes, however fast another one is`() = withServer(
        """[{"rules": [{"on": {"text": "go"}, "do": [${numbers(50)}]}]}]""",
    ) { server ->
        val task = connectSocket(server.url())
        soon { task.awaitOpen() }
        scope.launch(Dispatchers.Unconfined) { task.messages.collect {} }
        repeat(30) {
            val waiting = scope.async(Dispatchers.Unconfined) { task.messages.take(50).toList().map { "$it".toInt() } }
            task.send("go")
            assertEquals((1..50).toList(), soon { waiting.await() })
        }
        task.close()
    }

    @Test
    fun `a late listener is told the present state although a collector is stuck`() = withServer(
        """[{"rules": [{"on": "open", "do": {"flood": {"count": 2000, "bytes": 1024}}}]}]""",
    ) { server ->
        for (executor in listOf(null, Executor { Thread(it).start() })) {
            val task = connectSocket(server.url()) {
                heartbeat { enabled = false }
                this.executor = executor
            }
            val stuck = CountDownLatch(1)
            val free = CountDownLatch(1)
            val numbers = scope.async {
                task.messages.take(2000).collect {
                    stuck.countDown()
                    free.await()
                }
            }
            assertTrue(stuck.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
            // It is given no more: the engine is as full as it gets.
            until("flood") { task.stats.messagesIn >= 1000 }
            repeat(2) {
                val opens = LinkedBlockingQueue<Long>()
                task.onOpen { opens += it.epoch }
                assertEquals(1, opens.take1())
            }
            free.countDown()
            soon { numbers.await() }
            task.close()
            soon { task.awaitClosed() }
        }
    }

    @Test
    fun `a flow of the options that nobody collects is freed with its task`() = withServer(
        """[{"rules": [{"on": "open", "do": [{"flood": {"count": 400, "bytes": 1024}}, {"close": {"code": 4000}}]}]}]""",
    ) { server ->
        fun live(): WeakReference<*> {
            val task = connectSocket(server.url()) {
                heartbeat { enabled = false }
                reconnect { enabled = false }
                messages()
                onClose { }
            }
            soon { task.awaitClosed() }
            return WeakReference(task.delivery)
        }
        val gone = live()
        until("end of what was kept") {
            System.gc()
            gone.get() == null
        }
    }

    @Test
    fun `a flow of the options that cannot be collected any more holds nobody up`() = withServer(
        """[{"rules": [{"on": "open", "do": {"flood": {"count": 3000, "bytes": 1024}}}]}]""",
    ) { server ->
        val heard = LinkedBlockingQueue<Int>()
        val task = connectSocket(server.url()) {
            heartbeat { enabled = false }
            messages()
            onMessage { heard += 1 }
        }
        until("messages") {
            System.gc()
            heard.size == 3000
        }
        task.close()
    }

    @Test
    fun `a task is freed although a late listener waits to be told`() = withServer { server ->
        val given = LinkedBlockingQueue<Runnable>()
        val isFree = AtomicBoolean()
        fun abandon(): WeakReference<SocketTask> {
            val task = connectSocket(server.url()) {
                executor = Executor { if (isFree.get()) it.run() else given += it }
                onOpen { }
            }
            soon { task.awaitOpen() }
            // The turn does not begin.
            until("turn") { given.isNotEmpty() }
            task.onOpen { }
            task.onMessage { }
            return WeakReference(task)
        }
        val gone = abandon()
        until("end of the task") {
            System.gc()
            gone.get() == null && server.waitEnded(1u, 20u)
        }
        assertEquals("ClientClosed", server.seen(0).ended)
        isFree.set(true)
        given.forEach(Runnable::run)
    }
}
