//! The task: the handle that an app holds.

use super::batch::{BatchListener, ToBatchListener};
use super::error::{ListenerError, WxError};
use super::event::{ErrorEvent, SocketEvent, epoch_number, for_each_event, saturate};
use super::listener::{BeforeConnect, ConnectDecision, SocketListener};
use super::options::ConnectOptions;
use super::resolve;
use super::turn::SocketState;
use crate::driver::{BeforeDial, DialRefused, Mailbox, Notice, Receiver, Task, guarded, is_forked};
use crate::net::DialOptions;
use crate::session::{
    CloseRefused, ErrorKind, Failure, Input, MAX_REASON_BYTES, Message, ReadyState, SendOutcome,
    check_close,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Makes a task that keeps a WebSocket open, and returns at once; it dials in the background.
///
/// `listener` hears everything from the first event on. Without one, events wait (and in the
/// end the server does) until one is set or [`SocketTask::events`] takes them.
///
/// Fails with [`WxError::InvalidArgument`] when an option is not valid, and with
/// [`WxError::Unavailable`] when the operating system refuses the thread or the event queue that
/// the library needs once per process; then nothing is made, and a later call may succeed.
///
/// After `fork` the library cannot be used in the child of a process that has used it, unless the
/// child calls `exec`: this function fails there with [`WxError::Unavailable`], and nothing comes
/// of the tasks that the child has inherited.
#[uniffi::export(default(listener = None, before_connect = None))]
pub fn connect_socket(
    options: ConnectOptions,
    listener: Option<Arc<dyn SocketListener>>,
    before_connect: Option<Arc<dyn BeforeConnect>>,
) -> Result<Arc<SocketTask>, WxError> {
    let rules = resolve::resolve(options)?;
    let before_dial = before_connect.map(|app| Arc::new(Hook(app)) as Arc<dyn BeforeDial>);
    let task = Task::start(rules.config, rules.dial, before_dial).map_err(WxError::unavailable)?;
    let task = Arc::new(SocketTask { task });
    if let Some(listener) = listener {
        task.set_listener(listener);
    }
    Ok(task)
}

/// A WebSocket that is kept open: many connections, one after the other.
///
/// Every method may be called from any thread and from inside a listener, and returns at
/// once. Dropping the last reference closes the task with 1000.
#[derive(uniffi::Object)]
pub struct SocketTask {
    task: Arc<Task>,
}

#[uniffi::export]
impl SocketTask {
    /// Sends a text message: now, or when the connection is open again.
    ///
    /// Fails when the task is closing or closed, and when the queue is full.
    pub fn send_text(&self, text: String) -> Result<SendOutcome, WxError> {
        self.send(Message::Text { text })
    }

    /// Sends a binary message; otherwise as `send_text`. The bytes are copied before it
    /// returns.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<SendOutcome, WxError> {
        self.send(Message::Binary { bytes: Bytes::copy_from_slice(bytes) })
    }

    /// Ends the task: sends what was accepted, then a close frame, waits at most
    /// `close_timeout_ms` for the server's, and calls `on_close` a last time with this code
    /// and reason. Legal at any time; cancels a dial or a pending retry. Closing twice changes
    /// nothing.
    ///
    /// Fails when the code is neither 1000 nor 3000 to 4999, or the reason longer than 123
    /// bytes of UTF-8; then nothing happens.
    pub fn close(&self, code: i32, reason: String) -> Result<(), WxError> {
        let refuse = |field, reason: String| WxError::invalid("closeSocket", field, reason);
        let bad_code = || refuse("code", format!("{code} is neither 1000 nor 3000 to 4999"));
        let code = u16::try_from(code).map_err(|_| bad_code())?;
        check_close(code, &reason).map_err(|refused| match refused {
            CloseRefused::Code => bad_code(),
            CloseRefused::Reason => {
                let length = reason.len();
                refuse("reason", format!("{length} bytes of UTF-8, at most {MAX_REASON_BYTES}"))
            }
        })?;
        self.task.handle(Input::Close { code, reason });
        Ok(())
    }

    /// The WebSocket API's `readyState`; `Closed` is final.
    pub fn ready_state(&self) -> ReadyState {
        self.task.phase().ready_state()
    }

    /// Where it is in its life; finer than `ready_state`.
    pub fn state(&self) -> SocketState {
        self.task.standing().into()
    }

    /// Bytes of payload accepted and not yet written to the socket.
    pub fn buffered_amount(&self) -> i64 {
        i64::try_from(self.task.buffered_amount()).unwrap_or(i64::MAX)
    }

    /// Stops waiting: dials now, with a fresh counter of attempts, whatever holds the task
    /// back. A dial under way goes on; an open connection is asked for a sign of life and
    /// replaced only if it gives none.
    pub fn reconnect_now(&self) {
        self.task.handle(Input::ReconnectNow);
    }

    /// Hangs up (1006 "paused") and stays away until `resume`. Queued messages are kept. A
    /// task that does not reconnect is over then.
    pub fn pause(&self) {
        self.task.handle(Input::Pause);
    }

    /// Undoes `pause`: dials at once.
    pub fn resume(&self) {
        self.task.handle(Input::Resume);
    }

    /// Tells what the operating system knows of the network. Without one nothing is dialled
    /// and no attempt is used up; with one (or a new one) the task dials at once, or asks an
    /// open connection for a sign of life.
    pub fn set_network(&self, available: bool) {
        self.task.handle(Input::Network(available));
    }

    /// Tells whether the app is in the foreground; see `background` in the options. Coming
    /// back dials at once, or asks an open connection for a sign of life.
    pub fn set_foreground(&self, foreground: bool) {
        self.task.handle(Input::Foreground(foreground));
    }

    /// What has happened so far.
    pub fn stats(&self) -> SocketStats {
        let counters = self.task.counters();
        let millis = |rtt: Option<Duration>| rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0);
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        SocketStats {
            epoch: epoch_number(counters.epoch),
            attempt: saturate(counters.attempt),
            opens: number(counters.opens),
            messages_out: number(counters.messages_out),
            bytes_out: number(counters.bytes_out),
            messages_in: number(counters.messages_in),
            bytes_in: number(counters.bytes_in),
            last_rtt_ms: millis(counters.last_rtt),
            smoothed_rtt_ms: millis(counters.smoothed_rtt),
            listener_failures: number(self.task.mailbox().failures()),
            last_error: self
                .task
                .last_failure()
                .map(|(epoch, failure)| ErrorEvent::new(epoch, failure)),
        }
    }

    /// Sets who is told from now on, beginning with whatever has not been told yet. A second
    /// listener replaces the first.
    pub fn set_listener(&self, listener: Arc<dyn SocketListener>) {
        self.task.mailbox().set_receiver(Arc::new(ToListener(listener)));
    }

    /// As `set_listener`, for a listener that takes many messages in one call.
    pub fn set_batch_listener(&self, listener: Arc<dyn BatchListener>) {
        self.task.mailbox().set_receiver(Arc::new(ToBatchListener(listener)));
    }

    /// Has its events come out of `next_turn` together with those of other tasks, and gives
    /// the number it goes by there. For a language that has its own threads for all tasks;
    /// it takes the place of a listener. Its first turn has begun: it is the caller's, to be
    /// ended with `end_turn` once the number is known to whoever takes turns.
    pub fn join_turns(&self) -> i64 {
        self.task.join_turns()
    }

    /// The events, for a thread that takes them itself instead of a listener.
    pub fn events(&self) -> Arc<EventStream> {
        Arc::new(EventStream { mailbox: self.task.mailbox().clone() })
    }
}

