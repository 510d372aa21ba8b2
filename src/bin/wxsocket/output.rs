//! What `connect` prints: lines of JSON, or messages for a pipe and a timeline for people.

use super::escape::{printable, rows, visible};
use super::options::without_secrets;
use super::timeline::{Mark, Timeline};
use super::{json, say};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};
use terminal_size::{Width, terminal_size_of};
use wxsocket::{CloseEvent, Message, SendOutcome, SocketEvent, WxError};

/// How often a countdown is rewritten.
const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Output {
    start: Instant,
    json: bool,
    timeline: Timeline,
    /// A terminal shows messages in the timeline's form; a pipe gets them bare.
    terminal: bool,
    waiting: Option<Waiting>,
}

/// The attempt that is due, for the countdown.
struct Waiting {
    due: Instant,
    attempt: i32,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let start = Instant::now();
        let timeline = Timeline::on_stderr(start);
        // A line that is rewritten would overwrite what is being typed.
        let typed = io::stdin().is_terminal();
        Self {
            start,
            json,
            timeline: if typed { timeline.without_live() } else { timeline },
            terminal: io::stdout().is_terminal(),
            waiting: None,
        }
    }

    /// The first line.
    pub(crate) fn start(&mut self, url: &str, preset: &str) {
        if !self.json {
            let url = visible(without_secrets(url));
            self.timeline.note(Mark::Dial, &format!("{url}, preset {preset}"));
        }
    }

    /// Something about the input, for people; never mixed into JSON.
    pub(crate) fn complain(&mut self, text: &str) {
        self.timeline.clear_live();
        say(text);
    }

    pub(crate) fn event(&mut self, event: &SocketEvent) -> io::Result<()> {
        self.waiting = None;
        if self.json {
            return print(&json::event(event, self.t_ms()));
        }
        match event {
            SocketEvent::Open { event } => self.timeline.open(event),
            SocketEvent::Error { event } => self.timeline.error(event),
            SocketEvent::Close { event } => {
                self.timeline.close(event);
                self.waiting = waiting(event);
            }
            SocketEvent::Message { event } => return self.message(&event.data),
        }
        Ok(())
    }

    fn message(&mut self, message: &Message) -> io::Result<()> {
        self.timeline.clear_live();
        match message {
            // What is text and what is bytes is told apart before it, where no server writes.
            Message::Text { text } if self.terminal => {
                print(&wrapped(&format!("< {}", printable(text))))
            }
            Message::Binary { bytes } if self.terminal => {
                print(&wrapped(&format!("<bin {}", json::hex(bytes))))
            }
            Message::Text { text } => print(text),
            Message::Binary { bytes } => print(&json::hex(bytes)),
        }
    }

    pub(crate) fn sent(&mut self, outcome: &Result<SendOutcome, WxError>) -> io::Result<()> {
        if self.json {
            return print(&json::send(outcome, self.t_ms()));
        }
        let text = match outcome {
            Ok(SendOutcome::Sent) => return Ok(()),
            Ok(SendOutcome::Queued { .. }) => "queued until the connection is open".to_owned(),
            Ok(SendOutcome::Dropped) => "rejected: the queue is full".to_owned(),
            Err(error) => format!("rejected: {} {error}", error.err_code()),
        };
        self.timeline.note(Mark::Send, &text);
        Ok(())
    }

    /// Says why the input is not read any further.
    pub(crate) fn input_waits(&mut self) {
        if !self.json {
            let text = "the queue is full: the input waits until the connection is open";
            self.timeline.note(Mark::Send, text);
        }
    }

    /// When the countdown wants to be rewritten.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        let shown = !self.json && self.timeline.is_live() && self.waiting.is_some();
        shown.then(|| Instant::now() + TICK)
    }

    pub(crate) fn tick(&mut self) {
        let (Some(waiting), false) = (&self.waiting, self.json) else { return };
        let left = waiting.due.saturating_duration_since(Instant::now());
        let attempt = waiting.attempt;
        if left.is_zero() {
            self.waiting = None;
            self.timeline.live(Mark::Dial, &format!("attempt {attempt}"));
        } else {
            let left = left.as_secs_f64();
            self.timeline.live(Mark::Wait, &format!("attempt {attempt} in {left:.1} s"));
        }
    }

    /// Leaves the screen tidy.
    pub(crate) fn finish(&mut self) {
        self.timeline.clear_live();
    }

    fn t_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn waiting(event: &CloseEvent) -> Option<Waiting> {
    let retry = event.retry?;
    let delay = retry.delay?.to_duration();
    // A delay that reaches beyond the clock needs no countdown.
    Some(Waiting { due: Instant::now().checked_add(delay)?, attempt: retry.attempt })
}

/// A line in rows that fit the terminal behind standard output.
fn wrapped(line: &str) -> String {
    let size = terminal_size_of(io::stdout());
    rows(line, 0, size.map(|(Width(columns), _)| columns.into()))
}

/// A whole line, flushed: whoever reads the pipe waits for it.
fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}
