//! Names and addresses: what one host's resolver does to others, and a network without IPv4.

#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, Once};
use support::*;
use wxsocket::testing::set_resolver;
use wxsocket::*;

/// What keeps the lookups of a host waiting.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let is_open = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

static HUNG: AtomicUsize = AtomicUsize::new(0);
static SHARED: AtomicUsize = AtomicUsize::new(0);
static SHARED_GATE: Gate = Gate { is_open: Mutex::new(false), opened: Condvar::new() };

/// One resolver for all tests of this process, told apart by the names.
fn resolver() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_resolver(resolve));
}

fn resolve(host: &str) -> Option<io::Result<Vec<IpAddr>>> {
    let loopback = || Some(Ok(vec![IpAddr::from([127, 0, 0, 1])]));
    match host {
        "good.test" => loopback(),
        "shared.test" => {
            SHARED.fetch_add(1, Ordering::SeqCst);
            SHARED_GATE.pass();
            loopback()
        }
        "ipv4only.arpa" => Some(Ok(vec![
            "192.0.0.170".parse().unwrap(),
            "64:ff9b::192.0.0.170".parse().unwrap(),
            "64:ff9b::192.0.0.171".parse().unwrap(),
        ])),
        _ if host.ends_with(".hung.test") => {
            HUNG.fetch_add(1, Ordering::SeqCst);
            // For as long as the process lives.
            Gate::default().pass();
            unreachable!()
        }
        _ => None,
    }
}

fn lasting(url: String) -> ConnectOptions {
    let mut options = once(url);
    // Far longer than the test has patience.
    options.timeout = Some(NEVER);
    options
}

#[test]
fn a_resolver_that_hangs_for_some_hosts_delays_no_other() {
    const HOSTS: usize = 40;
    resolver();
    let connect = |n| Client::connect(lasting(format!("ws://{n}.hung.test")));
    let hung: Vec<_> = (0..HOSTS).map(connect).collect();
    eventually("all lookups hang at the same time", || HUNG.load(Ordering::SeqCst) == HOSTS);

    let server = echo();
    let mut client = Client::connect(lasting(format!("ws://good.test:{}", server.port())));
    client.open();
    client.send("x");
    assert_eq!(client.text(), "x");
    client.finish();
    let host = format!("good.test:{}", server.port());
    assert_eq!(server.connection(1).unwrap().header("Host"), Some(host));
    for task in hung.iter().map(Client::task) {
        assert_eq!((task.ready_state(), task.stats().epoch), (ReadyState::Connecting, 1));
        task.close(1000, String::new()).unwrap();
    }
    // A dial that is given up does not wait for its lookup.
    for mut client in hung {
        assert_eq!(client.end().code, 1000);
    }
}

#[test]
fn one_lookup_serves_every_dial_to_its_host_also_those_that_come_later() {
    resolver();
    let server = echo();
    let mut options = fast(format!("ws://shared.test:{}", server.port()));
    options.timeout = Some(Millis(100));
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(options.clone())).collect();
    for client in &mut clients {
        for _ in 0..3 {
            let error = client.lost(ErrorKind::Timeout);
            assert!(error.detail.contains("looking up the name"), "{error:?}");
        }
    }
    // One, or a second one beside it on a machine that took seconds for this.
    let lookups = SHARED.load(Ordering::SeqCst);
    assert!(lookups <= 2, "{lookups} lookups for thirty dials");

    SHARED_GATE.open();
    for client in &mut clients {
        loop {
            match client.next() {
                SocketEvent::Open { .. } => break,
                // Given up before the answer came.
                SocketEvent::Error { event } => assert_eq!(event.kind, ErrorKind::Timeout),
                SocketEvent::Close { event } => assert!(event.retry.is_some()),
                SocketEvent::Message { .. } => unreachable!(),
            }
        }
    }
    clients.into_iter().for_each(|client| drop(client.finish()));
}

// ---- a network without IPv4 -----------------------------------------------------------------

/// Runs a test of this file again, ignored otherwise, in a network of its own that has no IPv4
/// and in which the machine itself is 64:ff9b::192.0.2.1.
#[cfg(target_os = "linux")]
fn without_ipv4(test: &str) {
    let can_unshare = Command::new("unshare").args(["-rn", "ip", "link"]).output();
    if !can_unshare.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "skipped: networks of one's own are not allowed here, or unshare or ip is missing"
        );
        return;
    }
    let script = "ip link set lo up && ip -4 addr flush dev lo \
        && ip -6 addr add 64:ff9b::192.0.2.1/128 dev lo nodad \
        && until ip -6 route get 64:ff9b::192.0.2.1 >/dev/null 2>&1; do sleep 0.1; done \
        && exec \"$0\" --ignored --exact --nocapture \"$1\"";
    let binary = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["-rn", "sh", "-c", script])
        .arg(binary)
        .arg(test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_ipv4_address_is_reached_through_nat64_where_there_is_no_ipv4() {
    without_ipv4("inside_nat64");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by another test, in a network of its own"]
fn inside_nat64() {
    resolver();
    let address: Ipv6Addr = "64:ff9b::192.0.2.1".parse().unwrap();
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut socket = tokio_tungstenite::tungstenite::accept(stream).unwrap();
        let message = socket.read().unwrap();
        socket.send(message).unwrap();
        while socket.read().is_ok() {}
    });
    let mut client = Client::connect(once(format!("ws://192.0.2.1:{port}")));
    client.open();
    client.send("through the translator");
    assert_eq!(client.text(), "through the translator");
    client.finish();

    // Where the translator's side refuses, that is the error.
    let mut client = Client::connect(once("ws://192.0.2.1:9"));
    let error = client.error();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.detail.contains("[64:ff9b::c000:201]:9"), "{error:?}");
    client.end();

    // This machine has no address of that kind; no translator leads to it.
    let mut client = Client::connect(once("ws://127.0.0.1:9"));
    let error = client.error();
    assert!(error.detail.contains("127.0.0.1:9"), "{error:?}");
    client.end();

    // And without a prefix the first error stays.
    set_resolver(|_| Some(Err(io::Error::other("no such name"))));
    let mut client = Client::connect(once(format!("ws://192.0.2.1:{port}")));
    let error = client.error();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.detail.contains("192.0.2.1:"), "{error:?}");
    client.end();
}
