package dev.wxsocket

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native
import dev.wxsocket.ffi.ListenerException
import dev.wxsocket.ffi.takeDropped
import dev.wxsocket.ffi.uniffiCallbackInterfaceBeforeConnect
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.suspendCancellableCoroutine
import java.nio.Buffer
import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicReference
import kotlin.coroutines.resume
import dev.wxsocket.ffi.BeforeConnect as FfiBeforeConnect
import dev.wxsocket.ffi.ConnectDecision as FfiDecision
import dev.wxsocket.ffi.ErrorEvent as FfiError
import dev.wxsocket.ffi.SocketTask as FfiTask

/**
 * Makes a task that keeps a WebSocket open, and returns at once; it dials in the background.
 *
 * Hold on to the task: one that nobody refers to, not even one of its listeners or collectors,
 * is closed with 1000 when it is garbage-collected. Nor does a task keep the process: the library's
 * threads are daemons, and a `main` that has nothing else to do waits itself, with
 * [SocketTask.awaitClosed] for example.
 *
 * @throws WxException.InvalidArgument when an option is not valid; then nothing is made.
 */
public fun connectSocket(url: String, block: ConnectOptions.() -> Unit = {}): SocketTask {
    Hook.prepare()
    val options = ConnectOptions().apply(block)
    val hook = options.beforeConnect?.let(::Hook)
    val task = engine { dev.wxsocket.ffi.connectSocket(options.lower(url), null, hook) }
    val executor = options.executor ?: defaultExecutor()
    val delivery = Delivery(task.joinTurns(), executor, task.state().lift(), options.listeners.toList()) { hook?.withdraw() }
    Turns.begin(delivery)
    return SocketTask(task, delivery)
}

/**
 * A WebSocket that is kept open: many connections, one after the other.
 *
 * Every method may be called from any thread and from inside a listener, and returns at once.
 *
 * There may be many listeners of each kind; they are called one at a time, in order, on the
 * executor of the options. What a listener throws is logged, its text included, and counted, and
 * nothing else happens; one that blocks keeps only its own task waiting, and in the end its server.
 *
 * Listeners in the block of [connectSocket] hear everything. One that comes later is told of the
 * open connection, or of the end, that it missed; the first of its kind also gets what came
 * before it (the newest 256 events, or 1 MiB).
 */
