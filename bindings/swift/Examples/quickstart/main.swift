import WxSocket

let url = CommandLine.arguments.dropFirst().first ?? "wss://echo.example.com"

let task = try connectSocket(url) {
    $0.preset = .resilient
    $0.header("X-Client", "quickstart")
}
task.onClose { print("closed: \($0.code), \($0.retry == nil ? "for good" : "will be back")") }

try task.send("hello") // Kept until the connection is open.
for await message in task.messages {
    print("received: \(message.text ?? "bytes")")
    task.close()
}
