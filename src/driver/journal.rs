//! What becomes of each connection, in the log.
//!
//! Numbers and the fixed words of this library only: a server's reason and the detail of a
//! failure may hold anything.

use crate::session::{Event, Retry};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells the tasks of the process apart, from 1 on.
pub(super) fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Notes what the app is told of task `number`, but for its messages.
pub(super) fn note(number: u64, event: &Event) {
    match event {
        Event::Open { .. } | Event::Message { .. } => {}
        Event::Error { epoch, failure } => {
            let kind = failure.kind;
            log::info!("socket {number}, connection {epoch}: {} {}", kind.code(), kind.message());
        }
        Event::Close { epoch, code, retry, unsent, .. } => {
            let next = match retry {
                Some(Retry { attempt, delay: Some(delay), .. }) => {
                    format!("attempt {attempt} in {} ms", delay.as_millis())
                }
                Some(Retry { attempt, delay: None, .. }) => {
                    format!("attempt {attempt} when nothing holds it back")
                }
                None if unsent.is_empty() => "for good".to_owned(),
                None => format!("for good, {} messages were never sent", unsent.len()),
            };
            log::info!("socket {number}, connection {epoch}: closed with {code}, {next}");
        }
    }
}
