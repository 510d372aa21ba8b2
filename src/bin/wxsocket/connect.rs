//! `connect`: a client that stays connected.
//!
//! One loop takes the events of the task and the lines of standard input from one channel. Only
//! this loop sends and prints, so that the output shows everything in the order in which it
//! happened. Only a few lines are read ahead: a line that the task has no room for is kept, and the
//! input waits.

use super::args::ConnectArgs;
use super::forward::Forward;
use super::ledger::Ledger;
use super::lines::{self, Line};
use super::output::Output;
use super::{exit, interrupt, lost_output, network, options, say, usage_error};
use clap::ValueEnum;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use wxsocket::{
    CloseEvent, ErrorKind, Message, ReadyState, SendOutcome, SocketEvent, SocketTask, WxError,
    connect_socket,
};

/// How many events and lines wait for the loop. They are few, so that a slow standard output makes
/// the server wait and does not fill the memory.
const CHANNEL: usize = 64;

/// While this many bytes wait to be written to the open connection, no line is sent. It is the
/// default size of the queue.
const MAX_BUFFERED: i64 = 1 << 20;

/// The room for lines that are read and not handled yet, in shares. A line takes one share, and one
/// more for each 16 KiB. A line that is larger than all of the room takes all shares.
const SHARES: usize = 64;
const SHARE_BYTES: usize = 16 * 1024;

/// How often to check whether the open connection has written what was sent. No event tells that.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// A year: longer than any process runs, and not too long for any clock.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3_600);

enum Wake {
    Event(SocketEvent),
    Line(Line),
}

impl Wake {
    fn into_line(self) -> Option<Line> {
        match self {
            Self::Line(line) => Some(line),
            Self::Event(_) => None,
        }
    }
}

/// Returns true when no event follows this one.
fn is_final(event: &SocketEvent) -> bool {
    matches!(event, SocketEvent::Close { event } if event.retry.is_none())
}

pub(crate) fn run(args: &ConnectArgs) -> u8 {
    let mut output = Output::new(args.json);
    let options = match options::connect_options(args) {
        Ok(options) => options,
        Err(message) => return usage_error(message),
    };
    let (sender, wakes) = sync_channel(CHANNEL);
    let events = sender.clone();
    let forward = Forward(move |event| events.send(Wake::Event(event)).is_ok());
    let task = match connect_socket(options, Some(Arc::new(forward)), None) {
        Ok(task) => task,
        Err(error @ WxError::InvalidArgument { .. }) => {
            return usage_error(options::explain(&error));
        }
        Err(error) => {
            say(&error);
            return exit::ENDED;
        }
    };
    if options::is_exposed(&args.url) && !args.insecure_ws_ok {
        output.complain(
            "warning: ws:// is not encrypted, and this host is not local; wss:// is safe \
             (--insecure-ws-ok silences this)",
        );
    }
    let preset = args.preset.to_possible_value();
    let preset = preset.as_ref().map_or("wx", |value| value.get_name());
    output.start(&args.url, preset);
    let asked = Arc::new(AtomicBool::new(false));
    close_on_interrupt(&task, &asked);
    network::follow(&task);
    let unfinished = Arc::new(AtomicBool::new(false));
    let shares = read_lines(sender, args.binary_hex, Arc::clone(&unfinished));
    let client = Client {
        task,
        output,
        asked,
        linger: Duration::from_millis(args.linger.unsigned_abs()).min(FOREVER),
        input: Input::Open,
        unfinished,
        shares,
        lines: VecDeque::new(),
        until_open: false,
        open: false,
        opened: false,
        queued: false,
        incomplete: false,
        ledger: Ledger::default(),
        no_reconnect: args.no_reconnect,
        broken: None,
        limit: false,
    };
    client.run(&wakes)
}

fn close_on_interrupt(task: &Arc<SocketTask>, asked: &Arc<AtomicBool>) {
    let (task, asked) = (Arc::clone(task), Arc::clone(asked));
    interrupt::on_interrupt(move || close(&task, &asked));
}

/// Closes the task, and notes in `asked` that the program has asked for it. A task that is closed
/// already has ended by itself, even if its last event has not been handled yet.
fn close(task: &SocketTask, asked: &AtomicBool) {
    if task.ready_state() != ReadyState::Closed {
        asked.store(true, Ordering::SeqCst);
    }
    // 1000 without a reason is always valid.
    let _ = task.close(1000, String::new());
}

/// Reads standard input on a thread while there are shares. Returns the sender that gives back the
/// shares of a line when the line has been handled.
fn read_lines(
    sender: SyncSender<Wake>,
    binary_hex: bool,
    unfinished: Arc<AtomicBool>,
) -> SyncSender<()> {
    let (free, wanted) = sync_channel(SHARES);
    for _ in 0..SHARES {
        // The channel has room for all of them.
        let _ = free.try_send(());
    }
    std::thread::spawn(move || {
        lines::read(io::stdin().lock(), binary_hex, &unfinished, |line| {
            let taken = wanted.iter().take(shares(&line)).count();
            taken == shares(&line) && sender.send(Wake::Line(line)).is_ok()
        });
    });
    free
}

