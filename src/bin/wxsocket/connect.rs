//! `connect`: a client that stays connected.
//!
//! One loop takes everything in order from one channel: events of the task, lines of standard
//! input. It alone sends and prints, so that what is printed is what happened, in its order. Only
//! a few lines are read ahead: one that the task has no room for is kept, and the input waits.

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

/// Events and lines on their way to the loop. Few: when standard output is slow, the server
/// is to feel it, not the memory.
const CHANNEL: usize = 64;

/// While so much waits to be written to the open connection, no line is sent: as much as the
/// queue of a closed one holds by default.
const MAX_BUFFERED: i64 = 1 << 20;

/// Lines that are read and not dealt with, counted in shares: a line takes one for each 16 KiB, and
/// one that takes them all is alone.
const SHARES: usize = 64;
const SHARE_BYTES: usize = 16 * 1024;

/// How often to look whether the open connection has taken what was sent; nothing tells.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// A year: as long as any process, and within reach of every clock.
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

/// Whether nothing comes after it.
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

/// Closes the task, and notes that it was asked to. A task that has ended already ended by
/// itself, whether its last event has arrived here or not.
fn close(task: &SocketTask, asked: &AtomicBool) {
    if task.ready_state() != ReadyState::Closed {
        asked.store(true, Ordering::SeqCst);
    }
    // 1000 without a reason is always valid.
    let _ = task.close(1000, String::new());
}

/// Reads standard input, as long as there are shares. Those of a line are given back through the
/// answer once it is dealt with.
fn read_lines(
    sender: SyncSender<Wake>,
    binary_hex: bool,
    unfinished: Arc<AtomicBool>,
) -> SyncSender<()> {
    let (free, wanted) = sync_channel(SHARES);
    for _ in 0..SHARES {
        // There is room for all of them.
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

/// How much of the room for lines that are read ahead this one takes.
fn shares(line: &Line) -> usize {
    match line {
        Line::Message(message) => (message.len() / SHARE_BYTES + 1).min(SHARES),
        Line::Bad(_) | Line::End => 1,
    }
}

/// So many lines, as the subject of a sentence in the past.
fn counted(lines: u64) -> String {
    if lines == 1 { "1 line was".to_owned() } else { format!("{lines} lines were") }
}

/// How far standard input is.
enum Input {
    Open,
    /// At its end; what was accepted is still to be written.
    Draining,
    /// All is written; closing then.
    Lingering(Instant),
    /// Closed by us.
    Closing,
}

struct Client {
    task: Arc<SocketTask>,
    output: Output,
    /// The task was asked to close before it ended.
    asked: Arc<AtomicBool>,
    linger: Duration,
    input: Input,
    /// The input has stopped within a line.
    unfinished: Arc<AtomicBool>,
    /// Gives back the shares of lines that are dealt with.
    shares: SyncSender<()>,
    /// What was read and is not dealt with.
    lines: VecDeque<Line>,
    /// The queue of the closed connection is full: only an open changes that.
    until_open: bool,
    /// The connection is open, as far as the events tell.
    open: bool,
    /// The connection has been open.
    opened: bool,
    /// A message was queued and perhaps not handed over yet. Bytes alone do not tell: a message
    /// may be empty.
    queued: bool,
    /// A part of the input was not delivered.
    incomplete: bool,
    ledger: Ledger,
    no_reconnect: bool,
    /// Standard output cannot be written any more.
    broken: Option<io::ErrorKind>,
    limit: bool,
}

/// What became of a message.
enum Offer {
    Taken,
    /// It will have its turn.
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
                        // What was read by now was not sent, and is told.
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
                // The task owns a sender until its last event.
                Err(RecvTimeoutError::Disconnected) => return exit::FAILED,
            }
        }
    }

    /// The exit code, if this was the last event.
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

    /// The exit code. The last connection was lost with so many lines.
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
        // A close that we asked for ends with our code and our reason, in which it differs from
        // an end that came just before.
        let is_ours = close.code == 1000 && close.reason.is_empty();
        let is_ours = is_ours && self.asked.load(Ordering::SeqCst);
        // The only connection may be lost a moment before our close or a moment after it.
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

    /// Deals with the lines that were read, up to one that there is no room for.
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
                // There is room for all shares. The reader may have ended.
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
            // A message that an open connection with nothing to write does not take is too long.
            if !is_open || buffered > 0 {
                return Offer::Kept;
            }
        }
        // The task has ended; its last event is on its way.
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

    /// What cannot be printed is lost, and the program has lost its purpose.
    fn check_output(&mut self, printed: io::Result<()>) {
        let Err(error) = printed else { return };
        self.broken = Some(error.kind());
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.output.complain(&format!("cannot write to standard output: {error}"));
        }
        self.close();
    }

    /// Does what is due: sends what was read, and closes at the end of the input.
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

    /// Whether everything accepted is written. Before the first open nothing counts as written,
    /// so that a program without any input still shows whether the server can be reached. Where
    /// the events and the task differ, an event is on its way and will decide.
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
            // While it is not open, an event will come and say more.
            _ if waits && self.task.ready_state() == ReadyState::Open => {
                Some(Instant::now() + DRAIN_POLL)
            }
            _ => None,
        };
        own.into_iter().chain(self.output.next_tick()).min()
    }
}
