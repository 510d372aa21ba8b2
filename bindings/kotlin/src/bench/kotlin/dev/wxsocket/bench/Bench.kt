package dev.wxsocket.bench

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native
import dev.wxsocket.Message
import dev.wxsocket.connectSocket
import dev.wxsocket.cycles
import dev.wxsocket.ffi.CloseEvent
import dev.wxsocket.ffi.ConnectOptions
import dev.wxsocket.ffi.ErrorEvent
import dev.wxsocket.ffi.HeartbeatOptions
import dev.wxsocket.ffi.MessageEvent
import dev.wxsocket.ffi.OpenEvent
import dev.wxsocket.ffi.SocketEvent
import dev.wxsocket.ffi.SocketListener
import dev.wxsocket.ffi.SocketTask
import dev.wxsocket.ffi.uniffiCallbackInterfaceSocketListener
import dev.wxsocket.memory
import dev.wxsocket.testing.ffi.ScriptedServer
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.Response
import okhttp3.WebSocket
import okhttp3.WebSocketListener
import okio.ByteString
import okio.ByteString.Companion.toByteString
import org.java_websocket.client.WebSocketClient
import org.java_websocket.handshake.ServerHandshake
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.Socket
import java.net.URI
import java.nio.ByteBuffer
import java.util.concurrent.CountDownLatch
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import javax.net.SocketFactory

// Against OkHttp and Java-WebSocket on the same JVM, with the same server in the same process:
// `bindings/kotlin/bench`. Peers are set as their documentation recommends for a client that
// wants every message at once: all with TCP_NODELAY (without it OkHttp's echo of 16 KiB takes
// 44 ms, a delayed acknowledgement), Java-WebSocket without its connection-lost check.

/** One client library: a connection that sends, and calls back with the size of what comes. */
interface Client : AutoCloseable {
    fun send(text: String)
    fun send(bytes: ByteArray)
}

typealias Connect = (url: String, onMessage: (Int) -> Unit) -> Client

val wxsocket: Connect = { url, onMessage ->
    val open = CountDownLatch(1)
    val task = connectSocket(url) {
        tcpNoDelay = true
        heartbeat { enabled = false }
        onOpen { open.countDown() }
        onMessage {
            when (val data = it.data) {
                is Message.Text -> onMessage(data.text.length)
                is Message.Binary -> onMessage(data.bytes.size)
            }
        }
    }
    check(open.await(10, TimeUnit.SECONDS))
    object : Client {
        override fun send(text: String) = Unit.also { task.send(text) }
        override fun send(bytes: ByteArray) = Unit.also { task.send(bytes) }
        override fun close() = task.close()
    }
}

private object NoDelay : SocketFactory() {
    private fun socket() = Socket().apply { tcpNoDelay = true }
    override fun createSocket() = socket()
    override fun createSocket(host: String, port: Int) = socket().apply { connect(InetSocketAddress(host, port)) }
    override fun createSocket(host: InetAddress, port: Int) = socket().apply { connect(InetSocketAddress(host, port)) }
    override fun createSocket(host: String, port: Int, local: InetAddress, localPort: Int) = createSocket(host, port)
    override fun createSocket(host: InetAddress, port: Int, local: InetAddress, localPort: Int) = createSocket(host, port)
}

private val okClient by lazy { OkHttpClient.Builder().socketFactory(NoDelay).build() }

val okhttp: Connect = { url, onMessage ->
    val open = CountDownLatch(1)
    val listener = object : WebSocketListener() {
        override fun onOpen(webSocket: WebSocket, response: Response) = open.countDown()
        override fun onMessage(webSocket: WebSocket, text: String) = onMessage(text.length)
        override fun onMessage(webSocket: WebSocket, bytes: ByteString) = onMessage(bytes.size)
    }
    val socket = okClient.newWebSocket(Request.Builder().url(url).build(), listener)
    check(open.await(10, TimeUnit.SECONDS))
    object : Client {
        override fun send(text: String) = Unit.also { socket.send(text) }
        override fun send(bytes: ByteArray) = Unit.also { socket.send(bytes.toByteString()) }
        override fun close() = Unit.also { socket.close(1000, null) }
    }
}

