//! Runs `wxsocket`, and reads and parses its output line by line.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use wxsocket::testing::{Script, ScriptedServer};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_wxsocket");

/// The time limit of every wait. It is much longer than any wait of a test that passes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// The lines of standard output that were not taken before.
    pub(crate) lines: Vec<String>,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        Self::spawn(piped(&mut command))
    }

    /// Starts any command.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines() {
                    let Ok(line) = line else { return };
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let stderr = child.stderr.take();
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                stderr.read_to_end(&mut text).expect("readable");
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, stderr: Some(stderr) }
    }

    /// Starts `connect --json` with a short delay between attempts and these arguments.
    pub(crate) fn connect(url: &str, arguments: &[&str]) -> Self {
        Self::start(&[&["connect", "--json", "--delay", "50ms", url], arguments].concat())
    }

    pub(crate) fn write(&mut self, input: &[u8]) {
        let stdin = self.stdin.as_mut().expect("not ended yet");
        stdin.write_all(input).and_then(|()| stdin.flush()).expect("the program reads");
    }

    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.stdin.take().expect("not ended yet")
    }

    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Makes the thread that reads standard output end with the next line, which closes the pipe.
    pub(crate) fn stop_reading(&mut self) {
        self.lines = channel().1;
    }

    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LONG).expect("a line in time")
    }

    /// Returns the next line, which must be this event.
    pub(crate) fn event(&self, name: &str) -> Value {
        let line = self.line();
        let event: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(event["event"], name, "{line}");
        event
    }

    /// Skips lines up to this event, and returns it.
    pub(crate) fn skip_to(&self, name: &str) -> Value {
        loop {
            let event: Value = serde_json::from_str(&self.line()).expect("JSON");
            if event["event"] == name {
                return event;
            }
        }
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal("-INT");
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().expect("kill is there");
        assert!(status.success());
    }

    /// Waits until the program has ended. Its standard input stays as it is.
    pub(crate) fn finish(mut self) -> Ended {
        let stdin = self.stdin.take();
        let stderr = self.stderr.take().expect("not finished yet");
        let mut lines = Vec::new();
        // The output ends when the program ends.
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {lines:#?}"),
            }
        }
        let status = self.child.wait().expect("a child");
        drop(stdin);
        Ended { code: status.code(), lines, stderr: stderr.join().expect("readable") }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A failed test must not leave the program running. When it has ended already, this does
        // nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end with this input.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Ended {
    let mut program = Program::start(arguments);
    program.write(input);
    program.end_input();
    program.finish()
}

/// Runs the program to its end with streams that the caller chooses. Standard input is empty
/// otherwise.
pub(crate) fn run_with(
    arguments: &[&str],
    choose: impl FnOnce(&mut Command) -> &mut Command,
) -> Ended {
    let mut command = Command::new(PROGRAM);
    choose(piped(&mut command).stdin(Stdio::null()).args(arguments));
    Program::spawn(&mut command).finish()
}

pub(crate) fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

pub(crate) fn serve(script: &str) -> Arc<ScriptedServer> {
    ScriptedServer::start(Script::parse(script).expect("a script")).expect("a port")
}

/// The keys of a JSON object, in their order.
pub(crate) struct Keys(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

pub(crate) fn keys(line: &str) -> Vec<String> {
    serde_json::from_str::<Keys>(line).expect("an object").0
}
