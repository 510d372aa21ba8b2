//! A client that writes down what it hears, and what every test asks of it.

// Each test binary uses its own part of this.
#![allow(dead_code)]
#![allow(clippy::unwrap_used)]

pub(crate) mod gate;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
use wxsocket::testing::{Script, ScriptedServer, SeenConnection, Snapshot};
use wxsocket::*;

/// Far more than anything here takes, on a loaded machine too; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A delay that no test lives to see: whoever is to wait waits, and whoever comes back was told
/// to.
pub(crate) const NEVER: Millis = Millis(600_000);

/// A server with this script, in JSON.
pub(crate) fn serve(script: &str) -> Arc<ScriptedServer> {
    ScriptedServer::start(Script::parse(script).unwrap()).unwrap()
}

/// A server that echoes and answers heartbeats.
pub(crate) fn echo() -> Arc<ScriptedServer> {
    serve("[]")
}

/// Comes back after 30 ms without end, and has no heartbeat: on a loaded machine one would now
/// and then find a healthy server dead.
pub(crate) fn fast(url: impl Into<String>) -> ConnectOptions {
    ConnectOptions {
        reconnect: ReconnectOptions {
            delay: Some(ReconnectDelay::Fixed { delay: Millis(30) }),
            max_attempts: Some(AttemptLimit::Unlimited),
            ..Default::default()
        },
        heartbeat: HeartbeatOptions { enabled: Some(false), ..Default::default() },
        ..ConnectOptions::new(url)
    }
}

/// Comes back only when told to.
pub(crate) fn patient(url: impl Into<String>) -> ConnectOptions {
    let mut options = fast(url);
    options.reconnect.delay = Some(ReconnectDelay::Fixed { delay: NEVER });
    options
}

/// One connection and no more.
pub(crate) fn once(url: impl Into<String>) -> ConnectOptions {
    let mut options = fast(url);
    options.reconnect.enabled = Some(false);
    options
}

/// At most so many attempts in a row.
pub(crate) fn limited(url: impl Into<String>, attempts: i64) -> ConnectOptions {
    let mut options = fast(url);
    options.reconnect.max_attempts = Some(AttemptLimit::Attempts { count: attempts });
    options
}

/// A listener made of one function.
pub(crate) struct On<F>(pub(crate) F);

impl<F: Fn(SocketEvent) -> Result<(), ListenerError> + Send + Sync> SocketListener for On<F> {
    fn on_open(&self, event: OpenEvent) -> Result<(), ListenerError> {
        (self.0)(SocketEvent::Open { event })
    }
    fn on_message(&self, event: MessageEvent) -> Result<(), ListenerError> {
        (self.0)(SocketEvent::Message { event })
    }
    fn on_error(&self, event: ErrorEvent) -> Result<(), ListenerError> {
        (self.0)(SocketEvent::Error { event })
    }
    fn on_close(&self, event: CloseEvent) -> Result<(), ListenerError> {
        (self.0)(SocketEvent::Close { event })
    }
}

/// A task and what it says, in order.
pub(crate) struct Client {
    task: Option<Arc<SocketTask>>,
    events: Receiver<SocketEvent>,
    heard: Vec<SocketEvent>,
}

impl Client {
    pub(crate) fn connect(options: ConnectOptions) -> Self {
        Self::with(options, None, |_, _| {})
    }

    pub(crate) fn asking(options: ConnectOptions, before: Arc<dyn BeforeConnect>) -> Self {
        Self::with(options, Some(before), |_, _| {})
    }

    /// Runs `inside` in every callback, and only then tells the test.
    pub(crate) fn hooked(
        options: ConnectOptions,
        inside: impl Fn(&Arc<SocketTask>, &SocketEvent) + Send + Sync + 'static,
    ) -> Self {
        Self::with(options, None, inside)
    }

    fn with(
        options: ConnectOptions,
        before: Option<Arc<dyn BeforeConnect>>,
        inside: impl Fn(&Arc<SocketTask>, &SocketEvent) + Send + Sync + 'static,
    ) -> Self {
        let (sender, events): (Sender<SocketEvent>, _) = channel();
        let slot = Arc::new(OnceLock::<Weak<SocketTask>>::new());
        let itself = slot.clone();
        let listener = On(move |event: SocketEvent| {
            // The first event may be here before `connect_socket` has returned.
            if let Some(task) = itself.wait().upgrade() {
                inside(&task, &event);
            }
            // A test that has seen enough is gone.
            let _ = sender.send(event);
            Ok(())
        });
        let task = connect_socket(options, Some(Arc::new(listener)), before).unwrap();
        slot.set(Arc::downgrade(&task)).unwrap();
        Self { task: Some(task), events, heard: Vec::new() }
    }

    pub(crate) fn task(&self) -> &Arc<SocketTask> {
        self.task.as_ref().unwrap()
    }

    /// Gives away the only lasting handle.
    pub(crate) fn release(&mut self) -> Arc<SocketTask> {
        self.task.take().unwrap()
    }

    pub(crate) fn send(&self, message: impl Into<Message>) -> SendOutcome {
        self.task().send(message).unwrap()
    }