val javaWebSocket: Connect = { url, onMessage ->
    val socket = object : WebSocketClient(URI(url)) {
        override fun onOpen(handshake: ServerHandshake) = Unit
        override fun onMessage(message: String) = onMessage(message.length)
        override fun onMessage(bytes: ByteBuffer) = onMessage(bytes.remaining())
        override fun onClose(code: Int, reason: String, remote: Boolean) = Unit
        override fun onError(e: Exception) = e.printStackTrace()
    }
    socket.isTcpNoDelay = true
    socket.connectionLostTimeout = 0
    check(socket.connectBlocking(10, TimeUnit.SECONDS))
    object : Client {
        override fun send(text: String) = socket.send(text)
        override fun send(bytes: ByteArray) = socket.send(bytes)
        override fun close() = socket.closeBlocking()
    }
}

/** The generated code with its callback interface, which needs no layer but costs a JNA callback a message. */
val callbacks: Connect = { url, onMessage ->
    // One attached daemon thread instead of a new Java thread for each callback.
    Native.setCallbackThreadInitializer(
        uniffiCallbackInterfaceSocketListener.onMessage,
        CallbackThreadInitializer(true, false, "callbacks"),
    )
    val open = CountDownLatch(1)
    val listener = object : SocketListener {
        override fun onOpen(event: OpenEvent) = open.countDown()
        override fun onMessage(event: MessageEvent) = onMessage(size(event.data))
        override fun onError(event: ErrorEvent) = Unit
        override fun onClose(event: CloseEvent) = Unit
    }
    generated(dev.wxsocket.ffi.connectSocket(plain(url), listener), open)
}

/** The generated code with a thread per task that pulls batches. */
val pull: Connect = { url, onMessage ->
    val task = dev.wxsocket.ffi.connectSocket(plain(url))
    val open = CountDownLatch(1)
    val stream = task.events()
    val take = {
        generateSequence { stream.nextEvents(256u).ifEmpty { null } }.flatten().forEach {
            when (it) {
                is SocketEvent.Open -> open.countDown()
                is SocketEvent.Message -> onMessage(size(it.event.data))
                else -> Unit
            }
        }
    }
    Thread(take, "pull").apply { isDaemon = true }.start()
    generated(task, open)
}

private fun plain(url: String) =
    ConnectOptions(url, tcpNoDelay = true, heartbeat = HeartbeatOptions(enabled = false))

private fun size(data: dev.wxsocket.ffi.Message) =
    when (data) {
        is dev.wxsocket.ffi.Message.Text -> data.text.length
        is dev.wxsocket.ffi.Message.Binary -> data.bytes.size
    }

private fun generated(task: SocketTask, open: CountDownLatch): Client {
    check(open.await(10, TimeUnit.SECONDS))
    return object : Client {
        override fun send(text: String) = Unit.also { task.sendText(text) }
        override fun send(bytes: ByteArray) =
            Unit.also { task.sendBytes(ByteBuffer.allocateDirect(bytes.size).put(bytes).flip()) }
        override fun close() = task.close(1000, "")
    }
}

/** The ways that events could have come to Kotlin; what chose among them. */
private val paths = linkedMapOf("turns" to wxsocket, "callbacks" to callbacks, "pull per task" to pull)

private const val ROUNDS = 7

private val peers = linkedMapOf("wxsocket" to wxsocket, "OkHttp" to okhttp, "Java-WebSocket" to javaWebSocket)

/** Microseconds per message of a flood. */
private fun flood(connect: Connect, count: Int, bytes: Int, binary: Boolean = false): Double {
    val script = """[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": $count, "bytes": $bytes, "binary": $binary}}}]}]"""
    return ScriptedServer(script).use { server ->
        val left = AtomicInteger(count)
        val done = CountDownLatch(1)
        connect(server.url()) { if (left.decrementAndGet() == 0) done.countDown() }.use { client ->
            val start = System.nanoTime()
            client.send("go")
            check(done.await(120, TimeUnit.SECONDS)) { "${left.get()} messages missing" }
            (System.nanoTime() - start) / 1e3 / count
        }
    }
}

