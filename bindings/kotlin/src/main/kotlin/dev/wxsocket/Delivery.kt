package dev.wxsocket

import dev.wxsocket.ffi.endTurn
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.MutableStateFlow
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.Executor
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicLong
import java.util.logging.Level

/** Kinds of events, as bits. */
internal const val OPEN = 1
internal const val MESSAGE = 2
internal const val ERROR = 4
internal const val CLOSE = 8
internal const val ALL = OPEN or MESSAGE or ERROR or CLOSE

private val SocketEvent.kind: Int
    get() = when (this) {
        is MessageEvent -> MESSAGE
        is OpenEvent -> OPEN
        is ErrorEvent -> ERROR
        is CloseEvent -> CLOSE
    }

/** What it holds of the server's; the rest is small. */
private val SocketEvent.size: Long
    get() = when (val data = (this as? MessageEvent)?.data) {
        is Message.Text -> data.text.length.toLong()
        is Message.Binary -> data.bytes.size.toLong()
        null -> 0
    }

/** Somebody who is told events of some [kinds]. */
internal abstract class Subscriber(val kinds: Int) {
    @Volatile var gone = false

    /** False: not now; there is no room. */
    abstract fun offer(event: SocketEvent): Boolean

    /** An offer would be accepted, and by a margin that makes it worth the while. */
    open val hasRoom: Boolean get() = true

    /** Only waits for something: what was missed is kept for others. */
    open val onlyWaits: Boolean get() = false
}

/** A listener of the app: a function of its own, which [off] looks for. */
internal class Listener(kinds: Int, val function: Any, private val call: (SocketEvent) -> Unit) : Subscriber(kinds) {
    override fun offer(event: SocketEvent): Boolean {
        call(event)
        return true
    }
}

internal fun openListener(call: (OpenEvent) -> Unit) = Listener(OPEN, call) { call(it as OpenEvent) }

internal fun messageListener(call: (MessageEvent) -> Unit) = Listener(MESSAGE, call) { call(it as MessageEvent) }

internal fun errorListener(call: (ErrorEvent) -> Unit) = Listener(ERROR, call) { call(it as ErrorEvent) }

internal fun closeListener(call: (CloseEvent) -> Unit) = Listener(CLOSE, call) { call(it as CloseEvent) }

/** A collector of a Flow. [keep] is alive for as long as somebody collects from it. */
internal class Collector(kinds: Int, @Suppress("unused") private val keep: Any) : Subscriber(kinds) {
    // Not its own bound but [load]'s counts, which knows bytes.
    val channel = Channel<SocketEvent>(Channel.UNLIMITED)
    private val load = AtomicLong()

    override fun offer(event: SocketEvent): Boolean {
        if (gone) return true
        if (load.get() >= MOST) return false
        load.addAndGet(OVERHEAD + event.size)
        channel.trySend(event)
        return true
    }

    override val hasRoom: Boolean get() = gone || load.get() <= MOST / 2

    fun took(event: SocketEvent) {
        load.addAndGet(-OVERHEAD - event.size)
    }

    private companion object {
        /** 256 small messages, or one large one. */
        const val MOST = 256 * 1024L
        const val OVERHEAD = 1024L
    }
}

/**
 * One task's way from the engine to whoever listens. Everything but [add], [remove] and [resume]
 * happens within a turn, so in one thread at a time.
 *
 * It must not know the task: a task that nobody refers to is to be freed, and this is known to
 * the threads of [Turns] for as long as the task lives.
 */