    /// The next event, whatever it is.
    #[track_caller]
    pub(crate) fn next(&mut self) -> SocketEvent {
        match self.events.recv_timeout(PATIENCE) {
            Ok(event) => {
                self.heard.push(event.clone());
                event
            }
            Err(RecvTimeoutError::Timeout) => panic!("nothing more came{}", self.transcript()),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the task is over{}", self.transcript())
            }
        }
    }

    #[track_caller]
    pub(crate) fn open(&mut self) -> OpenEvent {
        match self.next() {
            SocketEvent::Open { event } => event,
            _ => panic!("expected an open{}", self.transcript()),
        }
    }

    #[track_caller]
    pub(crate) fn message(&mut self) -> Message {
        match self.next() {
            SocketEvent::Message { event } => event.data,
            _ => panic!("expected a message{}", self.transcript()),
        }
    }

    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        match self.message() {
            Message::Text { text } => text,
            Message::Binary { .. } => panic!("expected a text{}", self.transcript()),
        }
    }

    #[track_caller]
    pub(crate) fn error(&mut self) -> ErrorEvent {
        match self.next() {
            SocketEvent::Error { event } => event,
            _ => panic!("expected an error{}", self.transcript()),
        }
    }

    /// A close that is not the last.
    #[track_caller]
    pub(crate) fn close(&mut self) -> CloseEvent {
        match self.next() {
            SocketEvent::Close { event } if event.retry.is_some() => event,
            _ => panic!("expected a close with a retry{}", self.transcript()),
        }
    }

    /// The final close, and that nothing comes after it.
    #[track_caller]
    pub(crate) fn end(&mut self) -> CloseEvent {
        match self.next() {
            SocketEvent::Close { event } if event.retry.is_none() => {
                self.nothing_follows();
                event
            }
            _ => panic!("expected the final close{}", self.transcript()),
        }
    }

    /// An error of this kind and a close with 1006.
    #[track_caller]
    pub(crate) fn lost(&mut self, kind: ErrorKind) -> ErrorEvent {
        let error = self.error();
        assert_eq!(error.kind, kind, "{error:?}");
        assert_eq!(self.close().code, 1006);
        error
    }

    /// The engine lets go of the listener when all is said: the channel ends.
    #[track_caller]
    fn nothing_follows(&mut self) {
        match self.events.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Disconnected) => assert_rules(&self.heard),
            Err(RecvTimeoutError::Timeout) => panic!("the listener is kept{}", self.transcript()),
            Ok(event) => panic!("{} after the end{}", describe(&event), self.transcript()),
        }
    }

    /// Closes, and hears everything out. All that was ever heard obeyed the rules.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Vec<SocketEvent> {
        self.task().close(1000, String::new()).unwrap();
        while !self.next().is_final() {}
        self.nothing_follows();
        self.heard
    }

    fn transcript(&self) -> String {
        let state = self.task.as_ref().map(|task| (task.ready_state(), task.stats()));
        let lines: VecDeque<_> = self.heard.iter().map(describe).collect();
        let skip = lines.len().saturating_sub(40);
        let lines: Vec<_> = lines.into_iter().skip(skip).collect();
        format!("; {skip} events, then\n  {}\n  {state:?}", lines.join("\n  "))
    }
}

fn describe(event: &SocketEvent) -> String {
    let mut line = format!("{event:?}");
    if let Some((end, _)) = line.char_indices().nth(300) {
        line.truncate(end);
    }
    line
}

/// The order that every task keeps, whatever happens to it: per epoch at most one open, then
/// messages, then at most one error, then exactly one close; epochs in sequence; a close without
/// retry at the end and nowhere else.
#[track_caller]
pub(crate) fn assert_rules(events: &[SocketEvent]) {
    #[derive(PartialEq, PartialOrd, Debug)]
    enum Stage {
        Fresh,
        Open,
        Error,
    }
    let story = || events.iter().map(describe).collect::<Vec<_>>().join("\n");
    let (mut epoch, mut stage) = (1, Stage::Fresh);
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.epoch(), epoch, "event {at} in\n{}", story());
        let legal = match event {
            SocketEvent::Open { .. } => stage == Stage::Fresh,
            SocketEvent::Message { .. } => stage == Stage::Open,
            SocketEvent::Error { .. } => stage < Stage::Error,
            SocketEvent::Close { .. } => event.is_final() == (at + 1 == events.len()),
        };
        assert!(legal, "event {at} at stage {stage:?} in\n{}", story());
        stage = match event {
            SocketEvent::Error { .. } => Stage::Error,
            SocketEvent::Close { .. } => Stage::Fresh,
            _ => Stage::Open,
        };
        epoch += i64::from(matches!(event, SocketEvent::Close { .. }));
    }
}

/// Blocks until the server has seen it.
#[track_caller]
pub(crate) fn until(server: &ScriptedServer, predicate: impl FnMut(&Snapshot) -> bool) {
    let seen = server.wait_for(predicate, PATIENCE);
    assert!(seen, "the server waited in vain; it saw {:?}", server.connections());
}

/// The n-th connection of the server, once it has ended.
#[track_caller]
pub(crate) fn ended(server: &ScriptedServer, n: u64) -> SeenConnection {
    until(server, |seen| seen.connections.iter().any(|one| one.index == n && one.ended.is_some()));
    server.connection(n).unwrap()
}

/// Blocks until something that leaves no event behind is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
