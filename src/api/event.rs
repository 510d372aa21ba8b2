//! The events of a task.
//!
//! Each connection (`epoch`) has at most one open, then messages, then at most one error, then
//! exactly one close. A close without `retry` is the last event of the task.

use super::millis::Millis;
use crate::driver::Step;
use crate::net::SocketProfile;
use crate::session::{ErrorKind, Event, Failure, Header, Message, Retry};
use bytes::Bytes;

/// An event of a task.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum SocketEvent {
    /// The connection is open.
    Open {
        /// The details.
        event: OpenEvent,
    },
    /// A message arrived.
    Message {
        /// The details.
        event: MessageEvent,
    },
    /// The connection failed; its close follows.
    Error {
        /// The details.
        event: ErrorEvent,
    },
    /// The connection is over.
    Close {
        /// The details.
        event: CloseEvent,
    },
}

impl SocketEvent {
    /// Returns the number of the connection that the event belongs to.
    pub fn epoch(&self) -> i64 {
        match self {
            Self::Open { event } => event.epoch,
            Self::Message { event } => event.epoch,
            Self::Error { event } => event.epoch,
            Self::Close { event } => event.epoch,
        }
    }

    /// Returns true for the last event of the task.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Close { event } if event.retry.is_none())
    }
}

/// The connection is open; `send` works from here on.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct OpenEvent {
    /// The number of the connection in its task; the first is 1.
    pub epoch: i64,
    /// The number of attempts since the last stable connection; 0 when the first dial succeeded.
    pub attempt: i32,
    /// The headers of the server's answer, in their order and case, with duplicates.
    pub header: Vec<Header>,
    /// The sub-protocol that the server chose; absent when none was offered.
    pub protocol: Option<String>,
    /// How long each step of the dial took.
    pub profile: SocketProfile,
    /// Queued messages that became older than the queue's limit. They were not sent.
    pub unsent: Vec<Message>,
}

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct MessageEvent {
    /// The number of the connection in its task.
    pub epoch: i64,
    /// The message.
    pub data: Message,
}

/// A connection failed, before or after it was open. Its close follows.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ErrorEvent {
    /// The number of the connection in its task.
    pub epoch: i64,
    /// The kind of failure.
    pub kind: ErrorKind,
    /// The number of the kind. It never changes.
    pub err_code: i32,
    /// The English text of the kind, in the form of the wx API. It never changes.
    pub err_msg: String,
    /// What the operating system or a library says about this failure. It is written for people, and
    /// it may change.
    pub detail: String,
    /// The HTTP status, when the server refused the upgrade.
    pub http_status: Option<i32>,
    /// The headers of that answer.
    pub http_header: Vec<Header>,
    /// The first bytes of the body of that answer, at most 1 KiB.
    pub http_body: Bytes,
}

/// A connection is over.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct CloseEvent {
    /// The number of the connection in its task.
    pub epoch: i64,
    /// The close code: that of the server's close frame, 1005 when that frame had none, 1006 when there
    /// was no close frame, or the code that the app gave to `close`.
    pub code: i32,
    /// The reason that belongs to the code. It may be empty.
    pub reason: String,
    /// True when both sides sent a close frame.
    pub was_clean: bool,
    /// The attempt that follows; absent at the end of the task.
    pub retry: Option<RetryInfo>,
    /// At the end of the task, the messages that were accepted and never sent, in order.
    pub unsent: Vec<Message>,
}

/// The attempt that follows a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct RetryInfo {
    /// The number of the attempt. The first one after a stable connection has number 1, or 0 when it uses
    /// up no attempt.
    pub attempt: i32,
    /// The largest number of attempts; absent when there is no limit.
    pub max: Option<i32>,
    /// The wait before the attempt; absent while the task is suspended (offline, paused, in the
    /// background).
    pub delay: Option<Millis>,
}

impl From<Retry> for RetryInfo {
    fn from(retry: Retry) -> Self {
        Self {
            attempt: saturate(retry.attempt),
            max: retry.max.map(saturate),
            delay: retry.delay.map(Millis::from),
        }
    }
}

impl ErrorEvent {
    pub(crate) fn new(epoch: u64, failure: Failure) -> Self {
        let (http_status, http_header, http_body) = match failure.refusal {
            Some(refusal) => {
                (Some(i32::from(refusal.status)), refusal.headers, Bytes::from(refusal.body))
            }
            None => (None, Vec::new(), Bytes::new()),
        };
        Self {
            epoch: epoch_number(epoch),
            kind: failure.kind,
            err_code: failure.kind.code(),
            err_msg: failure.kind.message().to_owned(),
            detail: failure.detail,
            http_status,
            http_header,
            http_body,
        }
    }
}

/// Converts an epoch to the type that all languages have.
pub(crate) fn epoch_number(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

pub(crate) fn saturate(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Converts a step to the event that the app gets.
pub(super) fn socket_event(step: &Step) -> SocketEvent {
    match step.event.clone() {
        Event::Open { epoch, attempt, unsent } => {
            let (header, protocol, profile) = step
                .opening
                .clone()
                .map(|opening| (opening.header, opening.protocol, opening.profile))
                .unwrap_or_default();
            let (epoch, attempt) = (epoch_number(epoch), saturate(attempt));
            let event = OpenEvent { epoch, attempt, header, protocol, profile, unsent };
            SocketEvent::Open { event }
        }
        Event::Message { epoch, message } => message_event(epoch, message),
        Event::Error { epoch, failure } => {
            SocketEvent::Error { event: ErrorEvent::new(epoch, failure) }
        }
        Event::Close { epoch, code, reason, was_clean, retry, unsent } => {
            let retry = retry.map(Into::into);
            let (epoch, code) = (epoch_number(epoch), i32::from(code));
            SocketEvent::Close {
                event: CloseEvent { epoch, code, reason, was_clean, retry, unsent },
            }
        }
    }
}

pub(super) fn message_event(epoch: u64, data: Message) -> SocketEvent {
    SocketEvent::Message { event: MessageEvent { epoch: epoch_number(epoch), data } }
}
