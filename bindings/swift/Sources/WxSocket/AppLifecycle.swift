// Compiled only where UIKit or AppKit exists. On Linux the tests compile it against fakes of them.
#if canImport(UIKit) && !os(watchOS)
import UIKit
private let leaves = UIApplication.didEnterBackgroundNotification
/// The second is for an app that was launched in the background, where iOS may not post the first.
private let returns = [UIApplication.willEnterForegroundNotification, UIApplication.didBecomeActiveNotification]
#elseif canImport(AppKit)
import AppKit
// An app on a Mac continues to run when it is hidden, and stops when the Mac sleeps.
private let leaves = NSWorkspace.willSleepNotification
private let returns = [NSWorkspace.didWakeNotification]
#endif

#if (canImport(UIKit) && !os(watchOS)) || canImport(AppKit)
/// Tells tasks whether the app is in the foreground. Keep it for as long as the tasks; it does not keep them alive.
///
/// iOS suspends an app a few seconds after it has left the foreground. Tasks that end their connection later than that
/// (the option `background`) need background time, which is requested until the last of them has ended its connection.
/// When iOS gives less time, or none, they end it at once. The server always receives a close frame (code 1001). A Mac
/// that goes to sleep gives no time at all. Tasks that keep their connection in the background are not changed, and no
/// time is requested for them.
@available(iOSApplicationExtension, unavailable, message: "An extension has no UIApplication; see setForeground")
@MainActor
public final class AppLifecycle {
    private let tasks: Followed
    private let center: NotificationCenter
    // `deinit` belongs to no actor; it reads this when there is no other reference.
    nonisolated(unsafe) private var observers: [any NSObjectProtocol] = []
    private var isAway = false
    #if canImport(UIKit)
    private let time = BackgroundTime()
    #endif

    public init(_ tasks: any WebSocketTask...) {
        self.tasks = Followed(tasks)
        #if canImport(UIKit)
        center = .default
        #else
        center = NSWorkspace.shared.notificationCenter
        #endif
        observe(leaves) { $0.leave() }
        for name in returns { observe(name) { $0.comeBack() } }
        #if canImport(UIKit)
        // An app that is launched in the background, by a push for example, gets no notification about it.
        if UIApplication.shared.applicationState == .background { leave() }
        #endif
    }

    deinit {
        for observer in observers { center.removeObserver(observer) }
    }

    private func observe(_ name: NSNotification.Name, _ call: @escaping @MainActor @Sendable (AppLifecycle) -> Void) {
        observers.append(
            center.addObserver(forName: name, object: nil, queue: nil) { [weak self] _ in
                // Both frameworks post these notifications on the main thread.
                MainActor.assumeIsolated {
                    if let self { call(self) }
                }
            })
    }

    private func leave() {
        guard !isAway else { return }
        isAway = true
        #if canImport(UIKit)
        // First, because iOS takes a moment to grant the time.
        let isGranted = tasks.needTime ? time.ask(for: tasks) : true
        tasks.setForeground(false)
        if !isGranted { tasks.hangUp() }
        #else
        tasks.setForeground(false)
        tasks.hangUp()
        #endif
    }

    private func comeBack() {
        guard isAway else { return }
        isAway = false
        tasks.setForeground(true)
        #if canImport(UIKit)
        time.giveBack()
        #endif
    }
}

/// The tasks of a lifecycle, with weak references.
@MainActor
private final class Followed {
    private struct Weak { weak var task: (any WebSocketTask)? }

    /// The time in seconds in which a close frame is written to the network. A thread of the engine writes it, normally
    /// within a millisecond, and does not report it.
    static let parting: TimeInterval = 0.1

    private let tasks: [Weak]

    init(_ tasks: [any WebSocketTask]) { self.tasks = tasks.map { Weak(task: $0) } }

    /// The tasks that end their connection in the background and have not done so yet. Objects that stand in for a task
    /// in tests have no connection.
    private var leaving: [SocketTask] {
        tasks.compactMap { $0.task as? SocketTask }.filter {
            $0.backgroundGrace != nil && $0.state != .suspended && $0.state != .closed
        }
    }

    /// Whether background time is needed.
    var needTime: Bool { !leaving.isEmpty }

    /// The longest time until one of them ends its connection.
    var grace: Duration { leaving.compactMap(\.backgroundGrace).max() ?? .zero }

    func setForeground(_ foreground: Bool) {
        for weak in tasks { weak.task?.setForeground(foreground) }
    }

    /// Ends the connections now that would be ended later, and returns when the close frames are written.
    func hangUp() {
        let leaving = self.leaving
        for task in leaving {
            // After `reconnectNow()` in the background a task behaves as in the foreground.
            task.setForeground(false)
            task.endBackgroundGrace()
        }
        // The app may be suspended as soon as the caller returns.
        if !leaving.isEmpty { Thread.sleep(forTimeInterval: Self.parting) }
    }
}

#if canImport(UIKit)
/// The background time of an app: requested when the app leaves the foreground, and given back exactly once. Until then
/// the expiration handler keeps this object alive, even without its lifecycle, because iOS ends an app that does not
/// give the time back.
@available(iOSApplicationExtension, unavailable)
@MainActor
private final class BackgroundTime {
    private var identifier = UIBackgroundTaskIdentifier.invalid
    private var end: Task<Void, Never>?

    /// Requests as much time as these tasks need to end their connections. Returns false if iOS gives none.
    func ask(for tasks: Followed) -> Bool {
        identifier = UIApplication.shared.beginBackgroundTask(withName: "WxSocket") {
            // UIKit calls this on the main thread. The time has to be given back before it returns.
            MainActor.assumeIsolated {
                tasks.hangUp()
                self.giveBack()
            }
        }
        guard identifier != .invalid else { return false }
        let grace = tasks.grace
        end = Task {
            var left = grace
            repeat {
                try? await Task.sleep(for: left + .seconds(Followed.parting))
                if Task.isCancelled { return }
                left = .zero
            } while tasks.needTime
            giveBack()
        }
        return true
    }

    func giveBack() {
        end?.cancel()
        end = nil
        guard identifier != .invalid else { return }
        let ended = identifier
        identifier = .invalid
        UIApplication.shared.endBackgroundTask(ended)
    }
}
#endif
#endif
