//! The dial under way: begun, hurried, and what comes of it.

use super::Session;
use super::failure::Failure;
use super::io::{Event, Output};
use super::state::Phase;
use super::timers::Timer;
use std::time::{Duration, Instant};

/// A dial without progress for this long is given up when somebody wants to hurry. Each step of
/// a dial takes a few round trips, and a round trip of a slow radio takes less than a second.
const STALLED: Duration = Duration::from_secs(2);

/// So many dials of one connection may be given up for another one; then the last one goes on to
/// its end. Otherwise a system that reports a new network every second would keep a slow dial
/// from ever succeeding.
const MAX_ABANDONED: u32 = 5;

/// What is known of the newest dial.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    /// How many dials were begun, this one included.
    number: u64,
    began: Option<Instant>,
    /// When it began or passed its newest step.
    progressed: Option<Instant>,
    /// How many dials of this connection were given up before it.
    abandoned: u32,
    /// The app is being asked before it, so nothing has been dialled yet.
    asking: bool,
}

/// Why a dial under way may be given up for another one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hurry {
    /// There is another network than when the dial began.
    NewNetwork,
    /// The app or its user does not want to wait.
    Impatience,
}

impl Session {
    /// Begins the next connection.
    pub(super) fn dial(&mut self, now: Instant) {
        self.timers.stop(Timer::Retry);
        self.postponed = None;
        self.phase = Phase::Connecting;
        self.epoch += 1;
        self.read_paused = false;
        self.dialling.abandoned = 0;
        self.begin_dial(now);
    }

    fn begin_dial(&mut self, now: Instant) {
        let dialling = &mut self.dialling;
        dialling.number += 1;
        dialling.began = Some(now);
        dialling.progressed = Some(now);
        dialling.asking = self.config.can_refresh;
        // Only what ended the connection just before: an older failure is settled.
        let settled = self.failed_epoch + 1 != self.epoch;
        let last_failure = if settled { None } else { self.last_failure.clone() };
        self.outputs.push_back(Output::Dial {
            epoch: self.epoch,
            dial: self.dialling.number,
            attempt: self.reconnect.attempt(),
            last_failure,
        });
    }

    /// Gives up the dial under way for another one if that is likely to be faster.
    pub(super) fn hurry_dial(&mut self, why: Hurry, now: Instant) {
        let Dialling { began, progressed, abandoned, asking, .. } = self.dialling;
        let passed = |since: Option<Instant>| {
            since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
        };
        let is_late = match why {
            Hurry::NewNetwork => passed(began) > Duration::ZERO,
            Hurry::Impatience => passed(progressed) >= STALLED,
        };
        if is_late && !asking && abandoned < MAX_ABANDONED {
            self.dialling.abandoned += 1;
            self.dial_again(now);
        }
    }

    /// Gives up the dial under way and begins another one for the same connection. The app is
    /// told nothing: no connection has ended, and no attempt is used up.
    ///
    /// While the app is being asked there is nothing to give up: the dial begins with its answer,
    /// on the network of that time. Asking again would only have it answer twice.
    pub(super) fn dial_again(&mut self, now: Instant) {
        if self.dialling.asking {
            return;
        }
        let epoch = self.epoch;
        self.outputs.push_back(Output::Abort { epoch });
        self.begin_dial(now);
    }

    /// True for the dial that is under way, and no other.
    pub(super) fn is_dialling(&self, dial: u64) -> bool {
        self.phase == Phase::Connecting && dial == self.dialling.number
    }

    pub(super) fn dial_progressed(&mut self, now: Instant) {
        self.dialling.progressed = Some(now);
        if std::mem::take(&mut self.dialling.asking) {
            self.dialling.began = Some(now);
        }
    }

    pub(super) fn opened(&mut self, now: Instant) {
        self.phase = Phase::Open { since: now };
        self.counters.opened();
        self.reconnect.opened();
        self.outbox.flushed();
        let unsent = self.outbox.expire(now);
        if let Some(greeting) = &self.config.greeting {
            self.outbox.greet(greeting.clone());
        }
        self.pulse.opened(self.config.heartbeat.as_ref(), &mut self.timers, now);
        let (epoch, attempt) = (self.epoch, self.reconnect.attempt());
        self.emit(Event::Open { epoch, attempt, unsent });
    }

    pub(super) fn give_up(&mut self, failure: Failure) {
        let (code, reason) = (failure.close_code(), failure.close_reason().to_owned());
        self.remember(&failure);
        let epoch = self.epoch;
        self.emit(Event::Error { epoch, failure });
        self.finish(code, reason, false);
    }
}
