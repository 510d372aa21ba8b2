package dev.wxsocket.android

import android.content.Context
import android.net.ConnectivityManager
import android.net.Network
import android.net.NetworkCapabilities
import android.os.Build
import dev.wxsocket.SocketTask

/**
 * Tells a task what the system knows of the network: without one it does not dial, and with a
 * new one it dials at once instead of waiting for its next attempt. A network that the system
 * blocks for this app (Doze, data saver, app standby) counts as none.
 *
 * Needs `android.permission.ACCESS_NETWORK_STATE`. All tasks of the process share one callback of
 * the system, which allows 100. The task is not kept alive by it, and leaves by itself when it is
 * over; [close] stops following earlier. There is no need to keep this object.
 *
 *     AndroidNetwork.follow(context, task)
 */
public class AndroidNetwork internal constructor(private val following: AutoCloseable) : AutoCloseable {
    /** Stops following. */
    override fun close(): Unit = following.close()

    public companion object {
        private var watch: NetworkWatch? = null

        /**
         * Follows the default network for [task]; `minSdk` 24.
         *
         * @throws SecurityException without the permission; then nothing is followed.
         */
        @JvmStatic
        public fun follow(context: Context, task: SocketTask): AndroidNetwork =
            AndroidNetwork(watch(context).follow(task) { setNetwork(it) })

        @Synchronized
        private fun watch(context: Context): NetworkWatch =
            watch ?: run {
                // The process's: the manager of an activity would keep that activity. There is
                // none yet while the application itself is being attached.
                val lasting = context.applicationContext ?: context
                val manager = lasting.getSystemService(Context.CONNECTIVITY_SERVICE) as ConnectivityManager
                NetworkWatch(
                    Build.VERSION.SDK_INT,
                    manager::getActiveNetwork,
                    manager::registerDefaultNetworkCallback,
                    manager::unregisterNetworkCallback,
                ).also { watch = it }
            }
    }
}

/** The default network of the process, as long as there is a task to tell of it. */
internal class NetworkWatch(
    private val sdk: Int,
    private val active: () -> Network?,
    private val register: (ConnectivityManager.NetworkCallback) -> Unit,
    private val unregister: (ConnectivityManager.NetworkCallback) -> Unit,
) : Watch() {
    private var callback: Callback? = null
    private var network: Network? = null
    private var suspended = false

    /** Of the app and not of a network, and told before Android 10 by there being no network. */
    private var blocked = false

    override val current: Boolean get() = network != null && !suspended && !blocked

    override fun start() {
        val callback = Callback()
        register(callback)
        // Asked after that, or a loss in between would never be told. What the callback says
        // first is then no news; a callback without a network says nothing at all.
        try {
            network = active()
        } catch (e: RuntimeException) {
            unregister(callback)
            throw e
        }
        suspended = false
        blocked = false
        this.callback = callback
    }

    override fun stop() {
        val callback = callback ?: return
        this.callback = null
        unregister(callback)
    }

    /** Takes in what one callback says. Only news is told: capabilities change all the time. */
    @Synchronized
    private fun hear(from: Callback, change: () -> Unit) {
        // What was on its way when it was unregistered still arrives.
        if (from !== callback) return
        val (before, could) = network to current
        change()
        val isNews = could != current || current && network != before
        if (isNews) tellAll(current)
    }

    inner class Callback : ConnectivityManager.NetworkCallback() {
        override fun onAvailable(network: Network) = hear(this) {
            this@NetworkWatch.network = network
            // Its capabilities follow at once, from Android 8 on.
            suspended = false
        }

        override fun onCapabilitiesChanged(network: Network, capabilities: NetworkCapabilities) =
            onCapabilities(network, capabilities::hasCapability)

        fun onCapabilities(network: Network, has: (Int) -> Boolean) = hear(this) {
            // A network that is there but leads nowhere yet (a captive portal, say) is still
            // dialled through: a server in the local network needs no internet.
            this@NetworkWatch.network = network
            // No network has this capability before Android 9, which introduced it.
            suspended = sdk >= NOT_SUSPENDED_SINCE &&
                !has(NetworkCapabilities.NET_CAPABILITY_NOT_SUSPENDED)
        }

        override fun onBlockedStatusChanged(network: Network, blocked: Boolean) = hear(this) {
            this@NetworkWatch.blocked = blocked
        }

        override fun onLost(network: Network) = hear(this) {
            if (network == this@NetworkWatch.network) this@NetworkWatch.network = null
        }
    }

    private companion object {
        const val NOT_SUSPENDED_SINCE = 28
    }
}
