//! `connect` notices another network, in a network namespace of its own.

use crate::program::{LONG, Program, serve};
use std::process::Command;

/// Runs a test of this file again, ignored otherwise, in a network with two links.
#[test]
fn a_new_default_route_is_told_to_the_task() {
    let can_unshare = Command::new("unshare").args(["-rn", "ip", "link"]).output();
    if !can_unshare.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "skipped: networks of one's own are not allowed here, or unshare or ip is missing"
        );
        return;
    }
    let script = "ip link set lo up \
        && ip link add first type veth peer name first-peer \
        && ip link add second type veth peer name second-peer \
        && ip addr add 192.0.2.1/24 dev first && ip addr add 198.51.100.1/24 dev second \
        && for link in first first-peer second second-peer; do ip link set $link up; done \
        && ip route add default via 192.0.2.2 \
        && exec \"$0\" --ignored --exact --nocapture network::inside_two_links";
    let program = std::env::current_exe().expect("there is one");
    let output = Command::new("unshare")
        .args(["-rn", "sh", "-c", script])
        .arg(program)
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by another test, in a network of its own"]
fn inside_two_links() {
    let server = serve("[]");
    // No heartbeat is due for a minute: one that comes is the question after a change.
    let mut program = Program::connect(&server.url(), &["--heartbeat-interval", "60s"]);
    program.skip_to("open");
    let change = Command::new("ip")
        .args(["route", "replace", "default", "via", "198.51.100.2"])
        .status()
        .expect("ip is there");
    assert!(change.success());
    assert!(server.wait_for(
        |seen| seen.connections.first().is_some_and(|first| first.heartbeats_received == 1),
        LONG,
    ));
    program.end_input();
}
