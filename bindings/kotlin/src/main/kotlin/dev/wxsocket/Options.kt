package dev.wxsocket

import dev.wxsocket.ffi.AttemptLimit
import dev.wxsocket.ffi.BackgroundPolicy
import dev.wxsocket.ffi.HeartbeatPayload
import dev.wxsocket.ffi.ReconnectDelay
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.asExecutor
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import java.util.concurrent.Executor
import kotlin.time.Duration

@DslMarker
public annotation class SocketDsl

/** Asked before every dial: the attempt (0: the first, or after a stable connection) and what failed last. */
public typealias BeforeConnect = suspend (attempt: Int, lastError: ErrorEvent?) -> ConnectDecision

/**
 * What an app asks for. Whatever is left out comes from the [preset].
 *
 * The engine checks everything when the socket is made; a value out of bounds is a
 * [WxException.InvalidArgument] that names the field, and nothing else happens.
 */
@SocketDsl
public class ConnectOptions internal constructor() {
    /** Where everything comes from that is not said; [Preset.WX] unless set. */
    public var preset: Preset? = null

    /** Time for the whole dial: name, TCP, TLS, upgrade. Default: 60 s; 15 s in [Preset.RESILIENT]. */
    public var timeout: Duration? = null

    /** Send small packets at once (TCP_NODELAY). Default: off in [Preset.WX], on in all others. */
    public var tcpNoDelay: Boolean? = null

    /** The first message of every connection, ahead of queued ones. */
    public var greeting: Message? = null

    /** The largest message accepted from the server, in bytes; a larger one closes with 1009. Default: 16 MiB. */
    public var maxMessageBytes: Long? = null

    /**
     * What may wait for an *open* connection that takes messages more slowly than the app sends them, in
     * bytes. Each message counts its payload and 64 bytes more. A message that finds nothing buffered is
     * always taken, up to 1 GiB; beyond the bound `send` throws [WxException.QueueFull]. If the connection is
     * lost, what it has not written waits for the next one. Default: 16 MiB; at most 1 GiB.
     */
    public var maxBufferedBytes: Long? = null

    /** How long `close` waits for the server before it aborts. Default: 3 s. */
    public var closeTimeout: Duration? = null

    /**
     * Where listeners are called. Default: Android's main thread; elsewhere the library's own threads,
     * which also call them when this executor takes no more or is shut down.
     */
    public var executor: Executor? = null

    private val header = mutableListOf<Header>()
    private var protocols = emptyList<String>()
    private var background: BackgroundPolicy? = null
    private val reconnect = ReconnectOptions()
    private val heartbeat = HeartbeatOptions()
    private val queue = QueueOptions()
    private val tls = TlsOptions()
    internal val subscribers = mutableListOf<Subscriber>()
    internal var beforeConnect: BeforeConnect? = null
        private set

    /** As [SocketTask.onOpen]; listeners set here miss nothing, whatever the order they are set in. */
    public fun onOpen(listener: (OpenEvent) -> Unit) {
        subscribers += openListener(listener)
    }

    /** As [SocketTask.onMessage]. */
    public fun onMessage(listener: (MessageEvent) -> Unit) {
        subscribers += messageListener(listener)
    }

    /** As [SocketTask.onError]. */
    public fun onError(listener: (ErrorEvent) -> Unit) {
        subscribers += errorListener(listener)
    }

    /** As [SocketTask.onClose]. */
    public fun onClose(listener: (CloseEvent) -> Unit) {
        subscribers += closeListener(listener)
    }

    /**
     * A flow of the messages from the first one on, whoever else listens and whenever it is collected:
     *
     * ```
     * val inbox: Flow<Message>
     * val task = connectSocket(url) {
     *     inbox = messages()
     *     onOpen { show(it) }
     * }
     * ```
     *
     * It completes after the end of the task, and it can be collected once, or its second collector gets an
     * [IllegalStateException]. What is not taken from it waits, as with [SocketTask.events]: a flow that
     * is never collected makes the server wait.
     */
    public fun messages(): Flow<Message> = events(MESSAGE or CLOSE).messages()

    /** As [messages], with everything that happens to the task: [SocketTask.events] from the first event on. */
    public fun events(): Flow<SocketEvent> = events(ALL)

