package dev.wxsocket

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.StateFlow
import java.nio.ByteBuffer

/**
 * A WebSocket that is kept open: many connections, one after the other. [connectSocket] makes a [SocketTask]; an app
 * that refers to this interface instead can be tested with a fake (see [SocketConnector]).
 *
 * Every function may be called on any thread and inside a listener. All functions return at once, except those that
 * suspend.
 *
 * There may be many listeners of each kind. They are called one at a time, in order, on the executor of the options.
 * An exception of a listener is logged with its text and counted ([SocketStats.listenerFailures]); the task goes on. A
 * listener that blocks delays only its own task, and in the end its server.
 *
 * Listeners and flows that are set in the block of [connectSocket] get every event. As long as there is no listener and
 * no collector, events are kept, up to 1,024 events or 1 MiB, and then the server waits; the first listener gets all of
 * them. A later one first gets the present state: the open if the connection is open; else the last close, and its
 * error if there was one. While there are listeners but none of messages, the newest 256 messages (at most 1 MiB) of the
 * present connection are kept for the first listener of messages.
 *
 * So a call of `onOpen` and a call of `onMessage` after it may miss the messages of a connection that ended between the
 * two calls. In the block of [connectSocket] they miss nothing.
 */
public interface WebSocketTask : AutoCloseable {
    /** The WebSocket API's `readyState`; [ReadyState.CLOSED] is final. */
    public val readyState: ReadyState

    /**
     * The present state of the task. It changes before the events of the change are delivered, and does not wait for
     * listeners, collectors or the executor.
     */
    public val state: StateFlow<SocketState>

    /** Bytes of payload that were accepted and are not yet written to the socket. */
    public val bufferedAmount: Long

    /** Counters and times since the task was made. */
    public val stats: SocketStats

    /**
     * All events from the beginning of the collection on, after those that a late listener gets first. The flow
     * completes after the last event. It does not use the executor of the options, and every collector gets every
     * event.
     *
     * A slow collector makes the server wait, and no event is dropped: the library takes at most 256 events or 1 MiB at
     * a time, and takes no more while events of more than 128 KiB wait for the collector. Each event counts 1 KiB and
     * its content: the payload of a message (characters of a text, bytes of a binary message), the headers of an open,
     * the headers and body of an error, the unsent messages.
     *
     * A collection that begins while a group of events is being delivered gets those of them that no listener and no
     * collector has taken yet.
     *
     * Each collection begins anew: events that come between one collection and the next are in neither. Collect
     * once, or call [receive].
     */
    public val events: Flow<SocketEvent>

    /**
     * The messages of [events].
     *
     * Two calls of `messages.first()` may lose the messages between them (the same message never comes twice).
     * [receive] gives the messages one by one and loses none.
     */
    public val messages: Flow<Message> get() = events.messages()

    /**
     * Waits for the next message and returns it: one message per call, in order. The first call gets what a
     * collector of [messages] would get; from then on every message waits for a call, and none is lost between two
     * calls or when a call is cancelled. Calls at the same time get one message each, in the order of the calls.
     *
     * An app that stops calling it makes the server wait, as a slow collector of [events] does.
     *
     * @throws WxException.Ended when the task is over and all messages have been received.
     */
    public suspend fun receive(): Message

    /** Adds a listener that is called whenever a connection is open. */
    public fun onOpen(listener: EventListener<OpenEvent>)

    /**
     * Adds a listener that is called with each message. If it throws, the exception is logged with its text, which
     * should not quote secrets.
     */
    public fun onMessage(listener: EventListener<MessageEvent>)

    /** Adds a listener that is called whenever a connection fails. The [CloseEvent] of the connection follows. */
    public fun onError(listener: EventListener<ErrorEvent>)

    /** Adds a listener that is called whenever a connection is over. Without a `retry` the task is over too. */
    public fun onClose(listener: EventListener<CloseEvent>)

    /** Removes a listener that was given to [onOpen]; with `null` all of them. It is not called any more. */
    public fun offOpen(listener: EventListener<OpenEvent>?)

    /** As [offOpen], for [onMessage]. */
    public fun offMessage(listener: EventListener<MessageEvent>?)

    /** As [offOpen], for [onError]. */
    public fun offError(listener: EventListener<ErrorEvent>?)

    /** As [offOpen], for [onClose]. */
    public fun offClose(listener: EventListener<CloseEvent>?)

    /** Removes all listeners that were given to [onOpen]. */
    public fun offOpen(): Unit = offOpen(null)

