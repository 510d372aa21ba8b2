package dev.wxsocket.android

import android.app.Activity
import android.app.Application
import android.os.Bundle
import java.util.Collections
import java.util.WeakHashMap

/**
 * Whether an activity of the process is started.
 *
 * Activities are known by identity. Those that were started before this began to listen are not
 * known at first: that there are any is what the system says of the process, and which they are
 * shows as soon as something happens to one of them, since only a started activity can be resumed
 * or paused. Callbacks come on the main thread; followers come from any.
 */
internal class ForegroundWatch(
    /** Whether the system has the process in front. It may be late by a moment. */
    private val isProcessInFront: () -> Boolean,
    /** Calls what it is given on the main thread, so many milliseconds later. */
    private val later: (Runnable, Long) -> Unit,
    private val register: (Application.ActivityLifecycleCallbacks) -> Unit,
) : Watch() {
    private val started: MutableSet<Activity> = Collections.newSetFromMap(WeakHashMap())
    private var registered = false
    private var inFront = true

    /** Activities may be started that were never seen. */
    private var hasUnseen = false

    /** The look that is due; those before it look no more. */
    private var nextLook: Runnable? = null

    override val current: Boolean get() = inFront

    override fun start() {
        if (registered) return
        register(Callbacks())
        registered = true
        inFront = isProcessInFront()
        hasUnseen = inFront
    }

    /** It stays registered: that costs nothing, and what it knows need not be found out again. */
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
            // It is made anew (rotation), and leaves the screen only for a moment. But it may end
            // before it is started again.
            activity.isChangingConfigurations -> lookIn(LOOK_AGAIN_MS)
            // Perhaps the system has not noticed yet, perhaps another one is there.
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

    /** Looks until an activity is seen or the system says that there is none, more and more rarely. */
    @Synchronized
    private fun lookAgain(look: Runnable, pauseMs: Long) {
        when {
            // Another activity was stopped meanwhile, and a look of its own is due.
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
        /** Longer than an activity takes to be made anew, and than the system takes to notice. */
        const val LOOK_AGAIN_MS = 1_000L

        /** An activity that was never seen may stay for hours, and looking costs a wakeup. */
        const val LONGEST_PAUSE_MS = 300_000L
    }
}
