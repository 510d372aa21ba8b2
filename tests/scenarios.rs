//! Plays every file of `tests/scenarios/`: the same contract that Kotlin and Swift play.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, mpsc};
use std::time::Duration;
use wxsocket::testing::ScriptedServer;
use wxsocket::testing::scenario::{Scenario, Step, line, send_line};
use wxsocket::{
    CloseEvent, ErrorEvent, ListenerError, MessageEvent, OpenEvent, SocketEvent, SocketListener,
    SocketTask, connect_socket,
};

/// Far longer than any step takes, even on a machine that does three other things.
const PATIENCE: Duration = Duration::from_secs(30);

struct Lines(mpsc::Sender<String>);

impl Lines {
    fn add(&self, event: SocketEvent) -> Result<(), ListenerError> {
        self.0
            .send(line(&event))
            .map_err(|error| ListenerError::Failed { reason: error.to_string() })
    }
}

impl SocketListener for Lines {
    fn on_open(&self, event: OpenEvent) -> Result<(), ListenerError> {
        self.add(SocketEvent::Open { event })
    }
    fn on_message(&self, event: MessageEvent) -> Result<(), ListenerError> {
        self.add(SocketEvent::Message { event })
    }
    fn on_error(&self, event: ErrorEvent) -> Result<(), ListenerError> {
        self.add(SocketEvent::Error { event })
    }
    fn on_close(&self, event: CloseEvent) -> Result<(), ListenerError> {
        self.add(SocketEvent::Close { event })
    }
}

struct Run {
    server: Arc<ScriptedServer>,
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
                let answer = send_line(&self.task.send(text.as_str()));
                self.say(answer);
            }
            Step::SendHex(hex) => {
                let answer = send_line(&self.task.send(bytes(hex)));
                self.say(answer);
            }
            Step::Close { code, reason } => {
                if let Err(error) = self.task.close(*code, reason.clone()) {
                    self.say(format!("refused {}", error.err_code()));
                }
            }
            Step::Pause => self.task.pause(),
            Step::Resume => self.task.resume(),
            Step::ReconnectNow => self.task.reconnect_now(),
            Step::Network(available) => self.task.set_network(*available),
            Step::Foreground(foreground) => self.task.set_foreground(*foreground),
            server => self.server_step(server),
        }
    }

    fn server_step(&self, step: &Step) {
        match step {
            Step::ServerDrop => self.server.drop_all(),
            Step::ServerClose(code) => self.server.close_all((*code != 0).then_some(*code), ""),
            Step::ServerSend(text) => self.server.send_text_all(text),
            Step::ServerSilence => self.server.silence_all(),
            Step::ServerStop => self.server.stop_listening().unwrap(),
            Step::ServerResume => self.server.resume_listening().unwrap(),
            Step::ServerGot(count) => assert!(self.server.wait_messages(*count, PATIENCE)),
            _ => unreachable!("a step of the client"),
        }
    }

    fn say(&mut self, line: String) {
        // Behind whatever has arrived before.
        self.lines.extend(self.arriving.try_iter());
        self.lines.push(line);
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

fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn play(scenario: &Scenario) -> Vec<String> {
    let server = ScriptedServer::start(scenario.server.clone()).unwrap();
    let (lines, arriving) = mpsc::channel();
    let options = scenario.options(&server.url());
    let task = connect_socket(options, Some(Arc::new(Lines(lines))), None).unwrap();
    let mut run = Run { server, task, arriving, lines: Vec::new(), seen: 0 };
    for step in &scenario.steps {
        run.step(step);
    }
    // What still arrives is too much; the listener is let go after the final close, which
    // ends the channel.
    drop(run.task);
    run.lines.extend(run.arriving.iter());
    run.lines
}

#[test]
fn every_scenario_goes_as_written() {
    let mut files: Vec<_> =
        std::fs::read_dir("tests/scenarios").unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for file in &files {
        let scenario = Scenario::parse(&std::fs::read_to_string(file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let lines = play(&scenario);
        if lines != scenario.expect {
            wrong.push(format!(
                "{}: {}\n--- expected\n{}\n--- got\n{}",
                file.display(),
                scenario.about,
                scenario.expect.join("\n"),
                lines.join("\n")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    println!("{} scenarios", files.len());
}
