package dev.wxsocket

import dev.wxsocket.testing.ffi.ScriptedServer
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Test
import java.io.File
import java.lang.management.BufferPoolMXBean
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** What messages cost in memory, and what happens when there is none. */
class MemoryTest {
    private val outside = ManagementFactory.getPlatformMXBeans(BufferPoolMXBean::class.java).single { it.name == "direct" }

    /** Has [threads] threads call [send] once each, and looks at what they hold while they live. */
    private fun held(threads: Int, send: () -> Unit): Long {
        val before = outside.memoryUsed
        val sent = CountDownLatch(threads)
        val over = CountDownLatch(1)
        repeat(threads) {
            Thread {
                try {
                    send()
                } finally {
                    sent.countDown()
                    over.await()
                }
            }.apply { isDaemon = true }.start()
        }
        assertTrue(sent.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
        return (outside.memoryUsed - before).also { over.countDown() }
    }

    @Test
    fun `threads that send hold nothing`() = withServer { server ->
        val task = record(server.url()).apply { expect<OpenEvent>() }.task
        task.send("the first")
        val small = held(64) { task.send("hi") }
        assertTrue(small <= 8 * 64 * 1024, "64 threads hold $small bytes")
        val text = "x".repeat(1_300_000)
        val large = held(8) { task.send(text) }
        assertTrue(large <= 8 * 64 * 1024, "8 threads that sent a large text hold $large bytes")
        assertTrue(server.waitMessages(73u, PATIENCE_MS.toUInt()))
        task.close()
    }

    @Test
    fun `large messages are freed once they are sent`() {
        val task = connectSocket("ws://127.0.0.1:1") {
            queue {
                messages = 1
                bytes = 1 shl 26
                overflow = OverflowPolicy.DROP_NEWEST
            }
        }
        task.pause()
        task.send("it is full")
        val text = "é".repeat(1_000_000)
        fun resident() = File("/proc/self/statm").readText().split(' ')[1].toLong() * 4096
        if (!File("/proc/self/statm").exists()) return
        repeat(20) { assertEquals(SendOutcome.Dropped, task.send(text)) }
        val before = resident()
        repeat(200) { task.send(text) }
        val more = resident() - before
        assertTrue(more < 100 shl 20, "400 MB went through, $more bytes more are held")
        task.close()
    }

    @Test
    fun `texts of every size and kind arrive`() = withServer { server ->
        val it = record(server.url())
        it.expect<OpenEvent>()
        // Around the size of the memory that is kept, with one to four bytes for a character.
        for (piece in listOf("x", "é", "→", "😀", "a\uD800b", "\uDC00")) {
            for (size in listOf(0, 1, 21_845, 21_846, 65_536, 65_537, 100_000)) {
                val text = piece.repeat(size / piece.length)
                it.task.send(text)
                assertEquals(text.withoutHalves(), it.expect<MessageEvent>().text, "$piece $size")
            }
        }
        it.task.close()
    }

    @Test
    fun `a message that does not fit the heap is told as one that is too big`() {
        for (kind in listOf("text", "binary")) {
            val heard = fork("-Xmx20m", NoRoom::class.java.name, kind)
            val lines = heard.lines().filter { it.startsWith("HEARD ") }.map { it.removePrefix("HEARD ") }
            val expected = listOf(
                "open 1", "before", "error 1 690032 no room in the heap for a message of 15000000 bytes",
                "close 1 1009 again", "open 2", "echo", "close 2 4000 final", "closed 4000",
            )
            assertEquals(expected, lines, heard)
        }
    }

    @Test
    fun `a message that nearly fits the heap is told, or that it is lost`() {
        val heard = fork("-Xmx48m", NoRoom::class.java.name, "text")
        val last = heard.lines().last { it.startsWith("HEARD ") }
        assertEquals("HEARD closed 4000", last, heard)
        assertTrue("HEARD 15000000" in heard || "HEARD error 1 690032" in heard, heard)
    }

    @Test
    fun `without memory outside the heap messages are sent all the same, and soon`() {
        val heard = fork("-XX:MaxDirectMemorySize=4m", NothingOutside::class.java.name)
        val collections = heard.lines().single { it.startsWith("HEARD ") }.removePrefix("HEARD ").toInt()
        assertTrue(collections <= 20, "$collections collections of garbage for 60 messages\n$heard")
    }

    @Test
    fun `a turn for which there is no memory at first is told in the end`() {
        val heard = fork("-Xmx20m", FullForAWhile::class.java.name)
        assertEquals(2, heard.lines().count { it == "HEARD 300 messages and the end 4001" }, heard)
    }
}

/** A server sends 15 MB, and then another message. */
object NoRoom {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val isText = arguments[0] == "text"
        val flood = """{"flood":{"count":1,"bytes":15000000,"binary":${!isText}}}"""
        val server = ScriptedServer("""[{"rules":[{"on":"open","do":[{"send":"before"},$flood,{"send":"after"}]}]},{}]""")
        fun say(what: String) = println("HEARD $what")
        val closed = CountDownLatch(1)
        val task = connectSocket(server.url()) {
            comeBackFast()
            onOpen { say("open ${it.epoch}") }
            onMessage { event -> say(event.text?.takeIf { it.length < 99 } ?: "15000000") }
            onError { say("error ${it.epoch} ${it.errCode} ${it.detail}") }
            onClose {
                say("close ${it.epoch} ${it.code} ${if (it.retry == null) "final" else "again"}")
                if (it.retry == null) closed.countDown()
            }
        }
        task.onOpen { if (it.epoch == 2L) task.send("echo") }
        task.onMessage { if (it.text == "echo" || it.text == "after") task.close(4000) }
        closed.await(60, TimeUnit.SECONDS)
        runBlocking { withTimeout(20_000) { say("closed ${task.awaitClosed().code}") } }
        Runtime.getRuntime().halt(0)
    }
}

