// The part of Network that `PathMonitor` uses, for tests on Linux. No product contains this module.

import Dispatch
import Foundation

public struct NWPath: Sendable, Equatable {
    public enum Status: Sendable { case satisfied, unsatisfied, requiresConnection }

    public let status: Status
    /// Stands for what tells one network from another: interfaces, gateways and so on.
    private let name: String
    public let availableInterfaces: [NWInterface]
    public let isExpensive: Bool
    public let isConstrained: Bool

    public init(
        _ status: Status, _ name: String = "", _ interfaces: [NWInterface] = [], isExpensive: Bool = false,
        isConstrained: Bool = false
    ) {
        self.status = status
        self.name = name
        availableInterfaces = interfaces
        self.isExpensive = isExpensive
        self.isConstrained = isConstrained
    }
}

public struct NWInterface: Sendable, Equatable {
    public enum InterfaceType: Sendable { case other, wifi, cellular, wiredEthernet, loopback }

    public let type: InterfaceType
    public let name: String

    public init(_ type: InterfaceType, _ name: String) {
        self.type = type
        self.name = name
    }
}

public final class NWPathMonitor: @unchecked Sendable {
    private static let lock = NSLock()
    // Guarded by `lock`.
    nonisolated(unsafe) private static var newest: NWPathMonitor?
    private var handler: (@Sendable (_ newPath: NWPath) -> Void)?
    private var queue: DispatchQueue?
    private var cancelled = false

    public init() { Self.lock.withLock { Self.newest = self } }

    @preconcurrency public var pathUpdateHandler: (@Sendable (_ newPath: NWPath) -> Void)? {
        get { Self.lock.withLock { handler } }
        set { Self.lock.withLock { handler = newValue } }
    }

    public func start(queue: DispatchQueue) { Self.lock.withLock { self.queue = queue } }

    public func cancel() { Self.lock.withLock { cancelled = true } }

    // MARK: For tests

    /// The monitor that was made last.
    public static var last: NWPathMonitor? { lock.withLock { newest } }

    public var isCancelled: Bool { Self.lock.withLock { cancelled } }

    /// Waits until the queue has run everything that is due within `seconds` from now.
    public func rest(_ seconds: TimeInterval) async {
        guard let queue = Self.lock.withLock({ queue }) else { return }
        await withCheckedContinuation { continuation in
            queue.asyncAfter(deadline: .now() + seconds) { continuation.resume() }
        }
    }

    /// Reports these paths without a pause between them, however busy the machine is.
    public func tell(_ paths: NWPath...) {
        guard let queue = Self.lock.withLock({ queue }) else { return }
        queue.suspend()
        for path in paths {
            queue.async { [weak self] in self?.pathUpdateHandler?(path) }
        }
        queue.resume()
    }
}
