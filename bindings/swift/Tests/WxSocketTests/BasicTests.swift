import Testing
import WxSocket
import WxSocketTestingBindings

@Test func echo() async throws {
    let server = try ScriptedServer(script: "")
    let task = try connectSocket(server.url())
    try task.send("hello")
    for await message in task.messages {
        #expect(message == .text("hello"))
        task.close()
    }
    let end = try await task.closed()
    #expect(end.code == 1000)
}
