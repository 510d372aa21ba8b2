package dev.wxsocket

import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.delay
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit.SECONDS
import java.util.concurrent.atomic.AtomicInteger
import kotlin.test.assertEquals
import kotlin.test.assertIs
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** Coming back: attempts, limits, what stops it, what the app and the system say. */
class ReconnectTest {
    @Test
    fun `every connection is told in full, attempts are numbered, the limit ends it`() = withServer(
        """[{"rules": [{"on": "open", "do": "drop"}]}, {"handshake": "refuse"}]""",
    ) { server ->
        val events = record(server.url()) { comeBackFast(attempts = 2) }.toTheEnd()
        val shape = events.joinToString(" ") {
            when (it) {
                is OpenEvent -> "open${it.epoch}"
                is ErrorEvent -> "error${it.epoch}:${it.errCode}"
                is CloseEvent -> "close${it.epoch}:${it.code}:${it.retry?.attempt}/${it.retry?.max}"
                is MessageEvent -> "?"
            }
        }
        val refused = events.filterIsInstance<ErrorEvent>()[1].errCode
        assertEquals(
            "open1 error1:600003 close1:1006:1/2 error2:$refused close2:1006:2/2 error3:690050 close3:1006:null/null",
            shape,
        )
        val last = events.filterIsInstance<ErrorEvent>().last()
        assertEquals("connectSocket:fail reconnect limit reached", last.errMsg)
        assertEquals(ErrorKind.RECONNECT_LIMIT, last.kind)
    }

    @Test
    fun `a refused upgrade tells status, headers and body`() = withServer(
        """[{"handshake": {"status": 503, "headers": [["Retry-After", "1"], ["X-Why", "busy"]], "body": "later"}}]""",
    ) { server ->
        val it = record(server.url()) { comeBackFast() }
        val error = it.expect<ErrorEvent>()
        assertEquals(503, error.httpStatus)
        assertTrue(error.httpHeader.any { it.name == "X-Why" && it.value == "busy" })
        assertEquals("later", error.httpBody.bytes.decodeToString())
        // The engine adds up to 5 s, so that not all clients come back at once.
        val delay = assertNotNull(it.expect<CloseEvent>().retry?.delay)
        assertTrue(delay in 1.seconds..6.seconds, "Retry-After is honoured: $delay")
        it.task.close()
    }

    @Test
    fun `stop codes end it, other codes do not`() = withServer(
        """[{"rules": [{"on": "open", "do": {"close": {"code": 4001, "reason": "moved"}}}]},
            {"rules": [{"on": "open", "do": {"close": {"code": 4002, "reason": "banned"}}}]}]""",
    ) { server ->
        val closes = record(server.url()) {
            comeBackFast()
            reconnect { stopCodes = listOf(4002) }
        }.toTheEnd().filterIsInstance<CloseEvent>()
        assertEquals(listOf(4001 to "moved", 4002 to "banned"), closes.map { it.code to it.reason })
        assertTrue(closes.all { it.wasClean })
        assertNull(closes.last().retry)
    }

    @Test
    fun `without reconnecting one connection is all`() = withServer("""[{"rules": [{"on": "open", "do": "eof"}]}]""") { server ->
        val events = record(server.url()) { reconnect { enabled = false } }.toTheEnd()
        assertEquals(1006, (events.last() as CloseEvent).code)
        assertEquals(1, server.connections().size)
    }

    @Test
    fun `a heartbeat that is not answered ends the connection`() = withServer(
        """[{"answerHeartbeats": false}, {}]""",
    ) { server ->
        val it = record(server.url()) {
            comeBackFast()
            heartbeat {
                interval = 20.milliseconds
                timeout = 50.milliseconds
                strict = true
            }
        }
        it.expect<OpenEvent>()
        assertEquals(ErrorKind.HEARTBEAT_TIMEOUT, it.expect<ErrorEvent>().kind)
        val close = it.expect<CloseEvent>()
        assertEquals(1006 to "heartbeat timeout", close.code to close.reason)
        assertEquals(2, it.expect<OpenEvent>().epoch)
        while (it.task.stats.lastRtt == null) Thread.onSpinWait()
        assertTrue(assertNotNull(it.task.stats.smoothedRtt) > Duration.ZERO)
        it.task.close()
        it.expect<CloseEvent>()
        assertTrue(it.isEmpty, "pong is not the app's")
    }

