package dev.wxsocket.android

import android.app.ActivityManager.RunningAppProcessInfo
import android.app.ActivityManager
import android.app.Application
import android.os.Handler
import android.os.Looper
import dev.wxsocket.SocketTask

/**
 * Tells a task whether the app is in the foreground, which means that at least one activity is started.
 *
 * [follow] may be called at any time: in `Application.onCreate`, in a callback of an activity, after a click, in a
 * service. It does not keep the task from being garbage-collected and ends when the task is over; [close] ends it
 * earlier. The app need not keep this object.
 *
 *     AndroidLifecycle.follow(application, task)
 */
public class AndroidLifecycle internal constructor(private val following: AutoCloseable) : AutoCloseable {
    /** Stops following. */
    override fun close(): Unit = following.close()

    public companion object {
        private var watch: ForegroundWatch? = null

        /** Follows the activities of [application] for [task]. */
        @JvmStatic
        public fun follow(application: Application, task: SocketTask): AndroidLifecycle =
            AndroidLifecycle(watch(application).follow(task) { setForeground(it) })

        /** As the other `follow`; [started] is ignored. */
        @Deprecated("It need not be told how many are started.", ReplaceWith("follow(application, task)"))
        @JvmStatic
        @Suppress("UNUSED_PARAMETER")
        public fun follow(application: Application, task: SocketTask, started: Int): AndroidLifecycle =
            follow(application, task)

        @Synchronized
        private fun watch(application: Application): ForegroundWatch =
            watch ?: ForegroundWatch(
                ::isProcessInFront,
                { look, delayMs -> Handler(Looper.getMainLooper()).postDelayed(look, delayMs) },
                application::registerActivityLifecycleCallbacks,
            ).also { watch = it }

        /** Returns true when the system has this process in front. A foreground service alone is not enough. */
        private fun isProcessInFront(): Boolean =
            try {
                val info = RunningAppProcessInfo()
                ActivityManager.getMyMemoryState(info)
                info.importance == RunningAppProcessInfo.IMPORTANCE_FOREGROUND ||
                    info.importance == RunningAppProcessInfo.IMPORTANCE_VISIBLE
            } catch (e: RuntimeException) {
                // The system is shutting down. An exception here would end the app.
                false
            }
    }
}
