package dev.wxsocket.android

import android.app.Activity
import android.app.Application.ActivityLifecycleCallbacks
import org.junit.jupiter.api.Test
import kotlin.test.assertEquals

/** The foreground's adapter, with its callbacks called as Android would call them. */
class AndroidLifecycleTest {
    /** Android's side: what it thinks of the process, and what it does to activities. */
    private class Process(var inFront: Boolean = true) {
        private var callbacks: ActivityLifecycleCallbacks? = null
        private val later = ArrayDeque<Runnable>()
        private val watch = ForegroundWatch({ inFront }, { look, _ -> later += look }) { callbacks = it }
        private val told = mutableListOf<Boolean>()

        fun follow() = watch.add { told += it }

        fun told(vararg expected: Boolean) = assertEquals(expected.toList(), told.toList()).also { told.clear() }

        fun start(activity: Activity) = activity.also {
            inFront = true
            callbacks?.onActivityStarted(it)
            callbacks?.onActivityResumed(it)
        }

        fun resume(activity: Activity) = callbacks?.onActivityResumed(activity)

        fun pause(activity: Activity) = callbacks?.onActivityPaused(activity)

        fun stop(activity: Activity) = callbacks?.onActivityStopped(activity)

        /** As `startActivity`: the next one is in front before this one is stopped. */
        fun go(from: Activity, to: Activity) {
            pause(from)
            start(to)
            stop(from)
        }

        fun home(vararg all: Activity, isNoticed: Boolean = true) {
            pause(all.last())
            if (isNoticed) inFront = false
            all.reversed().forEach(::stop)
            inFront = false
        }

        fun rotate(activity: Activity): Activity {
            pause(activity)
            activity.isChanging = true
            stop(activity)
            return start(activity())
        }

        fun timePasses() {
            repeat(later.size) { later.removeFirst().run() }
        }
    }

    @Test
    fun `from the application, before there is an activity`() = with(Process()) {
        follow()
        val login = start(activity())
        val chat = activity()
        go(login, chat)
        told()
        home(chat)
        told(false)
        start(chat)
        told(true)
        // Back to the first, and out.
        go(chat, login)
        told()
        home(login)
        told(false)
        timePasses()
        told()
    }

    @Test
    fun `from an activity that is started, at a click`() = with(Process()) {
        val (login, chat) = activity() to activity()
        start(login)
        follow()
        go(login, chat)
        told()
        timePasses()
        told()
        home(chat)
        told(false)
        start(chat)
        told(true)
    }

    @Test
    fun `from an activity that is started, and then Home`() = with(Process()) {
        val login = start(activity())
        follow()
        home(login)
        told(false)
        start(login)
        told(true)
    }

    @Test
    fun `from each callback of an activity`() {
        // How many of its callbacks have been when it follows: none, its start, its resume.
        for (missed in 0..2) with(Process()) {
            val only = activity()
            if (missed > 0) start(only)
            follow()
            if (missed == 0) start(only)
            if (missed == 1) resume(only)
            told()
            val next = rotate(only)
            told()
            timePasses()
            told()
            home(next)
            told(false)
        }
    }

    @Test
    fun `rotation of an activity that was started before, then Home`() = with(Process()) {
        val login = start(activity())
        follow()
        val again = rotate(login)
        told()
        home(again)
        told(false)
        start(again)
        told(true)
        rotate(again)
        timePasses()
        told()
    }

    @Test
    fun `an activity that is made anew and ends before it is started`() = with(Process()) {
        follow()
        val only = start(activity())
        home(only)
        start(only)
        told(false, true)
        pause(only)
        only.isChanging = true
        inFront = false
        stop(only)
        told()
        timePasses()
        told(false)
    }

    @Test
    fun `two that are started, one of them never seen`() = with(Process()) {
        // Both are resumed side by side; then one ends, and the other one hears nothing.
        val (left, right) = start(activity()) to start(activity())
        follow()
        pause(right)
        stop(right)
        timePasses()
        told()
        home(left)
        told(false)
    }

    @Test
    fun `an activity that can be seen behind another one`() = with(Process()) {
        val chat = start(activity())
        pause(chat)
        val dialog = start(activity())
        follow()
        home(chat, dialog)
        told(false)
    }

    @Test
    fun `a system that notices late`() = with(Process()) {
        val login = start(activity())
        follow()
        home(login, isNoticed = false)
        told()
        timePasses()
        told(false)
    }

    @Test
    fun `a system that notices very late`() = with(Process()) {
        val login = start(activity())
        follow()
        home(login, isNoticed = false)
        inFront = true
        repeat(5) { timePasses() }
        told()
        inFront = false
        timePasses()
        told(false)
        repeat(5) { timePasses() }
        told()
        start(login)
        told(true)
    }

    @Test
    fun `a process that a service began`() = with(Process(inFront = false)) {
        follow()
        told(false)
        // A second task of the same process.
        follow()
        told(false)
        home(start(activity()))
        told(true, true, false, false)
    }
}
