package dev.wxsocket

import org.junit.jupiter.api.Test
import java.io.File
import kotlin.test.assertEquals

/** An app of `src/consumer`, which the oldest supported compiler has compiled. */
class ConsumerTest {
    @Test
    fun `an app that was compiled by the oldest compiler runs`() = withServer { server ->
        val printed = fork("-Xmx64m", "dev.wxsocket.consumer.ConsumerKt", server.url(), before = File("target/consumer-classes"))
        val expected = setOf(
            "open 1 in true", "sent", "message hello", "message 3", "Binary(3 bytes)", "600008 code", "closed 4000 bye null",
        )
        assertEquals(expected, printed.trim().lines().toSet())
    }
}
