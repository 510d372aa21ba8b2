package dev.wxsocket

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.flow.MutableStateFlow
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
 */
internal class News(state: SocketState, private val onEnd: () -> Unit) {
    /** Somebody who waits. [keep] is alive until then. */
    class Waiter(@Suppress("unused") private val keep: Any?, private val hear: (Bulletin) -> Boolean) {
        /** True: it waits no more. It may be told the same twice, by two threads. */
        fun tell(bulletin: Bulletin): Boolean = hear(bulletin)
    }

    val state = MutableStateFlow(state)

    /** The newest version of [state]. Its lock is not that of the waiters: a StateFlow may call its collectors. */
    private var version = 0L
    private val standing = Any()

    /** The newest bulletin and its version. */
    @Volatile var known = Bulletin(state)
        private set
    private var knownVersion = -1L
    private val waiters = LinkedHashSet<Waiter>()

    /** Sets the state, unless a newer one is known. */
    fun stand(version: Long, state: SocketState): Unit = synchronized(standing) {
        if (version < this.version) return
        if (!state.isStill(this.state.value)) this.state.value = state
        this.version = version
    }

    /** Tells those who wait, unless something newer is known. */
    fun tell(version: Long, bulletin: Bulletin) {
        stand(version, bulletin.state)
        val waiting = synchronized(waiters) {
            if (version < knownVersion) return
            val waiting = waiters.toTypedArray()
            known = bulletin
            knownVersion = version
            waiting
        }
        for (waiter in waiting) tell(waiter, bulletin)
        if (bulletin.end != null) onEnd()
    }

    /** Whether telling this may call code of the app's: on some dispatchers a coroutine goes on at once. */
    fun isFollowed(bulletin: Bulletin): Boolean =
        bulletin.end != null || state.subscriptionCount.value > 0 || synchronized(waiters) { waiters.isNotEmpty() }

    /** Has [waiter] told what is known, and then what comes until it waits no more. */
    fun add(waiter: Waiter) {
        val known = synchronized(waiters) {
            waiters += waiter
            known
        }
        tell(waiter, known)
    }

    fun remove(waiter: Waiter) {
        synchronized(waiters) { waiters -= waiter }
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
