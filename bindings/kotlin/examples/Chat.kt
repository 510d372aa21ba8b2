package dev.wxsocket.examples

import dev.wxsocket.Preset
import dev.wxsocket.SocketState
import dev.wxsocket.WxException
import dev.wxsocket.connectSocket
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import java.io.BufferedReader
import java.io.PrintStream

/**
 * A chat on the command line: what is typed is sent, what arrives is printed, and the connection
 * comes back by itself. An empty line or the end of the input leaves.
 *
 *     java … dev.wxsocket.examples.ChatKt wss://chat.example.com alice
 */
fun main(args: Array<String>) {
    val (url, name) = args.toList() + "guest"
    chat(url, name, System.`in`.bufferedReader(), System.out)
}

fun chat(url: String, name: String, input: BufferedReader, output: PrintStream): Unit = runBlocking {
    val task = connectSocket(url) {
        preset = Preset.RESILIENT
        header("X-Name", name)
        onOpen { output.println("* online") }
        onError { output.println("* ${it.errMsg} ${it.detail}") }
        onClose { close -> output.println("* offline" + (close.retry?.delay?.let { ", back in $it" } ?: "")) }
    }
    val printing = launch { task.messages.collect { output.println(it) } }
    launch(Dispatchers.IO) {
        for (line in generateSequence { input.readLine() }.takeWhile { it.isNotEmpty() }) {
            try {
                task.send("$name: $line")
                if (task.state.value != SocketState.Open) output.println("* kept for later")
            } catch (e: WxException.QueueFull) {
                output.println("* not sent: ${e.errMsg}")
            }
        }
        task.close(reason = "bye")
    }
    task.awaitClosed()
    printing.join()
}
