// The four methods of the wx API, with the generated code alone: for whoever writes a layer of their own. `WxSocket` has
// what an app expects: closures, sequences, a queue of its choice.

import Foundation
import WxSocketBindings

final class PrintingListener: SocketListener {
    let over = DispatchSemaphore(value: 0)

    func onOpen(event: OpenEvent) throws { print("open \(event.epoch)") }

    func onMessage(event: MessageEvent) throws {
        switch event.data {
        case .text(let text): print("message \(text)")
        case .binary(let bytes): print("message of \(bytes.count) bytes")
        }
    }

    func onError(event: ErrorEvent) throws { print("error \(event.errCode) \(event.errMsg)") }

    func onClose(event: CloseEvent) throws {
        print("close \(event.code)")
        if event.retry == nil { over.signal() }
    }
}

let url = CommandLine.arguments.dropFirst().first ?? "wss://echo.example.com"
var options = ConnectOptions(url: url)
options.reconnect.enabled = false
let listener = PrintingListener()
let task = try connectSocket(options: options, listener: listener)
_ = try task.sendText(text: "hello")
listener.over.wait()
withExtendedLifetime(task) {}
