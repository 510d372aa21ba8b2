//! The pure state machine: no socket, no clock, no thread, no randomness of its own.
//!
//! Every rule of the contract that needs no socket lives here. The driver feeds it
//! [`Input`]s and the time, and then **drains it**:
//!
//! ```text
//! handle(input, now) ─┐
//! send(message, now) ─┼─▶ poll_all()      what to do, what to tell the app
//! handle_timeout(now)─┘   poll_transmit() while the connection can take it: what to write
//!                         next_timeout()  when to call handle_timeout
//! ```
//!
//! Whatever concerns a dial carries its number, and whatever concerns an open connection its
//! *epoch*. An input of an older one is ignored, which is how nothing of an old connection is
//! ever heard after a new one began. One epoch may take several dials: a dial that is given up
//! for another one, because the network changed, ends no connection.
//!
//! After a heartbeat `poll_transmit` gives nothing until [`Input::Flushed`], or until
//! [`Input::Written`] says that it is written: the time for its answer begins then.

mod close;
mod config;
mod dial;
mod failure;
mod heartbeat;
mod io;
mod life;
mod network;
mod outbox;
mod progress;
mod reconnect;
mod reply;
mod signals;
mod state;
mod stats;
mod timers;

#[cfg(test)]
mod tests;

pub use close::{CloseRefused, MAX_REASON_BYTES, check_close};
pub use config::{
    Backoff, Config, Heartbeat, HeartbeatPayload, OverflowPolicy, QueueLimits, ReconnectPolicy,
    ReplyMatch,
};
pub use failure::{ErrorKind, Failure, Header, Refusal};
pub use io::{Data, Event, Input, Message, Output, Retry, SendOutcome, SendRefused, Transmit};
pub use network::{NetworkKind, NetworkStatus};
pub use state::{Phase, ReadyState};
pub use stats::Counters;

use dial::{Dialling, Hurry};
use heartbeat::{Frame, Pulse};
use outbox::{Kept, Outbox};
use reconnect::Reconnect;
use state::Holds;
use std::collections::VecDeque;
use std::time::Instant;
use timers::{Timer, TimerTable};

/// Where random numbers come from: uniform in 0.0 to 1.0, 1.0 excluded.
pub type Jitter = Box<dyn FnMut() -> f64 + Send>;

/// One task: a chain of connections under one set of rules.
pub struct Session {
    config: Config,
    jitter: Jitter,
    phase: Phase,
    /// The newest connection; 0 before the first.
    epoch: u64,
    holds: Holds,
    /// What was last told of it.
    network: Option<NetworkStatus>,
    /// When the retry is due that waits for the end of a crowd, and for nothing else.
    postponed: Option<Instant>,
    reconnect: Reconnect,
    dialling: Dialling,
    pulse: Pulse,
    outbox: Outbox,
    timers: TimerTable,
    /// The close that the app asked for, from `Closing` on.
    closing: Option<ClosingState>,
    read_paused: bool,
    last_failure: Option<Failure>,
    /// Whose failure that is.
    failed_epoch: u64,
    counters: Counters,
    outputs: VecDeque<Output>,
}

struct ClosingState {
    code: u16,
    reason: String,
    /// The close frame has been handed out.
    said: bool,
}

