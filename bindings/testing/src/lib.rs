//! The scripted server of `wxsocket::testing`, for Kotlin and Swift.
//!
//! The library made of this crate holds the engine too: a test process loads it in place of
//! `wxsocket`, so that client and server share a process, and nothing of it is ever in an app.

mod scenario;

pub use scenario::{EventKind, Scenario, ScenarioStep};

use std::sync::Arc;
use std::time::Duration;
use wxsocket::testing::{Script, SeenConnection, SeenFrameKind};

uniffi::setup_scaffolding!();
wxsocket::uniffi_reexport_scaffolding!();

/// A call to the scripted server failed.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum ScriptedServerError {
    /// The script is not valid.
    #[error("{reason}")]
    InvalidScript {
        /// What is wrong, with line and column.
        reason: String,
    },
    /// The operating system said no.
    #[error("{reason}")]
    Io {
        /// What it said.
        reason: String,
    },
}

impl From<std::io::Error> for ScriptedServerError {
    fn from(error: std::io::Error) -> Self {
        Self::Io { reason: error.to_string() }
    }
}

/// A WebSocket server on a loopback port of its choosing that misbehaves on command.
///
/// Its script is a JSON array: the n-th connection plays the n-th entry, the last one repeats.
/// An empty script echoes and answers heartbeats. It goes on until `shutdown`, or until its last reference is gone.
#[derive(uniffi::Object)]
pub struct ScriptedServer {
    server: Arc<wxsocket::testing::ScriptedServer>,
}

impl ScriptedServer {
    fn play(script: Script) -> Result<Self, ScriptedServerError> {
        Ok(Self { server: wxsocket::testing::ScriptedServer::start(script)? })
    }

    fn has_got(&self, messages: u64, patience: Duration) -> bool {
        self.server.wait_messages(messages, patience)
    }
}

#[uniffi::export]
impl ScriptedServer {
    /// Starts a server that plays `script`.
    #[uniffi::constructor]
    pub fn new(script: String) -> Result<Arc<Self>, ScriptedServerError> {
        Self::play(parse(&script)?).map(Arc::new)
    }

    /// Where to dial: `ws://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Plays another script for connections from now on, beginning with its first entry.
    pub fn set_script(&self, script: String) -> Result<(), ScriptedServerError> {
        self.server.set_script(parse(&script)?);
        Ok(())
    }

    /// Sends a text message on every open connection.
    pub fn send_text_all(&self, text: String) {
        self.server.send_text_all(&text);
    }

    /// Resets every connection (RST).
    pub fn drop_all(&self) {
        self.server.drop_all();
    }

    /// Closes every connection; without a code the close frame is empty.
    pub fn close_all(&self, code: Option<u16>, reason: String) {
        self.server.close_all(code, &reason);
    }

    /// Turns every connection into a black hole: TCP stands, nothing is read or sent.
    pub fn silence_all(&self) {
        self.server.silence_all();
    }

    /// Resets every connection and refuses new ones.
    pub fn stop_listening(&self) -> Result<(), ScriptedServerError> {
        Ok(self.server.stop_listening()?)
    }

    /// Accepts connections again, on the same port.
    pub fn resume_listening(&self) -> Result<(), ScriptedServerError> {
        Ok(self.server.resume_listening()?)
    }

    /// Ends the server and all its connections.
    pub fn shutdown(&self) {
        self.server.shutdown();
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> i32 {
        i32::try_from(self.server.open_connections()).unwrap_or(i32::MAX)
    }

    /// Everything seen so far, oldest first.
    pub fn connections(&self) -> Vec<SeenByServer> {
        self.server.connections().into_iter().map(SeenByServer::from).collect()
    }

    /// Waits until `count` connections have been accepted since the start. False: too late.
    pub fn wait_connections(&self, count: u32, timeout_ms: u32) -> bool {
        self.server.wait_connections(count.into(), millis(timeout_ms))
    }

    /// Waits until `count` messages (heartbeats not counted) have arrived. False: too late.
    pub fn wait_messages(&self, count: u32, timeout_ms: u32) -> bool {
        self.server.wait_messages(count.into(), millis(timeout_ms))
    }

    /// Waits until `count` connections have ended. False: too late.
    pub fn wait_ended(&self, count: u32, timeout_ms: u32) -> bool {
        self.server.wait_ended(count.into(), millis(timeout_ms))
    }
}

/// One connection, as the server saw it.
#[derive(Clone, Debug, uniffi::Record)]
pub struct SeenByServer {
    /// Its number, from 1.
    pub index: i64,
    /// The target of the request, with its query.
    pub request_path: Option<String>,
    /// The headers of the request, in order and original case.
    pub header: Vec<SeenHeader>,
    /// The sub-protocols that were offered.
    pub protocols_offered: Vec<String>,
    /// It was upgraded.
    pub opened: bool,
    /// Data messages that arrived, heartbeats not counted.
    pub messages: i64,
    /// Heartbeats that arrived.
    pub heartbeats: i64,
    /// The text frames that arrived, heartbeats included.
    pub texts: Vec<String>,
    /// The code of the client's close frame.
    pub close_code: Option<i32>,
    /// Its reason.
    pub close_reason: Option<String>,
    /// How it ended, as in `ClientClosed` or `ClientReset`; absent while it lasts.
    pub ended: Option<String>,
    /// What the client did against the protocol.
    pub violations: Vec<String>,
}

/// One header.
#[derive(Clone, Debug, uniffi::Record)]
pub struct SeenHeader {
    /// The name as written.
    pub name: String,
    /// The value.
    pub value: String,
}

impl From<SeenConnection> for SeenByServer {
    fn from(seen: SeenConnection) -> Self {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let close = seen.frames.iter().find(|frame| frame.kind == SeenFrameKind::Close);
        Self {
            index: number(seen.index),
            texts: seen.texts(),
            messages: number(seen.messages_received),
            heartbeats: number(seen.heartbeats_received),
            close_code: close.and_then(|frame| frame.close_code).map(i32::from),
            close_reason: close.map(|frame| frame.close_reason.clone()),
            ended: seen.ended.map(|end| format!("{end:?}")),
            request_path: seen.request_path,
            header: seen
                .headers
                .into_iter()
                .map(|(name, value)| SeenHeader { name, value })
                .collect(),
            protocols_offered: seen.protocols_offered,
            opened: seen.opened,
            violations: seen.violations,
        }
    }
}

fn parse(script: &str) -> Result<Script, ScriptedServerError> {
    let script = if script.trim().is_empty() { "[]" } else { script };
    Script::parse(script)
        .map_err(|error| ScriptedServerError::InvalidScript { reason: error.to_string() })
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}
