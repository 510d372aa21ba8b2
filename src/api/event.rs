//! What the app is told.
//!
//! Per connection (`epoch`): at most one open, then messages, then at most one error, then
//! exactly one close. A close whose `retry` is absent is the end of the task.

use super::millis::Millis;
use crate::driver::Step;
use crate::net::SocketProfile;
use crate::session::{ErrorKind, Event, Failure, Header, Message, Retry};
use bytes::Bytes;

/// One event of a task.
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
    /// The connection that it belongs to.
    pub fn epoch(&self) -> i64 {
        match self {
            Self::Open { event } => event.epoch,
            Self::Message { event } => event.epoch,
            Self::Error { event } => event.epoch,
            Self::Close { event } => event.epoch,
        }
    }

    /// Nothing follows this one.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Close { event } if event.retry.is_none())
    }
}

/// The connection is open; `send` works from here on.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct OpenEvent {
    /// Which connection of the task: 1 is the first.
    pub epoch: i64,
    /// Attempts that were needed since the last stable connection; 0: none.
    pub attempt: i32,
    /// The headers of the server's answer, in order, original case, duplicates kept.
    pub header: Vec<Header>,
    /// The sub-protocol that the server chose.
    pub protocol: Option<String>,
    /// How long it took.
    pub profile: SocketProfile,
    /// Queued messages that grew older than the queue's limit; they were not sent.
    pub unsent: Vec<Message>,
}

/// A message arrived.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct MessageEvent {
    /// Which connection of the task.
    pub epoch: i64,
    /// The message.
    pub data: Message,
}

/// A connection failed, before or after it was open.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ErrorEvent {
    /// Which connection of the task.
    pub epoch: i64,
    /// What kind of failure.
    pub kind: ErrorKind,
    /// The kind's stable number.
    pub err_code: i32,
    /// The kind's fixed English text, in wx form.
    pub err_msg: String,
    /// What the operating system or a library said; for people.
    pub detail: String,
    /// The status of a refused upgrade.
    pub http_status: Option<i32>,
    /// Its headers.
    pub http_header: Vec<Header>,
    /// The first bytes of its body, at most 1 KiB.
    pub http_body: Bytes,
}

/// A connection is over.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct CloseEvent {
    /// Which connection of the task.
    pub epoch: i64,
    /// The close code: what the server sent, 1005 if it sent none, 1006 if there was no close
    /// frame, or what the app gave to `close`.
    pub code: i32,
    /// The reason, perhaps empty.
    pub reason: String,
    /// Both sides sent a close frame.
    pub was_clean: bool,
    /// What comes next; absent: nothing, the task is over.
    pub retry: Option<RetryInfo>,
    /// At the end of the task: messages that were accepted and never sent, in order.
    pub unsent: Vec<Message>,
}

/// The attempt that follows a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct RetryInfo {
    /// Its number; 0 and 1 are the first after a stable connection.
    pub attempt: i32,
    /// The limit, if there is one.
    pub max: Option<i32>,
    /// The wait until then; absent while the task is suspended (offline, paused, in the
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

/// An epoch as the foreign languages see it: a million dials a second reach 2⁶³ in 292 000
/// years.
pub(crate) fn epoch_number(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

pub(crate) fn saturate(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// One event as the app sees it.
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
