package dev.wxsocket

import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Test
import java.io.File
import java.lang.ref.WeakReference
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Semaphore
import java.util.concurrent.TimeUnit
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** What lives how long. */
class LifetimeTest {
    @Test
    fun `a task that nobody refers to is freed and closed`() = withServer { server ->
        val opened = CountDownLatch(1)
        fun abandon(): WeakReference<SocketTask> {
            val task = connectSocket(server.url())
            // A listener of the app's, which does not refer to the task.
            task.onOpen { opened.countDown() }
            assertTrue(opened.await(PATIENCE_MS, TimeUnit.MILLISECONDS))
            return WeakReference(task)
        }
        val gone = abandon()
        val deadline = System.nanoTime() + PATIENCE_MS * 1_000_000
        while (gone.get() != null || !server.waitEnded(1u, 20u)) {
            System.gc()
            assertTrue(System.nanoTime() < deadline, "still there: ${gone.get()}")
        }
        assertEquals("ClientClosed", server.seen(0).ended)
        assertEquals(1000, server.seen(0).closeCode)
    }

    @Test
    fun `whoever waits for a task keeps it`() = withServer { server ->
        runBlocking {
            val closed = connectSocket(server.url()).let { task ->
                task.awaitOpen()
                suspend { task.awaitClosed() }
            }
            // The server ends it once the garbage collector has had its chance.
            val collector = Thread {
                repeat(5) { System.gc() }
                server.closeAll(4000u, "now")
                server.stopListening()
            }
            connectSocket(server.url()) { reconnect { enabled = false } }.let { task ->
                task.awaitOpen()
                collector.start()
                assertEquals(4000, task.awaitClosed().code)
            }
            collector.join()
            assertTrue(closed.toString().isNotEmpty())
        }
    }

    @Test
    fun `connecting and closing 2000 times ends flat`() {
        withServer { cycles(it.url(), 1_000) }
        val (heap, resident) = memory()
        withServer { cycles(it.url(), 2_000) }
        // Cleaners take a while; a task that stays would stay with 5 KiB or more.
        val deadline = System.nanoTime() + PATIENCE_MS * 1_000_000
        var after = memory()
        while (after.first - heap > 3_000 && System.nanoTime() < deadline) after = memory()
        assertTrue(after.first - heap <= 3_000, "heap: $heap -> ${after.first} KiB")
        // What a task holds in the engine is some 10 KiB: 2000 that stay are 20 MiB a round, in
        // every round. What the JVM takes for itself it takes once.
        var before = resident
        val growth = List(3) {
            withServer { server -> cycles(server.url(), 2_000) }
            val now = memory().second
            (now - before).also { before = now }
        }
        assertTrue(growth.min() <= 10_000, "resident: grew by $growth KiB")
    }

    @Test
    fun `the JVM ends when main does, whatever is open`() = withServer { server ->
        val java = File(System.getProperty("java.home"), "bin/java").path
        val library = System.getProperties().filterKeys { "$it".startsWith("uniffi.") }.map { "-D${it.key}=${it.value}" }
        val command = listOf(java) + library +
            listOf("-cp", System.getProperty("java.class.path"), "dev.wxsocket.LeavesThingsOpen", server.url())
        // To a file: whoever reads a pipe to its end waits as long as the process lives.
        val output = File.createTempFile("wxsocket", ".txt").apply { deleteOnExit() }
        val process = ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output).start()
        try {
            assertTrue(process.waitFor(PATIENCE_MS, TimeUnit.MILLISECONDS), "it is still running: ${output.readText()}")
        } finally {
            process.destroyForcibly()
        }
        assertEquals("open" to 0, output.readText().trim() to process.exitValue())
    }
}

/** A `main` that ends with a socket open, one being dialled, and a `beforeConnect` that never answers. */
object LeavesThingsOpen {
    // A JVM with a small heap collects garbage early, and with it a task that nobody refers to.
    private val kept = ArrayList<SocketTask>()

    @JvmStatic
    fun main(args: Array<String>) {
        val asked = CountDownLatch(1)
        kept += connectSocket(args[0]) {
            beforeConnect { _, _, _ ->
                asked.countDown()
                CountDownLatch(1).await()
                ConnectDecision.Proceed
            }
        }
        asked.await()
        kept += connectSocket(args[0])
        runBlocking { kept.last().awaitOpen() }
        println("open")
    }
}

/** Opens, sends, hears, closes, so many times, a few at once. */
fun cycles(url: String, count: Int) {
    val atOnce = Semaphore(8)
    repeat(count) {
        atOnce.acquire()
        lateinit var task: SocketTask
        task = connectSocket(url) {
            onClose { atOnce.release() }
        }
        task.onMessage { task.close() }
        task.send("x")
    }
    atOnce.acquire(8)
}

/** Heap in use and memory resident, in KiB, with all garbage gone. */
fun memory(): Pair<Long, Long> {
    repeat(5) {
        System.gc()
        // Cleaners run on a thread of their own; what they free is native.
        Thread.sleep(50)
    }
    val heap = Runtime.getRuntime().run { totalMemory() - freeMemory() } / 1024
    val resident = File("/proc/self/status").takeIf { it.exists() }?.readLines()
        ?.first { it.startsWith("VmRSS") }?.filter { it.isDigit() }?.toLong() ?: 0
    return heap to resident
}
