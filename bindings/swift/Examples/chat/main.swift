// A chat in a terminal: what is typed is sent, what arrives is printed, and the connection comes back by itself.
//
//   swift run chat wss://example.com/room

import Foundation
import WxSocket

guard let url = CommandLine.arguments.dropFirst().first else {
    print("usage: chat URL")
    exit(2)
}

let task: SocketTask
do {
    task = try connectSocket(url) { $0.preset = .resilient }
} catch {
    print(error.errMsg) // A `WxError`, which says what is wrong with the URL.
    exit(2)
}
task.onOpen { _ in print("* connected") }
task.onMessage { print("< \($0.data.text ?? "(bytes)")") }
task.onError { print("* \($0.errMsg)") }
task.onClose { event in
    switch event.retry {
    case let retry?: print("* lost (\(event.code)), attempt \(retry.attempt) follows")
    case nil: print("* closed (\(event.code))")
    }
}

// Reading blocks, so it has a thread of its own.
Thread.detachNewThread {
    while let line = readLine() {
        do throws(WxError) {
            if case .queued = try task.send(line) { print("* will be sent when connected") }
        } catch {
            print("* not sent: \(error.errMsg)")
        }
    }
    task.close()
}
try await task.closed()
