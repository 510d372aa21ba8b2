//! Plain numbers about a task.

use std::time::Duration;

/// What has happened to a task so far. Payload bytes only; heartbeats' answers count as
/// received, heartbeats themselves not as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The newest connection.
    pub epoch: u64,
    /// Attempts used since the last stable connection.
    pub attempt: u32,
    /// Connections that opened.
    pub opens: u64,
    /// Messages accepted for sending.
    pub messages_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// The newest round trip of a heartbeat.
    pub last_rtt: Option<Duration>,
    /// Round trips, smoothed as TCP does it (RFC 6298).
    pub smoothed_rtt: Option<Duration>,
}

impl Counters {
    pub(super) fn opened(&mut self) {
        self.opens += 1;
    }

    pub(super) fn accepted(&mut self, bytes: usize) {
        self.messages_out += 1;
        self.bytes_out += bytes as u64;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.messages_in += 1;
        self.bytes_in += bytes as u64;
    }
}
