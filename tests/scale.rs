//! A thousand tasks, and a thousand failures: what they leave behind in the process.
//!
//! The tests of this file measure the whole process, so they run one after the other.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use support::*;
use wxsocket::*;

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The threads of the engine, by name. The kernel keeps 15 characters of it.
fn threads() -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end while it is looked at.
        let Ok(name) = fs::read_to_string(thread.unwrap().path().join("comm")) else { continue };
        if name.starts_with("wxsocket-") {
            *names.entry(name.trim_end().to_owned()).or_default() += 1;
        }
    }
    names
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The memory of the process in bytes. The second number of `statm` is resident pages, which
/// have 4 KiB on the machines that run this; with larger ones the bounds are only tighter.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn back_within_a_tenth_of_a_second(url: String) -> ConnectOptions {
    let mut options = fast(url);
    options.reconnect.delay = Some(ReconnectDelay::FullJitter {
        first: Millis(20),
        min: Millis(10),
        max: Millis(100),
        slow_after: NEVER,
        slow: NEVER,
    });
    options
}

/// Has two listeners wait for each other: the second thread is made when it is first needed.
fn both_delivery_threads(url: &str) {
    let both = Arc::new(Barrier::new(2));
    let clients = [both.clone(), both].map(|both| {
        Client::hooked(fast(url), move |_, event| {
            if let SocketEvent::Open { .. } = event {
                both.wait();
            }
        })
    });
    for mut client in clients {
        client.open();
        client.finish();
    }
}

#[test]
fn a_thousand_tasks_survive_a_restart_on_the_threads_of_one_and_leave_nothing() {
    let _alone = alone();
    let server = echo();
    // One life before anything is measured: what the process needs once, it has then.
    let mut first = Client::connect(fast(server.url()));
    first.open();
    first.finish();
    both_delivery_threads(&server.url());
    assert!(server.wait_ended(3, PATIENCE));
    let files = open_files();

    let mut clients = Vec::new();
    let own = ["wxsocket-events", "wxsocket-io", "wxsocket-server"];
    let expected =
        BTreeMap::from(own.map(|name| (name.to_owned(), 1 + usize::from(name == own[0]))));
    for total in [1, 100, 1_000] {
        while clients.len() < total {
            clients.push(Client::connect(back_within_a_tenth_of_a_second(server.url())));
        }
        assert!(server.wait_open(total as u64, PATIENCE));
        // A machine so loaded that both stand still for 20 ms gets another one for a while.
        eventually("no thread is for a task", || threads() == expected);
    }
    clients.iter_mut().for_each(|client| drop(client.open()));

    server.stop_listening().unwrap();
    for client in &mut clients {
        client.lost(ErrorKind::ConnectionLost);
    }
    assert_eq!(server.open_connections(), 0);
    server.resume_listening().unwrap();
    assert!(server.wait_open(1_000, PATIENCE * 3), "{} are back", server.open_connections());
    for (number, client) in clients.iter_mut().enumerate() {
        loop {
            match client.next() {
                SocketEvent::Open { .. } => break,
                SocketEvent::Error { event } => {
                    let kind = event.kind;
                    // Reset in the backlog, when the server went down in the middle of a dial.
                    let down = matches!(
                        kind,
                        ErrorKind::Refused | ErrorKind::Network | ErrorKind::BadUpgrade
                    );
                    assert!(down, "{event:?}");
                }
                SocketEvent::Close { event } => assert!(event.retry.is_some()),
                SocketEvent::Message { .. } => unreachable!(),
            }
        }
        client.send(format!("{number}"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.text(), number.to_string());
    }
    eventually("no thread is left of the storm", || threads() == expected);

    // `finish` also sees that each listener is let go.
    for client in &clients {
        client.task().close(1000, String::new()).unwrap();
    }
    clients.into_iter().for_each(|client| drop(client.finish()));
    assert!(server.wait_for(|seen| seen.open == 0, PATIENCE));
    eventually("all sockets are given back", || open_files() <= files);
}

/// Nobody else waits for them longer than it takes to start as many threads, which are given back
/// when they are idle.
#[test]
fn listeners_that_block_all_at_once_delay_no_other_task() {
    let _alone = alone();
    let server = echo();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap();
    let mut blocked: Vec<_> = (0..250)
        .map(|_| {
            let gate = gate.clone();
            Client::hooked(fast(server.url()), move |_, event| {
                if let SocketEvent::Message { .. } = event {
                    drop(gate.lock());
                }
            })
        })
        .collect();
    let mut innocent = Client::connect(fast(server.url()));
    innocent.open();
    blocked.iter_mut().for_each(|client| drop(client.open()));

    blocked.iter().for_each(|client| drop(client.send("block")));
    let all_heard = || blocked.iter().all(|client| client.task().stats().messages_in == 1);
    eventually("each has its message", all_heard);
    let start = Instant::now();
    innocent.send("x");
    assert_eq!(innocent.text(), "x");
    // Some 50 ms, and this machine may be busy with other things. One thread after the other
    // would take 2.5 s.
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(1), "{waited:?} for a task whose listener is free");

    drop(closed);
    for mut client in blocked {
        assert_eq!(client.text(), "block");
        client.finish();
    }
    innocent.finish();
    eventually("the threads are given back", || threads()["wxsocket-events"] <= 2);
}

