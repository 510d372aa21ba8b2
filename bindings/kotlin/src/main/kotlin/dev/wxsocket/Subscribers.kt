package dev.wxsocket

/** The kinds of events, as bits. */
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

/** True for the last event of a task. */
internal val SocketEvent.isFinal: Boolean get() = this is CloseEvent && retry == null

/** The size of the content, in bytes of binary messages and characters of texts. */
internal val SocketEvent.size: Long
    get() = when (this) {
        is MessageEvent -> data.size
        is OpenEvent -> header.sumOf { it.size } + unsent.sumOf { it.size }
        is ErrorEvent -> httpHeader.sumOf { it.size } + httpBody.size
        is CloseEvent -> unsent.sumOf { it.size }
    }

private val Header.size: Long get() = name.length.toLong() + value.length

private val Message.size: Long
    get() = when (this) {
        is Message.Text -> text.length.toLong()
        is Message.Binary -> bytes.size.toLong()
    }

/** A listener or a collector. It gets the events of its [kinds]. */
internal sealed class Subscriber(val kinds: Int) {
    /** True when it was removed. A turn may still have it in a list. */
    @Volatile var gone = false

    fun wants(event: SocketEvent): Boolean = kinds and event.kind != 0 && !gone

    /** Passes on an event of its kinds. */
    abstract fun tell(event: SocketEvent)
}

/**
 * A listener of the app. [Delivery.off] finds it by [function]; the compiler makes a new [EventListener] of a Kotlin
 * function each time, and those of the same function are equal.
 */
internal class Listener(kinds: Int, val function: Any, private val call: (SocketEvent) -> Unit) : Subscriber(kinds) {
    override fun tell(event: SocketEvent): Unit = call(event)
}

internal fun openListener(call: EventListener<OpenEvent>) = Listener(OPEN, call) { call.onEvent(it as OpenEvent) }

internal fun messageListener(call: EventListener<MessageEvent>) = Listener(MESSAGE, call) { call.onEvent(it as MessageEvent) }

internal fun errorListener(call: EventListener<ErrorEvent>) = Listener(ERROR, call) { call.onEvent(it as ErrorEvent) }

internal fun closeListener(call: EventListener<CloseEvent>) = Listener(CLOSE, call) { call.onEvent(it as CloseEvent) }
