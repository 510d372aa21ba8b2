//! The task: what an app holds of a WebSocket.

use super::error::{ListenerError, WxError};
use super::event::{ErrorEvent, SocketEvent, epoch_number, message_event, saturate, socket_event};
use super::listener::{BeforeConnect, ConnectDecision, ConnectRequest, SocketListener};
use super::millis::Millis;
use super::options::ConnectOptions;
use super::resolve;
use super::turn::SocketState;
use crate::driver::{
    BeforeDial, DialError, Interest, Mailbox, Notice, Question, Received, Receiver, Task, guarded,
    is_forked,
};
use crate::net::DialOptions;
use crate::session::{
    CloseRefused, ErrorKind, Failure, Input, MAX_REASON_BYTES, Message, NetworkStatus, ReadyState,
    SendOutcome, check_close,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Makes a task that keeps a WebSocket open, and returns at once. The task dials in the background.
///
/// `listener` gets every event from the first one on. Without a listener the events wait until one is
/// set or [`SocketTask::events`] takes them; when 1,024 events or 1 MiB wait, the socket is not read.
///
/// ```
/// use wxsocket::{ConnectOptions, HeartbeatOptions, Millis, Preset, connect_socket};
///
/// let options = ConnectOptions {
///     preset: Some(Preset::Resilient),
///     heartbeat: HeartbeatOptions { interval: Some(Millis::from_secs(20)), ..Default::default() },
///     ..ConnectOptions::new("wss://example.com/live")
/// };
/// let task = connect_socket(options, None, None)?;
/// # Ok::<(), wxsocket::WxError>(())
/// ```
///
/// # Errors
///
/// [`WxError::InvalidArgument`] when an option is not valid. [`WxError::Unavailable`] when the operating
/// system refuses the thread or the event queue that the library needs once per process; a later call
/// may succeed. [`WxError::Unavailable`] also in the child of a process that has used the library and
/// called `fork`, unless the child has called `exec`; the tasks that the child inherited do nothing there.
/// In each case no task is made.
#[uniffi::export(default(listener = None, before_connect = None))]
pub fn connect_socket(
    options: ConnectOptions,
    listener: Option<Arc<dyn SocketListener>>,
    before_connect: Option<Arc<dyn BeforeConnect>>,
) -> Result<Arc<SocketTask>, WxError> {
    let mut rules = resolve::resolve(options)?;
    rules.config.can_refresh = before_connect.is_some();
    let before_dial = before_connect.map(|app| Arc::new(Hook(app)) as Arc<dyn BeforeDial>);
    let background_grace = rules.config.background_grace;
    let task = Task::start(rules.config, rules.dial, before_dial).map_err(WxError::unavailable)?;
    let task = Arc::new(SocketTask { task, background_grace });
    if let Some(listener) = listener {
        task.set_listener(listener);
    }
    Ok(task)
}

/// A WebSocket that is kept open. Its connections follow one another, each with its number (`epoch`).
///
/// Every method may be called from any thread and from inside a listener, and returns at
/// once. When the last reference is dropped, the task is closed with 1000.
#[derive(uniffi::Object)]
pub struct SocketTask {
    pub(super) task: Arc<Task>,
    /// As the options have it, for those who ask the operating system for that much time.
    background_grace: Option<Duration>,
}

#[uniffi::export]
impl SocketTask {
    /// Sends a text message now, or when the connection is open again.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the task is closing or closed, or the connection is not open and the queue is
    /// switched off. `QueueFull` when the queue, or the buffer of the open connection, has no room.
    pub fn send_text(&self, text: String) -> Result<SendOutcome, WxError> {
        self.send(Message::Text { text })
    }

    /// Sends a binary message; otherwise as `send_text`. The bytes are copied before this returns.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<SendOutcome, WxError> {
        self.send(Message::Binary { bytes: Bytes::copy_from_slice(bytes) })
    }

    /// Ends the task. Sends what was accepted, then a close frame, waits at most `close_timeout` for
    /// the server's close frame, and tells a last close with this code and reason. It may be called at any
    /// time, and it cancels a dial or a retry. A second call changes nothing.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the code is neither 1000 nor 3000 to 4999, or the reason is longer than 123
    /// bytes of UTF-8. Then nothing happens.
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

    /// Returns the `readyState` of the WebSocket API. `Closed` never changes again.
    pub fn ready_state(&self) -> ReadyState {
        self.task.phase().ready_state()
    }

    /// Returns the state of the task, in more detail than `ready_state`.
    pub fn state(&self) -> SocketState {
        self.task.standing().into()
    }

    /// Returns the bytes of payload that `send` has accepted and the socket has not taken yet.
    pub fn buffered_amount(&self) -> i64 {
        i64::try_from(self.task.buffered_amount()).unwrap_or(i64::MAX)
    }

    /// Dials now instead of waiting, with the counter of attempts at zero, even when the task is offline,
    /// paused or in the background. A dial under way goes on, unless it has passed no step (name, TCP,
    /// TLS) for 2 s: then it is begun again, which uses up no attempt. An open connection gets a heartbeat
    /// and is replaced at once if it does not answer.
    pub fn reconnect_now(&self) {
        self.task.handle(Input::ReconnectNow);
    }

    /// Closes the connection (1006 "paused") and dials no more until `resume`. Queued messages are kept.
    /// A task that does not reconnect ends.
    pub fn pause(&self) {
        self.task.handle(Input::Pause);
    }

    /// Ends `pause` and dials at once.
    pub fn resume(&self) {
        self.task.handle(Input::Resume);
    }

    /// Tells the task what the operating system knows of the network. Without a network nothing is
    /// dialled and no attempt is used up. With a new network the task dials at once, begins a dial under
    /// way again (at most 5 of a connection), or sends a heartbeat on an open connection and replaces it
    /// at once if it is not answered. The same network again (the same `id`) changes nothing; without an
    /// `id` every call counts as a new network.
    pub fn set_network(&self, network: NetworkStatus) {
        self.task.handle(Input::Network(network));
    }

    /// Tells the task whether the app is in the foreground; see `background` in the options. When the app
    /// comes back, this does what `reconnect_now` does, unless the task is offline or paused.
    pub fn set_foreground(&self, foreground: bool) {
        self.task.handle(Input::Foreground(foreground));
    }

    /// Returns the time from leaving the foreground to closing the connection, or nothing when the task
    /// keeps its connection in the background.
    pub fn background_grace(&self) -> Option<Millis> {
        self.background_grace.map(Millis::from)
    }

    /// Tells the task that the operating system suspends the app soon. A task that is in the background and
    /// would close its connection later closes it now (1001 for the server, 1006 "interrupted" for the
    /// app). Other tasks do nothing.
    pub fn end_background_grace(&self) {
        self.task.handle(Input::GraceOver);
    }

    /// Returns what has happened so far.
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
            messages_discarded: number(self.task.mailbox().discarded()),
            last_error: self
                .task
                .last_failure()
                .map(|(epoch, failure)| ErrorEvent::new(epoch, failure)),
        }
    }

    /// Sets the listener. The first listener gets every event from the first one on. A later listener
    /// takes the place of the one before. It gets the present state first (the open, if the connection is
    /// open; otherwise the last close, and its error if there was one), then the events that were not told
    /// yet. When this has returned, the listener before is not called again; a call that has begun goes on.
    pub fn set_listener(&self, listener: Arc<dyn SocketListener>) {
        self.task.mailbox().set_receiver(Arc::new(ToListener(listener)), true);
    }

    /// Returns the events for a thread that takes them itself. Only without a listener.
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
        // Nobody can begin to listen any more: whoever serves listeners hears the end.
        self.task.mailbox().listen(Interest::Everything);
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
    /// Messages that were received and discarded. There are two cases. The app listens to opens, errors
    /// or closes and not to messages: the newest 256 messages of the present connection (at most 1 MiB)
    /// are kept for the first listener of messages, older ones are discarded, and all of them when the
    /// connection ends. Or the task is closing, 1,024 events or 1 MiB wait, and the app has made no room
    /// for 250 ms.
    pub messages_discarded: i64,
    /// What ended the last connection that failed.
    pub last_error: Option<ErrorEvent>,
}

