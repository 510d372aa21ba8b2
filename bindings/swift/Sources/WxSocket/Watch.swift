// Where a task is in its life, for those who wait for it. Rust tells it apart from the events: a closure, a queue or a
// loop that is busy delays nobody here.

import Foundation
internal import WxSocketBindings

final class Watch: SocketWatcher, PipeHome, @unchecked Sendable {
    /// The newest of each kind, perhaps ahead of what closures and loops have heard.
    struct News: Sendable {
        var state: SocketState
        /// Even if that connection is over.
        var open: OpenEvent?
        var error: ErrorEvent?
        var close: CloseEvent?

        /// How the task ended.
        var end: CloseEvent? { close?.retry == nil ? close : nil }

        /// What the last connection died of, if it did.
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

    /// How things are, and a pipe for what comes; nothing comes after the end.
    func wait() -> (News, Pipe<News>) {
        let pipe = Pipe<News>(newestOnly: true) { _ in nil }
        pipe.settle(in: self)
        return lock.withLock {
            if news.end == nil { waits.append(pipe) }
            return (news, pipe)
        }
    }

    /// The state, now and whenever it changes.
    func attach(_ pipe: Pipe<SocketState>) {
        pipe.settle(in: self)
        lock.withLock {
            // Nobody waits at it yet.
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
    /// It is the same, at most later.
    fileprivate func continues(_ before: SocketState) -> Bool {
        if case (.waiting(let attempt, let delay), .waiting(let attemptBefore, let delayBefore)) = (self, before) {
            return attempt == attemptBefore && delay <= delayBefore
        }
        return self == before
    }
}