    @Test
    fun `heartbeats of the app's own making`() = withServer("""[{"heartbeats": [["{\"hb\":1}", "{\"ok\":1}"]]}]""") { server ->
        val it = record(server.url()) {
            heartbeat {
                text("""{"hb":1}""")
                replyField("ok")
                interval = 10.milliseconds
                deliverReply = true
            }
        }
        it.expect<OpenEvent>()
        assertEquals("""{"ok":1}""", it.expect<MessageEvent>().text)
        it.task.close()
    }

    @Test
    fun `a full queue refuses, drops or gives back`() = withServer("""[{"handshake": "hang"}]""") { server ->
        val reject = connectSocket(server.url()) { queue { messages = 1 } }
        assertEquals(SendOutcome.Queued(emptyList()), reject.send("1"))
        val full = assertThrows<WxException.QueueFull> { reject.send("2") }
        assertEquals(10_001 to "SocketTask.send:fail the queue is full", full.errCode to full.errMsg)
        assertEquals(1, reject.bufferedAmount)
        val closes = LinkedBlockingQueue<CloseEvent>()
        reject.onClose { closes += it }
        reject.close()
        assertEquals(listOf<Message>(Message.Text("1")), closes.take1().unsent)

        val oldest = connectSocket(server.url()) {
            queue { messages = 1; overflow = OverflowPolicy.DROP_OLDEST }
        }
        oldest.send(byteArrayOf(1))
        assertEquals(SendOutcome.Queued(listOf(Message.Binary(byteArrayOf(1)))), oldest.send("2"))

        val newest = connectSocket(server.url()) {
            queue { messages = 1; overflow = OverflowPolicy.DROP_NEWEST }
        }
        newest.send("1")
        assertEquals(SendOutcome.Dropped, newest.send("2"))

        val none = connectSocket(server.url()) { queue { enabled = false } }
        assertThrows<WxException.NotConnected> { none.send("1") }
        listOf(oldest, newest, none).forEach { it.close() }
    }

    @Test
    fun `pause, resume, network, foreground, reconnectNow`() = withServer { server ->
        val it = record(server.url()) {
            reconnect { fixedDelay(60.seconds) }
            interruptInBackground(1.milliseconds)
        }
        it.expect<OpenEvent>()
        it.task.pause()
        assertEquals(Retry(0, 12, null), it.expect<CloseEvent>().also { assertEquals("paused", it.reason) }.retry)
        assertEquals(SendOutcome.Queued(emptyList()), it.task.send("kept"))
        it.task.resume()
        assertEquals(2, it.expect<OpenEvent>().epoch)
        assertEquals("kept", it.expect<MessageEvent>().text)
        it.task.setForeground(false)
        assertEquals("interrupted", it.expect<CloseEvent>().reason)
        it.task.setForeground(true)
        assertEquals(3, it.expect<OpenEvent>().epoch)
        server.dropAll()
        it.expect<ErrorEvent>()
        assertEquals(60.seconds, it.expect<CloseEvent>().retry?.delay)
        it.task.reconnectNow()
        assertEquals(4, it.expect<OpenEvent>().epoch)
        server.dropAll()
        it.expect<ErrorEvent>()
        it.expect<CloseEvent>()
        it.task.setNetwork(false)
        it.task.setNetwork(true)
        assertEquals(5, it.expect<OpenEvent>().epoch)
        it.task.close()
    }

