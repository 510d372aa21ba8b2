@file:JvmName("Options")

package dev.wxsocket

import dev.wxsocket.ffi.AttemptLimit
import dev.wxsocket.ffi.BackgroundPolicy
import dev.wxsocket.ffi.HeartbeatPayload
import dev.wxsocket.ffi.ReconnectDelay
import dev.wxsocket.ffi.ReplyMatch
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.asExecutor
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.runInterruptible
import java.util.concurrent.Executor
import kotlin.time.Duration

// The options are generated types: declared, documented and checked once, in Rust. This file adds what makes them read
// well in Kotlin.

public typealias ConnectOptions = dev.wxsocket.ffi.ConnectOptions
public typealias ReconnectOptions = dev.wxsocket.ffi.ReconnectOptions
public typealias HeartbeatOptions = dev.wxsocket.ffi.HeartbeatOptions
public typealias QueueOptions = dev.wxsocket.ffi.QueueOptions
public typealias TlsOptions = dev.wxsocket.ffi.TlsOptions

public typealias NetworkStatus = dev.wxsocket.ffi.NetworkStatus
public typealias NetworkKind = dev.wxsocket.ffi.NetworkKind

/**
 * Returns how to dial. It gets the number of the connection, the number of attempts since the last stable connection
 * (0: the first), and the failure of the last attempt.
 */
public typealias BeforeConnect = suspend (epoch: Long, attempt: Int, lastError: ErrorEvent?) -> ConnectDecision

/**
 * As [BeforeConnect], as a function that blocks; meant for Java. It is called on a thread that may block, and the
 * thread is interrupted when the answer is no longer wanted.
 */
public fun interface BlockingBeforeConnect {
    /** Returns how to dial, or throws an exception, which counts as a failed attempt. */
    @Throws(Exception::class)
    public fun beforeConnect(epoch: Long, attempt: Int, lastError: ErrorEvent?): ConnectDecision
}

/** A block that sets options: in Kotlin a lambda with the options as `this`, in Java a lambda with one parameter. */
public fun interface OptionsBlock<T> {
    /** Sets the options. */
    public fun T.configure()
}

/**
 * Holds what the block of [connectSocket] sets: the options of the task, and its first listeners. The [preset] has a
 * value for every option that is left out.
 *
 * The options are checked after the block. For a value that is out of bounds, [connectSocket] throws a
 * [WxException.InvalidArgument] that names the option, and makes no task.
 */
@SocketDsl
public class SocketSetup(
    /** All options as one value. The properties below are the same options. */
    public val options: ConnectOptions,
) {

    /** See [ConnectOptions.preset]. */
    public var preset: Preset? by options::preset

    /** See [ConnectOptions.header]. */
    public var header: List<Header> by options::header

    /** See [ConnectOptions.protocols]. */
    public var protocols: List<String> by options::protocols

    /** See [ConnectOptions.timeout]. */
    @get:JvmName("getTimeout")
    @set:JvmName("setTimeout")
    public var timeout: Duration? by options::timeout

    /** See [ConnectOptions.tcpNoDelay]. */
    public var tcpNoDelay: Boolean? by options::tcpNoDelay

    /** See [ConnectOptions.maxMessageBytes]. */
    public var maxMessageBytes: Long? by options::maxMessageBytes

    /** See [ConnectOptions.maxBufferedBytes]. */
    public var maxBufferedBytes: Long? by options::maxBufferedBytes

    /** See [ConnectOptions.closeTimeout]. */
    @get:JvmName("getCloseTimeout")
    @set:JvmName("setCloseTimeout")
    public var closeTimeout: Duration? by options::closeTimeout

    /** See [ConnectOptions.greeting]. */
    public var greeting: Message?
        get() = options.greeting?.lift()
        set(value) {
            options.greeting = value?.lower()
        }

    /**
     * Where listeners are called. Default: Android's main thread; elsewhere the library's own threads. These also call
     * the listeners when this executor rejects tasks or is shut down.
     */
    public var executor: Executor? = null

    internal val subscribers = mutableListOf<Subscriber>()
    internal var beforeConnect: BeforeConnect? = null
        private set

    /** Adds a header to the upgrade request. */
    public fun header(name: String, value: String) {
        header += Header(name, value)
    }

    /** Sets the sub-protocols, in order of preference. The server must choose one. */
    public fun protocols(vararg names: String) {
        protocols = names.toList()
    }

    /** Sets when and how often a lost connection is dialled again. */
    public fun reconnect(block: OptionsBlock<ReconnectOptions>): Unit = block.set(options.reconnect)

    /** Sets how a dead connection is noticed. */
    public fun heartbeat(block: OptionsBlock<HeartbeatOptions>): Unit = block.set(options.heartbeat)

    /** Sets what is kept while the connection is not open. */
    public fun queue(block: OptionsBlock<QueueOptions>): Unit = block.set(options.queue)

    /** Sets which certificates are trusted. */
    public fun tls(block: OptionsBlock<TlsOptions>): Unit = block.set(options.tls)

    /** See [ConnectOptions.background]. */
    public var background: BackgroundPolicy? by options::background

    /** Keeps the connection when the app leaves the foreground. */
    public fun keepInBackground() {
        options.background = BackgroundPolicy.Keep
    }

    /** Closes the connection (1006 "interrupted") when the app has been in the background for this long. */
    public fun interruptInBackground(grace: Duration) {
        options.background = BackgroundPolicy.Interrupt(grace)
    }

    /** Calls listeners on this dispatcher. */
    public fun dispatcher(dispatcher: CoroutineDispatcher) {
        executor = dispatcher.asExecutor()
    }

    /** As [SocketTask.onOpen]. Listeners that are added in the block get all events from the first one on. */
    public fun onOpen(listener: EventListener<OpenEvent>) {
        subscribers += openListener(listener)
    }

    /** As [SocketTask.onMessage]. */
    public fun onMessage(listener: EventListener<MessageEvent>) {
        subscribers += messageListener(listener)
    }

    /** As [SocketTask.onError]. */
    public fun onError(listener: EventListener<ErrorEvent>) {
        subscribers += errorListener(listener)
    }

    /** As [SocketTask.onClose]. */
    public fun onClose(listener: EventListener<CloseEvent>) {
        subscribers += closeListener(listener)
    }

    /**
     * Returns a flow of all messages from the first one on, also when it is collected late:
     *
     * ```
     * val inbox: Flow<Message>
     * val task = connectSocket(url) {
     *     inbox = messages()
     *     onOpen { show(it) }
     * }
     * ```
     *
     * It completes after the end of the task. It can be collected once; a second collector gets an
     * [IllegalStateException]. Messages wait for the collector, as with [SocketTask.events], so a flow that is not
     * collected makes the server wait.
     */
    public fun messages(): Flow<Message> = events(MESSAGE or CLOSE).messages()

    /** As [messages], with all events: [SocketTask.events] from the first event on. */
    public fun events(): Flow<SocketEvent> = events(ALL)

    private fun events(kinds: Int): Flow<SocketEvent> {
        val collector = Collector(kinds)
        subscribers += collector
        return flow { collector.emitAll(this) }
    }

    /**
     * Delivers [event] to the listeners and flows of this block, on this thread. It is for tests of an app that
     * connects through a [SocketConnector]; a real task delivers its events itself.
     */
    public fun deliver(event: SocketEvent) {
        for (subscriber in subscribers.toList()) if (subscriber.wants(event)) subscriber.tell(event)
    }

    /**
     * Sets a function that is called before every dial, for a fresh token or another address. It may block or suspend,
     * at most for [timeout]. An exception counts as a failed attempt. The call is cancelled when its answer is no longer
     * wanted: the dial was given up, the call took too long, or the task is over. The function must not refer to the
     * task: without a call of `close` the task would then never be garbage-collected.
     */
    public fun beforeConnect(hook: BeforeConnect) {
        beforeConnect = hook
    }

    /** As the other `beforeConnect`, with a function that blocks; meant for Java. */
    public fun beforeConnect(hook: BlockingBeforeConnect) {
        beforeConnect = { epoch, attempt, lastError ->
            runInterruptible { hook.beforeConnect(epoch, attempt, lastError) }
        }
    }
}