impl Session {
    /// A task that has not begun; [`Input::Connect`] begins it.
    pub fn new(config: Config, jitter: Jitter) -> Self {
        let outbox = Outbox::new(config.queue.clone(), config.max_buffered_bytes);
        Self {
            config,
            jitter,
            phase: Phase::Idle,
            epoch: 0,
            holds: Holds::default(),
            network: None,
            postponed: None,
            reconnect: Reconnect::default(),
            dialling: Dialling::default(),
            pulse: Pulse::default(),
            outbox,
            timers: TimerTable::default(),
            closing: None,
            read_paused: false,
            last_failure: None,
            failed_epoch: 0,
            counters: Counters::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The newest connection; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Bytes accepted and not yet known to be written.
    pub fn buffered_amount(&self) -> usize {
        self.outbox.buffered_amount()
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        let (last_rtt, smoothed_rtt) = self.pulse.rtt();
        Counters {
            epoch: self.epoch,
            attempt: self.reconnect.attempt(),
            last_rtt,
            smoothed_rtt,
            ..self.counters
        }
    }

    /// What ended the last connection that failed.
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// The connection that [`last_failure`](Self::last_failure) ended; 0 before the first.
    pub fn failed_epoch(&self) -> u64 {
        self.failed_epoch
    }

    /// Everything there is to do, in order. Nothing of it is kept, not even its memory: a task
    /// is idle most of its life.
    pub fn poll_all(&mut self) -> VecDeque<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Offers a message. Never blocks, never loses: it is sent, queued, or still the caller's.
    pub fn send(&mut self, message: Message, now: Instant) -> Result<SendOutcome, SendRefused> {
        let open = match self.phase {
            Phase::Closing | Phase::Closed => return Err(SendRefused::NotConnected),
            Phase::Open { .. } => true,
            _ if self.config.queue.messages == 0 => return Err(SendRefused::NotConnected),
            _ => false,
        };
        let size = message.len();
        match self.outbox.push(message, open, now)? {
            Kept::No => Ok(SendOutcome::Dropped),
            Kept::Yes(dropped) => {
                self.counters.accepted(size);
                Ok(if open && dropped.is_empty() {
                    SendOutcome::Sent
                } else {
                    SendOutcome::Queued { dropped }
                })
            }
        }
    }

    /// The next thing to write to the open connection.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if !matches!(self.phase, Phase::Open { .. } | Phase::Closing) {
            return None;
        }
        if self.closing.as_ref().is_some_and(|closing| closing.said) {
            return None;
        }
        if self.pulse.progress.is_handed_out() {
            return None;
        }
        if let Some(next) = self.outbox.next() {
            if !self.outbox.has_question() {
                self.pulse.progress.handed_out(&next);
            }
            return Some(next);
        }
        let closing = self.closing.as_mut()?;
        closing.said = true;
        Some(Transmit::Close { code: closing.code, reason: closing.reason.clone() })
    }

    /// As [`poll_transmit`](Self::poll_transmit) while a message is written in fragments: only a
    /// Ping may go between them (RFC 6455, 5.4). The close frame comes after all messages.
    pub fn poll_ping(&mut self) -> Option<Transmit> {
        if !matches!(self.phase, Phase::Open { .. }) || self.pulse.progress.is_handed_out() {
            return None;
        }
        let ping = self.outbox.next_ping()?;
        self.pulse.progress.handed_out(&ping);
        Some(ping)
    }

    /// As [`poll_transmit`](Self::poll_transmit) if one message of the app waits, of at most so
    /// many bytes, and nothing else does.
    pub fn poll_only_transmit(&mut self, max_bytes: usize) -> Option<Transmit> {
        let is_alone = matches!(self.phase, Phase::Open { .. }) && self.outbox.has_only(max_bytes);
        if is_alone { self.poll_transmit() } else { None }
    }

    /// Is this the connection that is open or closing? If it is not, whoever holds it
    /// [gives back](Self::give_back) what it has not written.
    pub fn has(&self, epoch: u64) -> bool {
        self.is_current(epoch)
    }

    /// The messages of the app, in order, that were handed out to a connection and of which no byte
    /// was written before it was over. To be called before the outputs of its end are taken: they
    /// go out on the next connection, or come with the final `Close`.
    pub fn give_back(&mut self, messages: Vec<Message>, now: Instant) {
        if self.phase != Phase::Closed {
            return self.outbox.give_back(messages, now);
        }
        let last = self.outputs.iter_mut().rev().find_map(|output| match output {
            Output::Emit(Event::Close { retry: None, unsent, .. }) => Some(unsent),
            _ => None,
        });
        if let Some(unsent) = last {
            unsent.splice(0..0, messages);
        }
    }

    /// Is there anything for [`poll_transmit`](Self::poll_transmit)?
    pub fn wants_transmit(&self) -> bool {
        match self.phase {
            _ if self.pulse.progress.is_handed_out() => false,
            Phase::Open { .. } => self.outbox.has_next(),
            Phase::Closing => self.closing.as_ref().is_some_and(|closing| !closing.said),
            _ => false,
        }
    }

