package dev.wxsocket

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import java.util.logging.Level

/** The state of a task and its newest steps; listeners may not have heard of them yet. */
internal class Bulletin(
    val state: SocketState,
    /** The newest open, even if its connection is over. */
    val open: OpenEvent? = null,
    val error: ErrorEvent? = null,
    val close: CloseEvent? = null,
) {
    /** The last close of the task, when it is over. */
    val end: CloseEvent? get() = close?.takeIf { it.isFinal }

    /** The open of the present connection, or else one after connection [epoch]. */
    fun opened(epoch: Long): OpenEvent? = open?.takeIf { state == SocketState.Open || it.epoch > epoch }
}

/**
 * Where one task is in its life, for its StateFlow and for whoever waits for an open or the end.
 * It is told by the threads of [Turns], as things happen: neither listeners nor collectors nor the
 * app's executor hold it up.
 *
 * A coroutine that waits or collects may go on within the call that tells it (on
 * `Dispatchers.Unconfined`, for example) and take its time. So what is known is set first, under a
 * lock, then the state, and then waiters are told, both without a lock. A coroutine that blocks there
 * delays the others that the same thread was about to wake, all of this task.
 */
internal class News(state: SocketState, private val onEnd: () -> Unit) {
    /** Somebody who waits. [keep] is alive until then. */
    class Waiter(@Suppress("unused") private val keep: Any?, private val hear: (Bulletin) -> Boolean) {
        /** True: it waits no more. It may be told the same twice, by two threads. */
        fun tell(bulletin: Bulletin): Boolean = hear(bulletin)
    }

    /** Guards everything below; no coroutine is woken under it. */
    private val lock = Any()

    /** The newest state and its version. */
    private var newest = state
    private var version = 0L

    /** The newest bulletin and its version. */
    @Volatile var known = Bulletin(state)
        private set
    private var knownVersion = -1L
    private val waiters = LinkedHashSet<Waiter>()

    private val states = MutableStateFlow(state)

    /** What [states] was set to last, or is about to be. */
    private var target = state

    /** The newest state. */
    val state: StateFlow<SocketState> = states.asStateFlow()

    /** Sets the state, unless a newer one is known. */
    fun stand(version: Long, state: SocketState) {
        synchronized(lock) { note(version, state) }
        publish()
    }

    private fun note(version: Long, state: SocketState) {
        if (version < this.version) return
        this.version = version
        if (!state.isStill(newest)) newest = state
    }

    /**
     * Has [states] show the newest state, or one that is newer still. To set it wakes its collectors, so it is not
     * done under the lock. Whoever comes while a thread is about to set it waits until it is set (not until
     * the collectors have gone on), so that an older state never follows a newer one.
     */
    private fun publish() {
        while (true) {
            val next = synchronized(lock) {
                val shown = states.value
                when {
                    shown != target -> null
                    shown == newest -> return
                    else -> newest.also { target = it }
                }
            }
            if (next != null) set(next) else Thread.yield()
        }
    }

    private fun set(next: SocketState) {
        try {
            states.value = next
        } catch (e: Throwable) {
            // No memory or no stack: nobody is to wait for what was not set.
            synchronized(lock) { target = states.value }
            throw e
        }
    }

    /** Tells those who wait, unless something newer is known. */
    fun tell(version: Long, bulletin: Bulletin) {
        val waiting = synchronized(lock) {
            note(version, bulletin.state)
            if (version < knownVersion) {
                emptyArray()
            } else {
                known = bulletin
                knownVersion = version
                waiters.toTypedArray()
            }
        }
        if (bulletin.end != null) onEnd()
        publish()
        for (waiter in waiting) tell(waiter, bulletin)
    }

    /** Whether telling this may call code of the app's: on some dispatchers a coroutine goes on at once. */
    fun isFollowed(bulletin: Bulletin): Boolean =
        bulletin.end != null || states.subscriptionCount.value > 0 || synchronized(lock) { waiters.isNotEmpty() }

    /** Has [waiter] told what is known, and then what comes until it waits no more. */
    fun add(waiter: Waiter) {
        val known = synchronized(lock) {
            waiters += waiter
            known
        }
        // Whoever is told of an open sees the state open.
        publish()
        tell(waiter, known)
    }

    fun remove(waiter: Waiter) {
        synchronized(lock) { waiters -= waiter }
    }

    private fun tell(waiter: Waiter, bulletin: Bulletin) {
        val isDone = try {
            waiter.tell(bulletin)
        } catch (e: Throwable) {
            complain(Level.SEVERE, e) { "whoever waited for a socket failed" }
            true
        }
        if (isDone) remove(waiter)
    }

    /** Waits for the first bulletin that [isIt], beginning with what is known; [keep] is alive until then. */
    suspend fun await(keep: Any, isIt: (Bulletin) -> Boolean): Bulletin {
        val found = CompletableDeferred<Bulletin>()
        val waiter = Waiter(keep) { bulletin -> isIt(bulletin).also { if (it) found.complete(bulletin) } }
        add(waiter)
        try {
            return found.await()
        } finally {
            remove(waiter)
        }
    }
}
