// The part of UIKit that `AppLifecycle` uses, for tests on Linux; `SystemDouble` lets a test act as iOS. The signatures
// are those of the iOS 18 SDK. No product contains this module.

@_exported import Foundation

public struct UIBackgroundTaskIdentifier: RawRepresentable, Hashable, Sendable {
    public static let invalid = UIBackgroundTaskIdentifier(rawValue: 0)

    public let rawValue: Int

    public init(rawValue: Int) { self.rawValue = rawValue }
}

@MainActor open class UIApplication {
    public enum State: Int, Sendable { case active, inactive, background }

    public static let shared = UIApplication()

    nonisolated public static let didEnterBackgroundNotification = NSNotification.Name("UIApplicationDidEnterBackground")
    nonisolated public static let willEnterForegroundNotification = NSNotification.Name("UIApplicationWillEnterForeground")
    nonisolated public static let didBecomeActiveNotification = NSNotification.Name("UIApplicationDidBecomeActive")

    public var applicationState: State { SystemDouble.shared.state }

    nonisolated public func beginBackgroundTask(
        withName name: String?, expirationHandler: (@MainActor @Sendable () -> Void)? = nil
    ) -> UIBackgroundTaskIdentifier {
        SystemDouble.shared.begin(expirationHandler)
    }

    nonisolated public func endBackgroundTask(_ identifier: UIBackgroundTaskIdentifier) {
        SystemDouble.shared.end(identifier)
    }
}

/// Acts as iOS on behalf of a test, and records what the app asks of it.
public final class SystemDouble: @unchecked Sendable {
    public typealias Handler = @MainActor @Sendable () -> Void

    public static let shared = SystemDouble()

    private let lock = NSLock()
    // Guarded by `lock`.
    private var running: [UIBackgroundTaskIdentifier: Handler] = [:]
    private var count = 0
    private var wrong: [String] = []
    private var now = UIApplication.State.active
    private var refuses = false
    private var atEnd: (@Sendable () -> Void)?

    /// How often background time was asked for.
    public var asked: Int { lock.withLock { count } }
    /// How many background tasks have begun and not ended.
    public var unfinished: Int { lock.withLock { running.count } }
    /// Misuse of background time, for which iOS logs a warning or ends the app.
    public var complaints: [String] { lock.withLock { wrong } }

    fileprivate var state: UIApplication.State { lock.withLock { now } }

    /// Forgets everything, as after a launch in `state`. With `refusing`, background time is refused; `atEnd` is called
    /// whenever a background task ends.
    public func reset(
        _ state: UIApplication.State = .active, refusing: Bool = false, atEnd: (@Sendable () -> Void)? = nil
    ) {
        lock.withLock {
            (running, count, wrong, now, refuses) = ([:], 0, [], state, refusing)
            self.atEnd = atEnd
        }
    }

    fileprivate func begin(_ handler: Handler?) -> UIBackgroundTaskIdentifier {
        lock.withLock {
            count += 1
            guard !refuses else { return .invalid }
            let identifier = UIBackgroundTaskIdentifier(rawValue: count)
            running[identifier] = handler ?? {}
            return identifier
        }
    }

    fileprivate func end(_ identifier: UIBackgroundTaskIdentifier) {
        let atEnd = lock.withLock {
            if running.removeValue(forKey: identifier) == nil { wrong.append("ended \(identifier.rawValue), which does not run") }
            return self.atEnd
        }
        atEnd?()
    }

    /// Puts the app in the background, as the home button does.
    @MainActor public func leave() {
        lock.withLock { now = .background }
        NotificationCenter.default.post(name: UIApplication.didEnterBackgroundNotification, object: nil)
    }

    /// Brings the app back to the foreground.
    @MainActor public func comeBack() {
        lock.withLock { now = .inactive }
        NotificationCenter.default.post(name: UIApplication.willEnterForegroundNotification, object: nil)
        becomeActive()
    }

    /// Makes the app active: after a launch, a return, or an alert of the system.
    @MainActor public func becomeActive() {
        lock.withLock { now = .active }
        NotificationCenter.default.post(name: UIApplication.didBecomeActiveNotification, object: nil)
    }

    /// Ends the background time: calls every expiration handler. iOS ends an app whose handler leaves its task running.
    @MainActor public func expire() {
        for (identifier, handler) in lock.withLock({ running }) {
            handler()
            lock.withLock {
                if running[identifier] != nil { wrong.append("\(identifier.rawValue) runs on after its expiration handler") }
            }
        }
    }
}