    /// Does it want to be told of [`Input::Progress`]? It does while an answer is awaited.
    pub fn watches_progress(&self) -> bool {
        self.timers.is_set(Timer::Answer)
    }

    /// A data message arrived; whoever has it tells the app. True: it is for the app, after
    /// everything that [`poll_all`](Self::poll_all) gives already and before what it will give.
    pub fn receive(&mut self, epoch: u64, data: Data<'_>, now: Instant) -> bool {
        self.is_current(epoch) && self.received(data, now)
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Connect => self.connect(now),
            Input::Close { code, reason } => self.close(code, reason, now),
            Input::DialProgress { dial } if self.is_dialling(dial) => self.dial_progressed(now),
            Input::Opened { dial } if self.is_dialling(dial) => self.opened(now),
            Input::DialFailed { dial, failure } if self.is_dialling(dial) => {
                self.failed(failure, now);
            }
            Input::GiveUp { dial, failure } if self.is_dialling(dial) => self.give_up(failure),
            Input::Received { epoch, message } => {
                if self.receive(epoch, message.data(), now) {
                    self.emit(Event::Message { epoch, message });
                }
            }
            Input::Alive { epoch } if self.is_current(epoch) => self.heard(Frame::Control, now),
            Input::Ponged { epoch, payload } if self.is_current(epoch) => {
                self.ponged(&payload, now)
            }
            Input::CloseReceived { epoch, code, reason } if self.is_current(epoch) => {
                self.close_received(code, reason, now);
            }
            Input::Failed { epoch, failure } if self.is_current(epoch) => self.failed(failure, now),
            Input::Flushed => {
                self.outbox.flushed();
                self.pulse.flushed(&mut self.timers, now);
            }
            Input::Written { epoch, messages, payload, heartbeat } if self.is_current(epoch) => {
                self.outbox.written(messages, payload);
                if heartbeat {
                    self.outbox.answered();
                    self.pulse.flushed(&mut self.timers, now);
                }
            }
            Input::Progress { epoch, written, acknowledged } if self.is_current(epoch) => {
                let heartbeat = self.config.heartbeat.as_ref();
                let progress = &mut self.pulse.progress;
                progress.told(written, acknowledged, heartbeat, &mut self.timers, now);
            }
            Input::ReadPaused(paused) => self.read(paused, now),
            Input::Crowded(crowded) => self.crowded(crowded, now),
            Input::Network(network) => self.network(network, now),
            Input::Foreground(foreground) => self.foreground(foreground, now),
            Input::GraceOver => {
                if self.timers.is_set(Timer::Grace) {
                    self.timers.stop(Timer::Grace);
                    self.grace_over(now);
                }
            }
            Input::Pause => self.pause(now),
            Input::Resume if self.holds.paused => {
                self.holds.paused = false;
                self.wake(Hurry::Impatience, now);
            }
            Input::Resume => {}
            Input::ReconnectNow => {
                self.holds = Holds { crowded: self.holds.crowded, ..Holds::default() };
                self.wake(Hurry::Impatience, now);
            }
            Input::Woke { slept } => self.woke(slept, now),
            // Of a dial or a connection that is no longer ours.
            Input::DialProgress { .. }
            | Input::Opened { .. }
            | Input::DialFailed { .. }
            | Input::GiveUp { .. }
            | Input::Alive { .. }
            | Input::Written { .. }
            | Input::Progress { .. }
            | Input::Ponged { .. }
            | Input::CloseReceived { .. }
            | Input::Failed { .. } => {}
        }
    }

    /// The time that [`next_timeout`](Self::next_timeout) named has come. Timers that were
    /// slept through run once each, in their order.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((timer, due)) = self.timers.pop_due(now) {
            match timer {
                Timer::Retry => self.dial(now),
                Timer::Heartbeat => self.beat(now),
                Timer::Answer => self.missed(due, now),
                Timer::Close => self.finish_close(false),
                Timer::Grace => self.grace_over(now),
            }
        }
    }

    /// Only a connection that is open or closing has a say.
    fn is_current(&self, epoch: u64) -> bool {
        epoch == self.epoch && matches!(self.phase, Phase::Open { .. } | Phase::Closing)
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Emit(event));
    }
}
