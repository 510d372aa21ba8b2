package dev.wxsocket

import dev.wxsocket.ffi.UniffiLib
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import java.lang.ref.WeakReference
import java.util.concurrent.atomic.AtomicLong

/**
 * Holds the events that wait for one collection of a Flow, or for calls of [next]. It takes a turn's events at once;
 * the next turn waits until the coroutine has taken most of them, which bounds what waits here.
 */
internal class Inbox(kinds: Int, private val isPulled: Boolean = false) : Subscriber(kinds) {
    private val channel = Channel<SocketEvent>(Channel.UNLIMITED)
    private val load = AtomicLong()

    /**
     * Tells [next] that the channel may have an event. A coroutine that waited in the channel itself and was
     * cancelled while it was given an event would lose that event.
     */
    private val arrivals = Channel<Unit>(Channel.CONFLATED)

    /** Serves the calls of [next] one at a time, in order. */
    private val calls = Mutex()
    private var error: ErrorEvent? = null
    private var end: WxException.Ended? = null

    /** The delivery that gives it events; set before the first event. */
    @Volatile var delivery: Delivery? = null

    /** The number of events that were given to it; written only by the thread that gives them. */
    @Volatile var given = 0L
        private set

    /** The number of events that the collecting coroutine has taken; written only by that coroutine. */
    @Volatile var taken = 0L
        private set

    /** Where its events begin in the present turn; belongs to [Progress]. */
    val place = Progress.Place()

    private var task: WeakReference<SocketTask>? = null
    private var isCollecting = false

    /** Keeps the task from being garbage-collected while a coroutine collects or receives. */
    @Suppress("unused")
    private var keep: SocketTask? = null

    /** Sets the task whose events these are. */
    @Synchronized
    fun bind(task: SocketTask) {
        this.task = WeakReference(task)
        if (isCollecting) keep = task
    }

    /** Marks the beginning of the collection. */
    @Synchronized
    fun begin() {
        check(!isCollecting && !gone) { "a flow of the options can be collected once" }
        isCollecting = true
        keep = task?.get()
    }

    /** Marks the end of the collection: no more events are given to it. */
    fun leave() {
        synchronized(this) {
            gone = true
            keep = null
            isCollecting = false
        }
        delivery?.remove(this)
    }

    override fun tell(event: SocketEvent) {
        load.addAndGet(OVERHEAD + event.size)
        given++
        channel.trySend(event)
        if (isPulled) arrivals.trySend(Unit)
    }

    /** Ends the collection with [cause], because no task was made. */
    fun fail(cause: Throwable) {
        channel.close(cause)
    }

    /** True when the next turn may begin: few events wait here, or the collection has ended. */
    val hasRoom: Boolean get() = gone || load.get() <= ROOM

    /** Emits the events until the last one, or until the collecting coroutine stops. */
    suspend fun emitAll(to: FlowCollector<SocketEvent>) {
        for (event in channel) {
            noteTaken(event)
            to.emit(event)
            if (event.isFinal) break
        }
    }

    private fun noteTaken(event: SocketEvent) {
        taken++
        load.addAndGet(-OVERHEAD - event.size)
        delivery?.resume()
    }

    /**
     * Waits for the next message of [task], which is kept alive while this waits. A call that is cancelled takes no
     * message.
     *
     * @throws WxException.Ended when the task is over.
     */
    suspend fun next(task: SocketTask): Message {
        currentCoroutineContext().ensureActive()
        calls.withLock {
            synchronized(this) { keep = task }
            try {
                while (true) {
                    end?.let { throw WxException.Ended(it.close, it.error) }
                    val event = channel.tryReceive().getOrNull()
                    if (event == null) {
                        arrivals.receive()
                        continue
                    }
                    noteTaken(event)
                    when (event) {
                        is MessageEvent -> return event.data
                        is ErrorEvent -> error = event
                        is CloseEvent -> if (event.isFinal) end = WxException.Ended(event, error?.takeIf { it.epoch == event.epoch })
                        is OpenEvent -> Unit
                    }
                }
            } finally {
                synchronized(this) { keep = null }
            }
        }
    }

    private companion object {
        /** 128 small messages: enough to be busy with while the next turn comes. */
        const val ROOM = 128 * 1024L
        const val OVERHEAD = 1024L
    }
}

/**
 * One collection of a Flow, as the Flow refers to it. The [Delivery] of the task refers to the [inbox] only, so that
 * the garbage collector can find a flow of the options that cannot be collected any more.
 */
internal class Collector(kinds: Int, isPulled: Boolean = false) : Subscriber(kinds) {
    val inbox = Inbox(kinds, isPulled)

    override fun tell(event: SocketEvent): Unit = inbox.tell(event)

    fun bind(task: SocketTask): Unit = inbox.bind(task)

    fun fail(cause: Throwable): Unit = inbox.fail(cause)

    /** Emits the events until the last one, or until the collecting coroutine stops. */
    suspend fun emitAll(to: FlowCollector<SocketEvent>) {
        inbox.begin()
        try {
            inbox.emitAll(to)
        } finally {
            // `this`: the coroutine must refer to this object until here.
            this.inbox.leave()
        }
    }

    /** Ends the collection when this object is garbage-collected. */
    fun leaveWhenUnreachable() {
        val inbox = inbox
        UniffiLib.CLEANER.register(this) { inbox.leave() }
    }
}
