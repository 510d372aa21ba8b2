// Compiled only where Network exists. On Linux the tests compile it against a fake of it.
#if canImport(Network)
import Foundation
import Network

/// Tells tasks what the operating system knows of the network. Keep it for as long as the tasks.
///
///     let monitor = PathMonitor(task)
///
/// A change is told once it has lasted for `settle`, and at the latest after three times that if the path goes on to
/// change: between Wi-Fi and cellular the path is gone for a moment, and each word to a task makes it dial or hang up.
public final class PathMonitor: @unchecked Sendable {
    private struct Weak { weak var task: SocketTask? }

    private let monitor = NWPathMonitor()
    private let queue = DispatchQueue(label: "dev.wxsocket.path")
    private let tasks: [Weak]
    private let settle: TimeInterval
    // Used on `queue` only.
    private var told: NWPath?
    /// How many paths were told.
    private var changes = 0
    private var change: DispatchWorkItem?
    /// When the first change came that has not been told.
    private var changedAt: DispatchTime?

    public init(_ tasks: SocketTask..., settle: Duration = .milliseconds(1_200)) {
        self.tasks = tasks.map(Weak.init)
        let (seconds, attoseconds) = settle.components
        self.settle = max(0, Double(seconds) + Double(attoseconds) / 1e18)
        monitor.pathUpdateHandler = { [weak self] in self?.changed($0) }
        monitor.start(queue: queue)
    }

    deinit { monitor.cancel() }

    private func changed(_ path: NWPath) {
        change?.cancel()
        // The first word is no change: a task dials anyway, and there is nothing to hurry. But one that is suspended
        // may have been told by another monitor, which is gone, that there is no network.
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
        // The same network as before, after all.
        guard path != told else { return }
        told = path
        let network = status(of: path)
        for weak in tasks { weak.task?.setNetwork(network) }
    }

    /// Each path that differs from the one before is another network: the system has no name for a network, and two
    /// Wi-Fi networks may have the same interface and the same gateway.
    private func status(of path: NWPath) -> NetworkStatus {
        changes += 1
        return NetworkStatus(path, id: "path \(changes)")
    }
}

extension NetworkStatus {
    init(_ path: NWPath, id: String) {
        self.init(
            // `requiresConnection` (a VPN on demand) becomes satisfied by dialling.
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
        // The system's VPNs have interfaces of these names and no type of their own.
        default: self = ["utun", "ipsec", "ppp"].contains(where: interface.name.hasPrefix) ? .vpn : .other
        }
    }
}
#endif
