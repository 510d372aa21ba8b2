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
 * Makes a task that keeps a WebSocket open. It returns at once; the task dials in the background.
 *
 * Keep a reference to the task: a task that is not referenced any more, not even by one of its listeners or collectors,
 * is closed with 1000 when it is garbage-collected. A task does not keep the process alive, because the library's
 * threads are daemons. A `main` that has nothing else to do calls [SocketTask.awaitClosed], for example.
 *
 * @throws WxException.InvalidArgument when an option is not valid. Then no task is made.
 */
@OptIn(ExperimentalContracts::class)
public fun connectSocket(url: String, block: SocketSetup.() -> Unit = {}): SocketTask {
    // So that the block can set a `val`, a flow for instance.
    contract { callsInPlace(block, InvocationKind.EXACTLY_ONCE) }
    return connect(SocketSetup(ConnectOptions(url)), block)
}

/** As the other `connectSocket`, with a copy of these options to begin with. */
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
        // A flow of the block may be collected already, even if the block failed.
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

/** The [WebSocketTask] that [connectSocket] makes. */
public class SocketTask internal constructor(
    private val task: FfiTask,
    internal val delivery: Delivery,
) : WebSocketTask {
    override val readyState: ReadyState get() = engine { task.readyState() }

    override val state: StateFlow<SocketState> = delivery.news.state

    override val bufferedAmount: Long get() = engine { task.bufferedAmount() }

    override val stats: SocketStats get() = engine { task.stats() }.lift(delivery.failures.get())

    override val events: Flow<SocketEvent> = events(ALL)

    override val messages: Flow<Message> = events(MESSAGE or CLOSE).messages()

    override fun onOpen(listener: EventListener<OpenEvent>): Unit = delivery.add(openListener(listener), task)

    override fun onMessage(listener: EventListener<MessageEvent>): Unit = delivery.add(messageListener(listener), task)

    override fun onError(listener: EventListener<ErrorEvent>): Unit = delivery.add(errorListener(listener), task)

    override fun onClose(listener: EventListener<CloseEvent>): Unit = delivery.add(closeListener(listener), task)

    override fun offOpen(listener: EventListener<OpenEvent>?): Unit = delivery.off(OPEN, listener)

    override fun offMessage(listener: EventListener<MessageEvent>?): Unit = delivery.off(MESSAGE, listener)

    override fun offError(listener: EventListener<ErrorEvent>?): Unit = delivery.off(ERROR, listener)

    override fun offClose(listener: EventListener<CloseEvent>?): Unit = delivery.off(CLOSE, listener)

    override fun send(text: String): SendOutcome {
        val code = Engine.send(delivery.number, text)
        return outcome(code) ?: engine { task.sendText(text) }.lift()
    }

    override fun send(bytes: ByteArray): SendOutcome = send(ByteBuffer.wrap(bytes))

    override fun send(bytes: ByteBuffer): SendOutcome {
        val code = Engine.send(delivery.number, bytes)
        return outcome(code) ?: Scratches.with(bytes.remaining()) {
            it.put(bytes)
            (it.buffer as Buffer).flip()
            // UniFFI takes direct buffers only, and from their beginning.
            engine { task.sendBytes(it.buffer) }.lift()
        }
    }

    override fun close(code: Int, reason: String): Unit = engine { task.close(code, reason) }

    override fun reconnectNow(): Unit = engine { task.reconnectNow() }

    override fun pause(): Unit = engine { task.pause() }

    override fun resume(): Unit = engine { task.resume() }

    override fun setNetwork(network: NetworkStatus): Unit = engine { task.setNetwork(network) }

    override fun setForeground(foreground: Boolean): Unit = engine { task.setForeground(foreground) }

    override suspend fun awaitOpen(): OpenEvent {
        val before = delivery.news.known.open?.epoch ?: 0
        val news = delivery.news.await(keep = this) { it.opened(before) != null || it.end != null }
        news.opened(before)?.let { return it }
        val end = checkNotNull(news.end)
        throw WxException.Ended(end, news.error?.takeIf { it.epoch == end.epoch })
    }

    override suspend fun awaitClosed(): CloseEvent =
        checkNotNull(delivery.news.await(keep = this) { it.end != null }.end)

    /** Takes the messages for [receive], from its first call on. */
    private val receiver by lazy {
        Collector(MESSAGE or ERROR or CLOSE, isPulled = true).also {
            delivery.add(it, task)
            it.leaveWhenUnreachable()
        }
    }

    override suspend fun receive(): Message = receiver.inbox.next(this)

    /** Calls [action] once when the task is over, unless the returned object was closed before. */
    internal fun whenOver(action: () -> Unit): AutoCloseable = delivery.whenOver(action)

    private fun events(kinds: Int): Flow<SocketEvent> = flow {
        val collector = Collector(kinds)
        collector.bind(this@SocketTask)
        delivery.add(collector, task)
        collector.emitAll(this)
    }
}

/** The outcome for a code of [Engine.wxsocket_send]; `null` when nothing was done, and the generated code says why. */
private fun outcome(code: Int): SendOutcome? =
    when (code) {
        Engine.SENT -> SendOutcome.Sent
        Engine.QUEUED -> SendOutcome.Queued(emptyList())
        Engine.DROPPED -> SendOutcome.Dropped
        Engine.QUEUED_FOR_OTHERS -> SendOutcome.Queued(takeDropped().map { it.lift() })
        else -> null
    }

/** Returns the messages of these events. */
internal fun Flow<SocketEvent>.messages(): Flow<Message> = transform { if (it is MessageEvent) emit(it.data) }
