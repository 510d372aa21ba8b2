//! The contract as data, for the runners of Kotlin and Swift; `wxsocket::testing::scenario`
//! describes the files, the steps and the lines of a transcript.

use crate::SeenHeader;
use crate::{ScriptedServer, ScriptedServerError};
use std::sync::Arc;
use std::time::Duration;
use wxsocket::testing::scenario::{Kind, Scenario as Inner, ScenarioOptions as InnerOptions, Step};

/// Far longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One file of `tests/scenarios/`, with the server that plays its part.
#[derive(uniffi::Object)]
pub struct Scenario {
    inner: Inner,
    server: Arc<wxsocket::testing::ScriptedServer>,
}

/// A kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
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

impl From<Kind> for EventKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Open => Self::Open,
            Kind::Message => Self::Message,
            Kind::Error => Self::Error,
            Kind::Close => Self::Close,
        }
    }
}

/// What a runner has to do; everything else [`Scenario::server_step`] does.
#[derive(Clone, Debug, uniffi::Enum)]
pub enum ScenarioStep {
    /// Wait for the next line that begins with this word, after those already waited for.
    Wait {
        /// The word.
        word: String,
    },
    /// Send a text message and note the answer.
    Send {
        /// The text.
        text: String,
    },
    /// Send a binary message and note the answer.
    SendBytes {
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Close; note a refusal.
    Close {
        /// The code.
        code: i32,
        /// The reason.
        reason: String,
    },
    /// Call `pause`.
    Pause,
    /// Call `resume`.
    Resume,
    /// Call `reconnectNow`.
    ReconnectNow,
    /// Call `setNetwork`.
    Network {
        /// The argument.
        available: bool,
    },
    /// Call `setForeground`.
    Foreground {
        /// The argument.
        foreground: bool,
    },
    /// Add a listener for this kind of events.
    Listen {
        /// The kind.
        kind: EventKind,
    },
    /// Remove the listeners for this kind of events.
    Off {
        /// The kind.
        kind: EventKind,
    },
    /// Wait until the task is in this state.
    State {
        /// `connecting`, `waiting`, `suspended`, `open`, `closing` or `closed`.
        word: String,
    },
    /// Wait until `stats` say that so many messages have arrived, heard or not.
    Received {
        /// How many.
        count: i64,
    },
    /// Call [`Scenario::server_step`] with this number.
    Server {
        /// The number of the step.
        index: u32,
    },
}

#[uniffi::export]
impl Scenario {
    /// Reads a scenario and starts its server.
    #[uniffi::constructor]
    pub fn new(json: String) -> Result<Arc<Self>, ScriptedServerError> {
        let inner =
            Inner::parse(&json).map_err(|reason| ScriptedServerError::InvalidScript { reason })?;
        let server = wxsocket::testing::ScriptedServer::start(inner.server.clone())?;
        Ok(Arc::new(Self { inner, server }))
    }

    /// The rule that it shows.
    pub fn about(&self) -> String {
        self.inner.about.clone()
    }

    /// The client's options; the URL is the server's.
    pub fn options(&self) -> ScenarioOptions {
        ScenarioOptions::from(self.inner.options.clone())
    }

    /// The server, for whoever wants to look.
    pub fn server(&self) -> Arc<ScriptedServer> {
        Arc::new(ScriptedServer::of(self.server.clone()))
    }

    /// The kinds of events that there is a listener for from the beginning.
    pub fn listen(&self) -> Vec<EventKind> {
        self.inner.listen.iter().copied().map(EventKind::from).collect()
    }

    /// What to do, in order.
    pub fn steps(&self) -> Vec<ScenarioStep> {
        (0..).zip(&self.inner.steps).map(|(index, step)| of(step, index)).collect()
    }

    /// The lines that must come of it.
    pub fn expect(&self) -> Vec<String> {
        self.inner.expect.clone()
    }

    /// Does a step of the server. False: what it waits for did not come.
    pub fn server_step(&self, index: u32) -> Result<bool, ScriptedServerError> {
        match self.inner.steps.get(index as usize) {
            Some(Step::ServerDrop) => self.server.drop_all(),
            Some(Step::ServerClose(code)) => {
                self.server.close_all((*code != 0).then_some(*code), "")
            }
            Some(Step::ServerSend(text)) => self.server.send_text_all(text),
            Some(Step::ServerSilence) => self.server.silence_all(),
            Some(Step::ServerStop) => self.server.stop_listening()?,
            Some(Step::ServerResume) => self.server.resume_listening()?,
            Some(Step::ServerGot(count)) => return Ok(self.server.wait_messages(*count, PATIENCE)),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The options of a scenario, each under the name of the option that it sets. What is absent
/// is not set.
// A record of its own rather than `ConnectOptions`: each language maps it to its own options,
// which shows that its way of setting them works.
#[derive(Clone, Debug, uniffi::Record)]
pub struct ScenarioOptions {
    /// `wx`, `browser`, `heartCheck`, `vue`, `useWs` or `resilient`.
    pub preset: Option<String>,
    /// `protocols`.
    pub protocols: Vec<String>,
    /// `header`.
    pub header: Vec<SeenHeader>,
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

impl From<InnerOptions> for ScenarioOptions {
    fn from(options: InnerOptions) -> Self {
        let header = options.header.into_iter();
        Self {
            preset: options.preset,
            protocols: options.protocols,
            header: header.map(|(name, value)| SeenHeader { name, value }).collect(),
            timeout_ms: options.timeout_ms,
            close_timeout_ms: options.close_timeout_ms,
            max_message_bytes: options.max_message_bytes,
            background_grace_ms: options.background_grace_ms,
            greeting: options.greeting,
            delay_ms: options.delay_ms,
            max_attempts: options.max_attempts,
            stable_after_ms: options.stable_after_ms,
            stop_codes: options.stop_codes,
            stop_statuses: options.stop_statuses,
            reconnect: options.reconnect,
            heartbeat: options.heartbeat,
            heartbeat_payload: options.heartbeat_payload,
            heartbeat_ping: options.heartbeat_ping,
            heartbeat_reply: options.heartbeat_reply,
            heartbeat_interval_ms: options.heartbeat_interval_ms,
            heartbeat_timeout_ms: options.heartbeat_timeout_ms,
            strict: options.strict,
            deliver_reply: options.deliver_reply,
            queue: options.queue,
            queue_messages: options.queue_messages,
            queue_bytes: options.queue_bytes,
            overflow: options.overflow,
        }
    }
}

fn of(step: &Step, index: u32) -> ScenarioStep {
    match step.clone() {
        Step::Wait(word) => ScenarioStep::Wait { word },
        Step::Send(text) => ScenarioStep::Send { text },
        Step::SendHex(hex) => ScenarioStep::SendBytes { bytes: bytes(&hex) },
        Step::Close { code, reason } => ScenarioStep::Close { code, reason },
        Step::Pause => ScenarioStep::Pause,
        Step::Resume => ScenarioStep::Resume,
        Step::ReconnectNow => ScenarioStep::ReconnectNow,
        Step::Network(available) => ScenarioStep::Network { available },
        Step::Foreground(foreground) => ScenarioStep::Foreground { foreground },
        Step::Listen(kind) => ScenarioStep::Listen { kind: kind.into() },
        Step::Off(kind) => ScenarioStep::Off { kind: kind.into() },
        Step::State(word) => ScenarioStep::State { word },
        Step::Received(count) => ScenarioStep::Received { count },
        _ => ScenarioStep::Server { index },
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..hex.len()).step_by(2).filter_map(pair).collect()
}
