//! Machines with one fault each. A checker that finds nothing wrong with its own kind of
//! broken machine checks nothing.

use super::checker;
use super::sim::{Machine, fixed};
use crate::session::{
    Config, Event, Input, Message, NetworkStatus, Output, Phase, SendOutcome, SendRefused, Session,
    Transmit,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Dials again while a dial is in flight.
    DoubleDial,
    /// Does not let go of a connection before it dials the next.
    KeepConnection,
    /// Takes what becomes of a dial that was given up for news of the one after it.
    BelieveLateDial,
    DialAfterClose,
    DoubleOpen,
    MessageAfterClose,
    DoubleError,
    MessageAfterError,
    ForgetClose,
    DoubleClose,
    StaleEvent,
    EventAfterFinal,
    /// The state is what it was before the event.
    LateState,
    OwnCloseCode,
    AlwaysClean,
    /// A queue ten times as large as it should be.
    LargeQueue,
    /// Loses the second of two messages.
    SilentDrop,
    Reorder,
    SendTwice,
    ForgetUnsent,
    MiscountBuffered,
    OverLimit,
    ResetOnOpen,
    /// Does not hear that it may come back.
    StayAway,
    LeftoverTimer,
    PastTimeout,
    LostTimer,
    WriteWhileClosed,
    WriteAfterCloseFrame,
    HiddenTransmit,
}

pub(super) struct Broken {
    inner: Session,
    fault: Fault,
    outputs: VecDeque<Output>,
    transmits: VecDeque<Transmit>,
    /// The number of the newest dial.
    dial: u64,
    /// The phase before the newest input.
    before: Phase,
    over: bool,
    said_close: bool,
    /// Wrote what it should not have: once is enough.
    haunted: bool,
    past: Option<Instant>,
    now: Instant,
}

impl Broken {
    pub(super) fn new(mut config: Config, fault: Fault) -> Self {
        match (fault, &mut config.reconnect) {
            (Fault::OverLimit, Some(policy)) => policy.max_attempts = None,
            (Fault::ResetOnOpen, Some(policy)) => policy.stable_after = Duration::ZERO,
            (Fault::LargeQueue, _) => {
                config.queue.messages *= 10;
                config.queue.bytes *= 10;
            }
            _ => {}
        }
        Self {
            inner: Session::new(config, fixed(0.5)),
            fault,
            outputs: VecDeque::new(),
            transmits: VecDeque::new(),
            dial: 0,
            before: Phase::Idle,
            over: false,
            said_close: false,
            haunted: false,
            past: None,
            now: Instant::now(),
        }
    }

    /// Takes what the sound machine wants done, and spoils it.
    fn spoil(&mut self, now: Instant) {
        self.now = now;
        self.inner.poll_all().into_iter().for_each(|output| self.spoil_output(output));
    }

    fn spoil_output(&mut self, mut output: Output) {
        use Fault as F;
        let before = output.clone();
        if let Output::Emit(Event::Close { code, was_clean, retry, unsent, .. }) = &mut output {
            match self.fault {
                F::ForgetClose if retry.is_some() => return,
                F::OwnCloseCode => *code = 1006,
                F::AlwaysClean => *was_clean = true,
                F::ForgetUnsent => unsent.clear(),
                _ => {}
            }
        }
        if let Output::Dial { dial, .. } = &output {
            self.dial = *dial;
        }
        let lets_go = matches!(output, Output::Abort { .. } | Output::HangUp { .. });
        if self.fault != F::KeepConnection || !lets_go {
            self.outputs.push_back(output);
        }
        self.add_after(before);
    }

