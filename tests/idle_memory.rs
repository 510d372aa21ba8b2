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

/// Present in the process that is the server.
const SERVER: &str = "WXSOCKET_TEST_IS_SERVER";

/// The memory of the process in bytes. The second number of `statm` is resident pages, which
/// have 4 KiB on the machines that run this; with larger ones the bound is only tighter.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The server has a process of its own, so that only the client is counted.
#[test]
fn an_idle_open_task_costs_at_most_20_kib() {
    if std::env::var_os(SERVER).is_some() {
        let server = echo();
        println!("\n{}", server.url());
        // Until the parent goes.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("--nocapture")
        .env(SERVER, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.find(|line| line.starts_with("ws://")).unwrap();

    let mut tasks = Vec::new();
    let [before, after] = [100, 500].map(|count| {
        while tasks.len() < count {
            let task = connect_socket(ConnectOptions::new(&url), None, None).unwrap();
            let events = task.events();
            assert!(matches!(events.next_event(), Some(SocketEvent::Open { .. })));
            // One echo, so that every buffer is there that a used connection has.
            task.send("hello").unwrap();
            assert!(matches!(events.next_event(), Some(SocketEvent::Message { .. })));
            tasks.push(task);
        }
        resident()
    });
    drop(tasks);
    drop(server.stdin.take());
    // It may still have something to print.
    lines.for_each(drop);
    server.wait().unwrap();
    let each = after.saturating_sub(before) / 400;
    assert!((8 << 10..=20 << 10).contains(&each), "{each} bytes");
}
