//! The script of a server, as Rust values and as JSON.

use serde::{Deserialize, Serialize};

use super::script_serde::{CloseFields, FragmentFields, hex, limits, objects, one_or_many};

/// What the server does, connection by connection.
///
/// The n-th accepted connection plays the n-th entry; the last entry is used for all later
/// connections, too. Without entries the server echoes and answers heartbeats.
///
/// In JSON a script is an array of connections, or an object with the key `connections`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Script {
    /// One entry per accepted connection, the last one for all that follow.
    pub connections: Vec<ConnectionScript>,
}

/// The error of a script that cannot be read, with its position in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ScriptError {
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1; 0 at the very start of a line.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// What happens on one connection.
///
/// In JSON every key may be left out; the defaults make an echo server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ConnectionScript {
    /// How the dial is answered (default: [`Handshake::Upgrade`]).
    pub handshake: Handshake,
    /// Sends every data message back unchanged, text as text and binary as binary (default: true).
    /// Heartbeats and texts that a rule waits for are not echoed.
    pub echo: bool,
    /// Texts that are heartbeats, each with its reply (default: `"ping"` with `"pong"`). A
    /// heartbeat is neither echoed nor counted as a message.
    pub heartbeats: Vec<(String, String)>,
    /// Replies to heartbeats (default: true). When false, heartbeats get no reply.
    pub answer_heartbeats: bool,
    /// Answers a protocol ping with a pong (default: true).
    pub answer_pings: bool,
    /// Answers a close frame with one and closes (default: true). When false, a close frame is
    /// recorded and nothing else happens.
    pub answer_close: bool,
    /// Delays everything that is sent after the handshake by this many milliseconds (default: 0).
    pub delay_ms: u64,
    /// Other actions, and when they run (default: none).
    #[serde(deserialize_with = "objects")]
    pub rules: Vec<Rule>,
}

/// How a dial is answered.
///
/// In JSON: one of the words `"upgrade"`, `"refuse"`, `"hang"`, `"wrongUpgrade"`, or an object.
/// An object with the key `status` is a [`StatusAnswer`], one with `raw` (text) or `rawHex` is
/// [`Handshake::Raw`], any other one is an [`Upgrade`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Upgrades to a WebSocket.
    Upgrade(Upgrade),
    /// Resets the TCP connection (RST) as soon as it is accepted. The client's `connect` may
    /// still succeed; for a port that refuses, see [`Action::StopListening`].
    Refuse,
    /// Accepts the TCP connection, reads nothing and sends nothing.
    Hang,
    /// Answers with an HTTP status and closes.
    Status(StatusAnswer),
    /// Answers 101 with the `Sec-WebSocket-Accept` of another key.
    WrongUpgrade,
    /// Answers with these bytes, HTTP or not, and closes.
    Raw(Vec<u8>),
}

/// How the server upgrades.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// The time between the request and the answer in milliseconds (default: 0).
    pub delay_ms: u64,
    /// More headers of the answer, in this order and case, duplicates included.
    pub headers: Vec<(String, String)>,
    /// The sub-protocol of the answer.
    #[serde(skip_serializing_if = "ProtocolAnswer::is_first_offered")]
    pub protocol: ProtocolAnswer,
}

/// The sub-protocol in the answer to an upgrade.
///
/// In JSON: no key for the first one offered, `null` for none, or the name to force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProtocolAnswer {
    /// The first one that the client offers, if it offers any.
    #[default]
    FirstOffered,
    /// None, even if the client offers some.
    None,
    /// This one, even if the client does not offer it.
    Force(String),
}

/// An HTTP answer that is not an upgrade.
///
/// `Content-Length` and `Connection: close` are added unless the headers name them (or
/// `Transfer-Encoding`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusAnswer {
    /// The status code; in JSON from 100 to 999, and not 101.
    pub status: u16,
    /// The reason phrase (default: the usual one for the status).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The headers, in this order and case, duplicates included.
    pub headers: Vec<(String, String)>,
    /// The body (default: empty).
    pub body: String,
    /// The time between the request and the answer in milliseconds (default: 0).
    pub delay_ms: u64,
}

/// Actions, and when they start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// When the actions start.
    pub on: Trigger,
    /// The actions, one after another; in JSON a single one needs no array.
    #[serde(rename = "do", deserialize_with = "one_or_many")]
    pub actions: Vec<Action>,
}

/// When the actions of a rule start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Trigger {
    /// Right after the upgrade.
    Open,
    /// After the n-th data message (counted from 1, heartbeats not counted) and its echo. Once.
    #[serde(deserialize_with = "limits::messages")]
    Messages(u64),
    /// This many milliseconds after the upgrade. Once.
    AfterMs(u64),
    /// Each time exactly this text is received. It counts as a message and is not echoed. A
    /// heartbeat with this text stays a heartbeat, and the rule runs as well.
    Text(String),
    /// After the n-th heartbeat (counted from 1) and its reply. Once.
    #[serde(deserialize_with = "limits::heartbeats")]
    Heartbeats(u64),
}

