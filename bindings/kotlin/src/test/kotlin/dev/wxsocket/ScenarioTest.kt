package dev.wxsocket

import dev.wxsocket.testing.ffi.EventKind
import dev.wxsocket.testing.ffi.Scenario
import dev.wxsocket.testing.ffi.ScenarioOptions
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
        val options = options(scenario.options())
        val task = connectSocket(server.url()) {
            options()
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
                    is ScenarioStep.Wait -> lines.await(step.word)
                    is ScenarioStep.Send -> lines.add { answer { task.send(step.text) } }
                    is ScenarioStep.SendBytes -> lines.add { answer { task.send(step.bytes) } }
                    is ScenarioStep.Close ->
                        try {
                            task.close(step.code, step.reason)
                        } catch (e: WxException) {
                            lines += "refused ${e.errCode}"
                        }
                    ScenarioStep.Pause -> task.pause()
                    ScenarioStep.Resume -> task.resume()
                    ScenarioStep.ReconnectNow -> task.reconnectNow()
                    is ScenarioStep.Network -> task.setNetwork(step.available)
                    is ScenarioStep.Foreground -> task.setForeground(step.foreground)
                    is ScenarioStep.Listen ->
                        when (step.kind) {
                            EventKind.OPEN -> task.onOpen { lines += line(it) }
                            EventKind.MESSAGE -> task.onMessage { lines += line(it) }
                            EventKind.ERROR -> task.onError { lines += line(it) }
                            EventKind.CLOSE -> task.onClose { lines += line(it) }
                        }
                    is ScenarioStep.Off ->
                        when (step.kind) {
                            EventKind.OPEN -> task.offOpen()
                            EventKind.MESSAGE -> task.offMessage()
                            EventKind.ERROR -> task.offError()
                            EventKind.CLOSE -> task.offClose()
                        }
                    is ScenarioStep.State ->
                        runBlocking { withTimeout(PATIENCE_MS) { task.state.first { word(it) == step.word } } }
                    is ScenarioStep.Received -> until("${step.count} messages") { task.stats.messagesIn >= step.count }
                    is ScenarioStep.Server -> assertTrue(scenario.serverStep(step.index), "$step in time; so far $lines")
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

    private fun options(from: ScenarioOptions): ConnectOptions.() -> Unit = {
        preset = from.preset?.let { name -> Preset.entries.single { it.name.replace("_", "").equals(name, true) } }
        if (from.protocols.isNotEmpty()) protocols(*from.protocols.toTypedArray())
        from.header.forEach { header(it.name, it.value) }
        timeout = from.timeoutMs?.milliseconds
        closeTimeout = from.closeTimeoutMs?.milliseconds
        maxMessageBytes = from.maxMessageBytes
        from.backgroundGraceMs?.let { interruptInBackground(it.milliseconds) }
        greeting = from.greeting?.let { Message.Text(it) }
        reconnect {
            enabled = from.reconnect
            from.delayMs?.let { fixedDelay(it.milliseconds) }
            from.maxAttempts?.let { maxAttempts(it) }
            stableAfter = from.stableAfterMs?.milliseconds
            stopCodes = from.stopCodes
            stopStatuses = from.stopStatuses
        }
        heartbeat {
            enabled = from.heartbeat
            from.heartbeatPayload?.let { text(it) }
            if (from.heartbeatPing) ping()
            reply = from.heartbeatReply?.let { ReplyMatch.Text(it) }
            interval = from.heartbeatIntervalMs?.milliseconds
            timeout = from.heartbeatTimeoutMs?.milliseconds
            strict = from.strict
            deliverReply = from.deliverReply
        }
        queue {
            enabled = from.queue
            messages = from.queueMessages
            bytes = from.queueBytes
            overflow = from.overflow?.let { name -> OverflowPolicy.entries.single { it.name.replace("_", "").equals(name, true) } }
        }
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
