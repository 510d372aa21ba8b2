//! The rules of one task, complete and valid: what `api` makes of the options.

use super::io::Message;
use bytes::Bytes;
use std::time::Duration;

/// Everything that decides how a task behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// When and how often to dial again; `None`: never.
    pub reconnect: Option<ReconnectPolicy>,
    /// How to notice a dead peer; `None`: only TCP tells.
    pub heartbeat: Option<Heartbeat>,
    /// What is kept while the connection is not open.
    pub queue: QueueLimits,
    /// What `send` accepts while the connection is open and not yet written, in bytes: each
    /// message counts 64 beside its payload. A message is always taken when nothing is buffered.
    pub max_buffered_bytes: usize,
    /// How long `close()` waits for the peer before it aborts.
    pub close_timeout: Duration,
    /// How long a connection survives in the background; `None`: for ever.
    pub background_grace: Option<Duration>,
    /// Sent first at every open, before queued messages.
    pub greeting: Option<Message>,
    /// Whether the app is asked before every dial; the first
    /// [`DialProgress`](super::Input::DialProgress) of a dial says that it has answered. It may
    /// have a new token, so HTTP 401 and 403 lead to one more dial before they end the task.
    pub can_refresh: bool,
}

/// When to dial again.
#[derive(Clone, Debug, PartialEq)]
pub struct ReconnectPolicy {
    /// How long to wait before each attempt.
    pub backoff: Backoff,
    /// Attempts before giving up; `None`: without end.
    pub max_attempts: Option<u32>,
    /// A connection that was open this long sets the counter back to zero.
    pub stable_after: Duration,
    /// Close codes of the peer's after which there is no point in coming back.
    pub stop_codes: Vec<u16>,
    /// HTTP statuses after which there is no point in coming back.
    pub stop_statuses: Vec<u16>,
    /// Believe `stop_statuses` only over TLS, from the host that was asked for.
    pub stop_statuses_need_tls: bool,
    /// Wait at least as long as the server's `Retry-After` asks (at most an hour; a minute
    /// when the answer did not come over TLS), and a random part longer.
    pub honour_retry_after: bool,
}

/// How long to wait before attempt n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Backoff {
    /// Always the same.
    Fixed(Duration),
    /// Random, so that a thousand clients of a server that restarts do not come back in
    /// step. The first attempt is uniform in 0 to `first`; attempt n in `min` to
    /// min(`max`, `min` × 2ⁿ⁻¹). After `slow_after` of failing, `slow` ± 20 %. Before that, a
    /// server that restarts (close codes 1012 and 1013, HTTP 503) is left alone for 5 to 20 s.
    FullJitter {
        /// Upper bound of the first delay.
        first: Duration,
        /// Lower bound of the others.
        min: Duration,
        /// Upper bound of all.
        max: Duration,
        /// After failing this long, slow down.
        slow_after: Duration,
        /// The slow pace.
        slow: Duration,
    },
}

/// How to notice a dead peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// What is sent.
    pub payload: HeartbeatPayload,
    /// How long to wait before sending it.
    pub interval: Duration,
    /// How long to wait for life after it.
    pub timeout: Duration,
    /// The answer; `None`: any message is one.
    pub reply: Option<ReplyMatch>,
    /// Only the answer counts as life, not any frame.
    pub strict: bool,
    /// Hand the answer to the app too.
    pub deliver_reply: bool,
    /// Every message restarts the interval, not only the answer.
    pub idle_driven: bool,
}

/// What a heartbeat sends.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum HeartbeatPayload {
    /// A text message.
    Text {
        /// The text.
        text: String,
    },
    /// A binary message.
    Binary {
        /// The bytes.
        bytes: Bytes,
    },
    /// A protocol Ping (RFC 6455, 5.5.2). Its Pong is the answer; the server's application sees
    /// neither.
    Ping,
}

/// Which message answers a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum ReplyMatch {
    /// This text, exactly.
    Text {
        /// The text.
        text: String,
    },
    /// These bytes, exactly.
    Binary {
        /// The bytes.
        bytes: Bytes,
    },
    /// Any text that begins so.
    Prefix {
        /// The beginning.
        prefix: String,
    },
    /// A JSON object with this field at its top level, in a text of at most 4 KiB.
    JsonField {
        /// The field's name.
        name: String,
        /// What it must be: a string's content or any other value's JSON text;
        /// absent: any value.
        #[uniffi(default)]
        value: Option<String>,
    },
}

/// What `send` keeps while the connection is not open, and what happens when it is too much.
/// Messages that an open connection accepted and did not write before it ended count too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages; 0 means that nothing is accepted while the connection is not open.
    pub messages: usize,
    /// Bytes of payload.
    pub bytes: usize,
    /// A message older than this is not sent any more; `None`: it is.
    pub max_age: Option<Duration>,
    /// What gives way.
    pub overflow: OverflowPolicy,
}

/// What gives way when the queue is full. Nothing is dropped silently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, uniffi::Enum)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum OverflowPolicy {
    /// The new message is refused with an error.
    #[default]
    Reject,
    /// The oldest messages go; `send` returns them.
    DropOldest,
    /// The new message goes; `send` says `Dropped`.
    DropNewest,
}
