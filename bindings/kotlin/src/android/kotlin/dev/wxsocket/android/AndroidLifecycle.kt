package dev.wxsocket.android

import android.app.Activity
import android.app.Application
import android.os.Bundle
import dev.wxsocket.SocketTask

/**
 * Tells a task whether the app is in the foreground: while at least one activity is started.
 *
 * Register it from a started activity or from `Application.onCreate`. [close] it when the task is
 * over; it keeps the task alive until then.
 *
 *     val lifecycle = AndroidLifecycle.follow(application, task)
 */
public class AndroidLifecycle internal constructor(
    private val setForeground: (Boolean) -> Unit,
    private val unregister: (Application.ActivityLifecycleCallbacks) -> Unit,
    private var started: Int = 0,
) : Application.ActivityLifecycleCallbacks, AutoCloseable {
    /** Activities that are being made anew (rotation) leave the screen only for a moment. */
    private var changing = 0

    override fun onActivityStarted(activity: Activity) {
        if (changing > 0) changing-- else if (started++ == 0) setForeground(true)
    }

    override fun onActivityStopped(activity: Activity) {
        if (activity.isChangingConfigurations) {
            changing++
        } else if (started > 0 && --started == 0) {
            setForeground(false)
        }
    }

    override fun onActivityCreated(activity: Activity, savedInstanceState: Bundle?): Unit = Unit

    override fun onActivityResumed(activity: Activity): Unit = Unit

    override fun onActivityPaused(activity: Activity): Unit = Unit

    override fun onActivitySaveInstanceState(activity: Activity, outState: Bundle): Unit = Unit

    override fun onActivityDestroyed(activity: Activity): Unit = Unit

    /** Stops following. */
    override fun close(): Unit = unregister(this)

    public companion object {
        /** Follows the activities of [application] for [task]; [started] of them are already. */
        public fun follow(application: Application, task: SocketTask, started: Int = 0): AndroidLifecycle {
            val unregister = application::unregisterActivityLifecycleCallbacks
            val lifecycle = AndroidLifecycle(task::setForeground, unregister, started)
            application.registerActivityLifecycleCallbacks(lifecycle)
            return lifecycle
        }
    }
}
