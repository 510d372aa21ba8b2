package dev.wxsocket

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import java.util.logging.Level

/** The state of a task and its newest open, error and close. Listeners may not have been called with them yet. */
internal class Bulletin(
    val state: SocketState,
    /** The newest open; its connection may be over. */
    val open: OpenEvent? = null,
    val error: ErrorEvent? = null,
    val close: CloseEvent? = null,
) {
    /** The last close of the task; `null` until the task is over. */
    val end: CloseEvent? get() = close?.takeIf { it.isFinal }

    /** Returns the open of the present connection, or of one that came after connection [epoch]. */
    fun opened(epoch: Long): OpenEvent? = open?.takeIf { state == SocketState.Open || it.epoch > epoch }
}

/**
 * Holds the state of one task, for its StateFlow and for coroutines that wait for an open or the end. The threads of
 * [Turns] update it as soon as something happens; listeners, collectors and the app's executor do not delay it.
 *
 * A waiting or collecting coroutine may run within the call that wakes it (on `Dispatchers.Unconfined`, for example)
 * and take long. So the news are stored first, under a lock; then the state is set and the waiters are woken, both
 * without a lock. A coroutine that blocks there delays the other coroutines of the same task that this thread is about
 * to wake.
 */
internal class News(state: SocketState, private val onEnd: () -> Unit) {
    /** A coroutine that waits. It keeps a reference to [keep] meanwhile. */
    class Waiter(@Suppress("unused") private val keep: Any?, private val hear: (Bulletin) -> Boolean) {
        /** Passes the news on and returns true when it waits no more. Two threads may pass the same news. */
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

    /** The value that [states] has, or gets from the thread that is about to set it. */
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
     * Sets [states] to the newest state. This wakes its collectors, so it is done without the lock. A second thread
     * waits until the first has set its state (not until its collectors have run), so that an older state never follows
     * a newer one.
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
            // No memory or no stack. Other threads must not wait for a state that was not set.
            synchronized(lock) { target = states.value }
            throw e
        }
    }

    /** Stores the news and wakes the waiters, unless newer news are known. */
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

    /** Returns true when [tell] may run code of the app: on some dispatchers a coroutine runs at once. */
    fun isFollowed(bulletin: Bulletin): Boolean =
        bulletin.end != null || states.subscriptionCount.value > 0 || synchronized(lock) { waiters.isNotEmpty() }

    /** Passes the known news to [waiter], and then all later ones until it waits no more. */
    fun add(waiter: Waiter) {
        val known = synchronized(lock) {
            waiters += waiter
            known
        }
        // A coroutine that is woken by an open must see the state open.
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
            complain(Level.SEVERE, e) { "a coroutine that waited for a socket failed" }
            true
        }
        if (isDone) remove(waiter)
    }

    /** Waits for the first bulletin that [isIt] accepts, beginning with the known one. It keeps a reference to [keep]. */
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
