package dev.wxsocket

import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.ValueSource
import java.nio.ByteBuffer
import java.util.concurrent.LinkedBlockingQueue
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertIs
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** The life of one connection: open, messages, close. */
class LifeTest {
    @Test
    fun `open tells headers, protocol and timings`() = withServer(
        """[{"handshake": {"headers": [["X-Twice", "1"], ["X-Twice", "2"]]}}]""",
    ) { server ->
        val it = record(server.url() + "/chat?room=1") {
            header("X-Token", "abc")
            protocols("v2", "v1")
            timeout = 5.seconds
        }
        val open = it.expect<OpenEvent>()
        assertEquals(1, open.epoch)
        assertEquals(0, open.attempt)
        assertEquals("v2", open.protocol)
        assertEquals(listOf("1", "2"), open.header.filter { it.name == "X-Twice" }.map { it.value })
        assertTrue(open.profile.cost >= open.profile.handshakeCost, "${open.profile}")
        assertEquals(ReadyState.OPEN, it.task.readyState)
        assertEquals(SocketState.Open, it.task.state.value)
        val seen = server.seen(0)
        assertEquals("/chat?room=1", seen.requestPath)
        assertTrue(seen.header.any { it.name == "X-Token" && it.value == "abc" })
        assertEquals(listOf("v2", "v1"), seen.protocolsOffered)
        it.task.close(3001, "bye")
        val close = it.expect<CloseEvent>()
        assertEquals(CloseEvent(1, 3001, "bye", true, null, emptyList()), close)
        assertEquals(ReadyState.CLOSED, it.task.readyState)
        assertEquals(SocketState.Closed, it.task.state.value)
    }

    @Test
    fun `text stays text and bytes stay bytes, empty and large ones included`() = withServer { server ->
        val large = ByteArray(1 shl 20) { (it * 31).toByte() }
        val messages = listOf(
            Message.Text("hello"), Message.Text(""), Message.Text("你好 🙂"), Message.Text("x".repeat(1 shl 20)),
            Message.Binary(byteArrayOf(0, 1, -1)), Message.Binary(ByteArray(0)), Message.Binary(large),
        )
        val it = record(server.url())
        it.expect<OpenEvent>()
        for (message in messages) {
            assertEquals(SendOutcome.Sent, it.task.send(message))
        }
        for (message in messages) assertEquals(message, it.expect<MessageEvent>().data)
        val stats = it.task.stats
        assertEquals(messages.size.toLong(), stats.messagesIn)
        assertEquals(stats.bytesOut, stats.bytesIn)
        assertEquals(1, stats.opens)
        it.task.close()
        it.expect<CloseEvent>()
    }

    @Test
    fun `of a buffer only what lies between position and limit is sent`() = withServer { server ->
        val it = record(server.url())
        it.expect<OpenEvent>()
        val content = ByteArray(10) { it.toByte() }
        val direct = ByteBuffer.allocateDirect(10).put(content)
        val heap = ByteBuffer.wrap(content)
        val backed = ByteBuffer.wrap(ByteArray(20) { 9 }, 5, 15).slice().put(content)
        for (buffer in listOf(direct, heap, backed, heap.asReadOnlyBuffer())) {
            buffer.limit(7).position(3)
            it.task.send(buffer)
            assertEquals(3 to 7, buffer.position() to buffer.limit(), "the buffer is as it was")
            assertContentEquals(byteArrayOf(3, 4, 5, 6), it.expect<MessageEvent>().bytes)
            buffer.position(7)
            it.task.send(buffer)
            assertContentEquals(byteArrayOf(), it.expect<MessageEvent>().bytes)
        }
        it.task.close()
    }

    @Test
    fun `half a surrogate pair becomes U+FFFD`() = withServer { server ->
        val it = record(server.url())
        it.expect<OpenEvent>()
        it.task.send("a\uD83Db")
        assertEquals("a\uFFFDb", it.expect<MessageEvent>().text)
        it.task.close(1000, "\uDE00")
        assertEquals("\uFFFD", it.expect<CloseEvent>().reason)
    }

    @Test
    fun `what is sent before and inside the open goes out in order`() = withServer { server ->
        val task = connectSocket(server.url())
        val got = LinkedBlockingQueue<String>()
        task.onMessage { got += it.text }
        val early = task.send("1")
        assertTrue(early == SendOutcome.Queued(emptyList()) || early == SendOutcome.Sent)
        task.onOpen { task.send("2") }
        assertEquals(listOf("1", "2"), List(2) { got.take1() })
        task.close()
    }

