package dev.wxsocket

import org.junit.jupiter.api.Test
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.test.assertNotNull
import kotlin.test.assertTrue

/** The engine's log reaches Kotlin, without what is nobody's business. */
class LogTest {
    private val lines = LinkedBlockingQueue<String>()

    private fun line(): String = assertNotNull(lines.poll(PATIENCE_MS, TimeUnit.MILLISECONDS), "no line in time")

    @Test
    fun `lines come, and a sink that throws loses only its line`() = withServer { server ->
        assertTrue(SocketLog.set(LogLevel.DEBUG) { _, line -> lines += line.also { if ("open" in it) TODO() } })
        val it = record(server.url() + "/?token=hush") { header("Authorization", "Bearer hush") }
        it.expect<OpenEvent>()
        it.task.close()
        it.toTheEnd()
        record(server.url()).run {
            expect<OpenEvent>()
            task.close()
        }
        val seen = generateSequence { line() }.takeWhile { "dialling" !in it || seenOnce() }.toList()
        SocketLog.set(LogLevel.OFF) { _, _ -> }
        assertTrue(seen.none { "hush" in it }, "$seen")
    }

    private var dials = 0

    private fun seenOnce() = ++dials < 2
}
