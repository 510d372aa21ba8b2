//! What a task costs while nothing happens: the wakeups of its heartbeat and none else.
//!
//! One test only: it counts what the engine's one I/O thread does.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::time::Duration;
use support::*;
use wxsocket::*;

/// Times that the I/O thread went to sleep of its own accord: once per wakeup.
fn sleeps() -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let of_io = threads.map(|thread| thread.path()).filter(|path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim_end() == "wxsocket-io")
    });
    let counts = of_io.map(|path| {
        let status = fs::read_to_string(path.join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    });
    counts.sum()
}

#[test]
fn an_idle_task_wakes_up_for_its_heartbeat_and_for_nothing_else() {
    let server = echo();

    // Without a heartbeat there is no reason at all.
    let mut silent: Vec<_> = (0..10).map(|_| Client::connect(fast(server.url()))).collect();
    silent.iter_mut().for_each(|client| drop(client.open()));
    // Until whatever belongs to the opening is done; then for as long as it takes to be sure.
    std::thread::sleep(Duration::from_millis(300));
    let before = sleeps();
    std::thread::sleep(Duration::from_millis(1_000));
    let woken = sleeps() - before;
    assert!(woken <= 2, "{woken} wakeups in a second of ten tasks with nothing to do");
    silent.into_iter().for_each(|client| drop(client.finish()));

    // One with a heartbeat: the timer wakes the thread, the answer wakes it again. A loaded
    // machine may cut either in two (the thread is woken before the timer's millisecond is
    // over, or before the answer is complete), so twice that is the bound.
    const PER_BEAT: u64 = 4;
    const BEATS: u64 = 20;
    let mut options = fast(server.url());
    options.heartbeat = HeartbeatOptions {
        enabled: Some(true),
        interval: Some(Millis(50)),
        timeout: Some(NEVER),
        ..Default::default()
    };
    let mut client = Client::connect(options);
    client.open();
    let beats = |n| {
        until(&server, |seen| {
            seen.connections.last().is_some_and(|one| one.heartbeats_received >= n)
        });
    };
    beats(1);
    let before = sleeps();
    beats(1 + BEATS);
    let woken = sleeps() - before;
    let most = BEATS * PER_BEAT + 2;
    assert!(woken <= most, "{woken} wakeups for {BEATS} heartbeats");
    assert!(woken >= BEATS, "{woken} wakeups for {BEATS} heartbeats: counted on the wrong thread");
    client.finish();
}
