//! The contract as data: a scenario is a script for the server, options for the client, what
//! the client does, and the transcript that must come of it.
//!
//! The files in `tests/scenarios/` are read here and played in Rust, Kotlin and Swift, each through
//! its own public API. A runner is the same few lines everywhere:
//!
//! 1. make the [`Scenario`] of a file, which starts its server; connect with its options and, for
//!    each kind in `listen`, a listener that appends [one line per event](#transcript);
//! 2. for each step do what it says; the steps of the server are done by
//!    [`Scenario::server_step`];
//! 3. compare the lines with `expect`, whole and in order.
//!
//! # Transcript
//!
//! ```text
//! open EPOCH attempt=N protocol=NAME     protocol=- if the server chose none
//! message EPOCH text TEXT
//! message EPOCH binary HEX
//! error EPOCH CODE http=STATUS           http=- unless an upgrade was refused
//! close EPOCH CODE 'REASON' clean retry=N/MAX in MS     or: unclean; retry=N (no limit);
//!                                        `in -` while suspended; `final` in place of retry
//! sent | queued | dropped                what `send` answered
//! refused CODE                           what a call answered with an error
//! ```

use crate::{ScriptedServer, ScriptedServerError};
use serde::{Deserialize, Deserializer, de};
use std::sync::Arc;
use std::time::Duration;
use wxsocket::testing::Script;
use wxsocket::{ConnectOptions, Millis, ReconnectDelay};

/// How long a step of the server may take. Every step takes far less.
const PATIENCE: Duration = Duration::from_secs(30);

/// One file of `tests/scenarios/`, with the server that plays its part.
#[derive(uniffi::Object)]
pub struct Scenario {
    file: File,
    server: Arc<ScriptedServer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    #[serde(default)]
    server: Script,
    #[serde(default)]
    options: ConnectOptions,
    #[serde(default = "EventKind::all")]
    listen: Vec<EventKind>,
    steps: Vec<ScenarioStep>,
    expect: Vec<String>,
}

/// A kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, uniffi::Enum)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// `onOpen`.
    Open,
    /// `onMessage`.
    Message,
    /// `onError`.
    Error,
    /// `onClose`.
    Close,
}

impl EventKind {
    fn all() -> Vec<Self> {
        vec![Self::Open, Self::Message, Self::Error, Self::Close]
    }
}

/// One thing that the client or the server does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, uniffi::Enum)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum ScenarioStep {
    /// Wait for the next line that begins with this word, after those already waited for.
    Wait(String),
    /// Send a text message; the answer is a line.
    Send(String),
    /// Send a binary message, in hex in the file; the answer is a line.
    #[serde(deserialize_with = "from_hex")]
    SendHex(Vec<u8>),
    /// Close; an error is a line.
    Close {
        /// The code.
        code: i32,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Call `pause`.
    Pause,
    /// Call `resume`.
    Resume,
    /// Call `reconnect_now`.
    ReconnectNow,
    /// Call `set_network`.
    Network(bool),
    /// Call `set_foreground`.
    Foreground(bool),
    /// Add a listener for this kind of events.
    Listen(EventKind),
    /// Remove the listeners for this kind of events.
    Off(EventKind),
    /// Wait until the task is in this state: `connecting`, `waiting`, `suspended`, `open`,
    /// `closing` or `closed`.
    State(String),
    /// Wait until `stats` count this many messages from the server, whether heard or not.
    Received(i64),
    /// The server resets every connection.
    ServerDrop,
    /// The server closes every connection; 0 stands for a close frame without a code.
    ServerClose(u16),
    /// The server sends a text message.
    ServerSend(String),
    /// The server reads and sends nothing any more, and keeps its connections.
    ServerSilence,
    /// The server refuses connections.
    ServerStop,
    /// The server accepts connections again.
    ServerResume,
    /// Wait until the server has received this many messages.
    ServerGot(u64),
}

#[uniffi::export]
impl Scenario {
    /// Reads a scenario and starts its server. The error says what is wrong, with line and column.
    #[uniffi::constructor]
    pub fn new(json: String) -> Result<Arc<Self>, ScriptedServerError> {
        let file: File = serde_json::from_str(&json)
            .map_err(|error| ScriptedServerError::InvalidScript { reason: error.to_string() })?;
        let server = Arc::new(ScriptedServer::play(file.server.clone())?);
        Ok(Arc::new(Self { file, server }))
    }

    /// The rule that it shows, in a sentence.
    pub fn about(&self) -> String {
        self.file.about.clone()
    }

    /// The client's options. The URL is the server's; without a delay in the file an attempt waits
    /// 50 ms.
    pub fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions { url: self.server.url(), ..self.file.options.clone() };
        options.reconnect.delay.get_or_insert(ReconnectDelay::Fixed { delay: Millis(50) });
        options
    }

    /// The server, for whoever wants to look.
    pub fn server(&self) -> Arc<ScriptedServer> {
        Arc::clone(&self.server)
    }

    /// The kinds of events that there is a listener for from the beginning.
    pub fn listen(&self) -> Vec<EventKind> {
        self.file.listen.clone()
    }

    /// What to do, in order.
    pub fn steps(&self) -> Vec<ScenarioStep> {
        self.file.steps.clone()
    }

    /// The lines that must come of it.
    pub fn expect(&self) -> Vec<String> {
        self.file.expect.clone()
    }

    /// Does a step of the server. False: it is a step of the client, or what it waits for did not
    /// come.
    pub fn server_step(&self, step: ScenarioStep) -> Result<bool, ScriptedServerError> {
        match step {
            ScenarioStep::ServerDrop => self.server.drop_all(),
            ScenarioStep::ServerClose(code) => {
                self.server.close_all((code != 0).then_some(code), String::new());
            }
            ScenarioStep::ServerSend(text) => self.server.send_text_all(text),
            ScenarioStep::ServerSilence => self.server.silence_all(),
            ScenarioStep::ServerStop => self.server.stop_listening()?,
            ScenarioStep::ServerResume => self.server.resume_listening()?,
            ScenarioStep::ServerGot(count) => return Ok(self.server.has_got(count, PATIENCE)),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let hex = String::deserialize(from)?;
    let pair = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(pair).collect();
    bytes.ok_or_else(|| de::Error::custom("bytes are pairs of hex digits"))
}
