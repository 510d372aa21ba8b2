//! What a call can answer instead of doing what it was asked.

use crate::session::{ErrorKind, SendRefused};

/// A call was refused; nothing was sent, nothing was lost, nothing changed.
///
/// Every variant carries `err_code`, a stable number, and `err_msg`, a fixed text in wx form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum WxError {
    /// An argument or option is not valid.
    #[error("{err_msg}")]
    InvalidArgument {
        /// Which one, by its name in the options, as in `heartbeat.interval_ms`.
        field: String,
        /// What is wrong with it, and what would be right.
        reason: String,
        /// 600009 for the URL, 600008 for everything else.
        err_code: i32,
        /// Field and reason in one sentence.
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
        /// What was refused; for people, not for programs.
        reason: String,
        /// 600000.
        err_code: i32,
        /// The text.
        err_msg: String,
    },
}

impl WxError {
    /// The stable number.
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

/// What a listener may answer; it is logged and counted, nothing else happens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum ListenerError {
    /// The listener failed.
    #[error("{reason}")]
    Failed {
        /// Why; for the log.
        reason: String,
    },
}

/// What an exception that a foreign listener did not declare turns into.
impl From<uniffi::UnexpectedUniFFICallbackError> for ListenerError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}
