package dev.wxsocket

import org.junit.jupiter.api.Test
import java.lang.reflect.Modifier
import kotlin.test.assertEquals

/** The events that are written by hand have every field of the engine's, and no other. */
class ValuesTest {
    private fun fields(of: Class<*>) =
        of.declaredFields.filterNot { Modifier.isStatic(it.modifiers) }.map { it.name.removeSuffix("Ms") }.sorted()

    @Test
    fun `no field is forgotten`() {
        val pairs = mapOf<Class<*>, Class<*>>(
            OpenEvent::class.java to dev.wxsocket.ffi.OpenEvent::class.java,
            MessageEvent::class.java to dev.wxsocket.ffi.MessageEvent::class.java,
            ErrorEvent::class.java to dev.wxsocket.ffi.ErrorEvent::class.java,
            CloseEvent::class.java to dev.wxsocket.ffi.CloseEvent::class.java,
            Retry::class.java to dev.wxsocket.ffi.RetryInfo::class.java,
            SocketStats::class.java to dev.wxsocket.ffi.SocketStats::class.java,
            ConnectDecision.Change::class.java to dev.wxsocket.ffi.ConnectDecision.Change::class.java,
        )
        for ((ours, generated) in pairs) assertEquals(fields(generated), fields(ours), ours.simpleName)
    }
}
