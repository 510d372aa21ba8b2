// The examples are programs of their own: these tests run them against the scripted server.

import Foundation
import Testing
import WxSocketTestingBindings

@Suite(.timeLimit(.minutes(1))) struct ExampleTests {
    @Test func theQuickStartDoesWhatTheReadmeSays() async throws {
        let server = try ScriptedServer(script: "")
        let (output, status) = try await run("quickstart", [server.url()])
        #expect(output == "received: hello\nclosed: 1000, for good\n")
        #expect(status == 0)
        #expect(server.connections()[0].header.contains { $0.name == "X-Client" && $0.value == "quickstart" })
    }

    @Test func theReadmeShowsTheQuickStart() throws {
        let package = URL(filePath: #filePath).appending(path: "../../..").standardized
        let program = try String(contentsOf: package.appending(path: "Examples/quickstart/main.swift"), encoding: .utf8)
        let shown = try #require(program.range(of: "let task")).lowerBound
        let snippet = program[shown...].replacingOccurrences(of: "connectSocket(url)", with: #"connectSocket("wss://echo.example.com")"#)
        let readme = try String(contentsOf: package.appending(path: "README.md"), encoding: .utf8)
        #expect(readme.contains("```swift\nimport WxSocket\n\n" + snippet + "```"))
    }

    @Test func theChatTalksAndEndsWithItsInput() async throws {
        let server = try ScriptedServer(script: #"[{"rules": [{"on": "open", "do": {"send": "welcome"}}]}]"#)
        let (output, status) = try await run("chat", [server.url()], input: "hello\n") {
            // The input ends when the answer is there: an end before would close the chat too early.
            $0.contains("< hello")
        }
        let lines = Set(output.split(separator: "\n").map(String.init))
        #expect(lines.isSuperset(of: ["* connected", "< welcome", "< hello", "* closed (1000)"]))
        #expect(status == 0)
        #expect(server.connections()[0].texts == ["hello"])
    }

    @Test func aListenerOfFourMethodsNeedsTheGeneratedCodeOnly() async throws {
        let server = try ScriptedServer(
            script: #"[{"rules": [{"on": {"text": "hello"}, "do": [{"send": "hi"}, {"close": {"code": 1000}}]}]}]"#)
        let (output, status) = try await run("listener", [server.url()])
        #expect(output == "open 1\nmessage hi\nclose 1000\n")
        #expect(status == 0)
    }

    @Test func theChatSaysWhatIsWrongWithAURL() async throws {
        let (output, status) = try await run("chat", ["http://example.com"])
        #expect(output.hasPrefix("connectSocket:fail invalid url: ") && status == 2)
    }

    /// Runs a program that was built beside the tests; its input ends as soon as its output is as wished.
    private func run(
        _ name: String, _ arguments: [String], input: String = "", until done: @Sendable (String) -> Bool = { _ in true }
    ) async throws -> (output: String, status: Int32) {
        let process = Process()
        process.executableURL = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
            .appending(path: name)
        process.arguments = arguments
        let (stdin, stdout) = (Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        try process.run()
        try stdin.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        var output = ""
        var isOver = done(output)
        if isOver { try stdin.fileHandleForWriting.close() }
        for await chunk in chunks(of: stdout.fileHandleForReading) {
            output += String(decoding: chunk, as: UTF8.self)
            if !isOver, done(output) {
                isOver = true
                try stdin.fileHandleForWriting.close()
            }
        }
        process.waitUntilExit()
        return (output, process.terminationStatus)
    }

    private func chunks(of file: FileHandle) -> AsyncStream<Data> {
        AsyncStream { continuation in
            Thread.detachNewThread {
                while case let chunk = file.availableData, !chunk.isEmpty { continuation.yield(chunk) }
                continuation.finish()
            }
        }
    }
}
