package dev.wxsocket.android

import android.app.ActivityManager.RunningAppProcessInfo
import android.app.ActivityManager
import android.app.Application
import android.os.Handler
import android.os.Looper
import dev.wxsocket.SocketTask

/**
 * Tells a task whether the app is in the foreground: while at least one activity is started.
 *
 * It may be called at any time: from `Application.onCreate`, from any callback of an activity,
 * from a click, from a service. A process that has nothing in front is in the background from the
 * beginning. The task is not kept alive by it, and leaves by itself when it is over; [close] stops
 * following earlier. There is no need to keep this object.
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

        /** As the other one; how many activities are started is found out. */
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

        /** What the system thinks of this process; a foreground service alone is not in front. */
        private fun isProcessInFront(): Boolean =
            try {
                val info = RunningAppProcessInfo()
                ActivityManager.getMyMemoryState(info)
                info.importance == RunningAppProcessInfo.IMPORTANCE_FOREGROUND ||
                    info.importance == RunningAppProcessInfo.IMPORTANCE_VISIBLE
            } catch (e: RuntimeException) {
                // The system is going down; this is called within the app's own callbacks.
                false
            }
    }
}
