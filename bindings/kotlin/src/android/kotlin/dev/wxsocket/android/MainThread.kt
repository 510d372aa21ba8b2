package dev.wxsocket.android

import android.os.Handler
import android.os.Looper
import java.util.concurrent.Executor

/** Android's main thread, where listeners are called unless the app says otherwise. */
public object MainThread : Executor {
    private val handler by lazy { Handler(Looper.getMainLooper()) }

    override fun execute(command: Runnable) {
        handler.post(command)
    }
}
