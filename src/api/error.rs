//! The errors of calls.

use crate::session::{ErrorKind, SendRefused};

/// The error of a call. The call has changed nothing, and nothing was sent or lost.
///
/// Every variant has `err_code`, a number that never changes, and `err_msg`, a text in the form of the
/// wx API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum WxError {
    /// An argument or option is not valid.
    #[error("{err_msg}")]
    InvalidArgument {
        /// The name of the argument or option, as in `heartbeat.interval`.
        field: String,
        /// What is wrong with the value, and what would be right.
        reason: String,
        /// 600009 for the URL, 600008 for everything else.
        err_code: i32,
        /// The field and the reason in one sentence.
        err_msg: String,
    },
    /// The task is closing or closed, or its connection is not open and it has no queue.
    #[error("{err_msg}")]
    NotConnected {
        /// 10002.
        err_code: i32,
        /// The wx text.
        err_msg: String,
    },
    /// The queue has no room for the message.
    #[error("{err_msg}")]
    QueueFull {
        /// 10001.
        err_code: i32,
        /// The text.
        err_msg: String,
    },
    /// The library cannot work: the operating system refuses a thread or an event queue, or this
    /// process was forked from one that had used the library.
    #[error("{err_msg}: {reason}")]
    Unavailable {
        /// What the operating system refused. It is written for people.
        reason: String,
        /// 600000.
        err_code: i32,
        /// The text.
        err_msg: String,
    },
}

impl WxError {
    /// Returns the number of the error. It never changes.
    pub fn err_code(&self) -> i32 {
        match self {
            Self::InvalidArgument { err_code, .. }
            | Self::NotConnected { err_code, .. }
            | Self::QueueFull { err_code, .. }
            | Self::Unavailable { err_code, .. } => *err_code,
        }
    }

    pub(crate) fn unavailable(reason: String) -> Self {
        let kind = ErrorKind::Unknown;
        Self::Unavailable { reason, err_code: kind.code(), err_msg: kind.message().to_owned() }
    }

    pub(crate) fn invalid(api: &str, field: &str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::InvalidArgument {
            err_msg: format!("{api}:fail invalid {field}: {reason}"),
            err_code: if field == "url" { 600_009 } else { 600_008 },
            field: field.to_owned(),
            reason,
        }
    }
}

impl From<SendRefused> for WxError {
    fn from(refused: SendRefused) -> Self {
        match refused {
            SendRefused::NotConnected => Self::NotConnected {
                err_code: 10_002,
                err_msg: "SocketTask.send:fail WebSocket is not connected".to_owned(),
            },
            SendRefused::QueueFull => Self::QueueFull {
                err_code: 10_001,
                err_msg: "SocketTask.send:fail the queue is full".to_owned(),
            },
        }
    }
}

/// The error that a listener may return. It is logged and counted; nothing else happens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum ListenerError {
    /// The listener failed.
    #[error("{reason}")]
    Failed {
        /// Why it failed. It is written to the log.
        reason: String,
    },
}

/// Converts an exception of a Kotlin or Swift listener that its signature does not declare.
impl From<uniffi::UnexpectedUniFFICallbackError> for ListenerError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}
