// What `receive()` takes from.

import Foundation

/// The messages that wait for calls of ``SocketTask/receive()``. There are none before the first call.
final class Inbox: @unchecked Sendable {
    private let lock = NSLock()
    private var pipe: Pipe<Message>? // Guarded by `lock`.

    /// Returns the next message; nil: the task is over, or the caller's Swift task is cancelled.
    func next(from hub: EventHub) async -> Message? {
        await pipe(of: hub).take().first
    }

    private func pipe(of hub: EventHub) -> Pipe<Message> {
        let (pipe, isNew) = lock.withLock { () -> (Pipe<Message>, Bool) in
            if let pipe = self.pipe { return (pipe, false) }
            let new = Pipe<Message>(oneEach: true) { if case .message(let event) = $0 { event.data } else { nil } }
            self.pipe = new
            return (new, true)
        }
        if isNew { hub.attach(pipe) }
        return pipe
    }

    /// Empties it for good. Called when the task is released, because then there can be no call any more.
    func cancel() { lock.withLock { pipe }?.cancel() }
}
