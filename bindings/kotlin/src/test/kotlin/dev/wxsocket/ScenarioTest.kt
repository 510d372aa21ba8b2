package dev.wxsocket

import dev.wxsocket.testing.ffi.EventKind
import dev.wxsocket.testing.ffi.Scenario
import dev.wxsocket.testing.ffi.ScenarioStep
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import java.io.File
import java.util.concurrent.TimeUnit
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds

/** The contract as data: every file of tests/scenarios, as Rust and Swift play them too. */
class ScenarioTest {
    @TestFactory
    fun scenarios(): List<DynamicTest> {
        val files = File("../../tests/scenarios").listFiles { file -> file.extension == "json" }.orEmpty()
        assertTrue(files.isNotEmpty(), "no scenarios in ${File("../../tests/scenarios").absolutePath}")
        return files.sorted().map { DynamicTest.dynamicTest(it.nameWithoutExtension) { play(it.readText()) } }
    }

    private fun play(json: String) = Scenario(json).use { scenario ->
        val server = scenario.server()
        val lines = Lines()
        val task = connectSocket(scenario.options()) {
            for (kind in scenario.listen()) {
                when (kind) {
                    EventKind.OPEN -> onOpen { lines += line(it) }
                    EventKind.MESSAGE -> onMessage { lines += line(it) }
                    EventKind.ERROR -> onError { lines += line(it) }
                    EventKind.CLOSE -> onClose { lines += line(it) }
                }
            }
        }
        try {
            for (step in scenario.steps()) {
                when (step) {
                    is ScenarioStep.Wait -> lines.await(step.v1)
                    is ScenarioStep.Send -> lines.add { answer { task.send(step.v1) } }
                    is ScenarioStep.SendHex -> lines.add { answer { task.send(step.v1) } }
                    is ScenarioStep.Close ->
                        try {
                            task.close(step.code, step.reason)
                        } catch (e: WxException) {
                            lines += "refused ${e.errCode}"
                        }
                    ScenarioStep.Pause -> task.pause()
                    ScenarioStep.Resume -> task.resume()
                    ScenarioStep.ReconnectNow -> task.reconnectNow()
                    is ScenarioStep.Network -> task.setNetwork(step.v1)
                    is ScenarioStep.Foreground -> task.setForeground(step.v1)
                    is ScenarioStep.Listen ->
                        when (step.v1) {
                            EventKind.OPEN -> task.onOpen { lines += line(it) }
                            EventKind.MESSAGE -> task.onMessage { lines += line(it) }
                            EventKind.ERROR -> task.onError { lines += line(it) }
                            EventKind.CLOSE -> task.onClose { lines += line(it) }
                        }
                    is ScenarioStep.Off ->
                        when (step.v1) {
                            EventKind.OPEN -> task.offOpen()
                            EventKind.MESSAGE -> task.offMessage()
                            EventKind.ERROR -> task.offError()
                            EventKind.CLOSE -> task.offClose()
                        }
                    is ScenarioStep.State ->
                        runBlocking { withTimeout(PATIENCE_MS) { task.state.first { word(it) == step.v1 } } }
                    is ScenarioStep.Received -> until("${step.v1} messages") { task.stats.messagesIn >= step.v1 }
                    else -> assertTrue(scenario.serverStep(step), "$step in time; so far $lines")
                }
            }
            assertEquals(scenario.expect().joinToString("\n"), lines.toString(), scenario.about())
        } finally {
            task.close()
            server.shutdown()
        }
    }

    private fun word(state: SocketState) = "$state".substringBefore('(').lowercase()

    private fun line(event: OpenEvent) =
        "open ${event.epoch} attempt=${event.attempt} protocol=${event.protocol ?: "-"}"

    private fun line(event: ErrorEvent) = "error ${event.epoch} ${event.errCode} http=${event.httpStatus ?: "-"}"

    private fun line(event: MessageEvent) = when (val data = event.data) {
        is Message.Text -> "message ${event.epoch} text ${data.text}"
        is Message.Binary -> "message ${event.epoch} binary " + data.bytes.joinToString("") { "%02x".format(it) }
    }

    private fun line(event: CloseEvent): String {
        val clean = if (event.wasClean) "clean" else "unclean"
        val next = event.retry?.run {
            "retry=$attempt${max?.let { "/$it" } ?: ""} in ${delay?.inWholeMilliseconds ?: "-"}"
        }
        return "close ${event.epoch} ${event.code} '${event.reason}' $clean ${next ?: "final"}"
    }

    private fun answer(send: () -> SendOutcome) =
        try {
            when (send()) {
                SendOutcome.Sent -> "sent"
                is SendOutcome.Queued -> "queued"
                SendOutcome.Dropped -> "dropped"
            }
        } catch (e: WxException) {
            "refused ${e.errCode}"
        }

    /** The transcript so far, and how far waits have got in it. */
    private class Lines {
        private val lines = mutableListOf<String>()
        private val lock = ReentrantLock()
        private val more = lock.newCondition()
        private var seen = 0

        operator fun plusAssign(line: String) = add { line }

        /** Nothing comes between what [line] does and the line that it gives. */
        fun add(line: () -> String) = lock.withLock {
            lines += line()
            more.signalAll()
        }

        fun await(word: String) = lock.withLock {
            while (true) {
                while (seen < lines.size) if (lines[seen++].startsWith(word)) return
                if (!more.await(PATIENCE_MS, TimeUnit.MILLISECONDS)) throw AssertionError("no \"$word\" in\n$this")
            }
        }

        override fun toString() = lock.withLock { lines.joinToString("\n") }
    }
}
