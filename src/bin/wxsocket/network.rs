//! Tells a task when the machine has another network: when its default route changes. On Linux
//! only; elsewhere a task is told nothing.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use wxsocket::{NetworkKind, NetworkStatus, ReadyState, SocketTask};

/// How often the routes are read. The engine itself never wakes for this.
const PERIOD: Duration = Duration::from_secs(2);

/// Begins to tell `task` of each new default route, until the task is over. The loss of the route is
/// not told: the server may be on this machine or beside it.
pub(crate) fn follow(task: &Arc<SocketTask>) {
    let task = Arc::downgrade(task);
    let thread = std::thread::Builder::new().name("network".to_owned());
    // Without the thread the heartbeat finds a dead link.
    let _ = thread.spawn(move || watch(&task));
}

fn watch(task: &Weak<SocketTask>) {
    let mut known = current();
    loop {
        std::thread::sleep(PERIOD);
        let Some(task) = task.upgrade() else { return };
        if task.ready_state() == ReadyState::Closed {
            return;
        }
        let Some(network) = current() else { continue };
        if known.as_ref() != Some(&network) {
            task.set_network(network.clone());
            known = Some(network);
        }
    }
}

/// Returns the network of the default route, or nothing when there is no such route.
fn current() -> Option<NetworkStatus> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let route = default_v4(&read("/proc/net/route"))
        .or_else(|| default_v6(&read("/proc/net/ipv6_route")))?;
    let kind = Some(kind(&Path::new("/sys/class/net").join(&route.interface)));
    let id = Some(format!("{} {}", route.interface, route.gateway));
    Some(NetworkStatus { id, kind, ..true.into() })
}

#[derive(Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    gateway: String,
}

/// Returns the default route with the lowest metric out of `/proc/net/route`.
fn default_v4(table: &str) -> Option<Route> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let defaults = rows.filter_map(|row| match row[..] {
        [interface, "00000000", gateway, _, _, _, metric, "00000000", ..] => {
            Some((metric.parse::<u32>().ok()?, interface, gateway))
        }
        _ => None,
    });
    let (_, interface, gateway) = defaults.min_by_key(|(metric, ..)| *metric)?;
    Some(Route { interface: interface.to_owned(), gateway: gateway.to_owned() })
}

/// Returns the default route with the lowest metric out of `/proc/net/ipv6_route`.
fn default_v6(table: &str) -> Option<Route> {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let defaults = rows.filter_map(|row| match row[..] {
        // The kernel's own route to nowhere goes through `lo`.
        [_, "00", _, _, gateway, metric, _, _, _, interface] if interface != "lo" => {
            Some((u32::from_str_radix(metric, 16).ok()?, interface, gateway))
        }
        _ => None,
    });
    let (_, interface, gateway) = defaults.min_by_key(|(metric, ..)| *metric)?;
    Some(Route { interface: interface.to_owned(), gateway: gateway.to_owned() })
}

/// Returns the kind of the interface that this folder of `/sys/class/net` describes.
fn kind(interface: &Path) -> NetworkKind {
    let uevent = fs::read_to_string(interface.join("uevent")).unwrap_or_default();
    let device = uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
    match device {
        Some("wlan") => NetworkKind::Wifi,
        Some("wwan") => NetworkKind::Cellular,
        Some("wireguard") => NetworkKind::Vpn,
        // Interfaces of tun and tap have this file.
        _ if interface.join("tun_flags").exists() => NetworkKind::Vpn,
        _ if interface.join("wireless").exists() => NetworkKind::Wifi,
        // The hardware type of Ethernet in the kernel's if_arp.h.
        _ if fs::read_to_string(interface.join("type")).is_ok_and(|kind| kind.trim() == "1") => {
            NetworkKind::Ethernet
        }
        _ => NetworkKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str =
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
wlan0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let route = |interface: &str, gateway: &str| {
            Some(Route { interface: interface.to_owned(), gateway: gateway.to_owned() })
        };
        assert_eq!(default_v4(V4), route("wlan0", "0100A8C0"));
        assert_eq!(default_v4("Iface\n"), None);
        let zero = "0".repeat(32);
        let line = |metric: &str, interface: &str| {
            format!("{zero} 00 {zero} 00 {zero} {metric} 00000001 00000000 00000003 {interface}\n")
        };
        let table = line("ffffffff", "lo") + &line("00000400", "eth0") + &line("00000100", "wlan0");
        assert_eq!(default_v6(&table), route("wlan0", &zero));
        assert_eq!(default_v6(&line("ffffffff", "lo")), None);
    }
}
