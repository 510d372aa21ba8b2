package dev.wxsocket

import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.FlowCollector
import java.lang.ref.WeakReference
import java.util.concurrent.atomic.AtomicLong

/** Kinds of events, as bits. */
internal const val OPEN = 1
internal const val MESSAGE = 2
internal const val ERROR = 4
internal const val CLOSE = 8
internal const val ALL = OPEN or MESSAGE or ERROR or CLOSE

internal val SocketEvent.kind: Int
    get() = when (this) {
        is MessageEvent -> MESSAGE
        is OpenEvent -> OPEN
        is ErrorEvent -> ERROR
        is CloseEvent -> CLOSE
    }

/** The task is over; nothing follows. */
internal val SocketEvent.isFinal: Boolean get() = this is CloseEvent && retry == null

/** The size of a message's payload; the rest is small. */
private val SocketEvent.size: Long
    get() = when (val data = (this as? MessageEvent)?.data) {
        is Message.Text -> data.text.length.toLong()
        is Message.Binary -> data.bytes.size.toLong()
        null -> 0
    }

/** Somebody who is told events of some [kinds]. */
internal sealed class Subscriber(val kinds: Int) {
    /** It was removed; a turn may still have it in a list. */
    @Volatile var gone = false

    fun wants(event: SocketEvent): Boolean = kinds and event.kind != 0 && !gone

    /** Tells it an event of its kinds. */
    abstract fun tell(event: SocketEvent)
}

/** A listener of the app: a function of its own, which [Delivery.off] looks for. */
internal class Listener(kinds: Int, val function: Any, private val call: (SocketEvent) -> Unit) : Subscriber(kinds) {
    override fun tell(event: SocketEvent): Unit = call(event)
}

internal fun openListener(call: (OpenEvent) -> Unit) = Listener(OPEN, call) { call(it as OpenEvent) }

internal fun messageListener(call: (MessageEvent) -> Unit) = Listener(MESSAGE, call) { call(it as MessageEvent) }

internal fun errorListener(call: (ErrorEvent) -> Unit) = Listener(ERROR, call) { call(it as ErrorEvent) }

internal fun closeListener(call: (CloseEvent) -> Unit) = Listener(CLOSE, call) { call(it as CloseEvent) }

/**
 * One collection of a Flow. It takes a turn's events at once; the next turn waits until the
 * collecting coroutine has taken most of them, which bounds what waits here.
 */
internal class Collector(kinds: Int) : Subscriber(kinds) {
    private val channel = Channel<SocketEvent>(Channel.UNLIMITED)
    private val load = AtomicLong()

    /** Where it listens; it is set before the first event. */
    @Volatile var delivery: Delivery? = null

    private var task: WeakReference<SocketTask>? = null
    private var isCollecting = false

    /** The task is alive for as long as somebody collects from it. */
    @Suppress("unused")
    private var keep: SocketTask? = null

    /** Says whose events these are. */
    @Synchronized
    fun bind(task: SocketTask) {
        this.task = WeakReference(task)
        if (isCollecting) keep = task
    }

    @Synchronized
    private fun begin() {
        check(!isCollecting && !gone) { "a flow of the options can be collected once" }
        isCollecting = true
        keep = task?.get()
    }

    @Synchronized
    private fun end() {
        gone = true
        keep = null
        isCollecting = false
    }

    override fun tell(event: SocketEvent) {
        load.addAndGet(OVERHEAD + event.size)
        channel.trySend(event)
    }

    /** There will be no task; whoever collects gets [cause]. */
    fun fail(cause: Throwable) {
        channel.close(cause)
    }

    /** The next turn may come. */
    val hasRoom: Boolean get() = gone || load.get() <= ROOM

    /** Emits the events until the last one, or until the collecting coroutine stops. */
    suspend fun emitAll(to: FlowCollector<SocketEvent>) {
        begin()
        try {
            for (event in channel) {
                load.addAndGet(-OVERHEAD - event.size)
                delivery?.resume()
                to.emit(event)
                if (event.isFinal) break
            }
        } finally {
            end()
            delivery?.remove(this)
        }
    }

    private companion object {
        /** 128 small messages: enough to be busy with while the next turn comes. */
        const val ROOM = 128 * 1024L
        const val OVERHEAD = 1024L
    }
}
