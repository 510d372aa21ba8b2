package dev.wxsocket.ffi

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native

/**
 * Has the engine's threads that call [BeforeConnect] attached as daemons: any other attached thread
 * keeps the JVM from ending. JNA reads this when a callback is first handed to the engine, so it is
 * called before that.
 */
internal fun attachAsDaemons() {
    val daemon = CallbackThreadInitializer(true, true, "wxsocket-before-connect")
    Native.setCallbackThreadInitializer(uniffiCallbackInterfaceBeforeConnect.beforeConnect, daemon)
    Native.setCallbackThreadInitializer(uniffiCallbackInterfaceBeforeConnect.withdraw, daemon)
    Native.setCallbackThreadInitializer(uniffiCallbackInterfaceBeforeConnect.uniffiFree, daemon)
}
