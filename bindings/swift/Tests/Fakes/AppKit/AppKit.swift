// The part of AppKit that `AppLifecycle` uses, for tests on Linux. No product contains this module.

@_exported import Foundation

open class NSWorkspace: @unchecked Sendable {
    public static let shared = NSWorkspace()

    public static let willSleepNotification = NSNotification.Name("NSWorkspaceWillSleepNotification")
    public static let didWakeNotification = NSNotification.Name("NSWorkspaceDidWakeNotification")

    public let notificationCenter = NotificationCenter()
}
