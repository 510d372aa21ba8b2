// A state object for SwiftUI: a view reads its properties and is drawn again when they change. ChatView.swift is one.

import Observation
import WxSocket

/// The connection to one server, as a view needs it.
@available(iOS 17, macOS 14, tvOS 17, watchOS 10, visionOS 1, *)
@MainActor @Observable
public final class SocketModel {
    /// Where the task is in its life; nil: there is no task.
    public private(set) var state: SocketState?
    /// The newest messages, at most 200.
    public private(set) var messages: [Message] = []
    /// What went wrong last, for the user; empty: nothing.
    public private(set) var notice = ""

    private let connector: SocketConnector
    private var task: (any WebSocketTask)?
    // `deinit` belongs to no actor; it reads this when there is no other reference.
    @ObservationIgnored nonisolated(unsafe) private var following: Task<Void, Never>?

    public init(connector: SocketConnector = .live) { self.connector = connector }

    // The task is closed when its last reference is gone, and the loop over its states has one.
    deinit { following?.cancel() }

    /// Connects, and stays connected until `disconnect()`. Nothing happens if there is a connection already.
    public func connect(_ url: String) {
        guard task == nil else { return }
        do {
            let task = try connector(url) { $0.preset = .resilient }
            self.task = task
            // The closures belong to the main actor, as this class does, and so may change its properties.
            task.onOpen { [weak self] _ in self?.notice = "" }
            task.onMessage { [weak self] in self?.add($0.data) }
            task.onError { [weak self] in self?.notice = $0.errMsg }
            following = Task { [weak self, states = task.states] in
                for await state in states { self?.state = state }
            }
        } catch {
            notice = error.errMsg
        }
    }

    /// Sends a text message. The result tells whether it was accepted; if not, `notice` says why.
    @discardableResult
    public func send(_ text: String) -> Bool {
        do throws(WxError) {
            guard let task else { return false }
            try task.send(text)
            return true
        } catch {
            notice = error.errMsg
            return false
        }
    }

    /// Closes the connection. `connect` may be called again.
    public func disconnect() {
        task?.close()
        task = nil
    }

    private func add(_ message: Message) {
        messages.append(message)
        if messages.count > 200 { messages.removeFirst(messages.count - 200) }
    }
}
