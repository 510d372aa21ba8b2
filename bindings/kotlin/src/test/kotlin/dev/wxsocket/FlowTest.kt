package dev.wxsocket

import app.cash.turbine.test
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.flow.transformWhile
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.test.runTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.Executor
import java.util.concurrent.Semaphore
import java.util.concurrent.TimeUnit
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNotNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

private val PATIENCE = PATIENCE_MS.milliseconds

/** Flow, StateFlow and suspend. */
class FlowTest {
    @Test
    fun `events are the whole life and complete with it`() = withServer { server ->
        runTest(timeout = PATIENCE) {
            val task = connectSocket(server.url())
            task.events.test(timeout = PATIENCE) {
                assertIs<OpenEvent>(awaitItem())
                task.send("hello")
                assertEquals(MessageEvent(1, Message.Text("hello")), awaitItem())
                task.close(3000, "done")
                assertEquals(3000, assertIs<CloseEvent>(awaitItem()).code)
                awaitComplete()
            }
            // Late: the end, and nothing else.
            assertEquals(listOf(3000), task.events.toList().map { (it as CloseEvent).code })
            assertEquals(emptyList(), task.messages.toList())
        }
    }

    @Test
    fun `a wait is one state, however many turns it has`() = withServer("""[{"handshake": "refuse"}]""") { server ->
        runBlocking {
            val turns = Semaphore(0)
            val task = connectSocket(server.url()) {
                reconnect { fixedDelay(30.seconds) }
                executor = Executor {
                    it.run()
                    turns.release()
                }
            }
            task.state.first { it is SocketState.Waiting }
            val seen = async(Dispatchers.IO, CoroutineStart.UNDISPATCHED) {
                task.state.transformWhile {
                    emit(it)
                    it != SocketState.Closed
                }.toList()
            }
            repeat(5) {
                turns.drainPermits()
                // Whoever listens late asks for a turn.
                task.onMessage { }
                assertTrue(turns.tryAcquire(PATIENCE_MS, TimeUnit.MILLISECONDS))
            }
            task.close()
            assertEquals(1, seen.await().count { it is SocketState.Waiting }, "${seen.await()}")
        }
    }

    @Test
    fun `messages that came before the first collector are not lost`() = withServer(
        """[{"rules": [{"on": "open", "do": [{"send": "1"}, {"send": "2"}]}]}]""",
    ) { server ->
        runBlocking {
            val task = connectSocket(server.url())
            task.awaitOpen()
            task.send("3")
            assertTrue(server.waitMessages(1u, PATIENCE_MS.toUInt()))
            assertEquals(listOf("1", "2", "3"), task.messages.take(3).toList().map { "$it" })
            task.close()
        }
    }

    @Test
    fun `every collector gets every message`() = withServer { server ->
        runBlocking {
            val task = connectSocket(server.url())
            task.awaitOpen()
            val collectors = List(3) {
                async(Dispatchers.IO, CoroutineStart.UNDISPATCHED) { task.messages.take(2).toList() }
            }
            task.send("a")
            task.send("b")
            val expected = listOf(Message.Text("a"), Message.Text("b"))
            for (collector in collectors) assertEquals<List<Message>>(expected, collector.await())
            task.close()
        }
    }

    @Test
    fun `a slow collector makes the server wait, and nothing is lost`() = withServer(
        """[{"rules": [{"on": "open", "do": {"flood": {"count": 4000, "bytes": 16384}}}]}]""",
    ) { server ->
        runBlocking {
            val task = connectSocket(server.url()) { heartbeat { enabled = false } }
            val go = Channel<Unit>()
            var got = 0
            val collecting = launch(Dispatchers.IO) {
                task.messages.take(4000).collect {
                    if (got++ == 0) go.receive()
                }
            }
            // Of 64 MB the engine takes what its mailbox and this side's buffers hold, and no more.
            var before = -1L
            while (task.stats.messagesIn != before || before <= 0) {
                before = task.stats.messagesIn
                kotlinx.coroutines.delay(200)
            }
            assertTrue(before in 1..400, "$before of 4000 messages were taken from the socket")
            go.send(Unit)
            collecting.join()
            assertEquals(4000, got)
            task.close()
        }
    }

