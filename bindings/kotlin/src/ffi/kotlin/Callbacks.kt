package dev.wxsocket.ffi

import com.sun.jna.Callback
import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native

/**
 * Has the threads of the engine that call the app attached as daemons: any other attached thread keeps
 * the JVM from ending. JNA reads this when a callback is first handed to the engine, so it is called
 * before that.
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
