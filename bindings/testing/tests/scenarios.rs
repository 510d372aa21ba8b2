//! Plays every file of `tests/scenarios/`: the same contract that Kotlin and Swift play.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::time::{Duration, Instant};
use wxsocket::{
    BatchListener, ListenerError, Message, MessageEvent, SendOutcome, SocketEvent, SocketState,
    SocketTask, WxError, connect_socket,
};
use wxsocket_testing::{EventKind as Kind, Scenario, ScenarioStep as Step};

/// Far longer than any step takes, even on a machine that does three other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the layers of Kotlin and Swift do with the engine's calls, as short as it can be:
/// listeners that come and go.
struct Hub {
    lines: Mutex<Listeners>,
    task: OnceLock<Weak<SocketTask>>,
}

struct Listeners {
    heard: mpsc::Sender<String>,
    kinds: Vec<Kind>,
    /// They come in between two events.
    coming: Vec<Kind>,
}

impl Hub {
    fn tell(&self, event: SocketEvent) {
        let hub = self.lines.lock().unwrap();
        if hub.kinds.contains(&kind(&event)) {
            // The test may be over.
            let _ = hub.heard.send(line(&event));
        }
    }

    fn add(&self, kind: Kind) {
        self.lines.lock().unwrap().coming.push(kind);
        if self.task().is_some_and(|task| !task.wake_listener()) {
            self.admit();
        }
    }

    fn admit(&self) {
        let Some(task) = self.task() else { return };
        let mut hub = self.lines.lock().unwrap();
        let coming = std::mem::take(&mut hub.coming);
        if coming.is_empty() {
            return;
        }
        for event in task.present_state() {
            if coming.contains(&kind(&event)) {
                let _ = hub.heard.send(line(&event));
            }
        }
        task.listen(coming.contains(&Kind::Message));
        hub.kinds.extend(coming);
    }

    fn task(&self) -> Option<Arc<SocketTask>> {
        self.task.get().and_then(Weak::upgrade)
    }
}

impl BatchListener for Hub {
    fn on_messages(&self, epoch: i64, packed: Bytes) -> Result<bool, ListenerError> {
        let mut rest = &packed[..];
        while let [kind, a, b, c, d, tail @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]).try_into().unwrap();
            let (payload, tail) = tail.split_at(length);
            let data = match kind {
                0 => Message::text(std::str::from_utf8(payload).unwrap()),
                _ => Message::from(payload),
            };
            self.tell(SocketEvent::Message { event: MessageEvent { epoch, data } });
            rest = tail;
        }
        Ok(true)
    }

    fn on_event(&self, event: SocketEvent) -> Result<bool, ListenerError> {
        self.tell(event);
        Ok(true)
    }

    fn on_wake(&self) -> Result<(), ListenerError> {
        self.admit();
        Ok(())
    }
}

struct Run {
    scenario: Arc<Scenario>,
    hub: Arc<Hub>,
    task: Arc<SocketTask>,
    arriving: mpsc::Receiver<String>,
    lines: Vec<String>,
    /// Lines up to here have been waited for.
    seen: usize,
}

impl Run {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Wait(word) => self.wait(word),
            Step::Send(text) => {
                self.catch_up();
                self.lines.push(send_line(&self.task.send(text.as_str())));
            }
            Step::SendHex(bytes) => {
                self.catch_up();
                self.lines.push(send_line(&self.task.send(bytes.clone())));
            }
            Step::Close { code, reason } => {
                self.catch_up();
                if let Err(error) = self.task.close(*code, reason.clone()) {
                    self.lines.push(format!("refused {}", error.err_code()));
                }
            }
            Step::Pause => self.task.pause(),
            Step::Resume => self.task.resume(),
            Step::ReconnectNow => self.task.reconnect_now(),
            Step::Network(available) => self.task.set_network((*available).into()),
            Step::Foreground(foreground) => self.task.set_foreground(*foreground),
            Step::Listen(kind) => self.hub.add(*kind),
            Step::Off(kind) => self.hub.lines.lock().unwrap().kinds.retain(|other| other != kind),
            Step::State(word) => self.until(word, |task| state_word(task.state()) == word),
            Step::Received(count) => {
                self.until("messages", |task| task.stats().messages_in >= *count);
            }
            server => assert!(self.scenario.server_step(server.clone()).unwrap(), "{server:?}"),
        }
    }

    fn until(&self, what: &str, is_so: impl Fn(&SocketTask) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.task) {
            assert!(Instant::now() < deadline, "no {what}; {:?}", self.task.stats());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes what has arrived, before a call whose answer is a line of its own: what comes of
    /// the call comes behind that line.
    fn catch_up(&mut self) {
        self.lines.extend(self.arriving.try_iter());
    }

    fn wait(&mut self, word: &str) {
        loop {
            while self.seen < self.lines.len() {
                self.seen += 1;
                if self.lines[self.seen - 1].split(' ').next() == Some(word) {
                    return;
                }
            }
            match self.arriving.recv_timeout(PATIENCE) {
                Ok(line) => self.lines.push(line),
                Err(_) => panic!("no {word:?} after\n{}", self.lines.join("\n")),
            }
        }
    }
}