internal class Delivery(
    val number: Long,
    val executor: Executor?,
    state: SocketState,
    /** Those who are there from the first event on. */
    @Volatile private var subscribers: List<Subscriber>,
    /** Told when the task is over. */
    private val onEnd: () -> Unit = {},
) {
    val state = MutableStateFlow(state)
    val failures = AtomicLong()

    /** Those who have come since. Its lock guards who is where: in here or in [subscribers]. */
    private val joining = ConcurrentLinkedQueue<Subscriber>()

    /** What there is to tell everybody. */
    private val queue = ArrayDeque<SocketEvent>()

    /** What newcomers are owed, and which of them; it goes first. */
    private val owed = ArrayDeque<Pair<SocketEvent, List<Subscriber>>>()

    /** The event that somebody had no room for, with those who still wait for it. */
    private var held: Pair<SocketEvent, MutableList<Subscriber>>? = null
    private val stalled = AtomicBoolean()

    private var open: OpenEvent? = null
    private var end: CloseEvent? = null

    /** What happened before anybody wanted to know, until somebody of its kind does. */
    private val missed = ArrayDeque<SocketEvent>()
    private var missedBytes = 0L
    private var hasLost = false
    private var wanted = subscribers.fold(0) { kinds, subscriber -> kinds or subscriber.kinds }

    fun add(subscriber: Subscriber) {
        synchronized(joining) {
            joining += subscriber
            Turns.add(this)
        }
        Turns.wake(this)
    }

    fun remove(subscriber: Subscriber) {
        // Even if it is not here yet: whoever waits can be cancelled before it has come.
        subscriber.gone = true
        remove { it === subscriber }
    }

    /** Calls [action] when the task is over, and keeps nobody alive until then. */
    fun whenOver(action: () -> Unit): AutoCloseable {
        val waiter = object : Subscriber(CLOSE) {
            override val onlyWaits get() = true

            override fun offer(event: SocketEvent): Boolean {
                if (event is CloseEvent && event.retry == null && !gone) action()
                return true
            }
        }
        add(waiter)
        return AutoCloseable { remove(waiter) }
    }

    /** Removes a listener by its function; `null`: all of these [kinds]. */
    fun off(kinds: Int, function: Any?) {
        remove { it is Listener && it.kinds == kinds && (function == null || it.function == function) }
    }

    private fun remove(which: (Subscriber) -> Boolean) {
        synchronized(joining) {
            val (going, staying) = subscribers.partition(which)
            // A turn may be about to tell them, out of a list that it has already.
            going.forEach { it.gone = true }
            joining.removeAll(which)
            subscribers = staying
        }
        resume()
    }

    /** Somebody who had no room may have some now. */
    fun resume() {
        if (stalled.get() && subscribers.all { it.hasRoom } && stalled.compareAndSet(true, false)) {
            endTurn(number, true)
        }
    }

    /** The connection that was ended for a message that did not fit; no more of its are read. */
    @Volatile var refused = 0L

    /** How many times in a row the app's executor did not begin a turn that it was given. */
    @Volatile var notBegun = 0

    /** Begins a turn. */
    fun enter(turn: Turn) {
        // Before the events, so that who is told of an open sees the state open.
        if (!turn.state.isStill(state.value)) state.value = turn.state
        queue += turn.events
    }

    /** Carries the turn out. False: it goes on later, when there is room; it has not ended. */
    fun carryOut(): Boolean =
        try {
            patiently(::run)
        } catch (e: Throwable) {
            // Nothing of the app's gets here; a turn that does not end would be the last of its task.
            complain(Level.SEVERE, e) { "a turn failed" }
            true
        }

    private fun run(): Boolean {
        while (!tellAll()) {
            stalled.set(true)
            // Whoever made room before that line did not see it.
            if (!subscribers.all { it.hasRoom } || !stalled.compareAndSet(true, false)) return false
        }
        synchronized(joining) {
            if (end != null && joining.isEmpty()) Turns.remove(this)
        }
        return true
    }

    private fun tellAll(): Boolean {
        while (true) {
            held?.let { (event, waiting) ->
                waiting.removeAll { it.gone || tell(it, event) }
                if (waiting.isNotEmpty()) return false
                held = null
            }
            if (!joining.isEmpty()) admit()
            val debt = owed.removeFirstOrNull()
            val event = debt?.first ?: queue.removeFirstOrNull() ?: return true
            if (debt == null) note(event)
            var refused: MutableList<Subscriber>? = null
            val audience = debt?.second ?: subscribers
            for (i in audience.indices) {
                val subscriber = audience[i]
                val concerned = subscriber.kinds and event.kind != 0 && !subscriber.gone
                if (concerned && !tell(subscriber, event)) {
                    refused = (refused ?: mutableListOf()).apply { add(subscriber) }
                }
            }
            if (refused != null) held = event to refused
        }
    }

    /** Whatever a listener does to itself, even an `Error`, its task goes on. */
    private fun tell(subscriber: Subscriber, event: SocketEvent): Boolean =
        try {
            subscriber.offer(event)
        } catch (e: Throwable) {
            failures.incrementAndGet()
            complain(Level.WARNING, e) { "a listener failed" }
            true
        }

    /** Remembers what late listeners are owed. */
    private fun note(event: SocketEvent) {
        when (event) {
            is OpenEvent -> open = event
            is CloseEvent -> {
                open = null
                if (event.retry == null) {
                    end = event
                    onEnd()
                }
            }
            else -> {}
        }
        if (wanted and event.kind != 0) return
        missed += event
        missedBytes += event.size
        // As in the WebSocket API, what nobody listens for is gone, if a little later.
        while (missed.size > MISSED || missedBytes > MISSED_BYTES) {
            val oldest = missed.indexOfFirst { it is MessageEvent }.coerceAtLeast(0)
            missedBytes -= missed.removeAt(oldest).size
            if (!hasLost) {
                hasLost = true
                log.warning("nobody listens to a socket: the oldest of what it told is gone, and more will go")
            }
        }
    }

    /** Lets in those who have come, and tells them what they are owed, in order. */
    private fun admit() {
        val newcomers = synchronized(joining) {
            // In one step, so that whoever is taken off meanwhile is found.
            joining.filterNot { it.gone }.also {
                joining.clear()
                subscribers = subscribers + it
            }
        }
        val past = missed.toMutableList()
        open?.let { if (it !in past) past.add(0, it) }
        end?.let { if (it !in past) past += it }
        for (event in past) {
            // An open that is over is history, which only a whole one tells.
            val isHistory = event is OpenEvent && event != open
            val audience = newcomers.filter { it.kinds and event.kind != 0 && (!isHistory || it.kinds == ALL) }
            if (audience.isNotEmpty()) owed += event to audience
        }
        newcomers.filterNot { it.onlyWaits }.forEach { wanted = wanted or it.kinds }
        missed.removeAll { it.kind and wanted != 0 }
        missedBytes = missed.sumOf { it.size }
    }

    private companion object {
        /** Of more than this the oldest go, messages first. */
        const val MISSED = 256
        const val MISSED_BYTES = 1L shl 20
    }
}
