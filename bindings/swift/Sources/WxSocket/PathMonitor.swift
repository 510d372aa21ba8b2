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
            for weak in tasks where weak.task?.state == .suspended { weak.task?.setNetwork(available: true) }
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
        // `requiresConnection` (a VPN on demand) becomes satisfied by dialling.
        for weak in tasks { weak.task?.setNetwork(available: path.status != .unsatisfied) }
    }
}
#endif
