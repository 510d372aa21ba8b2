package dev.wxsocket.android

import android.app.Activity
import android.net.Network
import org.junit.jupiter.api.Test
import sun.misc.Unsafe
import kotlin.test.assertEquals

/** The adapters, with their callbacks called as Android would call them. */
class AndroidTest {
    @Test
    fun `a network that comes, changes, goes`() {
        val told = mutableListOf<Any>()
        val network = AndroidNetwork({ told += it }, { told += it })
        val (wifi, mobile) = network(1) to network(2)
        network.onAvailable(wifi)
        // As onCapabilitiesChanged does, whose argument cannot be made without a device.
        network.tell(wifi, usable = true)
        assertEquals<List<Any>>(listOf(true), told, "the same news once")
        network.tell(wifi, usable = false)
        network.tell(wifi, usable = true)
        assertEquals<List<Any>>(listOf(true, false, true), told)
        network.onAvailable(mobile)
        network.onLost(wifi)
        assertEquals<List<Any>>(listOf(true, false, true, true), told, "a new one is news, the loss of the old one is not")
        network.onLost(mobile)
        network.close()
        assertEquals(listOf(true, false, true, true, false, network), told)
    }

    @Test
    fun `the foreground lasts while an activity is started`() {
        val told = mutableListOf<Any>()
        val lifecycle = AndroidLifecycle({ told += it }, { told += it })
        val (first, second) = activity(changing = false) to activity(changing = false)
        lifecycle.onActivityStarted(first)
        lifecycle.onActivityStarted(second)
        lifecycle.onActivityStopped(first)
        assertEquals<List<Any>>(listOf(true), told)
        val rotating = activity(changing = true)
        lifecycle.onActivityStopped(rotating)
        lifecycle.onActivityStarted(activity(changing = false))
        assertEquals<List<Any>>(listOf(true), told, "rotation is not the background")
        lifecycle.onActivityStopped(second)
        assertEquals<List<Any>>(listOf(true, false), told)
        lifecycle.close()
        assertEquals(listOf(true, false, lifecycle), told)
    }

    // Android's classes are here, its system is not: constructors that would call it are left out.
    private val unsafe = Unsafe::class.java.getDeclaredField("theUnsafe").apply { isAccessible = true }.get(null) as Unsafe

    private fun <T : Any> bare(type: Class<T>): T = type.cast(unsafe.allocateInstance(type))

    private fun set(target: Any, type: Class<*>, field: String, value: Any) {
        val offset = unsafe.objectFieldOffset(type.getDeclaredField(field))
        when (value) {
            is Int -> unsafe.putInt(target, offset, value)
            is Boolean -> unsafe.putBoolean(target, offset, value)
        }
    }

    private fun network(id: Int) = bare(Network::class.java).also { set(it, Network::class.java, "netId", id) }

    private fun activity(changing: Boolean) = bare(Activity::class.java).also {
        set(it, Activity::class.java, "mChangingConfigurations", changing)
    }
}
