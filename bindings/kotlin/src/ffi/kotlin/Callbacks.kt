package dev.wxsocket.ffi

import com.sun.jna.Callback
import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native

/**
 * Makes JNA attach the engine's threads that call the app as daemons: other attached threads keep the JVM from ending.
 * JNA reads this when a callback is passed to the engine for the first time, so this is called before.
 */
internal fun attachAsDaemons() {
    val asking = CallbackThreadInitializer(true, true, "wxsocket-before-connect")
    for (callback in listOf<Callback>(
        uniffiCallbackInterfaceBeforeConnect.beforeConnect,
        uniffiCallbackInterfaceBeforeConnect.withdraw,
        uniffiCallbackInterfaceBeforeConnect.uniffiFree,
    )) Native.setCallbackThreadInitializer(callback, asking)
    val telling = CallbackThreadInitializer(true, true, "wxsocket-listener")
    for (callback in listOf<Callback>(
        uniffiCallbackInterfaceSocketListener.onOpen,
        uniffiCallbackInterfaceSocketListener.onMessage,
        uniffiCallbackInterfaceSocketListener.onError,
        uniffiCallbackInterfaceSocketListener.onClose,
        uniffiCallbackInterfaceSocketListener.uniffiFree,
    )) Native.setCallbackThreadInitializer(callback, telling)
}
