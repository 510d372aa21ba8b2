package dev.wxsocket.quickstart

// The quick start of the README, word for word from here on; ExamplesTest runs it.
import dev.wxsocket.Preset
import dev.wxsocket.SocketTask
import dev.wxsocket.connectSocket
import kotlin.time.Duration.Companion.seconds

fun quickStart(url: String): SocketTask {
    val task = connectSocket(url) {
        preset = Preset.RESILIENT
        header("Authorization", "Bearer token")
        heartbeat { interval = 20.seconds }
    }
    task.onOpen { println("open after ${it.profile.cost} ms") }
    task.onMessage { println(it.text) }
    task.onError { println("${it.errCode} ${it.errMsg}") }
    task.onClose { println("closed ${it.code}, retry: ${it.retry}") }
    task.send("hello") // Kept until the connection is open.
    return task // Keep it: a task that nobody refers to is closed.
}