private fun <T> OptionsBlock<T>.set(options: T): Unit = options.configure()

/** Waits the same time before every attempt; zero dials at once. */
public fun ReconnectOptions.fixedDelay(delay: Duration) {
    this.delay = ReconnectDelay.Fixed(delay)
}

/**
 * Waits a random time: the first attempt zero to [first], attempt n [min] to the smaller of [max] and
 * [min] × 2ⁿ⁻¹. When the task has failed for [slowAfter], each attempt waits [slow] ± 20 %.
 */
public fun ReconnectOptions.fullJitter(first: Duration, min: Duration, max: Duration, slowAfter: Duration, slow: Duration) {
    delay = ReconnectDelay.FullJitter(first, min, max, slowAfter, slow)
}

/** Ends the task after this many failed attempts in a row; at least 1. */
public fun ReconnectOptions.maxAttempts(count: Int) {
    maxAttempts = AttemptLimit.Attempts(count.toLong())
}

/** Never ends the task, however often attempts fail. */
public fun ReconnectOptions.unlimited() {
    maxAttempts = AttemptLimit.Unlimited
}

/** Sends this text message as heartbeat. */
public fun HeartbeatOptions.text(text: String) {
    payload = HeartbeatPayload.Text(text)
}

/** Sends this binary message as heartbeat. */
public fun HeartbeatOptions.binary(bytes: ByteArray) {
    payload = HeartbeatPayload.Binary(bytes)
}

/** Sends a protocol Ping as heartbeat. The server's application does not see it. */
public fun HeartbeatOptions.ping() {
    payload = HeartbeatPayload.Ping
}

/** The answer to a heartbeat is exactly this text. */
public fun HeartbeatOptions.reply(text: String) {
    reply = ReplyMatch.Text(text)
}

/** The answer to a heartbeat is exactly these bytes. */
public fun HeartbeatOptions.reply(bytes: ByteArray) {
    reply = ReplyMatch.Binary(bytes)
}

/** The answer to a heartbeat is any text that begins with [prefix]. */
public fun HeartbeatOptions.replyPrefix(prefix: String) {
    reply = ReplyMatch.Prefix(prefix)
}

/**
 * The answer to a heartbeat is a JSON object with the field [name] at its top level, in a text of at most 4 KiB.
 * [value] is a string's content or any other value's JSON text; `null`: any value.
 */
@JvmOverloads
public fun HeartbeatOptions.replyField(name: String, value: String? = null) {
    reply = ReplyMatch.JsonField(name, value)
}