impl SocketTask {
    /// Sends a message: now, or when the connection is open again.
    ///
    /// Fails when the task is closing or closed, and when the queue is full.
    pub fn send(&self, message: impl Into<Message>) -> Result<SendOutcome, WxError> {
        Ok(self.task.send(message.into())?)
    }
}

impl Drop for SocketTask {
    fn drop(&mut self) {
        self.task.handle(Input::Close { code: 1000, reason: String::new() });
    }
}

/// Numbers about a task. Bytes are those of payloads; what a heartbeat sends does not count.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct SocketStats {
    /// The newest connection; 0 before the first.
    pub epoch: i64,
    /// Attempts used since the last stable connection.
    pub attempt: i32,
    /// Connections that opened.
    pub opens: i64,
    /// Messages accepted for sending.
    pub messages_out: i64,
    /// Their bytes.
    pub bytes_out: i64,
    /// Messages received.
    pub messages_in: i64,
    /// Their bytes.
    pub bytes_in: i64,
    /// The newest round trip of a heartbeat, in milliseconds.
    pub last_rtt_ms: Option<f64>,
    /// Round trips in milliseconds, smoothed as TCP does it (RFC 6298).
    pub smoothed_rtt_ms: Option<f64>,
    /// Errors and panics of the listener.
    pub listener_failures: i64,
    /// What ended the last connection that failed.
    pub last_error: Option<ErrorEvent>,
}