/// Returns how many shares a line takes.
fn shares(line: &Line) -> usize {
    match line {
        Line::Message(message) => (message.len() / SHARE_BYTES + 1).min(SHARES),
        Line::Bad(_) | Line::End => 1,
    }
}

/// Returns a number of lines as the beginning of a sentence.
fn counted(lines: u64) -> String {
    if lines == 1 { "1 line was".to_owned() } else { format!("{lines} lines were") }
}

/// The state of standard input.
enum Input {
    Open,
    /// At its end. Some of what was accepted is not written yet.
    Draining,
    /// Everything is written. The task is closed at this time.
    Lingering(Instant),
    /// The program has closed the task.
    Closing,
}

struct Client {
    task: Arc<SocketTask>,
    output: Output,
    /// True when the task was asked to close before it ended.
    asked: Arc<AtomicBool>,
    linger: Duration,
    input: Input,
    /// True when the input has stopped within a line.
    unfinished: Arc<AtomicBool>,
    /// Gives back the shares of lines that have been handled.
    shares: SyncSender<()>,
    /// The lines that were read and not handled yet.
    lines: VecDeque<Line>,
    /// True when the queue is full. Nothing is sent until the next open.
    until_open: bool,
    /// True when the connection is open, according to the events.
    open: bool,
    /// True when a connection has been open.
    opened: bool,
    /// True when a message was queued and may not have been written yet. The bytes that are
    /// buffered do not show this, because a message may be empty.
    queued: bool,
    /// True when a part of the input was not delivered.
    incomplete: bool,
    ledger: Ledger,
    no_reconnect: bool,
    /// Why standard output cannot be written any more, if that is so.
    broken: Option<io::ErrorKind>,
    limit: bool,
}

/// What the task has done with a message.
enum Offer {
    Taken,
    /// Nothing. It is sent later.
    Kept,
    Refused,
}