    @ParameterizedTest
    @ValueSource(strings = ["open", "message", "error", "close"])
    fun `close works inside every listener`(where: String) = withServer(
        """[{"rules": [{"on": "open", "do": {"send": "x"}}, {"on": {"messages": 1}, "do": "drop"}]}]""",
    ) { server ->
        val task = connectSocket(server.url()) { reconnect { fixedDelay(60.seconds) } }
        val closes = LinkedBlockingQueue<CloseEvent>()
        fun close(here: String) {
            if (here == where) task.close(4000, here)
        }
        // Before the one that makes the server drop the connection: an open that is over is history.
        task.onOpen { close("open") }
        task.onError { close("error") }
        task.onClose {
            closes += it
            close("close")
        }
        task.onMessage {
            task.send("go")
            close("message")
        }
        var last = closes.take1()
        if (last.retry != null) last = closes.take1()
        assertEquals(4000 to where, last.code to last.reason)
        assertNull(last.retry)
        task.close(1000, "closing twice changes nothing")
        assertTrue(closes.isEmpty())
    }

    @Test
    fun `a new task is made inside onClose`() = withServer { server ->
        val second = LinkedBlockingQueue<Recorder>()
        val first = connectSocket(server.url())
        first.onClose { second += record(server.url()) }
        first.onOpen { first.close() }
        val it = second.take1()
        it.expect<OpenEvent>()
        it.task.close()
        it.expect<CloseEvent>()
    }

    @Test
    fun `close cancels a dial and a pending retry`() = withServer("""[{"handshake": "hang"}]""") { server ->
        val dialling = record(server.url())
        assertTrue(server.waitConnections(1u, PATIENCE_MS.toUInt()))
        dialling.task.close(3000, "changed my mind")
        assertEquals(CloseEvent(1, 3000, "changed my mind", false, null, emptyList()), dialling.expect())

        server.setScript("""[{"handshake": "refuse"}]""")
        val waiting = record(server.url()) { reconnect { fixedDelay(60.seconds) } }
        waiting.expect<ErrorEvent>()
        assertEquals(60.seconds, waiting.expect<CloseEvent>().retry?.delay)
        assertIs<SocketState.Waiting>(waiting.task.state.value)
        waiting.task.close()
        assertEquals(2, waiting.expect<CloseEvent>().epoch)
    }

    @Test
    fun `a server that does not answer the close is not waited for`() = withServer("""[{"answerClose": false}]""") { server ->
        val it = record(server.url()) { closeTimeout = 50.milliseconds }
        it.expect<OpenEvent>()
        it.task.close(1000, "now")
        val close = it.expect<CloseEvent>()
        assertEquals("now" to false, close.reason to close.wasClean)
    }

    @Test
    fun `close refuses bad codes and reasons, and nothing happens`() = withServer { server ->
        val it = record(server.url())
        it.expect<OpenEvent>()
        for (code in listOf(0, -1, 999, 1001, 1005, 1006, 2999, 5000, 70_000)) {
            val refused = assertThrows<WxException.InvalidArgument> { it.task.close(code) }
            assertEquals("code" to 600_008, refused.field to refused.errCode)
        }
        val refused = assertThrows<WxException.InvalidArgument> { it.task.close(1000, "é".repeat(62)) }
        assertEquals("reason", refused.field)
        assertTrue(refused.errMsg.startsWith("closeSocket:fail"), refused.errMsg)
        assertEquals(ReadyState.OPEN, it.task.readyState)
        val longest = "é".repeat(61) + "x"
        it.task.close(1000, longest)
        assertEquals(longest, it.expect<CloseEvent>().reason)
        assertEquals(longest, server.seen(0).closeReason)
    }

    @Test
    fun `send is refused once the task is closing`() = withServer { server ->
        val it = record(server.url())
        it.expect<OpenEvent>()
        it.task.close()
        it.expect<CloseEvent>()
        val refused = assertThrows<WxException.NotConnected> { it.task.send("late") }
        assertEquals(10_002, refused.errCode)
        assertEquals("SocketTask.send:fail WebSocket is not connected", refused.errMsg)
        assertThrows<WxException.NotConnected> { it.task.send(byteArrayOf(1)) }
        assertEquals(0, it.task.bufferedAmount)
    }

    @Test
    fun `use closes`() = withServer { server ->
        val it = record(server.url())
        it.task.use { _ -> it.expect<OpenEvent>() }
        assertEquals(1000, it.expect<CloseEvent>().code)
    }
}
