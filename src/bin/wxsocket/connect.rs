//! `connect`: a client that stays connected.
//!
//! One loop takes everything in order from one channel: events of the task, lines of standard
//! input. It alone sends and prints, so that what is printed is what happened, in its order.

use super::args::ConnectArgs;
use super::forward::Forward;
use super::lines::{self, Line};
use super::output::Output;
use super::{exit, interrupt, options, usage_error};
use clap::ValueEnum;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use wxsocket::{
    ErrorKind, Message, ReadyState, SendOutcome, SocketEvent, SocketTask, connect_socket,
};

/// Events and lines on their way to the loop. Few: when standard output is slow, the server is
/// to feel it, not the memory.
const CHANNEL: usize = 64;

/// How often to look whether the open connection has taken what was sent; nothing tells.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// A year: as long as any process, and within reach of every clock.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3_600);

enum Wake {
    Event(SocketEvent),
    Line(Line),
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
        Err(error) => return usage_error(options::explain(&error)),
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
    read_lines(sender, args.binary_hex);
    let client = Client {
        task,
        output,
        asked,
        linger: Duration::from_millis(args.linger.unsigned_abs()).min(FOREVER),
        input: Input::Open,
        opened: false,
        queued: false,
        broken: false,
        limit: false,
    };
    client.run(&wakes)
}

fn close_on_interrupt(task: &Arc<SocketTask>, asked: &Arc<AtomicBool>) {
    let (task, asked) = (Arc::clone(task), Arc::clone(asked));
    interrupt::on_interrupt(move || {
        asked.store(true, Ordering::SeqCst);
        close(&task);
    });
}

fn close(task: &SocketTask) {
    // 1000 without a reason is always valid.
    let _ = task.close(1000, String::new());
}

fn read_lines(sender: SyncSender<Wake>, binary_hex: bool) {
    std::thread::spawn(move || {
        lines::read(io::stdin().lock(), binary_hex, |line| sender.send(Wake::Line(line)).is_ok());
    });
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
    /// We asked for the close: the exit code says so.
    asked: Arc<AtomicBool>,
    linger: Duration,
    input: Input,
    /// The connection has been open.
    opened: bool,
    /// A message was queued and perhaps not handed over yet. Bytes alone do not tell: a message
    /// may be empty.
    queued: bool,
    /// Standard output is gone.
    broken: bool,
    limit: bool,
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
                    if let Some(code) = self.on_event(&event) {
                        self.output.finish();
                        return code;
                    }
                }
                Ok(Wake::Line(line)) => self.on_line(line),
                Err(RecvTimeoutError::Timeout) => self.output.tick(),
                // The task owns a sender until its last event.
                Err(RecvTimeoutError::Disconnected) => return exit::FAILED,
            }
        }
    }

    /// The exit code, if this was the last event.
    fn on_event(&mut self, event: &SocketEvent) -> Option<u8> {
        match event {
            SocketEvent::Open { .. } => self.opened = true,
            SocketEvent::Error { event } => self.limit |= event.kind == ErrorKind::ReconnectLimit,
            _ => {}
        }
        if !self.broken {
            let printed = self.output.event(event);
            self.check_output(printed);
        }
        event.is_final().then(|| {
            if self.limit {
                exit::LIMIT
            } else if self.asked.load(Ordering::SeqCst) {
                exit::OK
            } else {
                exit::ENDED
            }
        })
    }

    fn on_line(&mut self, line: Line) {
        match line {
            Line::Message(message) => self.send(message),
            Line::Bad(why) => self.output.complain(&why),
            Line::End => self.input = Input::Draining,
        }
    }

    fn send(&mut self, message: Message) {
        let outcome = self.task.send(message);
        self.queued |= matches!(outcome, Ok(SendOutcome::Queued { .. }));
        if !self.broken {
            let printed = self.output.sent(&outcome);
            self.check_output(printed);
        }
    }

    /// Nobody reads what we print: the program has lost its purpose.
    fn check_output(&mut self, printed: io::Result<()>) {
        let Err(error) = printed else { return };
        self.broken = true;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.output.complain(&format!("cannot write to standard output: {error}"));
        }
        self.close();
    }

    /// Does what is due at the end of the input.
    fn proceed(&mut self) {
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

    /// Whether everything accepted is written, or never will be. Before the first open nothing
    /// counts as written, so that a program without any input still shows whether the server
    /// can be reached.
    fn is_drained(&mut self) -> bool {
        let empty = self.task.buffered_amount() == 0;
        match self.task.ready_state() {
            ReadyState::Open => {
                self.queued &= !empty;
                empty
            }
            ReadyState::Connecting => self.opened && empty && !self.queued,
            ReadyState::Closing | ReadyState::Closed => true,
        }
    }

    fn close(&mut self) {
        self.asked.store(true, Ordering::SeqCst);
        close(&self.task);
        self.input = Input::Closing;
    }

    fn next_deadline(&self) -> Option<Instant> {
        let own = match self.input {
            // While it is not open, an event will come and say more.
            Input::Draining if self.task.ready_state() == ReadyState::Open => {
                Some(Instant::now() + DRAIN_POLL)
            }
            Input::Lingering(until) => Some(until),
            _ => None,
        };
        own.into_iter().chain(self.output.next_tick()).min()
    }
}
