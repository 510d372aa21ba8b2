package dev.wxsocket

import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Test
import java.util.concurrent.CountDownLatch
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** More listeners block than there are threads. */
class CrowdTest {
    @Test
    fun `blocked listeners keep neither waiters nor collectors nor executors of other tasks waiting`() = withServer { server ->
        val count = 270
        val blocked = CountDownLatch(256)
        val free = CountDownLatch(1)
        val told = LinkedBlockingQueue<Int>()
        val crowd = List(count) {
            connectSocket(server.url()) {
                heartbeat { enabled = false }
                onOpen {
                    blocked.countDown()
                    free.await()
                    told += 1
                }
            }
        }
        try {
            // One thread stays free, whatever listeners do.
            until("blocked listeners") { blocked.count <= 1 }
            runBlocking {
                withTimeout(PATIENCE_MS) {
                    for (task in crowd) task.awaitOpen()
                    val task = connectSocket(server.url())
                    task.awaitOpen()
                    task.state.first { it == SocketState.Open }
                    task.send("hello")
                    assertEquals("hello", "${task.messages.first()}")
                    task.close()
                    task.awaitClosed()
                }
            }
            val calls = LinkedBlockingQueue<String>()
            val elsewhere = connectSocket(server.url()) {
                executor = java.util.concurrent.Executor { Thread(it).start() }
                onOpen { calls += "open" }
            }
            assertEquals("open", calls.take1())
            elsewhere.close()
        } finally {
            free.countDown()
        }
        repeat(count) { told.take1() }
        for (task in crowd) task.close()
        runBlocking { withTimeout(PATIENCE_MS) { for (task in crowd) task.awaitClosed() } }
        assertTrue(blocked.await(0, TimeUnit.SECONDS))
        untilFewThreads()
    }
}
