//! Where the demo plays: the client under observation, what it went through so far, and the
//! means to say what must happen next.

use super::escape::quoted;
use super::timeline::{Mark, Timeline};
use clap::builder::styling::Style;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use wxsocket::testing::{ScriptedServer, Snapshot};
use wxsocket::{CloseEvent, ErrorKind, Message, SendOutcome, SocketEvent, SocketTask};

/// How often the living line is rewritten.
const TICK: Duration = Duration::from_millis(100);

/// What is told instead of what should have happened.
pub(crate) type Surprise = String;

/// What the client went through, as its events told it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) opens: u64,
    pub(crate) losses: u64,
    pub(crate) refused: u64,
    pub(crate) retries: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Sent on purpose where nobody reads.
    pub(crate) lost: u64,
    pub(crate) longest_outage: Duration,
}

pub(crate) struct Stage {
    pub(crate) task: Arc<SocketTask>,
    pub(crate) server: Arc<ScriptedServer>,
    pub(crate) tally: Tally,
    timeline: Timeline,
    events: Receiver<SocketEvent>,
    /// How long anything may take before it counts as not happening.
    patience: Duration,
    open: bool,
    /// Since when there is no connection.
    down_since: Option<Instant>,
    /// The next attempt and when it is due.
    due: Option<(i32, Instant)>,
}

impl Stage {
    pub(crate) fn new(
        task: Arc<SocketTask>,
        server: Arc<ScriptedServer>,
        events: Receiver<SocketEvent>,
        mut timeline: Timeline,
        patience: Duration,
    ) -> Self {
        timeline.set_state("connecting");
        Self {
            task,
            server,
            tally: Tally::default(),
            timeline,
            events,
            patience,
            open: false,
            down_since: None,
            due: None,
        }
    }

    /// The title of what comes next.
    pub(crate) fn chapter(&mut self, title: &str) {
        self.timeline.plain(Style::new().bold(), &format!("\n{title}"));
    }

    pub(crate) fn plain(&mut self, style: Style, text: &str) {
        self.timeline.plain(style, text);
    }

    /// Why what is told reaches nobody, if that is so.
    pub(crate) fn lost_output(&self) -> Option<std::io::ErrorKind> {
        self.timeline.broken()
    }

    /// Says what the server is made to do.
    pub(crate) fn server_does(&mut self, what: &str) {
        self.timeline.note(Mark::Server, what);
    }

    /// Sends a text that the server is to send back.
    pub(crate) fn send(&mut self, text: &str) -> Result<(), Surprise> {
        let outcome = self.task.send(text).map_err(|error| format!("send failed: {error}"))?;
        self.tally.sent += 1;
        let (fits, note) = match outcome {
            SendOutcome::Sent => (self.open, ""),
            SendOutcome::Queued { .. } => (!self.open, "  (queued)"),
            SendOutcome::Dropped => (false, ""),
        };
        if !fits {
            let state = self.task.ready_state();
            return Err(format!("sending {text:?} in state {state:?} was answered {outcome:?}"));
        }
        self.timeline.note(Mark::Send, &format!("{text:?}{note}"));
        Ok(())
    }

    /// The next event must be an open, of the connection that follows the last.
    pub(crate) fn expect_open(&mut self) -> Result<(), Surprise> {
        match self.next("an open connection")? {
            SocketEvent::Open { .. } => Ok(()),
            other => Err(surprise("an open connection", &other)),
        }
    }

    /// The connection must come back; refused dials may come before.
    pub(crate) fn expect_return(&mut self) -> Result<(), Surprise> {
        loop {
            match self.next("an open connection")? {
                SocketEvent::Open { .. } => return Ok(()),
                SocketEvent::Error { event } if event.kind == ErrorKind::Refused => {
                    self.expect_close("the close of a refused dial", |close| close.code == 1006)?;
                }
                other => return Err(surprise("an open connection", &other)),
            }
        }
    }

    /// The next event must be this message.
    pub(crate) fn expect_message(&mut self, text: &str) -> Result<(), Surprise> {
        let expected = format!("the message {text:?}");
        match self.next(&expected)? {
            SocketEvent::Message { event } if event.data == Message::text(text) => Ok(()),
            other => Err(surprise(&expected, &other)),
        }
    }

    /// The next event must be this error.
    pub(crate) fn expect_error(&mut self, kind: ErrorKind) -> Result<(), Surprise> {
        let expected = format!("the error {:?}", kind.message());
        match self.next(&expected)? {
            SocketEvent::Error { event } if event.kind == kind => Ok(()),
            other => Err(surprise(&expected, &other)),
        }
    }

