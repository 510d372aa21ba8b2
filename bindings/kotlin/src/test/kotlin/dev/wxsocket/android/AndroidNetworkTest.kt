package dev.wxsocket.android

import android.net.ConnectivityManager.NetworkCallback
import android.net.Network
import android.net.NetworkCapabilities.NET_CAPABILITY_INTERNET
import android.net.NetworkCapabilities.NET_CAPABILITY_NOT_SUSPENDED
import dev.wxsocket.PATIENCE_MS
import dev.wxsocket.SocketTask
import dev.wxsocket.comeBackFast
import dev.wxsocket.connectSocket
import dev.wxsocket.withServer
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.lang.ref.WeakReference
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** The network's adapter, with its callback called as Android would call it. */
class AndroidNetworkTest {
    /** Android's side: what is registered, and the network there is. */
    private class System(sdk: Int = 35, var active: Network? = network(1)) {
        var allowed = true
        val registered = mutableListOf<NetworkCallback>()
        val callback get() = registered.single() as NetworkWatch.Callback
        val watch = NetworkWatch(sdk, { active }, { check(allowed); registered += it }, { assertTrue(registered.remove(it)) })
        val told = mutableListOf<Boolean>()
        val follower: (Boolean) -> Unit = { told += it }

        fun told(vararg expected: Boolean) = assertEquals(expected.toList(), told.toList()).also { told.clear() }
    }

    private val online = setOf(NET_CAPABILITY_INTERNET, NET_CAPABILITY_NOT_SUSPENDED)
    private val suspended = setOf(NET_CAPABILITY_INTERNET)

    /** Android's class for them cannot be made without a device. */
    private fun NetworkWatch.Callback.onCapabilitiesChanged(network: Network, all: Set<Int>) = onCapabilities(network, all::contains)

    @Test
    fun `a network that comes, changes, goes`() = with(System()) {
        watch.add(follower)
        val (wifi, mobile) = network(1) to network(2)
        callback.onAvailable(wifi)
        callback.onCapabilitiesChanged(wifi, online)
        callback.onBlockedStatusChanged(wifi, false)
        told()
        callback.onCapabilitiesChanged(wifi, suspended)
        told(false)
        callback.onCapabilitiesChanged(wifi, online)
        told(true)
        callback.onAvailable(mobile)
        told(true)
        callback.onLost(wifi)
        told()
        callback.onLost(mobile)
        told(false)
        callback.onLost(mobile)
        told()
    }

    @Test
    fun `without a network at first`() = with(System(active = null)) {
        watch.add(follower)
        told(false)
        callback.onAvailable(network(1))
        told(true)
    }

    @Test
    fun `a network that is blocked for the app is none`() = with(System()) {
        watch.add(follower)
        callback.onAvailable(network(1))
        callback.onBlockedStatusChanged(network(1), true)
        told(false)
        // It changes while the device dozes; the system says so again, after the rest.
        callback.onAvailable(network(2))
        callback.onCapabilitiesChanged(network(2), online)
        callback.onBlockedStatusChanged(network(2), true)
        told()
        callback.onBlockedStatusChanged(network(2), false)
        told(true)
    }

    @Test
    fun `before Android 9 no network says that it is not suspended`() = with(System(sdk = 27)) {
        watch.add(follower)
        callback.onAvailable(network(1))
        callback.onCapabilitiesChanged(network(1), suspended)
        told()
    }

    @Test
    fun `one registration for all, as long as somebody follows`() = with(System()) {
        assertTrue(registered.isEmpty())
        val many = List(200) { n -> { value: Boolean -> told += value == (n >= 0) } }
        many.forEach(watch::add)
        val first = callback
        first.onLost(network(1))
        assertEquals(200, told.size)
        many.forEach(watch::remove)
        assertTrue(registered.isEmpty())
        // What was on its way.
        first.onAvailable(network(1))
        told.clear()
        active = null
        watch.add(follower)
        told(false)
        first.onAvailable(network(1))
        told()
        watch.remove(follower)
        watch.remove(follower)
        assertTrue(registered.isEmpty())
    }

    @Test
    fun `a registration that is refused follows nothing`() = with(System()) {
        allowed = false
        assertThrows<IllegalStateException> { watch.add(follower) }
        allowed = true
        watch.add(follower)
        callback.onLost(network(1))
        told(false)
    }

    @Test
    fun `a task leaves when it is over, when it is closed, when nobody has it`() = withServer { server ->
        with(System()) {
            fun gone() {
                val deadline = java.lang.System.nanoTime() + PATIENCE_MS * 1_000_000
                while (registered.isNotEmpty()) {
                    assertTrue(java.lang.System.nanoTime() < deadline, "it is still registered")
                    java.lang.System.gc()
                    Thread.sleep(5)
                }
            }

            fun follow(): SocketTask = connectSocket(server.url()) { comeBackFast() }.also { watch.follow(it) { here -> setNetwork(here) } }
            val closed = follow()
            assertEquals(1, registered.size)
            closed.close()
            gone()
            // Not even a variable of this method.
            val abandoned = (fun() = WeakReference(follow()))()
            gone()
            assertEquals(null, abandoned.get())
            val task = connectSocket(server.url())
            val following = watch.follow(task) { setNetwork(it) }
            assertEquals(1, registered.size)
            following.close()
            assertTrue(registered.isEmpty())
            following.close()
            // One that is over already.
            watch.follow(closed) { setNetwork(it) }
            gone()
            task.close()
        }
    }
}
