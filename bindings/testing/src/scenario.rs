//! The contract as data, for the runners of Kotlin and Swift; `wxsocket::testing::scenario`
//! describes the files, the steps and the lines of a transcript.

use crate::{ScriptedServer, ScriptedServerError};
use std::sync::Arc;
use std::time::Duration;
use wxsocket::ConnectOptions;
use wxsocket::testing::scenario::{Scenario as Inner, Step};

/// Far longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One file of `tests/scenarios/`, with the server that plays its part.
#[derive(uniffi::Object)]
pub struct Scenario {
    inner: Inner,
    server: Arc<wxsocket::testing::ScriptedServer>,
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

    /// The client's options, with the server's URL.
    pub fn options(&self) -> ConnectOptions {
        self.inner.options(&self.server.url())
    }

    /// The server, for whoever wants to look.
    pub fn server(&self) -> Arc<ScriptedServer> {
        Arc::new(ScriptedServer::of(self.server.clone()))
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
        _ => ScenarioStep::Server { index },
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..hex.len()).step_by(2).filter_map(pair).collect()
}
