//! What an idle open task costs in memory.
//!
//! `cargo bench --bench memory` measures the same in a release build, with more tasks.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::*;
use wxsocket::*;

/// Present in a process that is the server, or that measures: then it is the server's URL.
const SERVER: &str = "WXSOCKET_TEST_IS_SERVER";
const MEASURES: &str = "WXSOCKET_TEST_MEASURES";

/// Returns the resident memory of the process in bytes. The second number of `statm` is resident
/// pages, which have 4 KiB on the machines that run this.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// This test once more, in a process of its own.
fn again(test: &str, variable: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(variable, value);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Measures tasks that have sent a message of `size` bytes and heard its echo: what one of them
/// costs when it is idle, in bytes, between `counts[0]` and `counts[1]` of them. The server has a
/// process of its own and so has the client, so that nothing else is counted. `None`: this is one
/// of those processes, and it is done.
fn cost(test: &str, counts: [usize; 2], size: usize) -> Option<usize> {
    if std::env::var_os(SERVER).is_some() {
        let server = echo();
        println!("\n{}", server.url());
        // Blocks until the parent closes the pipe.
        let _ = std::io::stdin().read_line(&mut String::new());
        return None;
    }
    if let Ok(url) = std::env::var(MEASURES) {
        println!("\nbytes={}", measure(&url, counts, size));
        return None;
    }
    let mut server = again(test, SERVER, "").spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.find(|line| line.starts_with("ws://")).unwrap();
    // What is freed goes back to the system at once, and is not counted.
    let client = again(test, MEASURES, &url)
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .env("MALLOC_TRIM_THRESHOLD_", "65536")
        .output()
        .unwrap();
    drop(server.stdin.take());
    // It may still have something to print.
    lines.for_each(drop);
    server.wait().unwrap();
    let said = String::from_utf8_lossy(&client.stdout);
    let bytes = said.lines().find_map(|line| line.strip_prefix("bytes="));
    Some(bytes.unwrap_or_else(|| panic!("{said}")).parse().unwrap())
}

fn measure(url: &str, counts: [usize; 2], size: usize) -> usize {
    let mut tasks = Vec::new();
    let [before, after] = counts.map(|count| {
        while tasks.len() < count {
            let task = connect_socket(ConnectOptions::new(url), None, None).unwrap();
            let events = task.events();
            assert!(matches!(events.next_event(), Some(SocketEvent::Open { .. })));
            // One echo, so that every buffer is there that a used connection has.
            task.send(vec![7; size]).unwrap();
            assert!(matches!(events.next_event(), Some(SocketEvent::Message { .. })));
            tasks.push(task);
        }
        resident()
    });
    after.saturating_sub(before) / (counts[1] - counts[0])
}

#[test]
fn an_idle_open_task_costs_at_most_20_kib() {
    let test = "an_idle_open_task_costs_at_most_20_kib";
    let Some(each) = cost(test, [100, 500], 5) else { return };
    assert!((2 << 10..=20 << 10).contains(&each), "{each} bytes");
}

#[test]
fn after_a_large_message_each_way_it_costs_at_most_24_kib() {
    let test = "after_a_large_message_each_way_it_costs_at_most_24_kib";
    let Some(each) = cost(test, [4, 36], 15 << 20) else { return };
    assert!(each <= 24 << 10, "{each} bytes");
}
