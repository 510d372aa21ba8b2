//! How long each step of a dial took.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The timings of one dial, under the names of the wx API. Points in time are milliseconds
/// since 1970, durations are milliseconds; all carry fractions, and all are measured on the
/// monotonic clock from one reading of the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, uniffi::Record)]
pub struct SocketProfile {
    /// When the dial began.
    pub fetch_start: f64,
    /// When the name lookup began. It is equal to the end when the host is an address.
    pub domain_look_up_start: f64,
    /// When the name lookup ended.
    pub domain_look_up_end: f64,
    /// When the TCP connection that succeeded was begun.
    pub connect_start: f64,
    /// When TCP, and TLS for `wss`, was connected.
    pub connect_end: f64,
    /// `connect_end` − `connect_start`.
    pub rtt: f64,
    /// The upgrade: from `connect_end` to the server's answer.
    pub handshake_cost: f64,
    /// The whole dial, from `fetch_start` to the open connection.
    pub cost: f64,
}

/// Takes the times as they happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch {
    wall_ms: f64,
    fetch_start: Instant,
    pub(super) look_up: Option<(Instant, Instant)>,
    pub(super) connect_start: Option<Instant>,
    pub(super) connect_end: Option<Instant>,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        // A wall clock before 1970 is as good as 1970.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            wall_ms: wall.as_secs_f64() * 1_000.0,
            fetch_start: Instant::now(),
            look_up: None,
            connect_start: None,
            connect_end: None,
        }
    }

    pub(super) fn finish(&self) -> SocketProfile {
        let opened = Instant::now();
        let at = |time: Option<Instant>| {
            let since = time.map(|time| time.saturating_duration_since(self.fetch_start));
            self.wall_ms + since.unwrap_or_default().as_secs_f64() * 1_000.0
        };
        let between = |from: Option<Instant>, to: Instant| {
            let from = from.unwrap_or(to);
            to.saturating_duration_since(from).as_secs_f64() * 1_000.0
        };
        SocketProfile {
            fetch_start: self.wall_ms,
            domain_look_up_start: at(self.look_up.map(|(start, _)| start)),
            domain_look_up_end: at(self.look_up.map(|(_, end)| end)),
            connect_start: at(self.connect_start),
            connect_end: at(self.connect_end),
            rtt: between(self.connect_start, self.connect_end.unwrap_or(opened)),
            handshake_cost: between(self.connect_end, opened),
            cost: between(Some(self.fetch_start), opened),
        }
    }
}