    /** Removes all listeners that were given to [onMessage]. */
    public fun offMessage(): Unit = offMessage(null)

    /** Removes all listeners that were given to [onError]. */
    public fun offError(): Unit = offError(null)

    /** Removes all listeners that were given to [onClose]. */
    public fun offClose(): Unit = offClose(null)

    /**
     * Sends a text message: now, or when the connection is open again. Half of a surrogate pair becomes U+FFFD, as in
     * the WebSocket API.
     *
     * @throws WxException.NotConnected when the task is closing or closed, or not open and without a queue.
     * @throws WxException.QueueFull when the queue has no room.
     */
    public fun send(text: String): SendOutcome

    /** Sends a binary message; otherwise as text. The bytes are copied before this returns. */
    public fun send(bytes: ByteArray): SendOutcome

    /** Sends the bytes between position and limit, which do not change. */
    public fun send(bytes: ByteBuffer): SendOutcome

    /** Sends a message of either kind, for example one that came back as unsent. */
    public fun send(message: Message): SendOutcome =
        when (message) {
            is Message.Text -> send(message.text)
            is Message.Binary -> send(message.bytes)
        }

    /**
     * Ends the task: sends what was accepted, then a close frame, waits at most `closeTimeout` for the server's close
     * frame, and delivers the last [CloseEvent] with this code and reason. It may be called in every state; a second
     * call changes nothing.
     *
     * @throws WxException.InvalidArgument when the code is neither 1000 nor 3000 to 4999, or the reason is longer than
     * 123 bytes of UTF-8. Then the task goes on.
     */
    public fun close(code: Int = 1000, reason: String = "")

    /** As the other `close`, without a reason. */
    public fun close(code: Int): Unit = close(code, "")

    /** As the other `close`, with 1000 and without a reason. */
    override fun close(): Unit = close(1000, "")

    /** Dials at once, with a fresh counter of attempts, also when the task waits, is paused or has no network. */
    public fun reconnectNow()

    /** Ends the connection (1006 "paused") and does not dial until [resume]. Queued messages are kept. */
    public fun pause()

    /** Ends a [pause]: dials at once. */
    public fun resume()

    /**
     * Tells the task what the operating system knows of the network. On Android, `AndroidNetwork` calls this.
     *
     * Without a network the task does not dial and uses up no attempt, and a dial that is under way ends. An open
     * connection stays open: the system may be wrong, and the heartbeat decides. When the network is a new one the task
     * dials at once, or checks an open connection. The same network again (the same `id`) changes nothing.
     */
    public fun setNetwork(network: NetworkStatus)

    /** Tells the task whether there is a network, of which nothing else is known. Every call counts as a change. */
    public fun setNetwork(available: Boolean): Unit = setNetwork(NetworkStatus(available))

    /** Tells the task whether the app is in the foreground. On Android, `AndroidLifecycle` calls this. */
    public fun setForeground(foreground: Boolean)

    /**
     * Waits until a connection is open and returns its event, also if that connection has ended in the meantime. It may
     * be called on the thread of the executor and inside a collector, because it waits for neither.
     *
     * @throws WxException.Ended when the task ends first.
     */
    public suspend fun awaitOpen(): OpenEvent

    /** Waits until the task is over and returns its last event. It does not close the task. See [awaitOpen]. */
    public suspend fun awaitClosed(): CloseEvent
}

/**
 * Makes tasks. An app that connects through a `SocketConnector` that it was given can be tested with a fake, which
 * needs no server and no native library:
 *
 * ```
 * class Chat(connector: SocketConnector = SocketConnector.Default) {
 *     private val task: WebSocketTask = connector.connect("wss://example.com") { onMessage { show(it.text) } }
 * }
 *
 * // In a test:
 * val setup = SocketSetup(ConnectOptions(""))
 * val chat = Chat { url, block -> block.run { setup.configure() }; FakeTask() }
 * setup.deliver(MessageEvent(1, Message.Text("hello")))
 * ```
 */
public fun interface SocketConnector {
    /** Makes a task as [connectSocket] does. */
    public fun connect(url: String, setup: OptionsBlock<SocketSetup>): WebSocketTask

    public companion object {
        /** Calls [connectSocket]. */
        @JvmField
        public val Default: SocketConnector =
            SocketConnector { url, setup -> connectSocket(url) { setup.run { configure() } } }
    }
}

/** Makes a task with the options of the default preset. */
public fun SocketConnector.connect(url: String): WebSocketTask = connect(url) {}
