package dev.wxsocket.android

import android.app.Activity
import android.app.Application
import android.os.Bundle
import java.util.Collections
import java.util.WeakHashMap

/**
 * Watches whether an activity of the process is started.
 *
 * Activities are distinguished by identity. Activities that were started before the registration are unknown at first:
 * the system only tells whether the process is in front. Such an activity becomes known with its next callback, because
 * only a started activity can be resumed or paused. Callbacks come on the main thread, followers on any thread.
 */
internal class ForegroundWatch(
    /** Returns true when the system has the process in front. The answer may be a moment old. */
    private val isProcessInFront: () -> Boolean,
    /** Runs a task on the main thread after this many milliseconds. */
    private val later: (Runnable, Long) -> Unit,
    private val register: (Application.ActivityLifecycleCallbacks) -> Unit,
) : Watch() {
    private val started: MutableSet<Activity> = Collections.newSetFromMap(WeakHashMap())
    private var registered = false
    private var inFront = true

    /** True while unknown activities may be started. */
    private var hasUnseen = false

    /** The next check; earlier ones do nothing. */
    private var nextLook: Runnable? = null

    override val current: Boolean get() = inFront

    override fun start() {
        if (registered) return
        register(Callbacks())
        registered = true
        inFront = isProcessInFront()
        hasUnseen = inFront
    }

    /** Does nothing: it stays registered, which costs nothing, and keeps what it knows. */
    override fun stop(): Unit = Unit

    @Synchronized
    private fun isStarted(activity: Activity) {
        started += activity
        become(true)
    }

    @Synchronized
    private fun isStopped(activity: Activity) {
        started -= activity
        if (started.isNotEmpty()) return
        when {
            // The activity is recreated (rotation) and will be started again in a moment, unless it ends before.
            activity.isChangingConfigurations -> lookIn(LOOK_AGAIN_MS)
            // The system may be late, or an unknown activity is started.
            hasUnseen && isProcessInFront() -> lookIn(LOOK_AGAIN_MS)
            else -> leave()
        }
    }

    private fun lookIn(pauseMs: Long) {
        val look = object : Runnable {
            override fun run() = lookAgain(this, pauseMs)
        }
        nextLook = look
        later(look, pauseMs)
    }

    /** Checks, with growing pauses, until an activity is known or the system has the process in front no more. */
    @Synchronized
    private fun lookAgain(look: Runnable, pauseMs: Long) {
        when {
            // Another activity was stopped in the meantime, which has a check of its own.
            look !== nextLook -> Unit
            started.isNotEmpty() -> Unit
            hasUnseen && isProcessInFront() -> lookIn(minOf(2 * pauseMs, LONGEST_PAUSE_MS))
            else -> leave()
        }
    }

    private fun leave() {
        hasUnseen = false
        become(false)
    }

    private fun become(inFront: Boolean) {
        if (inFront == this.inFront) return
        this.inFront = inFront
        tellAll(inFront)
    }

    private inner class Callbacks : Application.ActivityLifecycleCallbacks {
        override fun onActivityStarted(activity: Activity) = isStarted(activity)

        override fun onActivityResumed(activity: Activity) = isStarted(activity)

        override fun onActivityPaused(activity: Activity) = isStarted(activity)

        override fun onActivityStopped(activity: Activity) = isStopped(activity)

        override fun onActivityCreated(activity: Activity, savedInstanceState: Bundle?) = Unit

        override fun onActivitySaveInstanceState(activity: Activity, outState: Bundle) = Unit

        override fun onActivityDestroyed(activity: Activity) = Unit
    }

    internal companion object {
        /** Longer than recreating an activity takes, and longer than the system is late. */
        const val LOOK_AGAIN_MS = 1_000L

        /** An unknown activity may stay for hours, and each check wakes the process. */
        const val LONGEST_PAUSE_MS = 300_000L
    }
}
