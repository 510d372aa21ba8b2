package dev.wxsocket

import dev.wxsocket.examples.chat
import dev.wxsocket.quickstart.quickStart
import org.junit.jupiter.api.Test
import java.io.BufferedReader
import java.io.ByteArrayOutputStream
import java.io.PipedReader
import java.io.PipedWriter
import java.io.PrintStream
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** What the documentation shows does what it says. */
class ExamplesTest {
    @Test
    fun `the chat talks and leaves`() = withServer { server ->
        val typed = PipedWriter()
        val printed = ByteArrayOutputStream()
        val input = BufferedReader(PipedReader(typed))
        val chatting = Thread { chat(server.url(), "alice", input, PrintStream(printed, true)) }.apply { start() }
        typed.write("hello\n")
        typed.flush()
        val deadline = System.nanoTime() + PATIENCE_MS * 1_000_000
        while ("alice: hello" !in printed.toString()) {
            assertTrue(System.nanoTime() < deadline, "$printed")
            Thread.sleep(5)
        }
        typed.write("\n")
        typed.flush()
        chatting.join(PATIENCE_MS)
        assertTrue(!chatting.isAlive, "$printed")
        assertContains(printed.toString(), "* online")
        assertContains(printed.toString(), "* offline")
        assertTrue(server.seen(0).header.any { it.name == "X-Name" && it.value == "alice" })
    }

    @Test
    fun `the quick start sends`() = withServer { server ->
        val task = quickStart(server.url())
        assertTrue(server.waitMessages(1u, PATIENCE_MS.toUInt()))
        assertEquals(listOf("hello"), server.seen(0).texts)
        System.gc()
        assertEquals(ReadyState.OPEN, task.readyState)
        task.close()
    }
}