    private fun events(kinds: Int): Flow<SocketEvent> {
        val collector = Collector(kinds)
        subscribers += collector
        return flow { collector.emitAll(this) }
    }

    /** Calls listeners on this dispatcher. */
    public fun dispatcher(dispatcher: CoroutineDispatcher) {
        executor = dispatcher.asExecutor()
    }

    /** Adds a header to the upgrade request. */
    public fun header(name: String, value: String) {
        header += Header(name, value)
    }

    /** Sub-protocols in order of preference; the server must choose one. */
    public fun protocols(vararg names: String) {
        protocols = names.toList()
    }

    /** When to come back. */
    public fun reconnect(block: ReconnectOptions.() -> Unit): Unit = reconnect.block()

    /** How to notice a dead peer. */
    public fun heartbeat(block: HeartbeatOptions.() -> Unit): Unit = heartbeat.block()

    /** What is kept while the connection is not open. */
    public fun queue(block: QueueOptions.() -> Unit): Unit = queue.block()

    /** Whom to trust. */
    public fun tls(block: TlsOptions.() -> Unit): Unit = tls.block()

    /** Leaves the connection alone when the app leaves the foreground. */
    public fun keepInBackground() {
        background = BackgroundPolicy.Keep
    }

    /** Closes the connection (1006 "interrupted") when the app was in the background this long. */
    public fun interruptInBackground(grace: Duration) {
        background = BackgroundPolicy.Interrupt(grace.wholeMs)
    }

    /**
     * Asks [hook] before every dial, for a fresh token or another address. It may block or
     * suspend, at most for [timeout]; what it throws counts as a failed attempt. One that suspends
     * for longer is cancelled when it is asked again, or when the task is over. It must not
     * hold the task, which would never be freed without `close`.
     */
    public fun beforeConnect(hook: BeforeConnect) {
        beforeConnect = hook
    }

    internal fun lower(url: String) = dev.wxsocket.ffi.ConnectOptions(
        url = url.scalar(),
        header = header.map { it.scalar() },
        protocols = protocols.map { it.scalar() },
        tcpNoDelay = tcpNoDelay,
        timeoutMs = timeout?.wholeMs,
        preset = preset,
        reconnect = reconnect.lower(),
        heartbeat = heartbeat.lower(),
        queue = queue.lower(),
        tls = dev.wxsocket.ffi.TlsOptions(tls.caPem?.scalar()),
        greeting = greeting?.lower(),
        maxMessageBytes = maxMessageBytes,
        maxBufferedBytes = maxBufferedBytes,
        closeTimeoutMs = closeTimeout?.wholeMs,
        background = background,
    )
}

/** When to come back after a connection ended. */
@SocketDsl
public class ReconnectOptions internal constructor() {
    /** False: one connection, and the task is over when it is. */
    public var enabled: Boolean? = null

    /** A connection that was open this long sets the counter back to zero. Default: 5 s. */
    public var stableAfter: Duration? = null

    /** Close codes (1000 to 4999) after which there is no point in coming back. */
    public var stopCodes: List<Int>? = null

    /** HTTP statuses (100 to 599) after which there is no point in coming back. */
    public var stopStatuses: List<Int>? = null

    /** Wait at least as long as the server's `Retry-After` asks, up to an hour. Default: yes. */
    public var honourRetryAfter: Boolean? = null

    private var delay: ReconnectDelay? = null
    private var limit: AttemptLimit? = null

    /** Waits always the same; zero is "at once". */
    public fun fixedDelay(delay: Duration) {
        this.delay = ReconnectDelay.Fixed(delay.wholeMs)
    }

    /**
     * Waits a random time: the first attempt zero to [first], attempt n [min] to the lesser of
     * [max] and [min] × 2ⁿ⁻¹; after failing for [slowAfter] each waits [slow] ± 20 %.
     */
    public fun fullJitter(first: Duration, min: Duration, max: Duration, slowAfter: Duration, slow: Duration) {
        val ms = listOf(first, min, max, slowAfter, slow).map { it.wholeMs }
        delay = ReconnectDelay.FullJitter(ms[0], ms[1], ms[2], ms[3], ms[4])
    }

    /** Gives up after so many attempts in a row; at least 1. */
    public fun maxAttempts(count: Int) {
        limit = AttemptLimit.Attempts(count)
    }

