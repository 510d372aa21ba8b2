// Compiled only where Network exists. On Linux the tests compile it against a fake of it.
#if canImport(Network)
import Foundation
import Network

/// Tells tasks what the operating system knows of the network. Keep it for as long as the tasks.
///
///     let monitor = PathMonitor(task)
///
/// A change is told once it has lasted for `settle`: between Wi-Fi and cellular the path is gone for a moment, and each
/// word to a task makes it dial or hang up.
public final class PathMonitor: @unchecked Sendable {
    private struct Weak { weak var task: SocketTask? }

    private let monitor = NWPathMonitor()
    private let queue = DispatchQueue(label: "dev.wxsocket.path")
    private let tasks: [Weak]
    private let settle: TimeInterval
    // Used on `queue` only.
    private var told: NWPath?
    private var change: DispatchWorkItem?

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
        // The first word is no change: the task dials anyway, and there is nothing to hurry.
        if told == nil, path.status == .satisfied { return told = path }
        let change = DispatchWorkItem { [weak self] in self?.tell(path) }
        self.change = change
        queue.asyncAfter(deadline: .now() + settle, execute: change)
    }

    private func tell(_ path: NWPath) {
        // The same network as before, after all.
        guard path != told else { return }
        told = path
        // `requiresConnection` (a VPN on demand) becomes satisfied by dialling.
        for weak in tasks { weak.task?.setNetwork(available: path.status != .unsatisfied) }
    }
}
#endif
