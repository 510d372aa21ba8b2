//! The contract as data: a scenario is a script for the server, options for the client, what
//! the client does, and the transcript that must come of it.
//!
//! The files in `tests/scenarios/` are played in Rust, Kotlin and Swift, each through its own
//! public face. A runner is the same few lines everywhere:
//!
//! 1. make the [`Scenario`] of a file, start a server with its `server` script, connect with
//!    its options and, for each kind in `listen`, a listener that appends
//!    [one line per event](#transcript);
//! 2. for each step do what it says; [`Step::Wait`] waits for the next line that begins with
//!    that word, after the lines that earlier waits have passed;
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

use super::script::Script;
use crate::{
    AttemptLimit, BackgroundPolicy, ConnectOptions, Header, HeartbeatOptions, HeartbeatPayload,
    Message, OverflowPolicy, Preset, QueueOptions, ReconnectDelay, ReconnectOptions, ReplyMatch,
    SendOutcome, SocketEvent, SocketState, WxError,
};
use serde::Deserialize;

/// One file of `tests/scenarios/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// The rule that it shows, in a sentence.
    pub about: String,
    /// What the server plays; by default it echoes and answers heartbeats.
    #[serde(default)]
    pub server: Script,
    /// What differs from preset `wx` with 50 ms between attempts.
    #[serde(default)]
    pub options: ScenarioOptions,
    /// The kinds of events that there is a listener for from the beginning.
    #[serde(default = "Kind::all")]
    pub listen: Vec<Kind>,
    /// What the client does, in order.
    pub steps: Vec<Step>,
    /// The transcript, line by line.
    pub expect: Vec<String>,
}

/// A kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// `onOpen`.
    Open,
    /// `onMessage`.
    Message,
    /// `onError`.
    Error,
    /// `onClose`.
    Close,
}

impl Kind {
    fn all() -> Vec<Self> {
        vec![Self::Open, Self::Message, Self::Error, Self::Close]
    }

    /// The kind of an event.
    pub fn of(event: &SocketEvent) -> Self {
        match event {
            SocketEvent::Open { .. } => Self::Open,
            SocketEvent::Message { .. } => Self::Message,
            SocketEvent::Error { .. } => Self::Error,
            SocketEvent::Close { .. } => Self::Close,
        }
    }
}

/// One thing that the client (or the server's live control) does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Step {
    /// Wait for the next line that begins with this word.
    Wait(String),
    /// Send a text message; its answer is a line.
    Send(String),
    /// Send a binary message, given in hex; its answer is a line.
    SendHex(String),
    /// Close; a refusal is a line.
    Close {
        /// The code.
        code: i32,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Pause.
    Pause,
    /// Resume.
    Resume,
    /// Reconnect now.
    ReconnectNow,
    /// Tell whether there is a network.
    Network(bool),
    /// Tell whether the app is in the foreground.
    Foreground(bool),
    /// Add a listener for this kind of events.
    Listen(Kind),
    /// Remove the listeners for this kind of events.
    Off(Kind),
    /// Wait until the task is in this state: `connecting`, `waiting`, `suspended`, `open`,
    /// `closing` or `closed`.
    State(String),
    /// Wait until the task has received so many messages, heard or not.
    Received(i64),
    /// Have the server reset every connection.
    ServerDrop,
    /// Have the server close every connection; 0 stands for a close frame without a code.
    ServerClose(u16),
    /// Have the server send a text message.
    ServerSend(String),
    /// Have the server turn into a black hole.
    ServerSilence,
    /// Have the server refuse connections.
    ServerStop,
    /// Have it accept them again.
    ServerResume,
    /// Wait until the server has got so many messages.
    ServerGot(u64),
}

impl Scenario {
    /// Reads a scenario; the error says what is wrong, with line and column.
    pub fn parse(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    /// The client's options for a server at `url`.
    pub fn options(&self, url: &str) -> ConnectOptions {
        self.options.clone().resolve(url)
    }
}

/// The word for a state in [`Step::State`].
pub fn state_word(state: SocketState) -> &'static str {
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
pub fn line(event: &SocketEvent) -> String {
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
                    let delay = retry.delay_ms.map_or("-".to_owned(), |ms| ms.to_string());
                    format!("retry={}{max} in {delay}", retry.attempt)
                }
            };
            format!("close {} {} '{}' {clean} {next}", event.epoch, event.code, event.reason)
        }
    }
}

/// The line for the answer of `send`.
pub fn send_line(answer: &Result<SendOutcome, WxError>) -> String {
    match answer {
        Ok(SendOutcome::Sent) => "sent".to_owned(),
        Ok(SendOutcome::Queued { .. }) => "queued".to_owned(),
        Ok(SendOutcome::Dropped) => "dropped".to_owned(),
        Err(error) => format!("refused {}", error.err_code()),
    }
}