    /// What a broken machine says too much.
    fn add_after(&mut self, output: Output) {
        use Fault as F;
        let is_final = checker::is_final(&output);
        let extra = match (self.fault, &output) {
            (F::DoubleDial, Output::Dial { epoch, dial, attempt, .. }) => Output::Dial {
                epoch: epoch + 1,
                dial: dial + 1,
                attempt: *attempt,
                last_failure: None,
            },
            (F::DialAfterClose, _) if is_final => Output::Dial {
                epoch: self.inner.epoch() + 1,
                dial: u64::MAX,
                attempt: 0,
                last_failure: None,
            },
            (F::DoubleOpen, Output::Emit(Event::Open { .. }))
            | (F::DoubleError, Output::Emit(Event::Error { .. }))
            | (F::DoubleClose, Output::Emit(Event::Close { .. })) => output,
            (F::MessageAfterClose, Output::Emit(Event::Close { .. }))
            | (F::MessageAfterError, Output::Emit(Event::Error { .. })) => self.message(),
            (F::EventAfterFinal, _) if is_final => self.message(),
            (F::StaleEvent, Output::Dial { epoch, .. }) if *epoch > 1 => {
                Output::Emit(Event::Message { epoch: epoch - 1, message: Message::text("old") })
            }
            _ => return,
        };
        self.outputs.push_back(extra);
    }

    fn message(&self) -> Output {
        let epoch = self.inner.epoch();
        Output::Emit(Event::Message { epoch, message: Message::text("ghost") })
    }

    fn spoil_transmits(&mut self) {
        let mut all: Vec<_> = std::iter::from_fn(|| self.inner.poll_transmit()).collect();
        let closes = all.iter().any(|one| matches!(one, Transmit::Close { .. }));
        let is_message = |one: &Transmit| matches!(one, Transmit::Message(_));
        let last = all.iter().rposition(is_message);
        match (self.fault, last) {
            (Fault::Reorder, Some(last)) if last > 0 && is_message(&all[last - 1]) => {
                all.swap(last - 1, last);
            }
            (Fault::SilentDrop, Some(last)) if last > 0 => {
                all.remove(last);
            }
            (Fault::SendTwice, Some(last)) => all.insert(last, all[last].clone()),
            (Fault::WriteWhileClosed, _) if self.over && !self.haunted => {
                self.haunted = true;
                all.push(Transmit::Ping(Bytes::new()));
            }
            (Fault::WriteAfterCloseFrame, _) if closes && !self.said_close => {
                all.push(Transmit::Ping(Bytes::new()));
            }
            _ => {}
        }
        self.said_close |= closes;
        self.transmits.extend(all);
    }
}

impl Machine for Broken {
    fn handle(&mut self, mut input: Input, now: Instant) {
        self.before = self.inner.phase();
        if let (Fault::BelieveLateDial, Input::Opened { dial }) = (self.fault, &mut input) {
            *dial = self.dial;
        }
        if self.fault != Fault::StayAway
            || !matches!(
                input,
                Input::Network(NetworkStatus { available: true, .. }) | Input::Resume
            )
        {
            self.inner.handle(input, now);
        }
        self.spoil(now);
        self.over = self.inner.phase() == Phase::Closed;
    }

    fn send(&mut self, message: Message, now: Instant) -> Result<SendOutcome, SendRefused> {
        self.before = self.inner.phase();
        self.inner.send(message, now)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.before = self.inner.phase();
        // Once only: a driver would spin for ever.
        self.past = (self.fault == Fault::PastTimeout && self.past.is_none()).then_some(now);
        self.inner.handle_timeout(now);
        self.spoil(now);
    }

    fn poll_all(&mut self) -> VecDeque<Output> {
        std::mem::take(&mut self.outputs)
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        if self.transmits.is_empty() {
            self.spoil_transmits();
        }
        self.transmits.pop_front()
    }

    fn wants_transmit(&self) -> bool {
        self.inner.wants_transmit() && self.fault != Fault::HiddenTransmit
    }

    fn next_timeout(&self) -> Option<Instant> {
        let held = matches!(self.inner.phase(), Phase::Suspended | Phase::Closed);
        match self.fault {
            Fault::LeftoverTimer if held => Some(self.now + Duration::from_secs(3_600)),
            Fault::LostTimer => None,
            _ => self.past.or(self.inner.next_timeout()),
        }
    }

    fn phase(&self) -> Phase {
        match self.fault {
            Fault::LateState => self.before,
            _ => self.inner.phase(),
        }
    }

    fn epoch(&self) -> u64 {
        self.inner.epoch()
    }

    fn buffered_amount(&self) -> usize {
        let wrong = usize::from(self.fault == Fault::MiscountBuffered);
        self.inner.buffered_amount() + wrong
    }
}