/** The app takes all memory outside the heap before the first message is sent. */
object NothingOutside {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val server = ScriptedServer("[]")
        val echoes = CountDownLatch(60)
        val task = connectSocket(server.url()) { onMessage { echoes.countDown() } }
        runBlocking { task.awaitOpen() }
        val all = ArrayList<ByteBuffer>()
        for (size in listOf(1 shl 20, 1 shl 16, 1 shl 10)) {
            try {
                while (true) all += ByteBuffer.allocateDirect(size)
            } catch (_: OutOfMemoryError) {
                // As it is meant to be.
            }
        }
        fun collections() = ManagementFactory.getGarbageCollectorMXBeans().sumOf { it.collectionCount }
        val before = collections()
        repeat(60) { task.send("x") }
        val after = collections()
        check(echoes.await(60, TimeUnit.SECONDS)) { "not sent" }
        println("HEARD ${after - before}")
        check(all.isNotEmpty())
        Runtime.getRuntime().halt(0)
    }
}

/** The app takes all of the heap while messages come, and lets go of it again. */
object FullForAWhile {
    private val server = ScriptedServer(
        """[{"rules":[{"on":{"text":"go"},"do":[{"flood":{"count":300,"bytes":3000}},{"close":{"code":4001}}]}]}]""",
    )

    @JvmStatic
    fun main(arguments: Array<String>) {
        // Classes are loaded here: one that cannot be loaded for want of memory is broken for good.
        hear { it() }
        hear { send ->
            val full = fill()
            while (true) {
                try {
                    send()
                    break
                } catch (_: OutOfMemoryError) {
                    full.removeAt(full.lastIndex)
                }
            }
            val until = System.nanoTime() + 400_000_000
            while (System.nanoTime() < until) Thread.onSpinWait()
            full.clear()
        }
        Runtime.getRuntime().halt(0)
    }

    private fun fill(): ArrayList<ByteArray> {
        val full = ArrayList<ByteArray>(1 shl 20)
        for (size in listOf(1 shl 20, 1 shl 16, 1 shl 12, 256, 16)) {
            try {
                while (true) full += ByteArray(size)
            } catch (_: OutOfMemoryError) {
                // As it is meant to be.
            }
        }
        return full
    }

    private fun hear(around: (() -> Unit) -> Unit) {
        // They need no memory, or it would be the listeners that fail.
        val messages = AtomicInteger()
        val code = AtomicInteger()
        val over = CountDownLatch(1)
        val task = connectSocket(server.url()) {
            reconnect { enabled = false }
            onMessage { messages.incrementAndGet() }
            onClose {
                code.set(it.code)
                over.countDown()
            }
        }
        runBlocking { task.awaitOpen() }
        around { task.send("go") }
        over.await(60, TimeUnit.SECONDS)
        println("HEARD $messages messages and the end $code")
    }
}

/** With U+FFFD in place of each half of a surrogate pair. */
private fun String.withoutHalves(): String {
    val scalars = codePoints().map { if (it in 0xD800..0xDFFF) 0xFFFD else it }.toArray()
    return String(scalars, 0, scalars.size)
}
