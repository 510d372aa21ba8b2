package dev.wxsocket.android

import android.content.Context
import android.net.ConnectivityManager
import android.net.Network
import android.net.NetworkCapabilities
import dev.wxsocket.SocketTask

/**
 * Tells a task what the system knows of the network: without one it does not dial, and with a
 * new one it dials at once instead of waiting for its next attempt.
 *
 * Needs `android.permission.ACCESS_NETWORK_STATE`. [close] it when the task is over; it keeps
 * the task alive until then.
 *
 *     val network = AndroidNetwork.follow(context, task)
 */
public class AndroidNetwork internal constructor(
    private val setNetwork: (Boolean) -> Unit,
    private val unregister: (ConnectivityManager.NetworkCallback) -> Unit,
) : ConnectivityManager.NetworkCallback(), AutoCloseable {
    private var current: Network? = null
    private var usable = false

    override fun onAvailable(network: Network) {
        // Before Android 8 nothing tells whether it can be used; then this is all there is.
        tell(network, usable = true)
    }

    override fun onCapabilitiesChanged(network: Network, capabilities: NetworkCapabilities) {
        // A network that is there but leads nowhere yet (a captive portal, say) is still dialled
        // through: a server in the local network needs no internet.
        tell(network, capabilities.hasCapability(NetworkCapabilities.NET_CAPABILITY_NOT_SUSPENDED))
    }

    override fun onLost(network: Network) {
        if (network == current) tell(null, usable = false)
    }

    /** Stops following. */
    override fun close(): Unit = unregister(this)

    @Synchronized
    internal fun tell(network: Network?, usable: Boolean) {
        // Capabilities change all the time (signal strength); only news is worth a probe.
        if (network == current && usable == this.usable) return
        current = network
        this.usable = usable
        setNetwork(usable)
    }

    public companion object {
        /** Follows the default network for [task]; `minSdk` 24. */
        public fun follow(context: Context, task: SocketTask): AndroidNetwork {
            val manager = context.getSystemService(Context.CONNECTIVITY_SERVICE) as ConnectivityManager
            // A callback that is registered without a network hears nothing until there is one.
            if (manager.activeNetwork == null) task.setNetwork(false)
            val network = AndroidNetwork(task::setNetwork, manager::unregisterNetworkCallback)
            manager.registerDefaultNetworkCallback(network)
            return network
        }
    }
}
