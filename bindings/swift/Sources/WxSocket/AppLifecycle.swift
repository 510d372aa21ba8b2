// Compiled only where there is an app; it has not run on Linux.
#if canImport(UIKit) && !os(watchOS)
import UIKit
private let leaves = UIApplication.didEnterBackgroundNotification
private let returns = UIApplication.willEnterForegroundNotification
#elseif canImport(AppKit)
import AppKit
// A Mac's app goes on when it is hidden; it stops when the Mac sleeps.
private let leaves = NSWorkspace.willSleepNotification
private let returns = NSWorkspace.didWakeNotification
#endif

#if (canImport(UIKit) && !os(watchOS)) || canImport(AppKit)
/// Tells tasks whether the app is in the foreground. Keep it for as long as the tasks.
@MainActor
public final class AppLifecycle {
    private let center: NotificationCenter
    // Read once more in `deinit`, when nobody else has a reference.
    nonisolated(unsafe) private var observers: [any NSObjectProtocol] = []

    public init(_ tasks: SocketTask...) {
        #if canImport(UIKit)
        center = .default
        #else
        center = NSWorkspace.shared.notificationCenter
        #endif
        for task in tasks {
            for (name, foreground) in [(leaves, false), (returns, true)] {
                observers.append(
                    center.addObserver(forName: name, object: nil, queue: nil) { [weak task] _ in
                        task?.setForeground(foreground)
                    })
            }
        }
    }

    deinit {
        for observer in observers { center.removeObserver(observer) }
    }
}
#endif