/// The kind of an event.
fn kind(event: &SocketEvent) -> Kind {
    match event {
        SocketEvent::Open { .. } => Kind::Open,
        SocketEvent::Message { .. } => Kind::Message,
        SocketEvent::Error { .. } => Kind::Error,
        SocketEvent::Close { .. } => Kind::Close,
    }
}

/// The word for a state in [`Step::State`].
fn state_word(state: SocketState) -> &'static str {
    match state {
        SocketState::Connecting { .. } => "connecting",
        SocketState::Waiting { .. } => "waiting",
        SocketState::Suspended => "suspended",
        SocketState::Open => "open",
        SocketState::Closing => "closing",
        SocketState::Closed => "closed",
    }
}

/// The line for an event.
fn line(event: &SocketEvent) -> String {
    match event {
        SocketEvent::Open { event } => {
            let protocol = event.protocol.as_deref().unwrap_or("-");
            format!("open {} attempt={} protocol={protocol}", event.epoch, event.attempt)
        }
        SocketEvent::Message { event } => match &event.data {
            Message::Text { text } => format!("message {} text {text}", event.epoch),
            Message::Binary { bytes } => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("message {} binary {hex}", event.epoch)
            }
        },
        SocketEvent::Error { event } => {
            let status = event.http_status.map_or("-".to_owned(), |status| status.to_string());
            format!("error {} {} http={status}", event.epoch, event.err_code)
        }
        SocketEvent::Close { event } => {
            let clean = if event.was_clean { "clean" } else { "unclean" };
            let next = match event.retry {
                None => "final".to_owned(),
                Some(retry) => {
                    let max = retry.max.map_or(String::new(), |max| format!("/{max}"));
                    let delay = retry.delay.map_or("-".to_owned(), |delay| delay.0.to_string());
                    format!("retry={}{max} in {delay}", retry.attempt)
                }
            };
            format!("close {} {} '{}' {clean} {next}", event.epoch, event.code, event.reason)
        }
    }
}

/// The line for the answer of `send`.
fn send_line(answer: &Result<SendOutcome, WxError>) -> String {
    match answer {
        Ok(SendOutcome::Sent) => "sent".to_owned(),
        Ok(SendOutcome::Queued { .. }) => "queued".to_owned(),
        Ok(SendOutcome::Dropped) => "dropped".to_owned(),
        Err(error) => format!("refused {}", error.err_code()),
    }
}

fn play(scenario: &Arc<Scenario>) -> Vec<String> {
    let (heard, arriving) = mpsc::channel();
    let task = connect_socket(scenario.options(), None, None).unwrap();
    let listeners = Listeners { heard, kinds: Vec::new(), coming: Vec::new() };
    let hub = Arc::new(Hub { lines: Mutex::new(listeners), task: OnceLock::new() });
    hub.task.set(Arc::downgrade(&task)).unwrap();
    task.set_batch_listener(hub.clone());
    for kind in scenario.listen() {
        hub.add(kind);
    }
    let scenario = Arc::clone(scenario);
    let mut run = Run { scenario, hub, task, arriving, lines: Vec::new(), seen: 0 };
    for step in run.scenario.steps() {
        run.step(&step);
    }
    // What still arrives is too much; the listener is let go after the final close, which
    // ends the channel.
    drop(run.task);
    drop(run.hub);
    run.lines.extend(run.arriving.iter());
    run.lines
}

#[test]
fn every_scenario_goes_as_written() {
    let mut files: Vec<_> = std::fs::read_dir("../../tests/scenarios")
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for file in &files {
        let scenario = Scenario::new(std::fs::read_to_string(file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let lines = play(&scenario);
        if lines != scenario.expect() {
            wrong.push(format!(
                "{}: {}\n--- expected\n{}\n--- got\n{}",
                file.display(),
                scenario.about(),
                scenario.expect().join("\n"),
                lines.join("\n")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    println!("{} scenarios", files.len());
}