public class SocketTask internal constructor(
    private val task: FfiTask,
    private val delivery: Delivery,
) : AutoCloseable {
    /** The WebSocket API's `readyState`; [ReadyState.CLOSED] is final. */
    public val readyState: ReadyState get() = engine { task.readyState() }

    /** Where the task is in its life. It is set before the events that go with it are told. */
    public val state: StateFlow<SocketState> = delivery.state.asStateFlow()

    /** Bytes of payload accepted and not yet written to the socket. */
    public val bufferedAmount: Long get() = engine { task.bufferedAmount() }

    /** What has happened so far. */
    public val stats: SocketStats get() = engine { task.stats() }.lift(delivery.failures.get())

    /**
     * The events from now on, beginning with what a late listener would get; it completes after
     * the last one. A collector that is slow makes the server wait: nothing is dropped, and no
     * more than 256 KiB (or one message) wait here. Each collector gets every event.
     *
     * Each collection begins anew: what comes between one and the next is lost to both. Collect
     * once, and take from that what there is to take.
     */
    public val events: Flow<SocketEvent> = events(ALL)

    /**
     * The messages of [events] by themselves.
     *
     * As there, `messages.first()` twice may lose what comes in between; collect once instead, into
     * a channel (`produceIn`) if they are to be taken one by one.
     */
    public val messages: Flow<Message> = flow {
        events(MESSAGE or CLOSE).collect { if (it is MessageEvent) emit(it.data) }
    }

    /** Calls [listener] whenever a connection is open. */
    public fun onOpen(listener: (OpenEvent) -> Unit): Unit = delivery.add(openListener(listener))

    /**
     * Calls [listener] with each message. If it throws, the exception goes to the log with its
     * text, which should not quote what nobody else may read.
     */
    public fun onMessage(listener: (MessageEvent) -> Unit): Unit = delivery.add(messageListener(listener))

    /** Calls [listener] whenever a connection fails; its close follows. */
    public fun onError(listener: (ErrorEvent) -> Unit): Unit = delivery.add(errorListener(listener))

    /** Calls [listener] whenever a connection is over; without a `retry` the task is. */
    public fun onClose(listener: (CloseEvent) -> Unit): Unit = delivery.add(closeListener(listener))

    /** Calls [listener] no more; without one, none of those given to [onOpen]. */
    public fun offOpen(listener: ((OpenEvent) -> Unit)? = null): Unit = delivery.off(OPEN, listener)

    /** As [offOpen]. */
    public fun offMessage(listener: ((MessageEvent) -> Unit)? = null): Unit = delivery.off(MESSAGE, listener)

    /** As [offOpen]. */
    public fun offError(listener: ((ErrorEvent) -> Unit)? = null): Unit = delivery.off(ERROR, listener)

    /** As [offOpen]. */
    public fun offClose(listener: ((CloseEvent) -> Unit)? = null): Unit = delivery.off(CLOSE, listener)

    /**
     * Sends a text message: now, or when the connection is open again. Half a surrogate pair
     * becomes U+FFFD, as in the WebSocket API.
     *
     * @throws WxException.NotConnected when the task is closing or closed, or has no queue.
     * @throws WxException.QueueFull when the queue has no room.
     */
    public fun send(text: String): SendOutcome {
        val code = Engine.send(delivery.number, text)
        return outcome(code) ?: engine { task.sendText(text.scalar()) }.lift()
    }

    /** Sends a binary message; otherwise as text. The bytes are copied before it returns. */
    public fun send(bytes: ByteArray): SendOutcome = send(ByteBuffer.wrap(bytes))

    /** Sends what lies between position and limit, which stay where they are. */
    public fun send(bytes: ByteBuffer): SendOutcome {
        val code = Engine.send(delivery.number, bytes)
        return outcome(code) ?: Scratches.with(bytes.remaining()) {
            it.put(bytes)
            (it.buffer as Buffer).flip()
            // UniFFI takes direct buffers only, and from their beginning.
            engine { task.sendBytes(it.buffer) }.lift()
        }
    }

    /** Sends a message of either kind, such as one that came back as unsent. */
    public fun send(message: Message): SendOutcome =
        when (message) {
            is Message.Text -> send(message.text)
            is Message.Binary -> send(message.bytes)
        }

    /**
     * Ends the task: sends what was accepted, then a close frame, waits at most `closeTimeout`
     * for the server's, and tells the last [CloseEvent] with this code and reason. Legal at any
     * time; closing twice changes nothing.
     *
     * @throws WxException.InvalidArgument when the code is neither 1000 nor 3000 to 4999, or the
     * reason longer than 123 bytes of UTF-8; then nothing happens.
     */
    public fun close(code: Int = NORMAL, reason: String = ""): Unit = engine { task.close(code, reason.scalar()) }

    /** `close(1000)`. */
    override fun close(): Unit = close(NORMAL)

    /** Stops waiting: dials now, with a fresh counter of attempts, whatever holds the task back. */
    public fun reconnectNow(): Unit = engine { task.reconnectNow() }

    /** Hangs up (1006 "paused") and stays away until [resume]. Queued messages are kept. */
    public fun pause(): Unit = engine { task.pause() }

    /** Undoes [pause]: dials at once. */
    public fun resume(): Unit = engine { task.resume() }

    /**
     * Tells what the operating system knows of the network; on Android `AndroidNetwork` does.
     *
     * Without one nothing is dialled, no attempt is used up, and a dial that is under way ends. An
     * open connection stays open: what the system says may be wrong, and its heartbeat decides. With
     * one (or a new one) the task dials at once, or asks an open connection for a sign of life.
     */
    public fun setNetwork(available: Boolean): Unit = engine { task.setNetwork(available) }

    /** Tells whether the app is in the foreground; on Android `AndroidLifecycle` does. */
    public fun setForeground(foreground: Boolean): Unit = engine { task.setForeground(foreground) }

    /**
     * Waits until a connection is open.
     *
     * @throws WxException.Ended when the task ends first.
     */
    public suspend fun awaitOpen(): OpenEvent =
        when (val event = await(OPEN or CLOSE) { it is OpenEvent || it.isFinal }) {
            is OpenEvent -> event
            else -> {
                val error = stats.lastError?.takeIf { it.epoch == event.epoch }
                throw WxException.Ended(event as CloseEvent, error)
            }
        }

    /** Waits until the task is over. It does not close it. */
    public suspend fun awaitClosed(): CloseEvent = await(CLOSE) { it.isFinal } as CloseEvent

    /** Calls [action] once when the task is over, unless what this returns was closed before. */
    internal fun whenOver(action: () -> Unit): AutoCloseable = delivery.whenOver(action)

    private fun events(kinds: Int): Flow<SocketEvent> = flow {
        val collector = Collector(kinds, keep = this@SocketTask)
        delivery.add(collector)
        try {
            for (event in collector.channel) {
                collector.took(event)
                delivery.resume()
                emit(event)
                if (event.isFinal) break
            }
        } finally {
            delivery.remove(collector)
        }
    }

    private suspend fun await(kinds: Int, until: (SocketEvent) -> Boolean): SocketEvent =
        suspendCancellableCoroutine { continuation ->
            val waiter = object : Subscriber(kinds) {
                override val onlyWaits get() = true

                override fun offer(event: SocketEvent): Boolean {
                    if (!gone && until(event)) {
                        // The task is alive for as long as somebody waits for it.
                        this@SocketTask.delivery.remove(this)
                        continuation.resume(event)
                    }
                    return true
                }
            }
            continuation.invokeOnCancellation { delivery.remove(waiter) }
            delivery.add(waiter)
        }

    private companion object {
        const val NORMAL = 1000
    }
}

