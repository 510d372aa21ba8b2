//! The task: the handle that an app holds.

use super::batch::{BatchListener, SocketWatcher, ToBatchListener, ToWatcher};
use super::error::{ListenerError, WxError};
use super::event::{ErrorEvent, SocketEvent, epoch_number, message_event, saturate, socket_event};
use super::listener::{BeforeConnect, ConnectDecision, ConnectRequest, SocketListener};
use super::millis::Millis;
use super::options::ConnectOptions;
use super::resolve;
use super::turn::SocketState;
use crate::driver::{
    BeforeDial, DialError, Interest, Mailbox, Notice, Question, Received, Receiver, Task, guarded,
    is_forked, turns,
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

/// Makes a task that keeps a WebSocket open, and returns at once; it dials in the background.
///
/// `listener` hears everything from the first event on. Without one, events wait (and in the
/// end the server does) until one is set or [`SocketTask::events`] takes them.
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

/// A WebSocket that is kept open: many connections, one after the other.
///
/// Every method may be called from any thread and from inside a listener, and returns at
/// once. Dropping the last reference closes the task with 1000.
#[derive(uniffi::Object)]
pub struct SocketTask {
    task: Arc<Task>,
    /// As the options have it, for those who ask the operating system for that much time.
    background_grace: Option<Duration>,
}

/// Ends connection `epoch` of the task with this number in the turns, because a message has
/// arrived that the app's language has no memory for: `on_error` with 690032 and this `detail`,
/// then `on_close` with 1009, and a retry as after any other failure. Messages that were read
/// before are still told. Does nothing when that connection is over already.
#[uniffi::export]
pub fn refuse_message(task: i64, epoch: i64, detail: String) {
    if let (Some(task), Ok(epoch)) = (turns::task(task), u64::try_from(epoch)) {
        let failure = Failure::new(ErrorKind::TooBig, detail);
        task.handle(Input::Failed { epoch, failure });
    }
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
    /// `close_timeout` for the server's, and calls `on_close` a last time with this code
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
    /// back. A dial under way goes on, unless it has passed no step (name, TCP, TLS) for 2 s:
    /// then it is begun again, which uses up no attempt. An open connection is asked for a sign
    /// of life and, if it gives none, replaced at once.
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
    /// and no attempt is used up. With a new one the task dials at once, begins a dial under way
    /// again (at most 5 of a connection), or asks an open connection for a sign of life and, if it
    /// gives none, replaces it at once. The same network again (the same `id`) changes nothing;
    /// without an `id` every report counts as a new network.
    pub fn set_network(&self, network: NetworkStatus) {
        self.task.handle(Input::Network(network));
    }

    /// Tells whether the app is in the foreground; see `background` in the options. Coming
    /// back does what `reconnect_now` does, unless something else holds the task back.
    pub fn set_foreground(&self, foreground: bool) {
        self.task.handle(Input::Foreground(foreground));
    }

    /// The time from leaving the foreground to closing the connection; none: the task keeps its
    /// connection in the background.
    pub fn background_grace(&self) -> Option<Millis> {
        self.background_grace.map(Millis::from)
    }

    /// Tells that the operating system suspends the app soon: a task that is in the background
    /// and waits for the end of its grace hangs up now (1001 to the server, 1006 "interrupted"
    /// to the app). Any other task is left as it is.
    pub fn end_background_grace(&self) {
        self.task.handle(Input::GraceOver);
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
            messages_discarded: number(self.task.mailbox().discarded()),
            last_error: self
                .task
                .last_failure()
                .map(|(epoch, failure)| ErrorEvent::new(epoch, failure)),
        }
    }

    /// Sets who is told from now on. The first listener hears everything from the first event
    /// on. A later one takes the place of the one before; it hears the present state first (the
    /// open, if the connection is open; else the last close, and its error if there was one),
    /// then whatever has not been told yet. After this returns the one before is not called
    /// again, but for a call that is under way.
    pub fn set_listener(&self, listener: Arc<dyn SocketListener>) {
        self.task.mailbox().set_receiver(Arc::new(ToListener(listener)), true);
    }

    /// As `set_listener`, for a listener that takes many messages in one call and serves others.
    /// It hears nothing before `listen` says what those others want to hear. Returns the number
    /// of this listener for `resume_delivery`.
    pub fn set_batch_listener(&self, listener: Arc<dyn BatchListener>) -> i64 {
        let listener = Arc::new(ToBatchListener(listener));
        epoch_number(self.task.mailbox().set_receiver(listener, false))
    }

    /// Sets who hears where the task is in its life, beginning with how things are now.
    pub fn set_watcher(&self, watcher: Arc<dyn SocketWatcher>) {
        self.task.mailbox().set_watcher(Arc::new(ToWatcher(watcher)));
    }

    /// Has its events come out of `next_turn` together with those of other tasks, and gives
    /// the number it goes by there. For a language that has its own threads for all tasks;
    /// it takes the place of a listener. Its first turn has begun: it is the caller's, to be
    /// ended with `end_turn` once the number is known to whoever takes turns. Events come once
    /// `listen` says what is wanted.
    pub fn join_turns(&self) -> i64 {
        self.task.join_turns()
    }

    /// Says that somebody listens: to opens, errors and closes, and with `messages` to messages
    /// too. For a batch listener and for turns, which serve many listeners; called from `on_wake`
    /// or within a turn, once that listener is in its place.
    ///
    /// Until the first call everything is kept; when that is 1,024 events or 1 MiB, the socket
    /// is not read and no dial begins. While only opens, errors and closes are listened to, the
    /// newest 256 messages of the present connection (at most 1 MiB) are kept for the first
    /// listener of messages. Nobody can stop listening: what comes is then for those who stay.
    pub fn listen(&self, messages: bool) {
        let interest = if messages { Interest::Everything } else { Interest::Steps };
        self.task.mailbox().listen(interest);
    }

    /// What somebody who begins to listen now hears first: the open if the connection is open;
    /// else the last close, and before it the error that led there, if one did. As of the event
    /// that the batch listener or the turn was given last; exact within `on_wake`, within a
    /// turn, and while a call or a turn is being told to its listeners.
    pub fn present_state(&self) -> Vec<SocketEvent> {
        self.task.mailbox().present().iter().map(|step| socket_event(step)).collect()
    }

    /// Has the batch listener's `on_wake` called, between two events. False: it was told the end
    /// and is let go; `present_state` holds for good.
    pub fn wake_listener(&self) -> bool {
        self.task.mailbox().wake()
    }

    /// The batch listener with this number, which answered false, has told everybody: the next
    /// call may come. Does nothing when another listener has taken its place.
    pub fn resume_delivery(&self, listener: i64) {
        self.task.mailbox().resume(u64::try_from(listener).unwrap_or(0));
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
    /// Messages that were received and that nobody will hear: there was no room for them while
    /// the task was closing, or nobody listened to messages.
    pub messages_discarded: i64,
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
