package dev.wxsocket

import dev.wxsocket.ffi.takeDropped
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.transform
import java.nio.Buffer
import java.nio.ByteBuffer
import kotlin.contracts.ExperimentalContracts
import kotlin.contracts.InvocationKind
import kotlin.contracts.contract
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
@OptIn(ExperimentalContracts::class)
public fun connectSocket(url: String, block: SocketSetup.() -> Unit = {}): SocketTask {
    // So that the block can set a `val`, a flow for instance.
    contract { callsInPlace(block, InvocationKind.EXACTLY_ONCE) }
    return connect(SocketSetup(ConnectOptions(url)), block)
}

/** As the other `connectSocket`, with these options to begin with; they are copied. */
@OptIn(ExperimentalContracts::class)
public fun connectSocket(options: ConnectOptions, block: SocketSetup.() -> Unit = {}): SocketTask {
    contract { callsInPlace(block, InvocationKind.EXACTLY_ONCE) }
    val copy = options.copy(
        reconnect = options.reconnect.copy(),
        heartbeat = options.heartbeat.copy(),
        queue = options.queue.copy(),
        tls = options.tls.copy(),
    )
    return connect(SocketSetup(copy), block)
}

@OptIn(ExperimentalContracts::class)
private inline fun connect(setup: SocketSetup, block: SocketSetup.() -> Unit): SocketTask {
    contract { callsInPlace(block, InvocationKind.EXACTLY_ONCE) }
    val task = try {
        setup.block()
        val hook = setup.beforeConnect?.let(::Hook)
        engine { dev.wxsocket.ffi.connectSocket(setup.options, null, hook) }
    } catch (e: Throwable) {
        // Somebody may collect already, even if it is the block that failed.
        for (subscriber in setup.subscribers) if (subscriber is Collector) subscriber.fail(e)
        throw e
    }
    val subscribers = setup.subscribers.toList()
    val executor = setup.executor ?: defaultExecutor()
    val delivery = Turns.join { Delivery(task.joinTurns(), executor, task.state().lift(), subscribers) }
    val socket = SocketTask(task, delivery)
    for (subscriber in subscribers) if (subscriber is Collector) subscriber.bind(socket)
    if (subscribers.isNotEmpty()) task.listen(subscribers.any { it.kinds and MESSAGE != 0 })
    Turns.begin(delivery)
    return socket
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
 * Listeners and flows in the block of [connectSocket] hear everything. Until there is a listener or a
 * collector nothing is lost either: what happens is kept, up to 1,024 events or 1 MiB, and then the
 * server waits; the first one hears all of it. One that comes later is told the present state: the
 * open if the connection is open; else the last close, and its error if there was one. Messages
 * that arrive while only other events are listened to are kept for the first listener of messages: the
 * newest 256 (at most 1 MiB) of the present connection.
 *
 * So `onOpen` and, on the next line, `onMessage` may miss messages of a connection that ended between the
 * two; in the block of [connectSocket] they miss nothing.
 */
public class SocketTask internal constructor(
    private val task: FfiTask,
    internal val delivery: Delivery,
) : AutoCloseable {
    /** The WebSocket API's `readyState`; [ReadyState.CLOSED] is final. */
    public val readyState: ReadyState get() = engine { task.readyState() }

    /**
     * Where the task is in its life. It is set before the events that go with it are told, and never
     * waits for listeners, collectors or the executor.
     */
    public val state: StateFlow<SocketState> = delivery.news.state

    /** Bytes of payload accepted and not yet written to the socket. */
    public val bufferedAmount: Long get() = engine { task.bufferedAmount() }

    /** What has happened so far. */
    public val stats: SocketStats get() = engine { task.stats() }.lift(delivery.failures.get())

    /**
     * The events from now on, beginning with what a late listener would get; it completes after
     * the last one. It does not need the executor of the options. A collector that is slow makes the
     * server wait: nothing is dropped, and of the events, which come at most 256 or 1 MiB at a time,
     * no more are fetched while more than 128 KiB wait here. Each event counts 1 KiB and what it
     * carries: a message's payload (the characters of a text, the bytes of a binary message), the
     * headers of an open, the headers and the body of an error, the unsent messages. Each collector
     * gets every event.
     *
     * A collection that begins while events are being told hears those of them that are new to
     * everybody: no listener was told of them yet, and no collector has taken them.
     *
     * Each collection begins anew: events that come between one collection and the next are in neither. Collect
     * once, or call [receive].
     */
    public val events: Flow<SocketEvent> = events(ALL)

    /**
     * The messages of [events] by themselves.
     *
     * As there, `messages.first()` twice may lose what comes in between (it never gives the same message
     * twice). [receive] gives the messages one by one and loses none.
     */
    public val messages: Flow<Message> = events(MESSAGE or CLOSE).messages()

    /** Calls [listener] whenever a connection is open. */
    public fun onOpen(listener: EventListener<OpenEvent>): Unit = delivery.add(openListener(listener), task)

    /**
     * Calls [listener] with each message. If it throws, the exception goes to the log with its
     * text, which should not quote what nobody else may read.
     */
    public fun onMessage(listener: EventListener<MessageEvent>): Unit = delivery.add(messageListener(listener), task)

    /** Calls [listener] whenever a connection fails; its close follows. */
    public fun onError(listener: EventListener<ErrorEvent>): Unit = delivery.add(errorListener(listener), task)

    /** Calls [listener] whenever a connection is over; without a `retry` the task is. */
    public fun onClose(listener: EventListener<CloseEvent>): Unit = delivery.add(closeListener(listener), task)

    /** Calls [listener] no more; without one, none of those given to [onOpen]. */
    @JvmOverloads
    public fun offOpen(listener: EventListener<OpenEvent>? = null): Unit = delivery.off(OPEN, listener)

    /** As [offOpen]. */
    @JvmOverloads
    public fun offMessage(listener: EventListener<MessageEvent>? = null): Unit = delivery.off(MESSAGE, listener)

    /** As [offOpen]. */
    @JvmOverloads
    public fun offError(listener: EventListener<ErrorEvent>? = null): Unit = delivery.off(ERROR, listener)

    /** As [offOpen]. */
    @JvmOverloads
    public fun offClose(listener: EventListener<CloseEvent>? = null): Unit = delivery.off(CLOSE, listener)

    /**
     * Sends a text message: now, or when the connection is open again. Half a surrogate pair
     * becomes U+FFFD, as in the WebSocket API.
     *
     * @throws WxException.NotConnected when the task is closing or closed, or has no queue.
     * @throws WxException.QueueFull when the queue has no room.
     */
    public fun send(text: String): SendOutcome {
        val code = Engine.send(delivery.number, text)
        return outcome(code) ?: engine { task.sendText(text) }.lift()
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
    public fun close(code: Int = NORMAL, reason: String = ""): Unit = engine { task.close(code, reason) }

    /** As the other `close`, without a reason. */
    public fun close(code: Int): Unit = close(code, "")

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
     * a new one the task dials at once, or asks an open connection for a sign of life. The same
     * network again (the same `id`) changes nothing.
     */
    public fun setNetwork(network: NetworkStatus): Unit = engine { task.setNetwork(network) }

    /** Tells whether there is a network of which nothing else is known. Every call counts as a change. */
    public fun setNetwork(available: Boolean): Unit = setNetwork(NetworkStatus(available))

    /** Tells whether the app is in the foreground; on Android `AndroidLifecycle` does. */
    public fun setForeground(foreground: Boolean): Unit = engine { task.setForeground(foreground) }

    /**
     * Waits until a connection is open, or was open for a moment. It may be called anywhere, also on the
     * thread of the executor and inside a collector: it waits for neither.
     *
     * @throws WxException.Ended when the task ends first.
     */
    public suspend fun awaitOpen(): OpenEvent {
        val before = delivery.news.known.open?.epoch ?: 0
        val news = delivery.news.await(keep = this) { it.opened(before) != null || it.end != null }
        news.opened(before)?.let { return it }
        val end = checkNotNull(news.end)
        throw WxException.Ended(end, news.error?.takeIf { it.epoch == end.epoch })
    }

    /** Waits until the task is over; anywhere, as [awaitOpen]. It does not close it. */
    public suspend fun awaitClosed(): CloseEvent =
        checkNotNull(delivery.news.await(keep = this) { it.end != null }.end)

    /** Takes the messages for [receive], from its first call on. */
    private val receiver by lazy {
        Collector(MESSAGE or ERROR or CLOSE, isPulled = true).also {
            delivery.add(it, task)
            it.leaveWhenUnreachable()
        }
    }

    /**
     * Waits for the next message and returns it: one message per call, in order. The first call hears what a
     * collector of [messages] would hear; from then on every message waits for a call, and none is lost between two
     * calls or when a call is cancelled. Calls that wait at the same time get one message each, in the order of the
     * calls.
     *
     * An app that stops calling it makes the server wait, as a slow collector of [events] does.
     *
     * @throws WxException.Ended when the task is over and all messages have been received.
     */
    public suspend fun receive(): Message = receiver.inbox.next(this)

    /** Calls [action] once when the task is over, unless what this returns was closed before. */
    internal fun whenOver(action: () -> Unit): AutoCloseable = delivery.whenOver(action)

    private fun events(kinds: Int): Flow<SocketEvent> = flow {
        val collector = Collector(kinds)
        collector.bind(this@SocketTask)
        delivery.add(collector, task)
        collector.emitAll(this)
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

/** The messages of these events. */
internal fun Flow<SocketEvent>.messages(): Flow<Message> = transform { if (it is MessageEvent) emit(it.data) }