    /// The next event must be a close that fits.
    pub(crate) fn expect_close(
        &mut self,
        expected: &str,
        fits: impl Fn(&CloseEvent) -> bool,
    ) -> Result<(), Surprise> {
        match self.next(expected)? {
            SocketEvent::Close { event } if fits(&event) => Ok(()),
            other => Err(surprise(expected, &other)),
        }
    }

    /// The server must see so many heartbeats on the newest connection. The next one is sent
    /// only after the answer to the last, so seeing it proves that the answer arrived.
    pub(crate) fn expect_heartbeats(&mut self, count: u64) -> Result<(), Surprise> {
        for number in 1..=count {
            let seen = |state: &Snapshot| {
                state.connections.last().is_some_and(|last| last.heartbeats_received >= number)
            };
            self.expect_at_server(&format!("heartbeat {number}"), seen)?;
            let rtt = self.task.stats().last_rtt_ms;
            let rtt = rtt.map(|rtt| format!("; the last answer took {rtt:.1} ms"));
            let rtt = rtt.unwrap_or_default();
            self.timeline.note(Mark::Heartbeat, &format!("the server saw number {number}{rtt}"));
        }
        Ok(())
    }

    fn expect_at_server(
        &mut self,
        expected: &str,
        seen: impl Fn(&Snapshot) -> bool,
    ) -> Result<(), Surprise> {
        let deadline = Instant::now() + self.patience;
        while !self.server.wait_for(&seen, TICK) {
            if let Ok(event) = self.events.try_recv() {
                self.take(&event);
                return Err(surprise(expected, &event));
            }
            if Instant::now() > deadline {
                return Err(format!("expected {expected}; nothing happened for too long"));
            }
            self.timeline.live(Mark::Heartbeat, &format!("waiting for {expected}"));
        }
        Ok(())
    }

    /// Waits for an event, shows it and counts it.
    fn next(&mut self, expected: &str) -> Result<SocketEvent, Surprise> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.events.recv_timeout(TICK) {
                Ok(event) => {
                    self.take(&event);
                    return Ok(event);
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => self.tick(),
                Err(_) => {
                    return Err(format!("expected {expected}; nothing happened for too long"));
                }
            }
        }
    }

    fn tick(&mut self) {
        match self.due {
            Some((attempt, due)) => {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    self.timeline.set_state("connecting");
                    self.timeline.live(Mark::Dial, &format!("attempt {attempt}"));
                } else {
                    let left = left.as_secs_f64();
                    self.timeline.live(Mark::Wait, &format!("attempt {attempt} in {left:.1} s"));
                }
            }
            None if self.open => self.timeline.live(Mark::Wait, "no sign of life yet"),
            None => {}
        }
    }

    fn take(&mut self, event: &SocketEvent) {
        match event {
            SocketEvent::Open { event } => {
                self.tally.opens += 1;
                self.open = true;
                self.due = None;
                if let Some(since) = self.down_since.take() {
                    self.tally.longest_outage = self.tally.longest_outage.max(since.elapsed());
                }
                self.timeline.set_state("open");
                self.timeline.open(event);
            }
            SocketEvent::Message { event } => {
                self.tally.received += 1;
                let text = match &event.data {
                    Message::Text { text } => quoted(text),
                    Message::Binary { bytes } => format!("{} bytes", bytes.len()),
                };
                self.timeline.note(Mark::Receive, &text);
            }
            SocketEvent::Error { event } => {
                self.tally.refused += u64::from(event.kind == ErrorKind::Refused);
                self.timeline.error(event);
            }
            SocketEvent::Close { event } => self.take_close(event),
        }
    }

    fn take_close(&mut self, event: &CloseEvent) {
        let was_open = std::mem::take(&mut self.open);
        match event.retry {
            Some(retry) => {
                self.tally.retries += 1;
                self.tally.losses += u64::from(was_open);
                self.down_since.get_or_insert_with(Instant::now);
                self.timeline.set_state("waiting");
                let delay = retry.delay.unwrap_or_default().to_duration();
                self.due = Some((retry.attempt, Instant::now() + delay));
            }
            None => self.timeline.set_state("closed"),
        }
        self.timeline.close(event);
    }
}

fn surprise(expected: &str, event: &SocketEvent) -> Surprise {
    let happened = match event {
        SocketEvent::Open { event } => format!("connection {} opened", event.epoch),
        SocketEvent::Message { event } => format!("the message {:?} arrived", event.data),
        SocketEvent::Error { event } => format!("{} ({})", event.err_msg, event.detail),
        SocketEvent::Close { event } => {
            let (code, reason) = (event.code, &event.reason);
            format!("a close with {code} {reason:?}, retry {:?}", event.retry)
        }
    };
    format!("expected {expected}, but {happened}")
}
