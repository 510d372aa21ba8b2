//! What the simulated network does: how each dial ends and how the server behaves after it.

use crate::session::{ErrorKind, Failure, Message, Refusal};
use bytes::Bytes;
use std::time::Duration;

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How a dial ends.
#[derive(Clone, Debug)]
pub(super) enum Dial {
    Opens(Duration),
    Fails(Duration, Failure),
    GivesUp(Duration, Failure),
    /// It never ends by itself.
    Hangs,
}

/// What the server does of its own accord.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Say(Message),
    Ping,
    Close(Option<u16>, &'static str),
    Break(Failure),
}

/// What the server sends back for a heartbeat.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A Pong for each protocol Ping.
    Pong,
    /// A message for each heartbeat that is a message.
    Say(Message),
}

/// One connection of the script.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) dial: Dial,
    /// When, counted from the open, and what.
    pub(super) acts: Vec<(Duration, Act)>,
    pub(super) answer: Option<(Duration, Answer)>,
    /// How long the server takes to answer a close frame; `None`: it never does.
    pub(super) closes_after: Option<Duration>,
}

impl Connection {
    fn with(dial: Dial) -> Self {
        Self { dial, acts: vec![], answer: None, closes_after: Some(ms(20)) }
    }

    /// Opens after so many milliseconds, and is silent from then on.
    pub(super) fn opens(after: u64) -> Self {
        Self::with(Dial::Opens(ms(after)))
    }

    pub(super) fn fails(after: u64, kind: ErrorKind) -> Self {
        Self::fails_with(after, Failure::new(kind, ""))
    }

    pub(super) fn fails_with(after: u64, failure: Failure) -> Self {
        Self::with(Dial::Fails(ms(after), failure))
    }

    pub(super) fn gives_up(after: u64) -> Self {
        Self::with(Dial::GivesUp(ms(after), Failure::new(ErrorKind::Stopped, "")))
    }

    pub(super) fn hangs() -> Self {
        Self::with(Dial::Hangs)
    }

    /// Every protocol Ping is answered after so many milliseconds.
    pub(super) fn ponging(mut self, after: u64) -> Self {
        self.answer = Some((ms(after), Answer::Pong));
        self
    }

    /// Every heartbeat message is answered with this one.
    pub(super) fn answering(mut self, after: u64, message: Message) -> Self {
        self.answer = Some((ms(after), Answer::Say(message)));
        self
    }

    /// So many milliseconds after the open, the server does this.
    pub(super) fn doing(mut self, at: u64, act: Act) -> Self {
        self.acts.push((ms(at), act));
        self
    }

    pub(super) fn saying(self, at: u64, text: &str) -> Self {
        self.doing(at, Act::Say(Message::text(text)))
    }

    pub(super) fn closing(self, at: u64, code: u16) -> Self {
        self.doing(at, Act::Close(Some(code), ""))
    }

    /// The TCP connection ends without a close frame.
    pub(super) fn dropping(self, at: u64) -> Self {
        self.doing(at, Act::Break(Failure::new(ErrorKind::ConnectionLost, "")))
    }

    /// The server never answers a close frame.
    pub(super) fn deaf(mut self) -> Self {
        self.closes_after = None;
        self
    }
}

/// A refused upgrade.
pub(super) fn refusal(status: u16, verified: bool, retry_after: Option<Duration>) -> Failure {
    Failure {
        kind: ErrorKind::HttpStatus,
        detail: String::new(),
        refusal: Some(Refusal { status, headers: vec![], body: vec![], verified }),
        retry_after,
    }
}

pub(super) fn text(text: &str) -> Message {
    Message::text(text)
}

pub(super) fn binary(bytes: &'static [u8]) -> Message {
    Message::binary(Bytes::from_static(bytes))
}