    /** Never gives up. */
    public fun unlimited() {
        limit = AttemptLimit.Unlimited
    }

    internal fun lower() = dev.wxsocket.ffi.ReconnectOptions(
        enabled, delay, limit, stableAfter?.wholeMs, stopCodes, stopStatuses, honourRetryAfter,
    )
}

/** How to notice a dead peer. */
@SocketDsl
public class HeartbeatOptions internal constructor() {
    /** False: no heartbeat. */
    public var enabled: Boolean? = null

    /** How long after the open, and after each answer, to send it. */
    public var interval: Duration? = null

    /** How long to wait for life after it. */
    public var timeout: Duration? = null

    /** Which message is the answer; it is not delivered. A protocol Ping needs none. */
    public var reply: ReplyMatch? = null

    /** Only the answer counts as life, not any frame. Default: no. */
    public var strict: Boolean? = null

    /** Deliver the answer to the app too. Default: no. */
    public var deliverReply: Boolean? = null

    /** Every message restarts the interval, not only the answer. */
    public var idleDriven: Boolean? = null

    private var payload: HeartbeatPayload? = null

    /** Sends this text message. */
    public fun text(text: String) {
        payload = HeartbeatPayload.Text(text.scalar())
    }

    /** Sends this binary message. */
    public fun binary(bytes: ByteArray) {
        payload = HeartbeatPayload.Binary(bytes)
    }

    /** Sends a protocol Ping, invisible to the server's application. */
    public fun ping() {
        payload = HeartbeatPayload.Ping
    }

    internal fun lower() = dev.wxsocket.ffi.HeartbeatOptions(
        enabled, payload, interval?.wholeMs, timeout?.wholeMs,
        reply?.lower(), strict, deliverReply, idleDriven,
    )
}

/** Which message answers a heartbeat. */
public sealed interface ReplyMatch {
    /** This text, exactly. */
    public data class Text(val text: String) : ReplyMatch

    /** These bytes, exactly. */
    public class Binary(public val bytes: ByteArray) : ReplyMatch

    /** Any text that begins so. */
    public data class Prefix(val prefix: String) : ReplyMatch

    /**
     * A JSON object with this field at its top level, in a text of at most 4 KiB. [value]: a
     * string's content or any other value's JSON text; `null`: anything.
     */
    public data class JsonField(val name: String, val value: String? = null) : ReplyMatch
}

private fun ReplyMatch.lower(): dev.wxsocket.ffi.ReplyMatch =
    when (this) {
        is ReplyMatch.Text -> dev.wxsocket.ffi.ReplyMatch.Text(text.scalar())
        is ReplyMatch.Binary -> dev.wxsocket.ffi.ReplyMatch.Binary(bytes)
        is ReplyMatch.Prefix -> dev.wxsocket.ffi.ReplyMatch.Prefix(prefix.scalar())
        is ReplyMatch.JsonField -> dev.wxsocket.ffi.ReplyMatch.JsonField(name.scalar(), value?.scalar())
    }

/**
 * What `send` keeps while the connection is not open. What an open connection had accepted and could not write
 * before it was lost ([ConnectOptions.maxBufferedBytes]) waits for the next one and counts here too.
 */
@SocketDsl
public class QueueOptions internal constructor() {
    /** False: `send` is refused while the connection is not open, as in the wx API. */
    public var enabled: Boolean? = null

    /** Messages. Default: 256. */
    public var messages: Long? = null

    /** Bytes of payload. Default: 1 MiB; at most 1 GiB. */
    public var bytes: Long? = null

    /** A message older than this is handed back instead of sent. Default: no limit. */
    public var maxAge: Duration? = null

    /**
     * What gives way when it is full. Default: the new message is refused. It does not apply while the
     * connection is open.
     */
    public var overflow: OverflowPolicy? = null

    internal fun lower() = dev.wxsocket.ffi.QueueOptions(enabled, messages, bytes, maxAge?.wholeMs, overflow)
}

/** Whom to trust on `wss://`. The operating system's authorities always count. */
@SocketDsl
public class TlsOptions internal constructor() {
    /** More authorities to trust: one or more certificates in PEM. */
    public var caPem: String? = null
}