    @Test
    fun `an answer that nobody waits for is cancelled`() = withServer("[]") { server ->
        val cancelled = LinkedBlockingQueue<Int>()
        val running = AtomicInteger()
        val it = record(server.url()) {
            timeout = 50.milliseconds
            reconnect { fixedDelay(Duration.ZERO) }
            beforeConnect { _, attempt, _ ->
                running.incrementAndGet()
                try {
                    awaitCancellation()
                } finally {
                    running.decrementAndGet()
                    cancelled += attempt
                }
            }
        }
        // In whatever order; and a call that has not begun within its time never does.
        val asked = List(2) { assertNotNull(cancelled.poll(20, SECONDS), "nobody cancels it, or asks again") }
        assertEquals(2, asked.toSet().size, "each attempt is asked about once: $asked")
        it.task.close()
        it.toTheEnd()
        // The last one, of a task that is over; if it had not begun yet, it does not.
        while (running.get() > 0) assertNotNull(cancelled.poll(20, SECONDS), "it still waits")
    }

    @Test
    fun `beforeConnect changes, fails and stops`() = withServer(
        """[{"rules": [{"on": "open", "do": "drop"}]}]""",
    ) { server ->
        val asked = LinkedBlockingQueue<Pair<Int, Int?>>()
        val threads = LinkedBlockingQueue<Thread>()
        val it = record(server.url()) {
            comeBackFast()
            beforeConnect { _, attempt, lastError ->
                threads += Thread.currentThread()
                asked += attempt to lastError?.errCode
                when (attempt) {
                    0 -> {
                        delay(1) // It may suspend.
                        ConnectDecision.Change(
                            url = server.url() + "/fresh",
                            header = listOf(Header("Authorization", "Bearer 1")),
                            protocols = listOf("p"),
                        )
                    }
                    1 -> throw AssertionError("no token")
                    2 -> ConnectDecision.Change(url = "http://wrong")
                    3 -> ConnectDecision.Proceed
                    else -> ConnectDecision.Stop("logged out")
                }
            }
        }
        assertEquals("p", it.expect<OpenEvent>().protocol)
        assertEquals("/fresh", server.seen(0).requestPath)
        assertTrue(server.seen(0).header.any { it.name == "Authorization" && it.value == "Bearer 1" })
        it.expect<ErrorEvent>()
        it.expect<CloseEvent>()
        repeat(2) { n ->
            val error = it.expect<ErrorEvent>()
            assertEquals(ErrorKind.BEFORE_CONNECT, error.kind)
            assertTrue((if (n == 0) "no token" else "url") in error.detail, error.detail)
            it.expect<CloseEvent>()
        }
        it.expect<OpenEvent>()
        assertEquals("/", server.seen(1).requestPath)
        it.expect<ErrorEvent>()
        it.expect<CloseEvent>()
        val stopped = it.expect<ErrorEvent>()
        assertEquals(690_051 to "logged out", stopped.errCode to stopped.detail)
        assertNull(it.expect<CloseEvent>().retry)
        assertEquals(listOf(0 to null, 1 to 600_003, 2 to 690_052, 3 to 690_052, 4 to 600_003), asked.toList())
        assertTrue(threads.all { it.isDaemon && it.name.startsWith("wxsocket") }, "$threads")
    }

    @Test
    fun `greeting goes out first on every open`() = withServer(
        """[{"rules": [{"on": {"messages": 2}, "do": "drop"}]}, {}]""",
    ) { server ->
        val it = record(server.url()) {
            comeBackFast()
            greeting = Message.Text("hi")
        }
        it.task.send("queued")
        it.expect<OpenEvent>()
        while (it.next() !is CloseEvent) Unit
        it.expect<OpenEvent>()
        assertEquals("hi", it.expect<MessageEvent>().text)
        assertEquals(listOf("hi", "queued"), server.seen(0).texts)
        assertIs<SocketState.Open>(it.task.state.value)
        it.task.close()
    }
}
