//! What an idle open task costs: resident memory and threads with 1, 100 and 1,000 of them.
//!
//! The server runs in a process of its own, so that only the client is counted.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use wxsocket::testing::{Script, ScriptedServer};
use wxsocket::{ConnectOptions, SocketEvent, connect_socket};

const COUNTS: [usize; 3] = [1, 100, 1_000];

fn main() {
    if std::env::args().any(|argument| argument == "--server") {
        return serve();
    }
    let this = std::env::current_exe().expect("this program");
    let mut server = Command::new(this)
        .arg("--server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let mut url = String::new();
    let stdout = server.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut url).expect("the server's address");
    measure(url.trim());
    server.kill().expect("still running");
    server.wait().expect("a child");
}

fn serve() {
    let server = ScriptedServer::start(Script::default()).expect("a port");
    println!("{}", server.url());
    // Until the parent goes.
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn measure(url: &str) {
    println!("{:>6} {:>8} {:>12} {:>14}", "tasks", "threads", "resident", "per task");
    let mut tasks = Vec::new();
    let mut before = None;
    for count in COUNTS {
        while tasks.len() < count {
            let task = connect_socket(ConnectOptions::new(url), None, None).expect("valid");
            let events = task.events();
            assert!(matches!(events.next_event(), Some(SocketEvent::Open { .. })));
            // One echo, so that every buffer is there that a used connection has.
            task.send("hello").expect("open");
            assert!(matches!(events.next_event(), Some(SocketEvent::Message { .. })));
            tasks.push(task);
        }
        let resident = status("VmRSS:");
        let per_task = before.map(|(tasks, then): (usize, u64)| {
            format!("{:.1} KiB", resident.saturating_sub(then) as f64 / (count - tasks) as f64)
        });
        println!(
            "{count:>6} {:>8} {resident:>8} KiB {:>14}",
            status("Threads:"),
            per_task.unwrap_or_default()
        );
        before = Some((count, resident));
    }
}

/// A number from /proc/self/status; sizes are in KiB there.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(field)).expect("a known field");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