/// One action of the server on an open connection.
///
/// In JSON an action without values is a word (`"drop"`), the others are objects with one key
/// (`{"send": "hello"}`). Mistakes that a real server could make are possible: any close code is
/// sent as it is. What does not fit into its frame is refused when a script is read; for a frame
/// that breaks the rules there is [`Action::Garbage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub enum Action {
    /// Sends a text message.
    Send(String),
    /// Sends a binary message; in JSON as hexadecimal digits, spaces allowed.
    #[serde(with = "hex")]
    SendHex(Vec<u8>),
    /// Sends a protocol ping with this payload, at most 125 bytes (RFC 6455, 5.5).
    #[serde(deserialize_with = "limits::ping")]
    Ping(String),
    /// Sends one message in several frames. In JSON `{"text": ..., "pieces": n}` or
    /// `{"hex": ..., "pieces": n}`.
    #[serde(serialize_with = "FragmentFields::write", deserialize_with = "FragmentFields::read")]
    Fragment {
        /// The message.
        payload: Payload,
        /// The number of frames (1 to 1,000,000). More frames than bytes means empty frames.
        pieces: u32,
    },
    /// Sends messages as fast as the client takes them.
    Flood {
        /// How many messages.
        count: u64,
        /// The size of each, up to 64 MiB.
        bytes: u32,
        /// Binary messages instead of text (default: false).
        #[serde(default)]
        binary: bool,
    },
    /// Writes bytes to the stream as they are. They need not be frames.
    #[serde(with = "hex")]
    Garbage(Vec<u8>),
    /// Resets the TCP connection (RST), after writing what was sent before (for a second at most).
    Drop,
    /// Ends the stream without a close frame (FIN), after writing what was sent before.
    Eof,
    /// Sends a close frame, waits for that of the client (10 s at most), and closes. A connection
    /// sends one close frame: if a script asks for a second one, it is left out.
    #[serde(serialize_with = "CloseFields::write", deserialize_with = "CloseFields::read")]
    Close {
        /// The code, which is not checked; without it the close frame is empty.
        code: Option<u16>,
        /// The reason (default: empty), at most 123 bytes (RFC 6455, 5.5). It needs a code, because
        /// a frame without a code has no room for a reason.
        reason: String,
    },
    /// Turns into a black hole: TCP stays open, and nothing more is read, answered or sent.
    Silence,
    /// Simulates a server that is down: dials are refused and all connections are reset (RST).
    /// After `ms` the server listens on the same port again.
    StopListening {
        /// The time in milliseconds.
        ms: u64,
    },
    /// Waits before the next action of the same rule. Other rules and the echo continue.
    Wait {
        /// The time in milliseconds.
        ms: u64,
    },
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

impl Script {
    /// Makes a script with these connections.
    pub fn new(connections: Vec<ConnectionScript>) -> Script {
        Script { connections }
    }

    /// Reads a script from JSON.
    ///
    /// # Errors
    ///
    /// When the text is not JSON, or has a key or a value that is not allowed.
    pub fn parse(json: &str) -> Result<Script, ScriptError> {
        serde_json::from_str(json).map_err(|error| {
            let whole = error.to_string();
            // serde_json appends the position, which `ScriptError` has in fields of its own.
            let position = format!(" at line {} column {}", error.line(), error.column());
            ScriptError {
                line: u32::try_from(error.line()).unwrap_or(u32::MAX),
                column: u32::try_from(error.column()).unwrap_or(u32::MAX),
                message: whole.strip_suffix(&position).unwrap_or(&whole).to_owned(),
            }
        })
    }
}

impl ConnectionScript {
    /// Makes the default connection with another answer to the dial.
    pub fn handshake(handshake: Handshake) -> ConnectionScript {
        ConnectionScript { handshake, ..ConnectionScript::default() }
    }

    /// Adds a rule.
    pub fn on(mut self, on: Trigger, actions: Vec<Action>) -> ConnectionScript {
        self.rules.push(Rule { on, actions });
        self
    }
}

impl Default for ConnectionScript {
    fn default() -> Self {
        ConnectionScript {
            handshake: Handshake::default(),
            echo: true,
            heartbeats: vec![("ping".to_owned(), "pong".to_owned())],
            answer_heartbeats: true,
            answer_pings: true,
            answer_close: true,
            delay_ms: 0,
            rules: Vec::new(),
        }
    }
}

impl Default for Handshake {
    fn default() -> Self {
        Handshake::Upgrade(Upgrade::default())
    }
}

impl StatusAnswer {
    /// Makes an answer with this status, without headers and body.
    pub fn new(status: u16) -> StatusAnswer {
        StatusAnswer { status, reason: None, headers: Vec::new(), body: String::new(), delay_ms: 0 }
    }
}

impl ProtocolAnswer {
    fn is_first_offered(&self) -> bool {
        *self == ProtocolAnswer::FirstOffered
    }
}
