//! A world for the machine: a clock that moves only when told, a scripted network, a record.

use super::checker;
use super::script::{Act, Answer, Connection, Dial, ms};
use crate::session::{
    Backoff, Config, HeartbeatPayload, Input, Jitter, Message, Output, OverflowPolicy, Phase,
    QueueLimits, ReconnectPolicy, SendOutcome, SendRefused, Session, Transmit,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// More than any story needs between two calls: a machine that asks for more is spinning.
const TOO_MANY_STEPS: usize = 100_000;

/// What the world needs of a machine: the real one, or a broken one that the checkers must
/// find out.
pub(super) trait Machine {
    fn handle(&mut self, input: Input, now: Instant);
    fn send(&mut self, message: Message, now: Instant) -> Result<SendOutcome, SendRefused>;
    fn handle_timeout(&mut self, now: Instant);
    fn poll_all(&mut self) -> VecDeque<Output>;
    fn poll_transmit(&mut self) -> Option<Transmit>;
    fn wants_transmit(&self) -> bool;
    fn next_timeout(&self) -> Option<Instant>;
    fn phase(&self) -> Phase;
    fn epoch(&self) -> u64;
    fn buffered_amount(&self) -> usize;
}

impl Machine for Session {
    fn handle(&mut self, input: Input, now: Instant) {
        Session::handle(self, input, now);
    }
    fn send(&mut self, message: Message, now: Instant) -> Result<SendOutcome, SendRefused> {
        Session::send(self, message, now)
    }
    fn handle_timeout(&mut self, now: Instant) {
        Session::handle_timeout(self, now);
    }
    fn poll_all(&mut self) -> VecDeque<Output> {
        Session::poll_all(self)
    }
    fn poll_transmit(&mut self) -> Option<Transmit> {
        Session::poll_transmit(self)
    }
    fn wants_transmit(&self) -> bool {
        Session::wants_transmit(self)
    }
    fn next_timeout(&self) -> Option<Instant> {
        Session::next_timeout(self)
    }
    fn phase(&self) -> Phase {
        Session::phase(self)
    }
    fn epoch(&self) -> u64 {
        Session::epoch(self)
    }
    fn buffered_amount(&self) -> usize {
        Session::buffered_amount(self)
    }
}

/// What set the machine in motion.
#[derive(Clone, Debug)]
pub(super) enum Stimulus {
    Input(Input),
    Send(Message, Result<SendOutcome, SendRefused>),
    Timeout,
    /// The socket takes bytes again.
    Writable,
}

/// One move of the machine.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: Duration,
    /// What the clock showed when the story began.
    pub(super) origin: Instant,
    pub(super) stimulus: Stimulus,
    pub(super) outputs: Vec<Output>,
    pub(super) written: Vec<Transmit>,
    /// As the app would see it when it hears of the first event of this step.
    pub(super) phase: Phase,
    /// What the machine said of itself before its transmits were taken.
    pub(super) wanted_transmit: bool,
    pub(super) took_transmits: bool,
    pub(super) next_timeout: Option<Duration>,
    pub(super) buffered: usize,
}

pub(super) struct Sim<M: Machine = Session> {
    pub(super) machine: M,
    pub(super) config: Config,
    pub(super) steps: Vec<Step>,
    /// False: the peer reads nothing, and the socket's buffer is full.
    writable: bool,
    /// Panic at the end if an invariant is broken.
    judged: bool,
    start: Instant,
    now: Duration,
    script: VecDeque<Connection>,
    otherwise: Connection,
    /// The number of the newest dial.
    pub(super) dial: u64,
    current: Option<(u64, Connection)>,
    coming: Vec<(Duration, Input)>,
    /// Where the part of the record begins that the test looks at.
    mark: usize,
}

impl Sim {
    pub(super) fn new(config: Config) -> Self {
        Self::with_jitter(config, fixed(0.5))
    }

    pub(super) fn with_jitter(config: Config, jitter: Jitter) -> Self {
        let mut sim = Self::with_machine(Session::new(config.clone(), jitter), config);
        sim.judged = true;
        sim
    }
}