/// The options that scenarios need, each under the name of the option that it sets. What is
/// absent is not set; a runner in another language maps them to its own options.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct ScenarioOptions {
    /// `wx`, `browser`, `heartCheck`, `vue`, `useWs` or `resilient`.
    pub preset: Option<String>,
    /// `protocols`.
    pub protocols: Vec<String>,
    /// `header`, as pairs of name and value.
    pub header: Vec<(String, String)>,
    /// `timeout_ms`.
    pub timeout_ms: Option<i64>,
    /// `close_timeout_ms`.
    pub close_timeout_ms: Option<i64>,
    /// `max_message_bytes`.
    pub max_message_bytes: Option<i64>,
    /// `background`: interrupt after so long.
    pub background_grace_ms: Option<i64>,
    /// `greeting`, a text.
    pub greeting: Option<String>,
    /// `reconnect.delay`, fixed; 50 unless said.
    pub delay_ms: Option<i64>,
    /// `reconnect.max_attempts`.
    pub max_attempts: Option<i32>,
    /// `reconnect.stable_after_ms`.
    pub stable_after_ms: Option<i64>,
    /// `reconnect.stop_codes`.
    pub stop_codes: Option<Vec<i32>>,
    /// `reconnect.stop_statuses`.
    pub stop_statuses: Option<Vec<i32>>,
    /// `reconnect.enabled`.
    pub reconnect: Option<bool>,
    /// `heartbeat.enabled`.
    pub heartbeat: Option<bool>,
    /// `heartbeat.payload`, a text.
    pub heartbeat_payload: Option<String>,
    /// `heartbeat.payload` is a protocol Ping.
    pub heartbeat_ping: bool,
    /// `heartbeat.reply`, exactly this text.
    pub heartbeat_reply: Option<String>,
    /// `heartbeat.interval_ms`.
    pub heartbeat_interval_ms: Option<i64>,
    /// `heartbeat.timeout_ms`.
    pub heartbeat_timeout_ms: Option<i64>,
    /// `heartbeat.strict`.
    pub strict: Option<bool>,
    /// `heartbeat.deliver_reply`.
    pub deliver_reply: Option<bool>,
    /// `queue.enabled`.
    pub queue: Option<bool>,
    /// `queue.messages`.
    pub queue_messages: Option<i64>,
    /// `queue.bytes`.
    pub queue_bytes: Option<i64>,
    /// `queue.overflow`: `reject`, `dropOldest` or `dropNewest`.
    pub overflow: Option<String>,
}

impl Default for ScenarioOptions {
    fn default() -> Self {
        Self {
            preset: None,
            protocols: Vec::new(),
            header: Vec::new(),
            timeout_ms: None,
            close_timeout_ms: None,
            max_message_bytes: None,
            background_grace_ms: None,
            greeting: None,
            delay_ms: Some(50),
            max_attempts: None,
            stable_after_ms: None,
            stop_codes: None,
            stop_statuses: None,
            reconnect: None,
            heartbeat: None,
            heartbeat_payload: None,
            heartbeat_ping: false,
            heartbeat_reply: None,
            heartbeat_interval_ms: None,
            heartbeat_timeout_ms: None,
            strict: None,
            deliver_reply: None,
            queue: None,
            queue_messages: None,
            queue_bytes: None,
            overflow: None,
        }
    }
}

impl ScenarioOptions {
    fn resolve(self, url: &str) -> ConnectOptions {
        let payload = match self.heartbeat_payload {
            Some(text) => Some(HeartbeatPayload::Text { text }),
            None => self.heartbeat_ping.then_some(HeartbeatPayload::Ping),
        };
        ConnectOptions {
            preset: self.preset.as_deref().and_then(preset),
            protocols: self.protocols,
            header: self.header.into_iter().map(|(name, value)| Header { name, value }).collect(),
            timeout_ms: self.timeout_ms,
            close_timeout_ms: self.close_timeout_ms,
            max_message_bytes: self.max_message_bytes,
            background: self
                .background_grace_ms
                .map(|grace_ms| BackgroundPolicy::Interrupt { grace_ms }),
            greeting: self.greeting.map(Message::from),
            reconnect: ReconnectOptions {
                enabled: self.reconnect,
                delay: self.delay_ms.map(|delay_ms| ReconnectDelay::Fixed { delay_ms }),
                max_attempts: self.max_attempts.map(|count| AttemptLimit::Attempts { count }),
                stable_after_ms: self.stable_after_ms,
                stop_codes: self.stop_codes,
                stop_statuses: self.stop_statuses,
                honour_retry_after: None,
            },
            heartbeat: HeartbeatOptions {
                enabled: self.heartbeat,
                payload,
                interval_ms: self.heartbeat_interval_ms,
                timeout_ms: self.heartbeat_timeout_ms,
                reply: self.heartbeat_reply.map(|text| ReplyMatch::Text { text }),
                strict: self.strict,
                deliver_reply: self.deliver_reply,
                idle_driven: None,
            },
            queue: QueueOptions {
                enabled: self.queue,
                messages: self.queue_messages,
                bytes: self.queue_bytes,
                overflow: self.overflow.as_deref().and_then(overflow),
                ..QueueOptions::default()
            },
            ..ConnectOptions::new(url)
        }
    }
}

fn preset(name: &str) -> Option<Preset> {
    Some(match name {
        "wx" => Preset::Wx,
        "browser" => Preset::Browser,
        "heartCheck" => Preset::HeartCheck,
        "vue" => Preset::Vue,
        "useWs" => Preset::UseWs,
        "resilient" => Preset::Resilient,
        _ => return None,
    })
}

fn overflow(name: &str) -> Option<OverflowPolicy> {
    Some(match name {
        "reject" => OverflowPolicy::Reject,
        "dropOldest" => OverflowPolicy::DropOldest,
        "dropNewest" => OverflowPolicy::DropNewest,
        _ => return None,
    })
}
