package dev.wxsocket

import dev.wxsocket.ffi.FfiConverterTypeMillis
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory
import org.junit.jupiter.api.assertThrows
import java.lang.reflect.Modifier
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlin.time.Duration
import kotlin.time.Duration.Companion.days
import kotlin.time.Duration.Companion.microseconds
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.nanoseconds
import kotlin.time.Duration.Companion.seconds

/** What is wrong with an option is said with its name, and nothing is made. */
class OptionsTest {
    private class Case(val field: String, val what: String, val url: String = "ws://h", val block: SocketSetup.() -> Unit)

    private fun url(url: String) = Case("url", url.ifEmpty { "empty" }, url) {}

    private fun case(field: String, what: String = "", block: SocketSetup.() -> Unit) = Case(field, what, block = block)

    private val cases = listOf(
        url(""), url("http://h"), url("ws://"), url("ws://h#f"), url("ws://h:0x"), url("\uD83D"),
        case("header", "line end") { header("A", "b\r\nC: d") },
        case("header", "name") { header("A b", "c") },
        case("header", "Referer") { header("Referer", "x") },
        case("header", "handshake") { header("Sec-WebSocket-Key", "x") },
        case("protocols", "twice") { protocols("a", "a") },
        case("protocols", "malformed") { protocols("a b") },
        case("timeout", "zero") { timeout = Duration.ZERO },
        case("timeout", "negative") { timeout = (-1).seconds },
        case("timeout", "a little below zero") { timeout = (-1).nanoseconds },
        case("timeout", "infinite") { timeout = Duration.INFINITE },
        case("closeTimeout") { closeTimeout = 25.days },
        case("maxMessageBytes") { maxMessageBytes = 0 },
        case("maxBufferedBytes") { maxBufferedBytes = 0 },
        case("background") { interruptInBackground((-5).milliseconds) },
        case("reconnect.delay", "a little below zero") { reconnect { fixedDelay((-500).microseconds) } },
        case("reconnect.delay") { reconnect { fixedDelay((-1).milliseconds) } },
        case("reconnect.delay.min") { reconnect { fullJitter(1.seconds, 0.seconds, 1.seconds, 1.seconds, 1.seconds) } },
        case("reconnect.delay.max") { reconnect { fullJitter(1.seconds, 2.seconds, 1.seconds, 1.seconds, 1.seconds) } },
        case("reconnect.maxAttempts", "0") { reconnect { maxAttempts(0) } },
        case("reconnect.maxAttempts", "negative") { reconnect { maxAttempts(-1) } },
        case("reconnect.stableAfter") { reconnect { stableAfter = Duration.ZERO } },
        case("reconnect.stopCodes") { reconnect { stopCodes = listOf(99_999) } },
        case("reconnect.stopStatuses") { reconnect { stopStatuses = listOf(600) } },
        case("heartbeat.interval") { heartbeat { interval = Duration.ZERO } },
        case("heartbeat.timeout") { heartbeat { timeout = (-1).seconds } },
        case("heartbeat.reply") { heartbeat { replyPrefix("") } },
        case("heartbeat.strict") { preset = Preset.VUE; heartbeat { strict = true } },
        case("queue.messages") { queue { messages = 0 } },
        case("queue.bytes") { queue { bytes = -1 } },
        case("queue.maxAge") { queue { maxAge = Duration.ZERO } },
        case("tls.caPem") { tls { caPem = "no certificate" } },
    )

    @TestFactory
    fun `the field is named`() = cases.map { case ->
        DynamicTest.dynamicTest("${case.field} ${case.what}") {
            val refused = assertThrows<WxException.InvalidArgument> { connectSocket(case.url, case.block) }
            assertEquals(case.field, refused.field)
            assertEquals(if (case.field == "url") 600_009 else 600_008, refused.errCode)
            assertEquals("connectSocket:fail invalid ${case.field}: ${refused.reason}", refused.errMsg)
            assertEquals(refused.errMsg, refused.message)
        }
    }

    @Test
    fun `a reason names fields as they are written here`() {
        val refused = assertThrows<WxException.InvalidArgument> {
            connectSocket("ws://h") { reconnect { fullJitter(1.seconds, 2.seconds, 1.seconds, 1.seconds, 1.seconds) } }
        }
        assertEquals("connectSocket:fail invalid reconnect.delay.max: 1000 ms is less than min (2000 ms)", refused.errMsg)
        // A name that the app chose stays as it is.
        val quoted = assertThrows<WxException.InvalidArgument> { connectSocket("ws://h") { header("t_ms", "\n") } }
        assertTrue("t_ms" in quoted.reason, quoted.reason)
    }

    @Test
    fun `no time is rounded to none`() {
        val rounded = mapOf(
            0.seconds to 0L, 1.nanoseconds to 1L, 500.microseconds to 1L, 1.milliseconds to 1L, 1_000_001.nanoseconds to 2L,
            (-1).nanoseconds to -1L, (-500).microseconds to -1L, (-1).milliseconds to -1L, (-1_000_001).nanoseconds to -2L,
            1_000_000.days to 86_400_000_000_000L, Duration.INFINITE to Long.MAX_VALUE, -Duration.INFINITE to Long.MIN_VALUE,
        )
        for ((time, ms) in rounded) assertEquals(ms, FfiConverterTypeMillis.lower(time), "$time")
    }

    @TestFactory
    fun `every option is taken`() = listOf<Pair<String, SocketSetup.() -> Unit>>(
        "all" to {
            preset = Preset.RESILIENT
            tcpNoDelay = true
            greeting = Message.Binary(byteArrayOf(1))
            maxMessageBytes = 1024
            maxBufferedBytes = 10
            closeTimeout = 500.microseconds
            keepInBackground()
            reconnect { unlimited(); honourRetryAfter = false; fullJitter(1.seconds, 1.seconds, 2.seconds, 9.seconds, 9.seconds) }
            heartbeat { ping(); idleDriven = true }
            queue { bytes = 10 }
        },
        "binary heartbeat" to { heartbeat { binary(byteArrayOf(1)); reply(byteArrayOf(2)) } },
    ).map { (name, block) ->
        DynamicTest.dynamicTest(name) {
            withServer { server ->
                val it = record(server.url(), block)
                it.expect<OpenEvent>()
                it.task.close()
                assertTrue(it.toTheEnd().last() is CloseEvent)
            }
        }
    }

    @Test
    fun `the block can set every option`() {
        val members = SocketSetup::class.java.methods.map { it.name.substringBefore('-') }.toSet()
        val others = mapOf("background" to "interruptInBackground", "url" to "getOptions")
        for (option in ConnectOptions::class.java.declaredFields.filterNot { Modifier.isStatic(it.modifiers) }.map { it.name }) {
            val setter = "set" + option.replaceFirstChar { it.uppercase() }
            assertTrue(setter in members || option in members || others[option] in members, "SocketSetup lacks $option")
        }
    }

    @Test
    fun `the options are not those of the caller`() = withServer { server ->
        val options = ConnectOptions(server.url())
        val task = connectSocket(options) { heartbeat { interval = 1.seconds }; reconnect { unlimited() } }
        assertEquals(ConnectOptions(server.url()), options)
        task.close()
    }
}