impl<M: Machine> Sim<M> {
    pub(super) fn with_machine(machine: M, config: Config) -> Self {
        Self {
            machine,
            config,
            steps: vec![],
            writable: true,
            judged: false,
            start: Instant::now(),
            now: Duration::ZERO,
            script: VecDeque::new(),
            otherwise: Connection::hangs(),
            dial: 0,
            current: None,
            coming: vec![],
            mark: 0,
        }
    }

    /// What the next dial not scripted yet meets.
    pub(super) fn then(mut self, connection: Connection) -> Self {
        self.script.push_back(connection);
        self
    }

    /// What every dial meets that is not scripted.
    pub(super) fn always(mut self, connection: Connection) -> Self {
        self.otherwise = connection;
        self
    }

    pub(super) fn connected(mut self) -> Self {
        self.input(Input::Connect);
        self
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn input(&mut self, input: Input) {
        let opened = match &input {
            Input::Opened { dial } => Some(*dial),
            _ => None,
        };
        self.machine.handle(input.clone(), self.instant());
        self.record(Stimulus::Input(input));
        if let Some(dial) = opened {
            self.begin_acts(dial);
        }
    }

    pub(super) fn send(&mut self, message: Message) -> Result<SendOutcome, SendRefused> {
        let outcome = self.machine.send(message.clone(), self.instant());
        self.record(Stimulus::Send(message, outcome.clone()));
        outcome
    }

    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.input(Input::Close { code, reason: reason.to_owned() });
    }

    /// Calls `handle_timeout` whether or not anything is due.
    pub(super) fn timeout(&mut self) {
        self.machine.handle_timeout(self.instant());
        self.record(Stimulus::Timeout);
    }

    pub(super) fn set_writable(&mut self, writable: bool) {
        self.writable = writable;
        if writable {
            self.record(Stimulus::Writable);
        }
    }

    pub(super) fn run_for(&mut self, millis: u64) {
        self.run(self.now + ms(millis));
    }

    pub(super) fn run_until(&mut self, millis: u64) {
        self.run(ms(millis));
    }

    fn run(&mut self, until: Duration) {
        for _ in 0..TOO_MANY_STEPS {
            let arrival = self.coming.iter().map(|(at, _)| *at).min();
            let timer = self.next_timeout();
            let Some(next) = [arrival, timer].into_iter().flatten().min() else { break };
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            // What arrives at the very moment of a deadline has arrived in time.
            match self.coming.iter().position(|(at, _)| *at == next) {
                Some(index) => {
                    let (_, input) = self.coming.remove(index);
                    self.input(input);
                }
                None => self.timeout(),
            }
            assert!(self.steps.len() < TOO_MANY_STEPS, "the machine spins");
        }
        self.now = until;
    }

    /// The device sleeps: time passes, nobody calls, and what the network sends is lost.
    pub(super) fn sleep(&mut self, millis: u64) {
        self.now += ms(millis);
        let now = self.now;
        self.coming.retain(|(at, _)| *at > now);
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.machine.next_timeout().map(|at| at.saturating_duration_since(self.start))
    }

    fn instant(&self) -> Instant {
        self.start + self.now
    }

    fn record(&mut self, stimulus: Stimulus) {
        let phase = self.machine.phase();
        let outputs: Vec<Output> = self.machine.poll_all().into();
        let wanted_transmit = self.machine.wants_transmit();
        let written: Vec<Transmit> = match self.writable {
            true => std::iter::from_fn(|| self.machine.poll_transmit()).collect(),
            false => vec![],
        };
        let flush = !written.is_empty();
        self.steps.push(Step {
            at: self.now,
            origin: self.start,
            stimulus,
            outputs: outputs.clone(),
            written: written.clone(),
            phase,
            wanted_transmit,
            took_transmits: self.writable,
            next_timeout: self.next_timeout(),
            buffered: self.machine.buffered_amount(),
        });
        outputs.into_iter().for_each(|output| self.perform(output));
        written.into_iter().for_each(|transmit| self.arrive(transmit));
        if flush {
            self.input(Input::Flushed);
        }
    }