impl Client {
    fn run(mut self, wakes: &Receiver<Wake>) -> u8 {
        loop {
            self.proceed();
            let wake = match self.next_deadline() {
                None => wakes.recv().map_err(RecvTimeoutError::from),
                Some(at) => wakes.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match wake {
                Ok(Wake::Event(event)) => {
                    if is_final(&event) {
                        // The lines that were read by now are not sent. The final report counts
                        // them.
                        let lines = wakes.try_iter().filter_map(Wake::into_line);
                        self.lines.extend(lines);
                    }
                    if let Some(code) = self.on_event(&event) {
                        self.output.finish();
                        return code;
                    }
                }
                Ok(Wake::Line(line)) => self.lines.push_back(line),
                Err(RecvTimeoutError::Timeout) => self.output.tick(),
                // The task has a sender until after its last event.
                Err(RecvTimeoutError::Disconnected) => return exit::FAILED,
            }
        }
    }

    /// Handles an event. Returns the exit code if it was the last one.
    fn on_event(&mut self, event: &SocketEvent) -> Option<u8> {
        let mut lost = 0;
        match event {
            SocketEvent::Open { event } => {
                (self.open, self.opened) = (true, true);
                self.until_open = false;
                self.incomplete |= !event.unsent.is_empty();
                self.ledger.gave_back(event.unsent.len());
                self.ledger.opened(event.epoch);
            }
            SocketEvent::Error { event } => self.limit |= event.kind == ErrorKind::ReconnectLimit,
            SocketEvent::Close { event } => {
                self.open = false;
                self.incomplete |= !event.unsent.is_empty();
                let (clean, unsent) = (event.was_clean, event.unsent.len());
                let buffered = self.task.buffered_amount();
                lost = self.ledger.closed(event.epoch, clean, buffered, unsent);
            }
            SocketEvent::Message { .. } => {}
        }
        if self.broken.is_none() {
            let printed = self.output.event(event);
            self.check_output(printed);
        }
        match event {
            SocketEvent::Close { event } if event.retry.is_none() => Some(self.ending(event, lost)),
            _ => None,
        }
    }

    /// Prints what was not delivered, and returns the exit code. `lost` is the number of lines that
    /// were lost with the last connection.
    fn ending(&mut self, close: &CloseEvent, lost: u64) -> u8 {
        let unsent = self.lines.iter().filter(|line| !matches!(line, Line::End)).count();
        if unsent > 0 {
            self.incomplete = true;
            let lines = counted(unsent as u64);
            self.output.complain(&format!("{lines} read and not sent"));
        }
        if matches!(self.input, Input::Open | Input::Closing)
            && self.unfinished.load(Ordering::SeqCst)
        {
            self.incomplete = true;
            self.output.complain("the input stopped within a line, which was not sent");
        }
        if self.ledger.lost() > 0 {
            self.incomplete = true;
            let lines = counted(self.ledger.lost());
            self.output.complain(&format!(
                "{lines} handed to a connection that was lost; whether all of it arrived is not known"
            ));
        }
        // A close that the program asked for has its code and its reason. That shows whether
        // another end came just before it.
        let is_ours = close.code == 1000 && close.reason.is_empty();
        let is_ours = is_ours && self.asked.load(Ordering::SeqCst);
        // With --no-reconnect a loss just before the close of the program and one just after it
        // have the same exit code.
        let is_lost = self.no_reconnect && lost > 0;
        if self.limit {
            exit::LIMIT
        } else if !is_ours || is_lost {
            exit::ENDED
        } else if self.incomplete {
            exit::INCOMPLETE
        } else if let Some(error) = self.broken {
            lost_output(error, exit::INCOMPLETE)
        } else {
            exit::OK
        }
    }

    /// Handles the lines that were read, up to one that the task has no room for.
    fn take_lines(&mut self) {
        while let Some(line) = self.lines.pop_front() {
            let size = shares(&line);
            match line {
                Line::Message(message) => match self.send(&message) {
                    Offer::Taken => {}
                    Offer::Refused => self.incomplete = true,
                    Offer::Kept => return self.lines.push_front(Line::Message(message)),
                },
                Line::Bad(why) => {
                    self.incomplete = true;
                    self.output.complain(&why);
                }
                Line::End => self.input = Input::Draining,
            }
            for _ in 0..size {
                // The channel has room for all shares. The send fails when the reader has ended.
                let _ = self.shares.try_send(());
            }
        }
    }

    fn send(&mut self, message: &Message) -> Offer {
        let is_open = self.task.ready_state() == ReadyState::Open;
        let buffered = self.task.buffered_amount();
        if self.until_open || is_open && buffered >= MAX_BUFFERED {
            return Offer::Kept;
        }
        let outcome = self.task.send(message.clone());
        if let Err(WxError::QueueFull { .. }) = &outcome {
            let still_open = self.task.ready_state() == ReadyState::Open;
            if !still_open {
                self.until_open = true;
                self.output.input_waits();
                return Offer::Kept;
            }
            // An open connection that has nothing to write refuses only a message that is too long.
            if !is_open || buffered > 0 {
                return Offer::Kept;
            }
        }
        // The task has ended. Its last event follows.
        if let Err(WxError::NotConnected { .. }) = &outcome {
            return Offer::Kept;
        }
        if let Ok(SendOutcome::Queued { .. } | SendOutcome::Sent) = &outcome {
            let epoch = self.task.stats().epoch;
            self.ledger.took(epoch, message.len(), is_open, buffered);
        }
        let taken = match &outcome {
            Ok(SendOutcome::Queued { dropped }) => {
                self.queued = true;
                self.incomplete |= !dropped.is_empty();
                self.ledger.gave_back(dropped.len());
                true
            }
            Ok(SendOutcome::Sent) => true,
            Ok(SendOutcome::Dropped) | Err(_) => false,
        };
        if self.broken.is_none() {
            let printed = self.output.sent(&outcome);
            self.check_output(printed);
        }
        if taken { Offer::Taken } else { Offer::Refused }
    }

    /// Closes the task when standard output cannot be written, because the messages would be lost.
    fn check_output(&mut self, printed: io::Result<()>) {
        let Err(error) = printed else { return };
        self.broken = Some(error.kind());
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.output.complain(&format!("cannot write to standard output: {error}"));
        }
        self.close();
    }

    /// Sends what was read, and closes the task after the end of the input.
    fn proceed(&mut self) {
        self.take_lines();
        let drained = self.is_drained();
        if matches!(self.input, Input::Draining) && drained {
            self.input = Input::Lingering(Instant::now() + self.linger);
        }
        if let Input::Lingering(until) = self.input
            && until <= Instant::now()
        {
            self.close();
        }
    }

    /// Returns true when everything that was accepted is written. Before the first open this is
    /// false, so that a program without any input still shows whether the server can be reached. It
    /// is also false when the events and the task differ, because then an event follows.
    fn is_drained(&mut self) -> bool {
        let empty = self.task.buffered_amount() == 0;
        match (self.open, self.task.ready_state()) {
            (true, ReadyState::Open) => {
                self.queued &= !empty;
                empty
            }
            (false, ReadyState::Connecting) => self.opened && empty && !self.queued,
            _ => false,
        }
    }

    fn close(&mut self) {
        close(&self.task, &self.asked);
        self.input = Input::Closing;
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waits = !self.lines.is_empty() || matches!(self.input, Input::Draining);
        let own = match self.input {
            Input::Lingering(until) => Some(until),
            // While the connection is not open, the next event wakes the loop.
            _ if waits && self.task.ready_state() == ReadyState::Open => {
                Some(Instant::now() + DRAIN_POLL)
            }
            _ => None,
        };
        own.into_iter().chain(self.output.next_tick()).min()
    }
}
