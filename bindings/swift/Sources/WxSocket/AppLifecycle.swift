// Compiled only where there is an app. On Linux the tests compile it against fakes of UIKit and AppKit.
#if canImport(UIKit) && !os(watchOS)
import UIKit
private let leaves = UIApplication.didEnterBackgroundNotification
/// The second one is for an app that was launched in the background, where iOS may not post the first.
private let returns = [UIApplication.willEnterForegroundNotification, UIApplication.didBecomeActiveNotification]
#elseif canImport(AppKit)
import AppKit
// A Mac's app continues when it is hidden; it stops when the Mac sleeps.
private let leaves = NSWorkspace.willSleepNotification
private let returns = [NSWorkspace.didWakeNotification]
#endif

#if (canImport(UIKit) && !os(watchOS)) || canImport(AppKit)
/// Tells tasks whether the app is in the foreground. Keep it for as long as the tasks, which it holds weakly.
///
/// iOS suspends an app a few seconds after it has left the foreground. Tasks that hang up later than that (`background`
/// in the options) need background time: it is asked for until the last of them has hung up. When iOS gives less, or
/// none, they hang up at once; the server always hears of it (close code 1001). A Mac that goes to sleep gives no time
/// at all. Tasks that keep their connection in the background are left as they are, and no time is asked for them.
@available(iOSApplicationExtension, unavailable, message: "An extension has no UIApplication; see setForeground")
@MainActor
public final class AppLifecycle {
    private let tasks: Followed
    private let center: NotificationCenter
    // Read once more in `deinit`, when nobody else has a reference.
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
        // Launched there, by a push for example: no notification says so.
        if UIApplication.shared.applicationState == .background { leave() }
        #endif
    }

    deinit {
        for observer in observers { center.removeObserver(observer) }
    }

    private func observe(_ name: NSNotification.Name, _ call: @escaping @MainActor @Sendable (AppLifecycle) -> Void) {
        observers.append(
            center.addObserver(forName: name, object: nil, queue: nil) { [weak self] _ in
                // Both frameworks post on the main thread.
                MainActor.assumeIsolated {
                    if let self { call(self) }
                }
            })
    }

    private func leave() {
        guard !isAway else { return }
        isAway = true
        #if canImport(UIKit)
        // Before anything else: iOS takes a moment to grant it.
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

/// The tasks of a lifecycle, without keeping them alive.
@MainActor
private final class Followed {
    private struct Weak { weak var task: (any WebSocketTask)? }

    /// Seconds that a close frame has to reach the network. The engine's own thread writes it, within a millisecond
    /// unless the device is busy, and does not report when it has.
    static let parting: TimeInterval = 0.1

    private let tasks: [Weak]

    init(_ tasks: [any WebSocketTask]) { self.tasks = tasks.map { Weak(task: $0) } }

    /// Those that hang up in the background, and have not done so. Objects that stand in for a task have nothing to
    /// hang up.
    private var leaving: [SocketTask] {
        tasks.compactMap { $0.task as? SocketTask }.filter {
            $0.backgroundGrace != nil && $0.state != .suspended && $0.state != .closed
        }
    }

    /// Whether there is anything to do in the background.
    var needTime: Bool { !leaving.isEmpty }

    /// How long the last of them waits.
    var grace: Duration { leaving.compactMap(\.backgroundGrace).max() ?? .zero }

    func setForeground(_ foreground: Bool) {
        for weak in tasks { weak.task?.setForeground(foreground) }
    }

    /// Hangs up those that would later, and returns when their close frames are on their way.
    func hangUp() {
        let leaving = self.leaving
        for task in leaving {
            // One that was told to reconnect in the background counts as in the foreground since.
            task.setForeground(false)
            task.endBackgroundGrace()
        }
        // The app may be suspended as soon as the caller returns.
        if !leaving.isEmpty { Thread.sleep(forTimeInterval: Self.parting) }
    }
}

#if canImport(UIKit)
/// Background time: asked for when the app leaves, given back exactly once. While there is some, the expiration handler
/// keeps this object alive, even without its lifecycle: iOS ends an app that does not give it back.
@available(iOSApplicationExtension, unavailable)
@MainActor
private final class BackgroundTime {
    private var identifier = UIBackgroundTaskIdentifier.invalid
    private var end: Task<Void, Never>?

    /// Asks for as much time as these tasks need to hang up. False: there is none.
    func ask(for tasks: Followed) -> Bool {
        identifier = UIApplication.shared.beginBackgroundTask(withName: "WxSocket") {
            // Called on the main thread. The time has to be given back before it returns.
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
