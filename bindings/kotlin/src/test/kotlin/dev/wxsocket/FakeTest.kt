package dev.wxsocket

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.consumeAsFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Test
import java.nio.ByteBuffer
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.seconds

/** An app's class, as it is to be tested: it gets the connector that makes its task. */
class ChatModel(url: String, connector: SocketConnector = SocketConnector.Default) : AutoCloseable {
    val lines = mutableListOf<String>()

    @Volatile var isOnline = false
        private set

    val task: WebSocketTask = connector.connect(url) {
        preset = Preset.RESILIENT
        heartbeat { interval = 20.seconds }
        onOpen { isOnline = true }
        onClose { isOnline = false }
        onMessage { event -> synchronized(lines) { lines += event.text.orEmpty() } }
    }

    fun say(text: String): Boolean =
        try {
            task.send(text) is SendOutcome.Sent
        } catch (_: WxException.NotConnected) {
            false
        }

    override fun close() = task.close(reason = "bye")
}

/** A task without a connection: it notes what it is asked for. */
open class FakeTask : WebSocketTask {
    val sent = mutableListOf<String>()
    val received = Channel<Message>(Channel.UNLIMITED)
    val closed = CompletableDeferred<CloseEvent>()

    override var readyState = ReadyState.CONNECTING
    override val state = MutableStateFlow<SocketState>(SocketState.Connecting(0))
    override val bufferedAmount = 0L
    override val stats get() = TODO()
    override val events: Flow<SocketEvent> get() = TODO()
    override val messages: Flow<Message> get() = received.consumeAsFlow()

    override fun onOpen(listener: EventListener<OpenEvent>) = Unit
    override fun onMessage(listener: EventListener<MessageEvent>) = Unit
    override fun onError(listener: EventListener<ErrorEvent>) = Unit
    override fun onClose(listener: EventListener<CloseEvent>) = Unit
    override fun offOpen(listener: EventListener<OpenEvent>?) = Unit
    override fun offMessage(listener: EventListener<MessageEvent>?) = Unit
    override fun offError(listener: EventListener<ErrorEvent>?) = Unit
    override fun offClose(listener: EventListener<CloseEvent>?) = Unit

    override fun send(text: String): SendOutcome = SendOutcome.Sent.also { sent += text }
    override fun send(bytes: ByteArray): SendOutcome = SendOutcome.Dropped
    override fun send(bytes: ByteBuffer): SendOutcome = SendOutcome.Dropped

    override fun close(code: Int, reason: String) {
        readyState = ReadyState.CLOSED
        closed.complete(CloseEvent(1, code, reason, wasClean = true, retry = null, unsent = emptyList()))
    }

    override fun reconnectNow() = Unit
    override fun pause() = Unit
    override fun resume() = Unit
    override fun setNetwork(network: NetworkStatus) = Unit
    override fun setForeground(foreground: Boolean) = Unit
    override suspend fun receive(): Message = received.receive()
    override suspend fun awaitOpen(): OpenEvent = TODO()
    override suspend fun awaitClosed(): CloseEvent = closed.await()
}

/** An app's own unit test needs neither a server nor the native library. */
class FakeTest {
    @Test
    fun `a class of an app is tested with a fake, without the native library`() {
        assertEquals("tested", fork("-Xmx64m", "dev.wxsocket.TestsWithAFake", hasLibrary = false).trim())
    }

    @Test
    fun `without the native library the real thing says what is missing`() {
        val printed = fork("-Xmx64m", "dev.wxsocket.TestsWithAFake", "real", hasLibrary = false)
        assertTrue("UnsatisfiedLinkError" in printed && "wxsocket" in printed, printed)
    }

    @Test
    fun `the same class works with the real thing`() = withServer { server ->
        ChatModel(server.url()).use { chat ->
            until("open") { chat.isOnline }
            assertTrue(chat.say("hello"))
            until("answer") { synchronized(chat.lines) { chat.lines == listOf("hello") } }
        }
    }
}

/** Runs in a JVM that cannot find the native library. */
object TestsWithAFake {
    @JvmStatic
    fun main(args: Array<String>) {
        if ("real" in args) ChatModel("ws://127.0.0.1:1")
        val setup = SocketSetup(ConnectOptions("ws://fake"))
        val inbox = setup.messages()
        val task = FakeTask()
        val chat = ChatModel("ws://fake") { url, block ->
            check(url == "ws://fake")
            block.run { setup.configure() }
            task
        }
        check(setup.preset == Preset.RESILIENT && setup.options.heartbeat.interval == 20.seconds)
        check(!chat.isOnline)
        setup.deliver(OpenEvent(1, 0, listOf(Header("Server", "none")), null, profile(), emptyList()))
        check(chat.isOnline)
        setup.deliver(MessageEvent(1, Message.Text("hello")))
        check(chat.lines == listOf("hello"))
        check(chat.say("hi") && task.sent == listOf("hi"))
        runBlocking {
            check(inbox.first() == Message.Text("hello"))
            task.received.trySend(Message.Text("one"))
            check(task.receive() == Message.Text("one"))
            chat.close()
            check(task.awaitClosed().reason == "bye")
        }
        setup.deliver(CloseEvent(1, 1000, "bye", wasClean = true, retry = null, unsent = emptyList()))
        check(!chat.isOnline)
        println("tested")
    }

    /** A profile of zeros; reflection, so that a new field needs no change here. */
    private fun profile(): SocketProfile {
        val make = SocketProfile::class.java.constructors.first { made -> made.parameterTypes.all { it.isPrimitive } }
        return make.newInstance(*Array(make.parameterCount) { 0L }) as SocketProfile
    }
}