/// The events of a task, taken instead of delivered. It does not keep the task alive.
#[derive(uniffi::Object)]
pub struct EventStream {
    mailbox: Arc<Mailbox>,
}

#[uniffi::export]
impl EventStream {
    /// Waits until there is something and takes it, at most `max` events. Empty: the task is
    /// over and everything was taken, or it has a listener, which gets everything.
    pub fn next_events(&self, max: u32) -> Vec<SocketEvent> {
        if is_forked() {
            // Nobody would ever end the wait.
            return Vec::new();
        }
        let mut events = Vec::new();
        for_each_event(self.mailbox.take(max as usize), |event| events.push(event));
        events
    }
}

impl EventStream {
    /// Waits for the next event; `None` after the last.
    pub fn next_event(&self) -> Option<SocketEvent> {
        self.next_events(1).pop()
    }
}

/// Events one by one, until the task is over. Each `next` waits.
impl Iterator for &EventStream {
    type Item = SocketEvent;

    fn next(&mut self) -> Option<SocketEvent> {
        self.next_event()
    }
}

struct ToListener(Arc<dyn SocketListener>);

impl Receiver for ToListener {
    fn receive(&self, notices: Vec<Notice>) -> u64 {
        let tell = |event| match event {
            SocketEvent::Open { event } => self.0.on_open(event),
            SocketEvent::Message { event } => self.0.on_message(event),
            SocketEvent::Error { event } => self.0.on_error(event),
            SocketEvent::Close { event } => self.0.on_close(event),
        };
        let told = |event| tell(event).map_err(|ListenerError::Failed { reason }| reason);
        let mut failures = 0;
        for_each_event(notices, |event| failures += guarded(|| told(event)));
        failures
    }
}

struct Hook(Arc<dyn BeforeConnect>);

impl BeforeDial for Hook {
    fn before_dial(
        &self,
        epoch: u64,
        attempt: u32,
        last_failure: Option<Failure>,
        options: &DialOptions,
    ) -> Result<DialOptions, DialRefused> {
        let failed =
            |detail: String| DialRefused::Failed(Failure::new(ErrorKind::BeforeConnect, detail));
        let last_epoch = epoch.saturating_sub(1);
        let last = last_failure.map(|failure| ErrorEvent::new(last_epoch, failure));
        let decision = self.0.before_connect(saturate(attempt), last);
        let mut options = options.clone();
        match decision.map_err(|ListenerError::Failed { reason }| failed(reason))? {
            ConnectDecision::Proceed => {}
            ConnectDecision::Stop { reason } => {
                return Err(DialRefused::GiveUp(Failure::new(ErrorKind::Stopped, reason)));
            }
            ConnectDecision::Change { url, header, protocols } => {
                let invalid = |error: WxError| failed(error.to_string());
                if let Some(url) = url {
                    options.target = resolve::target(&url).map_err(invalid)?;
                }
                if let Some(header) = header {
                    options.header = resolve::header(header).map_err(invalid)?;
                }
                if let Some(protocols) = protocols {
                    options.protocols = resolve::protocols(protocols).map_err(invalid)?;
                }
            }
        }
        Ok(options)
    }
}
