//! How far our bytes have come, and what that says about the peer.
//!
//! On a slow line a heartbeat waits behind a large message. Its answer cannot come before the
//! heartbeat has arrived, so two rules make up for that:
//!
//! - The time for the answer begins when the frame of the heartbeat has reached our kernel.
//! - Until then, and while bytes ahead of that frame are on their way, every byte that the peer's
//!   kernel acknowledges is a sign of life, unless the heartbeat is `strict`.
//!
//! That a kernel acknowledges the heartbeat itself, or what was sent after it, proves nothing: the
//! kernel of a server that hangs does that too.

use super::config::Heartbeat;
use super::io::{Message, Transmit};
use super::timers::{Timer, TimerTable};
use std::time::{Duration, Instant};

/// What a frame needs in the kernel beside its payload is at most this, in bytes: the header of the
/// frame (14), the framing of TLS (less than 30), and a Pong that was written with it (139).
const FRAMING: u64 = 256;

/// Where the newest heartbeat is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Beat {
    /// There was none on this connection.
    #[default]
    None,
    /// It waits to be handed out.
    Waiting,
    /// It is handed out and perhaps not in the kernel. It needs at most this many bytes there.
    HandedOut { size: u64 },
    /// It is in the kernel, behind at least this many bytes of the connection.
    Written { ahead: u64 },
}

/// How far the bytes of one connection have come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    beat: Beat,
    /// How long its answer may take.
    patience: Duration,
    /// What our kernel has taken so far.
    written: u64,
    /// What the peer's kernel has acknowledged; where the system does not tell: `written`.
    acknowledged: u64,
    /// When both were last told.
    told: Option<Instant>,
}

impl Progress {
    /// An answer is awaited for so long, to the newest heartbeat.
    pub(super) fn expects(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// A heartbeat was put in line.
    pub(super) fn asked(&mut self) {
        self.beat = Beat::Waiting;
    }

    /// The last of what goes ahead of the app's messages was handed out: the heartbeat, if one
    /// waits.
    pub(super) fn handed_out(&mut self, transmit: &Transmit) {
        if self.beat == Beat::Waiting {
            let payload = match transmit {
                Transmit::Message(message) | Transmit::Own(message) => Message::len(message),
                Transmit::Ping(payload) => payload.len(),
                Transmit::Close { .. } => 0,
            };
            self.beat = Beat::HandedOut { size: payload as u64 + FRAMING };
        }
    }

    /// A heartbeat is handed out and not known to be in the kernel. Nothing is handed out until it
    /// is: otherwise nobody could say when it got there.
    pub(super) fn is_handed_out(&self) -> bool {
        matches!(self.beat, Beat::HandedOut { .. })
    }

    /// Everything that was handed out is in the kernel. If that is news of the heartbeat: how long
    /// its answer may take from now on.
    pub(super) fn flushed(&mut self) -> Option<Duration> {
        let Beat::HandedOut { size } = self.beat else { return None };
        self.beat = Beat::Written { ahead: self.written.saturating_sub(size) };
        Some(self.patience)
    }

    /// The driver tells how far the bytes have come. If that is a sign of life the answer has more
    /// time.
    pub(super) fn told(
        &mut self,
        written: u64,
        acknowledged: Option<u64>,
        heartbeat: Option<&Heartbeat>,
        timers: &mut TimerTable,
        now: Instant,
    ) {
        let before = self.acknowledged;
        self.written = self.written.max(written);
        self.acknowledged = before.max(acknowledged.unwrap_or(written));
        let last = self.told.replace(now);
        let ahead = match self.beat {
            Beat::None => return,
            Beat::Waiting | Beat::HandedOut { .. } => u64::MAX,
            Beat::Written { ahead } => ahead,
        };
        let is_life = self.acknowledged > before && before < ahead;
        let is_strict = heartbeat.is_some_and(|heartbeat| heartbeat.strict);
        let Some(due) = timers.get(Timer::Answer) else { return };
        if !is_life || is_strict {
            return;
        }
        // It happened at any time since the last telling, which bounds how long a peer that has
        // vanished since then is waited for: the interval and the time for an answer.
        let interval = heartbeat.map_or(self.patience, |heartbeat| heartbeat.interval);
        let latest = last.map_or(now, |last| now.min(last + interval));
        timers.set(Timer::Answer, due.max(latest + self.patience));
    }
}