/** p50 and p99 of a round trip, in microseconds. */
private fun echo(connect: Connect, count: Int, bytes: Int): Pair<Double, Double> =
    ScriptedServer("[]").use { server ->
        val back = SynchronousQueue<Int>()
        connect(server.url()) { back.put(it) }.use { client ->
            val text = "x".repeat(bytes)
            val times = mutableListOf<Long>()
            val end = System.nanoTime() + 2_000_000_000
            // A client that waits for delayed acknowledgements would take minutes.
            while (times.size < count && System.nanoTime() < end) {
                val start = System.nanoTime()
                client.send(text)
                back.take()
                times += System.nanoTime() - start
            }
            times.sort()
            times[times.size / 2] / 1e3 to times[times.size * 99 / 100] / 1e3
        }
    }

/** Microseconds that a call of `send` takes, with the server swallowing what comes. */
private fun send(connect: Connect, count: Int, bytes: Int, binary: Boolean): Double =
    ScriptedServer("""[{"echo": false}]""").use { server ->
        connect(server.url()) {}.use { client ->
            val text = "x".repeat(bytes)
            val data = ByteArray(bytes)
            val start = System.nanoTime()
            repeat(count) { if (binary) client.send(data) else client.send(text) }
            val micros = (System.nanoTime() - start) / 1e3 / count
            check(server.waitMessages(count.toUInt(), 60_000u))
            micros
        }
    }

/** Milliseconds for 1 MiB there and back. */
private fun large(connect: Connect, count: Int): Double =
    ScriptedServer("[]").use { server ->
        val back = SynchronousQueue<Int>()
        connect(server.url()) { back.put(it) }.use { client ->
            val data = ByteArray(1 shl 20)
            val start = System.nanoTime()
            repeat(count) {
                client.send(data)
                check(back.take() == data.size)
            }
            (System.nanoTime() - start) / 1e6 / count
        }
    }

private fun row(clients: Map<String, Connect>, name: String, unit: String, measure: (Connect) -> Double) {
    for (connect in clients.values) {
        // Until the compiler has settled.
        val end = System.nanoTime() + 2_000_000_000
        repeat(4) { measure(connect) }
        while (System.nanoTime() < end) measure(connect)
    }
    // In turns, so that a machine that is busy for a while is so for everybody.
    val rounds = List(ROUNDS) { clients.mapValues { (_, connect) -> measure(connect) } }
    val best = clients.mapValues { (client, _) -> rounds.map { it.getValue(client) }.sorted()[ROUNDS / 2] }
    val ours = best.values.first()
    val cells = best.map { (client, value) ->
        "%s %.2f%s".format(client, value, if (value == ours) "" else " (%.2fx)".format(value / ours))
    }
    println("%-28s %s   %s".format(name, unit, cells.joinToString("   ")))
}

fun main(args: Array<String>) {
    val only = args.firstOrNull().orEmpty()
    fun run(name: String, unit: String, clients: Map<String, Connect> = peers, measure: (Connect) -> Double) {
        if (only in name) row(clients, name, unit, measure)
    }
    println("median of $ROUNDS; (N x): the peer's value over ours, above 1 we are better")
    run("flood 100k x 32 B", "us/msg") { flood(it, 100_000, 32) }
    run("flood 100k x 1 KiB", "us/msg") { flood(it, 100_000, 1024) }
    run("echo 20 B p50", "us") { echo(it, 5_000, 20).first }
    run("echo 20 B p99", "us") { echo(it, 5_000, 20).second }
    run("echo 16 KiB p50", "us") { echo(it, 3_000, 16 * 1024).first }
    run("echo 16 KiB p99", "us") { echo(it, 3_000, 16 * 1024).second }
    run("send 20 B text", "us/call") { send(it, 50_000, 20, false) }
    run("send 1 KiB binary", "us/call") { send(it, 10_000, 1024, true) }
    run("path: flood 20k x 32 B", "us/msg", paths) { flood(it, 20_000, 32) }
    run("path: echo 20 B p50", "us", paths) { echo(it, 3_000, 20).first }
    run("1 MiB binary there and back", "ms") { large(it, 50) }
    if (only in "10000 connect/close cycles") {
        fun round() = ScriptedServer("[]").let { server ->
            cycles(server.url(), 2_500)
            server.shutdown()
            server.destroy()
            memory()
        }
        // Heap in use and memory resident, after every 2500; flat but for the allocator's arenas.
        println("10000 connect/close cycles   KiB      " + List(4) { round() }.joinToString())
    }
}
