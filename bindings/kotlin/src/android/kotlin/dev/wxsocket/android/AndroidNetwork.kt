package dev.wxsocket.android

import android.content.Context
import android.net.ConnectivityManager
import android.net.Network
import android.net.NetworkCapabilities
import android.os.Build
import dev.wxsocket.NetworkStatus
import dev.wxsocket.SocketTask

/**
 * Tells a task whether there is a network. Without one the task does not dial; with a new one it dials at once instead
 * of waiting for its next attempt. A network that the system blocks for this app (Doze, data saver, app standby) counts
 * as none.
 *
 * It needs `android.permission.ACCESS_NETWORK_STATE`. All tasks of the process share one callback, because the system
 * allows 100. [follow] does not keep the task from being garbage-collected and ends when the task is over; [close] ends
 * it earlier. The app need not keep this object.
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
         * @throws SecurityException without the permission.
         */
        @JvmStatic
        public fun follow(context: Context, task: SocketTask): AndroidNetwork =
            watch(context).let { watch -> AndroidNetwork(watch.follow(task) { setNetwork(watch.status) }) }

        @Synchronized
        private fun watch(context: Context): NetworkWatch =
            watch ?: run {
                // The manager of an activity would keep that activity. There is no application context while the
                // application itself is being attached.
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

/** Watches the default network of the process while there are followers. */
internal class NetworkWatch(
    private val sdk: Int,
    private val active: () -> Network?,
    private val register: (ConnectivityManager.NetworkCallback) -> Unit,
    private val unregister: (ConnectivityManager.NetworkCallback) -> Unit,
) : Watch() {
    private var callback: Callback? = null
    private var network: Network? = null
    private var suspended = false

    /** True when the system blocks the app. It is not a property of a network; before Android 10 the network is lost instead. */
    private var blocked = false

    override val current: Boolean get() = network != null && !suspended && !blocked

    /** What tasks are told. Android gives each network an object of its own, so a name is never used twice. */
    val status: NetworkStatus get() = NetworkStatus(current, id = network?.toString())

    override fun start() {
        val callback = Callback()
        register(callback)
        // After the registration, or a loss in between would be missed. The first call of the callback then brings
        // nothing new; without a network there is no call.
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

    /** Applies what a callback reports. Followers are called only for a real change: capabilities change often. */
    @Synchronized
    private fun hear(from: Callback, change: () -> Unit) {
        // A callback may still be called shortly after it was unregistered.
        if (from !== callback) return
        val (before, could) = network to current
        change()
        val isNews = could != current || current && network != before
        if (isNews) tellAll(current)
    }

    inner class Callback : ConnectivityManager.NetworkCallback() {
        override fun onAvailable(network: Network) = hear(this) {
            this@NetworkWatch.network = network
            // From Android 8 on its capabilities follow at once.
            suspended = false
        }

        override fun onCapabilitiesChanged(network: Network, capabilities: NetworkCapabilities) =
            onCapabilities(network, capabilities::hasCapability)

        fun onCapabilities(network: Network, has: (Int) -> Boolean) = hear(this) {
            // A network without internet (a captive portal, for example) counts too: the server may be in the local
            // network.
            this@NetworkWatch.network = network
            // Android 9 introduced this capability; before, no network has it.
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
