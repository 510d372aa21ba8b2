//! A server that sends faster than the app works: the server waits, and memory stays flat.
//!
//! ```console
//! $ cargo run --example back_pressure -- wss://example.com/feed 1000
//! ```
//!
//! The second argument says how many messages to take.

use std::time::Duration;
use wxsocket::{ConnectOptions, SocketEvent, connect_socket};

/// Stands for work that takes longer than a message takes to arrive.
fn work() {
    std::thread::sleep(Duration::from_micros(200));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: back_pressure URL COUNT")?;
    let count: i64 = arguments.next().ok_or("usage: back_pressure URL COUNT")?.parse()?;
    let task = connect_socket(ConnectOptions::new(url), None, None)?;
    let mut taken = 0;
    // What this loop has not taken waits: at most 1,024 events or 1 MiB. Then the socket is not
    // read, and TCP makes the server wait. Nothing is lost.
    for event in &*task.events() {
        if let SocketEvent::Message { .. } = event {
            work();
            taken += 1;
            let waiting = task.stats().messages_in - taken;
            assert!(waiting <= 1_024, "{waiting} messages wait");
            if taken == count {
                task.close(1000, String::new())?;
            }
        }
    }
    println!("{taken} messages, {} discarded", task.stats().messages_discarded);
    Ok(())
}
