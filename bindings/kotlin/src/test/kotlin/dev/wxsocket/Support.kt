package dev.wxsocket

import dev.wxsocket.testing.ffi.ScriptedServer
import dev.wxsocket.testing.ffi.SeenByServer
import java.io.File
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.test.assertNotNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds

/** Longer than anything that works takes; a test waits for an event, never for a time. */
const val PATIENCE_MS = 15_000L

/** Runs [test] against a server that plays [script], and stops it. */
fun withServer(script: String = "[]", test: (ScriptedServer) -> Unit) {
    val server = ScriptedServer(script)
    try {
        test(server)
    } finally {
        server.shutdown()
        server.destroy()
    }
}

/** Everything that a task tells, in order, as a test takes it. */
class Recorder(url: String, block: SocketSetup.() -> Unit) {
    private val events = LinkedBlockingQueue<SocketEvent>()
    val task = connectSocket(url) {
        block()
        onOpen { events += it }
        onMessage { events += it }
        onError { events += it }
        onClose { events += it }
    }

    fun next(): SocketEvent = assertNotNull(events.poll(PATIENCE_MS, TimeUnit.MILLISECONDS), "no event in time")

    /** The next event, which must be of this kind. */
    inline fun <reified E : SocketEvent> expect(): E {
        val event = next()
        assertTrue(event is E, "expected ${E::class.simpleName}, got $event")
        return event
    }

    /** Takes events until the task is over; its end is the last. */
    fun toTheEnd(): List<SocketEvent> = buildList {
        do add(next()) while (last().let { it !is CloseEvent || it.retry != null })
    }

    val isEmpty: Boolean get() = events.isEmpty()
}

fun record(url: String, block: SocketSetup.() -> Unit = {}): Recorder = Recorder(url, block)

/** Comes back at once, so that a test need not wait. */
fun SocketSetup.comeBackFast(attempts: Int? = null) {
    reconnect {
        fixedDelay(1.milliseconds)
        if (attempts != null) maxAttempts(attempts)
    }
}

/** Waits until [isSo]. */
fun until(what: String, isSo: () -> Boolean) {
    val deadline = System.nanoTime() + PATIENCE_MS * 1_000_000
    while (!isSo()) {
        assertTrue(System.nanoTime() < deadline, "no $what in time")
        Thread.sleep(1)
    }
}

/** Waits until the library has given back the threads that blocked listeners and coroutines made it add. */
fun untilFewThreads() {
    fun ours() = Thread.getAllStackTraces().filterKeys { it.name == "wxsocket-events" || it.name == "wxsocket-news" }
    try {
        until("end of the threads") {
            // Tasks that other tests left go on dialling, which keeps threads busy, until they are collected.
            System.gc()
            val names = ours().keys.groupingBy { it.name }.eachCount()
            names.getOrDefault("wxsocket-events", 0) <= 2 && names.getOrDefault("wxsocket-news", 0) <= 1
        }
    } catch (e: AssertionError) {
        val where = ours().entries.groupingBy { (thread, stack) -> "${thread.name} at ${stack.take(12)}" }.eachCount()
        throw AssertionError(where.entries.joinToString("\n", "${e.message}\n") { "${it.value} ${it.key}" })
    }
}

fun <T> LinkedBlockingQueue<T>.take1(): T = assertNotNull(poll(PATIENCE_MS, TimeUnit.MILLISECONDS), "nothing in time")

fun ScriptedServer.seen(index: Int): SeenByServer = connections()[index]

/** Runs a class of the tests in a JVM of its own, which finds the native library or not, and returns what it printed. */
fun fork(memory: String, main: String, vararg arguments: String, before: File? = null, hasLibrary: Boolean = true): String {
    val java = File(System.getProperty("java.home"), "bin/java").path
    val library = System.getProperties().stringPropertyNames().filter { it.startsWith("uniffi.") || it == "jna.library.path" }
        .filter { hasLibrary }
        .map { "-D$it=${System.getProperty(it)}" }
    val path = listOfNotNull(before?.path, System.getProperty("java.class.path")).joinToString(File.pathSeparator)
    val output = File.createTempFile("wxsocket", ".out")
    try {
        val process = ProcessBuilder(listOf(java, memory) + library + listOf("-cp", path, main) + arguments)
            .redirectErrorStream(true).redirectOutput(output).start()
        val ended = process.waitFor(120, TimeUnit.SECONDS)
        if (!ended) process.destroyForcibly()
        return (if (ended) "" else "it did not end\n") + output.readText()
    } finally {
        output.delete()
    }
}