    @Test
    fun `headers, bodies and messages that come back count as what waits for a collector`() {
        val text = Message.Text("x".repeat(16 * 1024))
        val header = List(16) { Header("n".repeat(512), "v".repeat(512)) }
        val profile = SocketProfile(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        val body = Message.Binary(ByteArray(16 * 1024))
        val large = listOf(
            MessageEvent(1, text),
            OpenEvent(1, 0, header, null, profile, emptyList()),
            OpenEvent(1, 0, emptyList(), null, profile, listOf(text)),
            ErrorEvent(1, ErrorKind.TIMEOUT, 0, "", "", null, header, Message.Binary(ByteArray(0))),
            ErrorEvent(1, ErrorKind.TIMEOUT, 0, "", "", null, emptyList(), body),
            CloseEvent(1, 1006, "", false, null, listOf(text)),
        )
        for (event in large) {
            val inbox = Inbox(ALL)
            repeat(7) { inbox.tell(event) }
            assertTrue(inbox.hasRoom, event::class.simpleName)
            inbox.tell(event)
            assertFalse(inbox.hasRoom, event::class.simpleName)
        }
    }

    @Test
    fun `a collector that goes away holds nobody up`() = withServer(
        """[{"rules": [{"on": "open", "do": {"flood": {"count": 3000, "bytes": 1024}}}]}]""",
    ) { server ->
        runBlocking {
            val task = connectSocket(server.url()) { heartbeat { enabled = false } }
            val stuck = Channel<Unit>()
            // Both collect before either may leave, or the second could miss most of the messages.
            val slow = launch(Dispatchers.IO, CoroutineStart.UNDISPATCHED) { task.messages.collect { stuck.receive() } }
            val counted = async(Dispatchers.IO, CoroutineStart.UNDISPATCHED) { task.messages.take(2000).toList().size }
            // It can only be full once it has been given more than it takes.
            while (task.stats.messagesIn < 300) kotlinx.coroutines.yield()
            slow.cancelAndJoin()
            assertTrue(counted.await() >= 2000)
            task.close()
            task.awaitClosed()
        }
    }

    @Test
    fun `the state follows the task`() = withServer("""[{"rules": [{"on": {"text": "bye"}, "do": "drop"}]}]""") { server ->
        runBlocking {
            val task = connectSocket(server.url()) { reconnect { fixedDelay(60.seconds) } }
            task.state.first { it == SocketState.Open }
            task.send("bye")
            val waiting = task.state.first { it is SocketState.Waiting } as SocketState.Waiting
            assertEquals(1, waiting.attempt)
            assertTrue((waiting.until - kotlin.time.TimeSource.Monotonic.markNow()) in 50.seconds..60.seconds)
            task.setNetwork(false)
            task.state.first { it == SocketState.Suspended }
            assertEquals(ReadyState.CONNECTING, task.readyState)
            task.setNetwork(true)
            task.state.first { it == SocketState.Open }
            task.pause()
            task.state.first { it == SocketState.Suspended }
            task.resume()
            task.state.first { it == SocketState.Open }
            task.close()
            task.state.first { it == SocketState.Closed }
            assertEquals(ReadyState.CLOSED, task.readyState)
        }
    }

    @Test
    fun `awaitOpen waits through failures and can be cancelled`() = withServer(
        """[{"handshake": "refuse"}, {"handshake": {"delayMs": 100}}]""",
    ) { server ->
        runBlocking {
            val task = connectSocket(server.url()) { comeBackFast() }
            val cancelled = async(start = CoroutineStart.UNDISPATCHED) { task.awaitOpen() }
            cancelled.cancelAndJoin()
            assertThrows<CancellationException> { runBlocking { cancelled.await() } }
            assertEquals(2, task.awaitOpen().epoch)
            assertEquals(2, task.awaitOpen().epoch, "it is open now")
            val closed = async(start = CoroutineStart.UNDISPATCHED) { task.awaitClosed() }
            task.close(3001, "x")
            assertEquals(3001, closed.await().code)
            assertEquals(3001, task.awaitClosed().code, "it stays closed")
        }
    }

    @Test
    fun `awaitOpen of a task that ends says why`() = withServer("""[{"handshake": {"status": 403, "body": "no"}}]""") { server ->
        runBlocking {
            val failed = connectSocket(server.url()) { reconnect { enabled = false } }
            val why = assertThrows<WxException.Ended> { runBlocking { failed.awaitOpen() } }
            assertEquals(690_020 to "connectSocket:fail invalid HTTP status", why.errCode to why.errMsg)
            val error = assertNotNull(why.error)
            assertEquals(403 to Message.Binary("no".encodeToByteArray()), error.httpStatus to error.httpBody)

            val closed = connectSocket(server.url()) { reconnect { fixedDelay(60.seconds) } }
            closed.close()
            val ended = assertThrows<WxException.Ended> { runBlocking { closed.awaitOpen() } }
            assertEquals(1000, ended.close.code)
        }
    }

    @Test
    fun `listeners on a dispatcher`() = withServer { server ->
        runBlocking {
            val dispatcher = Dispatchers.Default.limitedParallelism(1)
            val task = connectSocket(server.url()) { dispatcher(dispatcher) }
            val got = Channel<String>(Channel.UNLIMITED)
            task.onMessage { got.trySend(it.text + " " + Thread.currentThread().name.substringBefore('-')) }
            task.awaitOpen()
            task.send("x")
            assertEquals("x DefaultDispatcher", got.receive())
            task.close()
        }
    }
}
