// Compiled only where the framework Network exists. On Linux the tests compile it against a fake of that framework.
#if canImport(Network)
import Foundation
import Network

/// Tells tasks what the operating system knows of the network. Keep the monitor for as long as the tasks; it does not
/// keep them alive.
///
///     let monitor = PathMonitor(task)
///
/// A change is reported when it has lasted for `settle` (default 1.2 s), and after three times that if the path
/// continues to change. Between Wi-Fi and cellular there is no path for a moment, and each report makes a task dial or
/// end its connection.
public final class PathMonitor: @unchecked Sendable {
    private struct Weak { weak var task: (any WebSocketTask)? }

    private let monitor = NWPathMonitor()
    private let queue = DispatchQueue(label: "dev.wxsocket.path")
    private let tasks: [Weak]
    private let settle: TimeInterval
    // Used on `queue` only.
    private var told: NWPath?
    /// The number of paths that were reported.
    private var changes = 0
    private var change: DispatchWorkItem?
    /// The time of the first change that has not been reported.
    private var changedAt: DispatchTime?

    public init(_ tasks: any WebSocketTask..., settle: Duration = .milliseconds(1_200)) {
        self.tasks = tasks.map { Weak(task: $0) }
        let (seconds, attoseconds) = settle.components
        self.settle = max(0, Double(seconds) + Double(attoseconds) / 1e18)
        monitor.pathUpdateHandler = { [weak self] in self?.changed($0) }
        monitor.start(queue: queue)
    }

    deinit { monitor.cancel() }

    private func changed(_ path: NWPath) {
        change?.cancel()
        // The first path is not a change, and a task dials without it. But a task that is suspended may have been told
        // by an earlier monitor that there is no network.
        if told == nil, path.status == .satisfied {
            told = path
            changedAt = nil
            let network = status(of: path)
            for weak in tasks where weak.task?.state == .suspended { weak.task?.setNetwork(network) }
            return
        }
        let now = DispatchTime.now()
        let first = changedAt ?? now
        changedAt = first
        let due = min(now + settle, first + 3 * settle)
        guard due > now else { return tell(path) }
        let change = DispatchWorkItem { [weak self] in self?.tell(path) }
        self.change = change
        queue.asyncAfter(deadline: due, execute: change)
    }

    private func tell(_ path: NWPath) {
        changedAt = nil
        // The path has changed and changed back.
        guard path != told else { return }
        told = path
        let network = status(of: path)
        for weak in tasks { weak.task?.setNetwork(network) }
    }

    /// Returns the path as a network with an identity of its own. The system has no name for a network, and two Wi-Fi
    /// networks may have the same interface and gateway, so every path that differs from the one before counts as new.
    private func status(of path: NWPath) -> NetworkStatus {
        changes += 1
        return NetworkStatus(path, id: "path \(changes)")
    }
}

extension NetworkStatus {
    init(_ path: NWPath, id: String) {
        self.init(
            // The status `requiresConnection` (a VPN on demand) becomes `satisfied` when something is dialled.
            available: path.status != .unsatisfied,
            id: id,
            kind: path.availableInterfaces.first.map(NetworkKind.init),
            metered: path.isExpensive,
            constrained: path.isConstrained)
    }
}

extension NetworkKind {
    init(_ interface: NWInterface) {
        switch interface.type {
        case .wifi: self = .wifi
        case .cellular: self = .cellular
        case .wiredEthernet: self = .ethernet
        // The system has no type for VPN interfaces; these are their names.
        default: self = ["utun", "ipsec", "ppp"].contains(where: interface.name.hasPrefix) ? .vpn : .other
        }
    }
}
#endif
