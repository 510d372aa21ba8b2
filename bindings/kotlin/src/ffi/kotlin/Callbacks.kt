package dev.wxsocket.ffi

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native

/**
 * Makes JNA attach the engine's threads that call [BeforeConnect] as daemons: other attached threads keep the JVM from
 * ending. JNA reads this when a callback is passed to the engine for the first time, so this is called before.
 */
internal fun attachAsDaemons() {
    val daemon = CallbackThreadInitializer(true, true, "wxsocket-before-connect")
    Native.setCallbackThreadInitializer(uniffiCallbackInterfaceBeforeConnect.beforeConnect, daemon)
    Native.setCallbackThreadInitializer(uniffiCallbackInterfaceBeforeConnect.withdraw, daemon)
    Native.setCallbackThreadInitializer(uniffiCallbackInterfaceBeforeConnect.uniffiFree, daemon)
}
