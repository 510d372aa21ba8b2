package dev.wxsocket.android

import dev.wxsocket.SocketTask
import java.lang.ref.WeakReference

/**
 * Something that the system knows, with the tasks that are told of it: one registration with the
 * system for all of them. A task is held weakly, and leaves when it is over.
 */
internal abstract class Watch {
    private val followers = ArrayList<(Boolean) -> Unit>()

    /** What a new follower is told; a task assumes `true` until it is told otherwise. */
    protected abstract val current: Boolean

    /** Registers with the system: the first follower is about to come. */
    protected abstract fun start()

    /** Unregisters: the last follower has gone. */
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

    /** Tells every follower; the caller holds the lock. */
    protected fun tellAll(value: Boolean): Unit = followers.forEach { it(value) }

    /** Adds [task], which [set] tells, until it is over or what this returns is closed. */
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