    fn perform(&mut self, output: Output) {
        // What was asked to be dropped goes on talking: the machine must not listen.
        let Output::Dial { epoch, dial, .. } = output else { return };
        let connection = self.script.pop_front().unwrap_or_else(|| self.otherwise.clone());
        match connection.dial.clone() {
            Dial::Opens(after) => self.later(after, Input::Opened { dial }),
            Dial::Fails(after, failure) => {
                self.later(after, Input::DialFailed { dial, failure });
            }
            Dial::GivesUp(after, failure) => self.later(after, Input::GiveUp { dial, failure }),
            Dial::Hangs => {}
        }
        (self.dial, self.current) = (dial, Some((epoch, connection)));
    }

    fn begin_acts(&mut self, opened: u64) {
        let Some((epoch, connection)) = self.current.clone() else { return };
        if self.dial != opened {
            return;
        }
        for (after, act) in connection.acts {
            let input = match act {
                Act::Say(message) => Input::Received { epoch, message },
                Act::Ping => Input::Alive { epoch },
                Act::Close(code, reason) => {
                    Input::CloseReceived { epoch, code, reason: reason.to_owned() }
                }
                Act::Break(failure) => Input::Failed { epoch, failure },
            };
            self.later(after, input);
        }
    }

    /// Something we wrote reaches the server.
    fn arrive(&mut self, transmit: Transmit) {
        let Some((epoch, connection)) = self.current.clone() else { return };
        match (transmit, connection.answer) {
            (Transmit::Close { code, reason }, _) => {
                if let Some(after) = connection.closes_after {
                    let code = Some(code);
                    self.later(after, Input::CloseReceived { epoch, code, reason });
                }
            }
            (Transmit::Ping(payload), Some((after, Answer::Pong))) => {
                self.later(after, Input::Ponged { epoch, payload });
            }
            (Transmit::Own(written), Some((after, Answer::Say(message))))
                if self.is_heartbeat(&written) =>
            {
                self.later(after, Input::Received { epoch, message });
            }
            _ => {}
        }
    }

    fn is_heartbeat(&self, message: &Message) -> bool {
        match self.config.heartbeat.as_ref().map(|heartbeat| &heartbeat.payload) {
            Some(HeartbeatPayload::Text { text }) => *message == Message::text(text.clone()),
            Some(HeartbeatPayload::Binary { bytes }) => *message == Message::binary(bytes.clone()),
            _ => false,
        }
    }

    fn later(&mut self, after: Duration, input: Input) {
        self.coming.push((self.now + after, input));
    }

    /// Looks only at what happens from here on.
    pub(super) fn forget(&mut self) {
        self.mark = self.steps.len();
    }

    pub(super) fn remembered(&self) -> &[Step] {
        &self.steps[self.mark..]
    }
}

impl<M: Machine> Drop for Sim<M> {
    fn drop(&mut self) {
        if self.judged && !std::thread::panicking() {
            checker::assert_sound(&self.config, &self.steps);
        }
    }
}

/// Always the same "random" number.
pub(super) fn fixed(value: f64) -> Jitter {
    Box::new(move || value)
}

/// Rules without surprises: again after a second, for ever, no heartbeat.
pub(super) fn plain() -> Config {
    Config {
        reconnect: Some(policy(Backoff::Fixed(ms(1_000)), None)),
        heartbeat: None,
        queue: QueueLimits {
            messages: 256,
            bytes: 1 << 20,
            max_age: None,
            overflow: OverflowPolicy::Reject,
        },
        max_buffered_bytes: 16 << 20,
        close_timeout: ms(3_000),
        background_grace: None,
        greeting: None,
        can_refresh: false,
    }
}

pub(super) fn policy(backoff: Backoff, max_attempts: Option<u32>) -> ReconnectPolicy {
    ReconnectPolicy {
        backoff,
        max_attempts,
        stable_after: ms(5_000),
        stop_codes: vec![],
        stop_statuses: vec![],
        stop_statuses_need_tls: false,
        honour_retry_after: true,
    }
}
