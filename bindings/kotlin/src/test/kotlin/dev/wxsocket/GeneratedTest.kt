package dev.wxsocket

import dev.wxsocket.examples.listen
import org.junit.jupiter.api.Test
import java.io.ByteArrayOutputStream
import java.io.PrintStream
import kotlin.test.assertEquals

/** The generated code works without the layer. */
class GeneratedTest {
    @Test
    fun `a listener of four methods hears everything`() = withServer(
        """[{"rules": [{"on": "open", "do": [{"send": "hi"}, "drop"]}]}, {}]""",
    ) { server ->
        val printed = ByteArrayOutputStream()
        val task = listen(server.url(), PrintStream(printed, true))
        until("reconnection") { "retry 5s" in "$printed" }
        task.close(1000, "bye")
        until("end") { "retry null" in "$printed" }
        assertEquals(
            listOf(
                "open 1", "message hi", "error 600003 connectSocket:fail connection lost", "close 1006, retry 5s",
                "close 1000, retry null",
            ),
            "$printed".lines().filter { it.isNotEmpty() },
        )
        task.destroy()
    }
}
