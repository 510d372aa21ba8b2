//! What the heartbeat, the app and the operating system say about a connection.

use super::Session;
use super::dial::Hurry;
use super::failure::{ErrorKind, Failure};
use super::heartbeat::{Frame, Missed};
use super::io::Output;
use super::life::{Costs, Ending};
use super::network::NetworkStatus;
use super::state::Phase;
use super::timers::Timer;
use std::time::{Duration, Instant};

/// While so many outputs have not been taken no dial begins: an app that reports networks faster
/// than the driver runs would add a dial and its end with each.
const MANY: usize = 64;

impl Session {
    pub(super) fn heard(&mut self, frame: Frame, now: Instant) {
        // A task that is closing has no heartbeat any more, whatever still arrives.
        if matches!(self.phase, Phase::Open { .. }) {
            if let Frame::Reply { newest: true, .. } = frame {
                self.outbox.answered();
            }
            self.pulse.heard(self.config.heartbeat.as_ref(), frame, &mut self.timers, now);
        }
    }

    pub(super) fn ponged(&mut self, payload: &[u8], now: Instant) {
        let frame = self.pulse.ponged(payload);
        self.heard(frame, now);
    }

    /// Reading has stopped for want of a listener, or goes on.
    pub(super) fn read(&mut self, paused: bool, now: Instant) {
        let again = std::mem::replace(&mut self.read_paused, paused) && !paused;
        if again
            && self.pulse.listening_again(&mut self.timers, now)
            && matches!(self.phase, Phase::Open { .. })
        {
            self.probe(now);
        }
    }

    pub(super) fn beat(&mut self, now: Instant) {
        if let (Phase::Open { .. }, Some(heartbeat)) = (self.phase, &self.config.heartbeat) {
            self.pulse.beat(heartbeat, &mut self.timers, now);
            self.ask();
        }
    }

    fn probe(&mut self, now: Instant) {
        let (heartbeat, in_line) = (self.config.heartbeat.as_ref(), self.outbox.is_asking());
        self.pulse.probe(heartbeat, in_line, &mut self.timers, now);
        self.ask();
    }

    fn ask(&mut self) {
        if !self.outbox.is_asking() {
            let question = self.pulse.question(self.config.heartbeat.as_ref());
            self.outbox.ask(question);
        }
    }

    pub(super) fn missed(&mut self, due: Instant, now: Instant) {
        let heartbeat = self.config.heartbeat.as_ref();
        match self.pulse.missed(heartbeat, &mut self.timers, due, now, self.read_paused) {
            Missed::Excused => {}
            Missed::AskAgain => self.probe(now),
            Missed::Dead => {
                self.failed(Failure::new(ErrorKind::HeartbeatTimeout, "no answer in time"), now);
            }
        }
    }

    /// Too much waits for the app, or no longer. The retry keeps its time and its number.
    pub(super) fn crowded(&mut self, crowded: bool, now: Instant) {
        self.holds.crowded = crowded;
        match self.phase {
            Phase::Waiting { due } if crowded => {
                self.hold();
                self.postponed = Some(due);
            }
            Phase::Suspended if !self.holds.any() => match self.postponed {
                Some(due) if due > now => self.wait(due),
                _ => self.dial(now),
            },
            _ => {}
        }
    }

    pub(super) fn network(&mut self, network: NetworkStatus, now: Instant) {
        let available = network.available;
        let is_news = network.is_news_after(self.network.as_ref());
        self.network = Some(network);
        if !is_news {
            return;
        }
        self.holds.offline = !available;
        if available {
            self.wake(Hurry::NewNetwork, now);
        } else if self.phase == Phase::Connecting {
            // It cannot succeed any more, and would only time out much later. An open
            // connection may survive a short gap: its heartbeat tells.
            self.interrupt("interrupted", "the network is gone", now);
        } else {
            self.hold();
        }
    }

    pub(super) fn foreground(&mut self, foreground: bool, now: Instant) {
        if foreground {
            self.timers.stop(Timer::Grace);
            self.holds.background = false;
            self.wake(Hurry::Impatience, now);
        } else if let (Some(grace), false) = (self.config.background_grace, self.is_over())
            && !self.holds.background
            && !self.timers.is_set(Timer::Grace)
        {
            self.timers.set(Timer::Grace, now + grace);
        }
    }

    /// The grace in the background is used up.
    pub(super) fn grace_over(&mut self, now: Instant) {
        self.holds.background = true;
        self.interrupt("interrupted", "in the background", now);
    }

    pub(super) fn pause(&mut self, now: Instant) {
        self.holds.paused = true;
        self.interrupt("paused", "paused by the app", now);
    }

    /// Something holds the task: nothing that goes on may go on. It costs no attempt.
    fn interrupt(&mut self, reason: &'static str, detail: &str, now: Instant) {
        let epoch = self.epoch;
        let failure = match self.phase {
            Phase::Connecting => {
                self.outputs.push_back(Output::Abort { epoch });
                Some(Failure::new(ErrorKind::Interrupted, detail))
            }
            Phase::Open { .. } => {
                // "Going away" is what the server is told. The app is told 1006: nobody
                // waits for the server's close frame.
                let close = Some((1001, reason.to_owned()));
                self.outputs.push_back(Output::HangUp { epoch, close });
                None
            }
            _ => return self.hold(),
        };
        let ending = Ending { code: 1006, reason: reason.to_owned(), was_clean: false, failure };
        self.ended(ending, Costs::Nothing, now);
    }

    fn hold(&mut self) {
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.timers.stop(Timer::Retry);
            self.phase = Phase::Suspended;
        }
    }

    /// Whatever held the task is gone, or someone asks to hurry: begin afresh.
    pub(super) fn wake(&mut self, why: Hurry, now: Instant) {
        self.reconnect.rearm();
        self.postponed = None;
        match self.phase {
            _ if self.holds.forbids_any() => {}
            Phase::Waiting { .. } | Phase::Suspended if self.holds.crowded => {}
            // The driver takes the outputs before it looks at what is due.
            Phase::Waiting { .. } | Phase::Suspended if self.outputs.len() >= MANY => {
                self.wait(now);
            }
            Phase::Waiting { .. } | Phase::Suspended => self.dial(now),
            Phase::Connecting => self.hurry_dial(why, now),
            Phase::Open { .. } => self.probe(now),
            _ => {}
        }
    }

    /// The device slept, and what the network said meanwhile may be lost. A retry needs nothing:
    /// its time ran on, and a short sleep is no reason to come before the server wants it.
    pub(super) fn woke(&mut self, slept: Duration, now: Instant) {
        self.reconnect.woke(slept, now);
        // First, so that nothing is begun that would be interrupted at once.
        if self.timers.get(Timer::Grace).is_some_and(|due| due <= now) {
            self.timers.stop(Timer::Grace);
            self.grace_over(now);
        }
        match self.phase {
            Phase::Connecting => self.dial_again(now),
            Phase::Open { .. } => {
                // Nobody was awake to hear an answer to an older question.
                self.timers.stop(Timer::Answer);
                if !self.outbox.is_asking() {
                    self.pulse.settle();
                }
                self.probe(now);
            }
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Closed)
    }
}
