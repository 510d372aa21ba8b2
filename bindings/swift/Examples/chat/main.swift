// A chat in a terminal: what is typed is sent, what arrives is printed, and the connection comes back by itself.
//
//   swift run chat wss://example.com/room

import Foundation
import WxSocket

/// Line by line, also when the output is not a terminal.
func say(_ line: String) {
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
}

guard let url = CommandLine.arguments.dropFirst().first else {
    say("usage: chat URL")
    exit(2)
}

let task: SocketTask
do {
    task = try connectSocket(url) { $0.preset = .resilient }
} catch {
    say(error.errMsg) // A `WxError`, which says what is wrong with the URL.
    exit(2)
}
task.onOpen { _ in say("* connected") }
task.onMessage { say("< \($0.data.text ?? "(bytes)")") }
task.onError { say("* \($0.errMsg)") }
task.onClose { event in
    if let retry = event.retry { say("* lost (\(event.code)), attempt \(retry.attempt) follows") }
}

// Reading blocks, so it has a thread of its own.
Thread.detachNewThread {
    while let line = readLine() {
        do throws(WxError) {
            if case .queued = try task.send(line) { say("* will be sent when connected") }
        } catch {
            say("* not sent: \(error.errMsg)")
        }
    }
    task.close()
}
let end = try await task.closed()
say("* closed (\(end.code))")
