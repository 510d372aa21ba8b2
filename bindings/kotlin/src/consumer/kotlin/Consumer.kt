package dev.wxsocket.consumer

import dev.wxsocket.CloseEvent
import dev.wxsocket.Message
import dev.wxsocket.Preset
import dev.wxsocket.SendOutcome
import dev.wxsocket.SocketState
import dev.wxsocket.WxException
import dev.wxsocket.connectSocket
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlin.time.Duration.Companion.seconds

/** An app as its author writes it. The oldest compiler that the library supports compiles it. */
fun main(arguments: Array<String>): Unit = runBlocking {
    withTimeout(30_000) {
        val task = connectSocket(arguments[0]) {
            preset = Preset.RESILIENT
            header("X-App", "consumer")
            heartbeat { interval = 20.seconds }
            queue { messages = 10 }
            onOpen { println("open ${it.epoch} in ${it.profile.cost >= 0}") }
            onMessage { println("message ${it.text ?: it.bytes?.size}") }
            onError { println("error ${it.errCode} ${it.kind}") }
        }
        task.awaitOpen()
        check(task.state.value == SocketState.Open)
        val binary = async(start = CoroutineStart.UNDISPATCHED) { task.messages.first { it is Message.Binary } }
        when (val outcome = task.send("hello")) {
            SendOutcome.Sent -> println("sent")
            SendOutcome.Dropped -> println("dropped")
            is SendOutcome.Queued -> println("queued, ${outcome.dropped.size} gave way")
        }
        task.send(Message.Binary(byteArrayOf(1, 2, 3)))
        println(binary.await())
        try {
            task.close(42)
        } catch (e: WxException.InvalidArgument) {
            println("${e.errCode} ${e.field}")
        }
        task.close(4000, "bye")
        val end: CloseEvent = task.awaitClosed()
        println("closed ${end.code} ${end.reason} ${end.retry}")
    }
}