/// Their turns are short, so that none of them looks as if it were stuck; but there are many.
#[test]
fn listeners_that_are_slow_delay_no_other_task() {
    let _alone = alone();
    // An answer to each message after a while, which keeps the machine from being busy otherwise.
    let server = serve(
        r#"[{"rules": [{"on": {"text": "again"}, "do": [{"wait": {"ms": 50}}, {"send": "again"}]}]}]"#,
    );
    let done = Arc::new(AtomicBool::new(false));
    let mut slow: Vec<_> = (0..250)
        .map(|_| {
            let done = done.clone();
            Client::hooked(fast(server.url()), move |task, event| {
                if let SocketEvent::Message { .. } = event
                    && !done.load(Ordering::Relaxed)
                {
                    std::thread::sleep(Duration::from_millis(3));
                    // It may be closing by now.
                    let _ = task.send("again");
                }
            })
        })
        .collect();
    let mut innocent = Client::connect(fast(server.url()));
    innocent.open();
    slow.iter_mut().for_each(|client| drop(client.open()));

    slow.iter().for_each(|client| drop(client.send("again")));
    let all_talk = || slow.iter().all(|client| client.task().stats().messages_in >= 3);
    eventually("each has had its turns", all_talk);
    let start = Instant::now();
    for _ in 0..10 {
        innocent.send("x");
        assert_eq!(innocent.text(), "x");
    }
    // Behind 250 turns of 3 ms on two threads it would be 3 s.
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(1), "{waited:?} for ten round trips");

    done.store(true, Ordering::Relaxed);
    slow.into_iter().for_each(|client| drop(client.finish()));
    innocent.finish();
    eventually("the threads are given back", || threads()["wxsocket-events"] <= 2);
}

#[test]
fn a_refusal_that_never_ends_keeps_memory_flat() {
    let _alone = alone();
    // The body is far more than what is kept of it.
    let body = "x".repeat(64 << 10);
    let server = serve(&format!(
        r#"[{{"handshake": {{"status": 403, "headers": [["X-Why", "no"]], "body": "{body}"}}}}]"#
    ));
    let mut options = fast(server.url());
    options.reconnect.delay = Some(ReconnectDelay::Fixed { delay: Millis(0) });
    let client = Client::connect(options);
    client.task().set_listener(Arc::new(On(|_| Ok(()))));
    until(&server, |seen| seen.accepted >= 300);
    let (before, files) = (resident(), open_files());
    assert!(server.wait_connections(2_300, PATIENCE * 3));
    let after = resident();
    // Two thousand bodies are 125 MiB. The record of the server itself is a megabyte or two.
    let grown = after.saturating_sub(before);
    assert!(grown < 12 << 20, "{} KiB more after 2000 refusals", grown >> 10);
    assert!(open_files() <= files + 8, "sockets pile up");
    assert!(client.task().stats().attempt >= 2_000);
    client.task().close(1000, String::new()).unwrap();
}

#[test]
fn a_flood_for_a_blocked_listener_keeps_memory_flat() {
    let _alone = alone();
    // 400 MiB, if anybody were to take them.
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": {"flood": {"count": 6400, "bytes": 65536, "binary": true}}}]}]"#,
    );
    let mut options = fast(server.url());
    options.heartbeat = HeartbeatOptions {
        enabled: Some(true),
        interval: Some(Millis(20)),
        timeout: Some(Millis(300)),
        ..Default::default()
    };
    let before = resident();
    // Without a listener and without a pull, everything waits.
    let task = connect_socket(options, None, None).unwrap();
    until(&server, |seen| {
        seen.connections.first().is_some_and(|one| one.heartbeats_received >= 10)
    });
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB for a listener that is not there", grown >> 20);
    // And then everything arrives.
    let stream = task.events();
    assert!(matches!(stream.next_event(), Some(SocketEvent::Open { .. })));
    for n in 0..6_400 {
        match stream.next_event() {
            Some(SocketEvent::Message { event }) => assert_eq!(event.data.len(), 1 << 16),
            other => panic!("message {n}: {other:?}"),
        }
    }
    task.close(1000, String::new()).unwrap();
    assert!(stream.next_event().unwrap().is_final());
}
