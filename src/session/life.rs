//! The life of a connection, from its open to its one `Close`, and the end of the task.

use super::dial::Hurry;
use super::failure::{ErrorKind, Failure};
use super::heartbeat::Frame;
use super::io::{Data, Event, Output, Retry};
use super::reconnect::{Cause, Verdict};
use super::state::Phase;
use super::timers::{Timer, TimerTable};
use super::{ClosingState, Session};
use std::time::{Duration, Instant};

/// How a connection ended without `close()`.
pub(super) struct Ending {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) was_clean: bool,
    pub(super) failure: Option<Failure>,
}

/// What an ending does to the counter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Costs {
    /// One attempt, like any connection that ends by itself.
    Attempt,
    /// Nothing: we hung up, and will be back when nothing holds us.
    Nothing,
}

impl Session {
    pub(super) fn connect(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            self.phase = Phase::Suspended;
            self.wake(Hurry::Impatience, now);
        }
    }

    /// True: the message is for the app.
    pub(super) fn received(&mut self, data: Data<'_>, now: Instant) -> bool {
        self.counters.received(data.payload.len());
        let heartbeat = self.config.heartbeat.as_ref();
        let is_reply = heartbeat.is_some_and(|heartbeat| heartbeat.is_reply(data));
        let hidden = is_reply && heartbeat.is_some_and(|heartbeat| !heartbeat.deliver_reply);
        self.heard(
            if is_reply { Frame::Reply { data: true, newest: true } } else { Frame::Message },
            now,
        );
        !hidden
    }

    /// The peer says goodbye. If we did not, this connection is over and the task goes on.
    pub(super) fn close_received(&mut self, code: Option<u16>, reason: String, now: Instant) {
        match self.phase {
            Phase::Closing => self.finish_close(true),
            Phase::Open { .. } => {
                let (epoch, code) = (self.epoch, code.unwrap_or(1005));
                self.outputs.push_back(Output::HangUp { epoch, close: None });
                self.ended(
                    Ending { code, reason, was_clean: true, failure: None },
                    Costs::Attempt,
                    now,
                );
            }
            _ => {}
        }
    }

    pub(super) fn failed(&mut self, failure: Failure, now: Instant) {
        if self.phase == Phase::Closing {
            return self.finish_close(false);
        }
        let (code, reason) = (failure.close_code(), failure.close_reason().to_owned());
        if let Phase::Open { .. } = self.phase {
            let epoch = self.epoch;
            // A peer that broke the protocol is told so; one that is gone is not waited for.
            self.outputs.push_back(match code {
                1006 => Output::Abort { epoch },
                code => Output::HangUp { epoch, close: Some((code, reason.clone())) },
            });
        }
        self.ended(
            Ending { code, reason, was_clean: false, failure: Some(failure) },
            Costs::Attempt,
            now,
        );
    }

    /// The connection is over without `close()`: settle what follows, then tell.
    pub(super) fn ended(&mut self, ending: Ending, costs: Costs, now: Instant) {
        let Ending { code, reason, was_clean, failure } = ending;
        let verdict = self.verdict(code, failure.as_ref(), costs, now);
        self.let_go();
        if let Some(failure) = &failure {
            self.remember(failure);
        }
        let failure = if verdict == Verdict::Exhausted {
            Some(self.exhausted(code, &reason, failure))
        } else {
            failure
        };
        let epoch = self.epoch;
        if let Some(failure) = failure {
            self.emit(Event::Error { epoch, failure });
        }
        match verdict {
            Verdict::Retry { delay } => {
                let retry = Some(self.plan(delay, now));
                self.emit(Event::Close { epoch, code, reason, was_clean, retry, unsent: vec![] });
            }
            Verdict::Stop | Verdict::Exhausted => self.finish(code, reason, was_clean),
        }
    }

    fn verdict(
        &mut self,
        code: u16,
        failure: Option<&Failure>,
        costs: Costs,
        now: Instant,
    ) -> Verdict {
        let policy = self.config.reconnect.as_ref();
        match (costs, policy) {
            (Costs::Nothing, Some(_)) => return Verdict::Retry { delay: Duration::ZERO },
            (Costs::Nothing, None) => return Verdict::Stop,
            (Costs::Attempt, _) => {}
        }
        let opened_at = match self.phase {
            Phase::Open { since } => Some(since),
            _ => None,
        };
        let failed_probe = opened_at.is_some() && failure.is_some() && self.pulse.is_probing();
        // Only what the peer said can be on a stop list: not the code with which we answer a peer
        // that broke the protocol, and neither 1006 nor a refused dial, which have no close frame.
        let close_code = (opened_at.is_some() && failure.is_none()).then_some(code);
        let cause = Cause { close_code, failure, can_refresh: self.config.can_refresh };
        match self.reconnect.decide(policy, &cause, opened_at, now, &mut self.jitter) {
            // The network changed or the device slept, and the old connection did not survive
            // it. That is no fault of the server's, which the delay is there to protect.
            Verdict::Retry { .. } if failed_probe => Verdict::Retry { delay: Duration::ZERO },
            verdict => verdict,
        }
    }

    pub(super) fn remember(&mut self, failure: &Failure) {
        self.last_failure = Some(failure.clone());
        self.failed_epoch = self.epoch;
    }

    /// The error that ends a task whose attempts are used up, with what the last one died of.
    fn exhausted(&mut self, code: u16, reason: &str, last: Option<Failure>) -> Failure {
        let attempts = self.reconnect.attempt();
        let detail = match &last {
            Some(last) => {
                format!("{attempts} attempts; the last: {} ({})", last.kind.message(), last.detail)
            }
            None => format!("{attempts} attempts; the last was closed with {code} {reason:?}"),
        };
        let failure = Failure {
            kind: ErrorKind::ReconnectLimit,
            detail,
            refusal: last.and_then(|last| last.refusal),
            retry_after: None,
        };
        self.remember(&failure);
        failure
    }

    fn plan(&mut self, delay: Duration, now: Instant) -> Retry {
        let max = self.config.reconnect.as_ref().and_then(|policy| policy.max_attempts);
        let attempt = self.reconnect.attempt();
        let due = now + delay;
        if self.holds.any() {
            self.phase = Phase::Suspended;
            self.postponed = (!self.holds.forbids_any()).then_some(due);
            return Retry { attempt, max, delay: None };
        }
        self.wait(due);
        Retry { attempt, max, delay: Some(delay) }
    }

    pub(super) fn wait(&mut self, due: Instant) {
        self.phase = Phase::Waiting { due };
        self.timers.set(Timer::Retry, due);
    }

    /// Everything that belonged to the connection is void.
    fn let_go(&mut self) {
        self.timers.stop(Timer::Heartbeat);
        self.timers.stop(Timer::Answer);
        self.outbox.disconnected();
        self.read_paused = false;
    }

    pub(super) fn close(&mut self, code: u16, reason: String, now: Instant) {
        match self.phase {
            Phase::Closing | Phase::Closed => {}
            Phase::Open { .. } => {
                self.phase = Phase::Closing;
                self.timers.stop(Timer::Heartbeat);
                self.timers.stop(Timer::Answer);
                self.timers.stop(Timer::Grace);
                self.timers.set(Timer::Close, now + self.config.close_timeout);
                self.closing = Some(ClosingState { code, reason, said: false });
            }
            Phase::Connecting => {
                let epoch = self.epoch;
                self.outputs.push_back(Output::Abort { epoch });
                self.finish(code, reason, false);
            }
            Phase::Idle | Phase::Waiting { .. } | Phase::Suspended => {
                // The last connection had its `Close`; this one belongs to the connection
                // that will not be made.
                self.epoch += 1;
                self.finish(code, reason, false);
            }
        }
    }

    /// The closing handshake is over, one way or another.
    pub(super) fn finish_close(&mut self, answered: bool) {
        let Some(closing) = self.closing.take() else { return };
        let epoch = self.epoch;
        let was_clean = answered && closing.said;
        self.outputs.push_back(if answered {
            Output::HangUp { epoch, close: None }
        } else {
            Output::Abort { epoch }
        });
        self.finish(closing.code, closing.reason, was_clean);
    }

    pub(super) fn finish(&mut self, code: u16, reason: String, was_clean: bool) {
        self.phase = Phase::Closed;
        self.timers = TimerTable::default();
        let unsent = self.outbox.drain();
        let epoch = self.epoch;
        self.emit(Event::Close { epoch, code, reason, was_clean, retry: None, unsent });
    }
}