/// The events of a task, for a thread that takes them. It does not keep the task alive.
#[derive(uniffi::Object)]
pub struct EventStream {
    mailbox: Arc<Mailbox>,
}

#[uniffi::export]
impl EventStream {
    /// Waits for events and returns at most `max` of them. The result is empty when the task is over and
    /// all events were taken, and when the task has a listener, which gets them.
    pub fn next_events(&self, max: u32) -> Vec<SocketEvent> {
        if is_forked() {
            // Nobody would ever end the wait.
            return Vec::new();
        }
        let mut events = Vec::new();
        for notice in self.mailbox.take(max as usize) {
            match notice {
                Notice::Packed(packed) => {
                    let epoch = packed.epoch;
                    events.extend(packed.messages().map(|data| message_event(epoch, data)));
                }
                Notice::Message { epoch, message } => events.push(message_event(epoch, message)),
                Notice::Step(step) => events.push(socket_event(&step)),
            }
        }
        events
    }
}

impl EventStream {
    /// Waits for the next event. Returns `None` after the last one.
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

impl ToListener {
    /// 1: the listener failed.
    fn tell(&self, event: SocketEvent) -> u64 {
        let tell = || match event {
            SocketEvent::Open { event } => self.0.on_open(event),
            SocketEvent::Message { event } => self.0.on_message(event),
            SocketEvent::Error { event } => self.0.on_error(event),
            SocketEvent::Close { event } => self.0.on_close(event),
        };
        guarded(|| tell().map_err(|ListenerError::Failed { reason }| reason))
    }
}

impl Receiver for ToListener {
    fn receive(&self, notices: &mut VecDeque<Notice>, is_wanted: &dyn Fn() -> bool) -> Received {
        let mut failures = 0;
        while is_wanted()
            && let Some(notice) = notices.pop_front()
        {
            match notice {
                Notice::Packed(mut packed) => {
                    let (epoch, mut told) = (packed.epoch, 0);
                    for data in packed.messages().take_while(|_| is_wanted()) {
                        failures += self.tell(message_event(epoch, data));
                        told += 1;
                    }
                    if told < packed.count() {
                        packed.split_to(told);
                        notices.push_front(Notice::Packed(packed));
                    }
                }
                Notice::Message { epoch, message } => {
                    failures += self.tell(message_event(epoch, message));
                }
                Notice::Step(step) => failures += self.tell(socket_event(&step)),
            }
        }
        Received { failures, is_busy: false }
    }
}

struct Hook(Arc<dyn BeforeConnect>);

impl BeforeDial for Hook {
    fn before_dial(
        &self,
        question: Question,
        options: &DialOptions,
    ) -> Result<DialOptions, DialError> {
        let failed =
            |detail: String| DialError::Failed(Failure::new(ErrorKind::BeforeConnect, detail));
        let Question { number, epoch, attempt, last_failure } = question;
        let decision = self.0.before_connect(ConnectRequest {
            number: i64::try_from(number).unwrap_or(i64::MAX),
            epoch: epoch_number(epoch),
            attempt: saturate(attempt),
            last_error: last_failure
                .map(|failure| ErrorEvent::new(epoch.saturating_sub(1), failure)),
        });
        let mut options = options.clone();
        match decision.map_err(|ListenerError::Failed { reason }| failed(reason))? {
            ConnectDecision::Proceed => {}
            ConnectDecision::Stop { reason } => {
                return Err(DialError::GiveUp(Failure::new(ErrorKind::Stopped, reason)));
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

    fn withdraw(&self, number: u64) {
        let tell = || self.0.withdraw(i64::try_from(number).unwrap_or(i64::MAX));
        guarded(|| tell().map_err(|ListenerError::Failed { reason }| reason));
    }
}
