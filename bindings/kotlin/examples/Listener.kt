package dev.wxsocket.examples

import dev.wxsocket.ffi.CloseEvent
import dev.wxsocket.ffi.ConnectOptions
import dev.wxsocket.ffi.ErrorEvent
import dev.wxsocket.ffi.Message
import dev.wxsocket.ffi.MessageEvent
import dev.wxsocket.ffi.OpenEvent
import dev.wxsocket.ffi.SocketListener
import dev.wxsocket.ffi.SocketTask
import dev.wxsocket.ffi.connectSocket
import java.io.PrintStream

/**
 * The four methods of the wx API, with the generated code alone: for whoever writes a layer of their own, and needs no
 * coroutines. `dev.wxsocket` has what an app expects: lambdas, flows, an executor of its choice.
 */
class PrintingListener(private val output: PrintStream) : SocketListener {
    override fun onOpen(event: OpenEvent) = output.println("open ${event.epoch}")

    override fun onMessage(event: MessageEvent) {
        when (val data = event.data) {
            is Message.Text -> output.println("message ${data.text}")
            is Message.Binary -> output.println("message of ${data.bytes.size} bytes")
        }
    }

    override fun onError(event: ErrorEvent) = output.println("error ${event.errCode} ${event.errMsg}")

    override fun onClose(event: CloseEvent) = output.println("close ${event.code}, retry ${event.retry?.delay}")
}

/** The task is closed when the garbage collector finds that nobody refers to it. */
fun listen(url: String, output: PrintStream): SocketTask = connectSocket(ConnectOptions(url), PrintingListener(output), null)
