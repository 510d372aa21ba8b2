package dev.wxsocket.android

import dev.wxsocket.SocketTask
import java.lang.ref.WeakReference

/**
 * Passes a value of the system (network, foreground) on to tasks. All tasks share one registration with the system. A
 * task is referenced weakly and is removed when it is over.
 */
internal abstract class Watch {
    private val followers = ArrayList<(Boolean) -> Unit>()

    /** The present value. A task assumes `true` until it is told otherwise. */
    protected abstract val current: Boolean

    /** Registers with the system, before the first follower is added. */
    protected abstract fun start()

    /** Unregisters, after the last follower was removed. */
    protected abstract fun stop()

    @Synchronized
    fun add(follower: (Boolean) -> Unit) {
        // If this throws, there is no follower either.
        if (followers.isEmpty()) start()
        followers += follower
        if (!current) follower(false)
    }

    @Synchronized
    fun remove(follower: (Boolean) -> Unit) {
        if (followers.remove(follower) && followers.isEmpty()) stop()
    }

    /** Passes the value to every follower. The caller holds the lock. */
    protected fun tellAll(value: Boolean): Unit = followers.forEach { it(value) }

    /** Adds [task] until it is over or the returned object is closed; [set] passes the value to it. */
    fun follow(task: SocketTask, set: SocketTask.(Boolean) -> Unit): AutoCloseable {
        val held = WeakReference(task)
        val follower: (Boolean) -> Unit = { value -> held.get()?.set(value) }
        add(follower)
        val end = task.whenOver { remove(follower) }
        return AutoCloseable {
            end.close()
            remove(follower)
        }
    }
}
