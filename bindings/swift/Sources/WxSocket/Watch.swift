// The newest state and events of a task, for `opened()`, `closed()`, `receive()` and `states`. The engine reports them
// apart from the events, on another thread, so that closures, queues and loops that are busy delay nothing here.

import Foundation
internal import WxSocketBindings

final class Watch: SocketWatcher, PipeHome, @unchecked Sendable {
    /// The newest event of each kind. Closures and loops may not have received them yet.
    struct News: Sendable {
        var state: SocketState
        /// The newest open, even if that connection is over.
        var open: OpenEvent?
        var error: ErrorEvent?
        var close: CloseEvent?

        /// The final close; nil: the task is not over.
        var end: CloseEvent? { close?.retry == nil ? close : nil }

        /// The error with which the task ended; the close itself if there was none.
        func failure(of end: CloseEvent) -> any Error {
            if let error, error.epoch == end.epoch { error } else { end }
        }
    }

    private weak var hub: EventHub?

    private let lock = NSLock()
    // Guarded by `lock`.
    private var news: News
    private var waits: [Pipe<News>] = []
    private var states: [Pipe<SocketState>] = []

    init(_ state: SocketState, _ hub: EventHub) {
        news = News(state: state)
        self.hub = hub
    }

    func onNews(state: WxSocketBindings.SocketState, news told: TaskNews) {
        let news = News(
            state: SocketState(state), open: told.open.map { OpenEvent($0) }, error: told.error.map { ErrorEvent($0) },
            close: told.close.map { CloseEvent($0) })
        let (waits, states) = lock.withLock {
            let isElsewhere = !news.state.continues(self.news.state)
            self.news = news
            defer { if news.end != nil { (self.waits, self.states) = ([], []) } }
            return (self.waits, isElsewhere || news.end != nil ? self.states : [])
        }
        if news.end != nil { hub?.end() }
        for pipe in waits { pipe.push(news, isLast: news.end != nil) }
        for pipe in states { pipe.push(news.state, isLast: news.end != nil) }
    }

    /// Returns the present news and a pipe for the next ones. Nothing comes through the pipe after the end.
    func wait() -> (News, Pipe<News>) {
        let pipe = Pipe<News>(newestOnly: true) { _ in nil }
        pipe.settle(in: self)
        return lock.withLock {
            if news.end == nil { waits.append(pipe) }
            return (news, pipe)
        }
    }

    /// Puts the present state into the pipe, and then every change.
    func attach(_ pipe: Pipe<SocketState>) {
        pipe.settle(in: self)
        lock.withLock {
            // Nothing can wait at this pipe yet, so no code of the app runs under the lock.
            pipe.push(news.state, isLast: news.end != nil)
            if news.end == nil { states.append(pipe) }
        }
    }

    func detach(_ pipe: AnyObject) {
        lock.withLock {
            waits.removeAll { $0 === pipe }
            states.removeAll { $0 === pipe }
        }
    }
}

extension SocketState {
    /// Whether this is the same state as `before`, except that less of its delay is left.
    fileprivate func continues(_ before: SocketState) -> Bool {
        if case (.waiting(let attempt, let delay), .waiting(let attemptBefore, let delayBefore)) = (self, before) {
            return attempt == attemptBefore && delay <= delayBefore
        }
        return self == before
    }
}