/** What [Engine.wxsocket_send] answered; `null`: nothing was done, and the long way says why. */
private fun outcome(code: Int): SendOutcome? =
    when (code) {
        Engine.SENT -> SendOutcome.Sent
        Engine.QUEUED -> SendOutcome.Queued(emptyList())
        Engine.DROPPED -> SendOutcome.Dropped
        Engine.QUEUED_FOR_OTHERS -> SendOutcome.Queued(takeDropped().map { it.lift() })
        else -> null
    }

private val SocketEvent.isFinal: Boolean get() = this is CloseEvent && retry == null

/** The app's hook as the engine calls it, on a thread of the engine's that may block. */
private class Hook(private val hook: BeforeConnect) : FfiBeforeConnect {
    private val asking = AtomicReference<Job?>()

    @Volatile private var over = false

    override fun beforeConnect(attempt: Int, lastError: FfiError?): FfiDecision {
        val job = Job()
        // Whoever is asked again has not answered in time.
        asking.getAndSet(job)?.cancel()
        // A call may get here after the end of its task; one of the two sees the other.
        if (over) job.cancel()
        return try {
            runBlocking(job) { hook(attempt, lastError?.lift()) }.lower()
        } catch (e: Throwable) {
            // UniFFI catches exceptions only; an `Error` would be lost, and the dial with it.
            throw ListenerException.Failed(e.toString().scalar())
        }
    }

    /** The task is over: nobody waits for an answer any more. */
    fun withdraw() {
        over = true
        asking.get()?.cancel()
    }

    companion object {
        init {
            // A thread that is attached for a call keeps the JVM from ending unless it is a
            // daemon. JNA takes note of this only if it comes before the callback goes down to
            // the engine, which happens when the generated code is first used.
            val daemon = CallbackThreadInitializer(true, true, "wxsocket-before-connect")
            Native.setCallbackThreadInitializer(uniffiCallbackInterfaceBeforeConnect.beforeConnect, daemon)
            Native.setCallbackThreadInitializer(uniffiCallbackInterfaceBeforeConnect.uniffiFree, daemon)
        }

        /** Does the above, the first time. */
        fun prepare() = Unit
    }
}
