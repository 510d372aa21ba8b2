//! The options of a task. Everything but the URL may be left out: it then comes from the
//! preset, which is `wx` unless another one is named.
//!
//! These types are the public ones in Kotlin and Swift too, and their docs are copied there: the
//! docs contain no Rust, and a name in backticks is written as each language writes it. Every
//! field but the URL needs `#[uniffi(default)]`.

use super::millis::Millis;
use super::preset::Preset;
use crate::session::{Header, HeartbeatPayload, Message, OverflowPolicy, ReplyMatch};

/// The options of a task. An option that is left out comes from the preset.
///
/// The engine checks them when the task is made. An option that is out of bounds is an error that
/// names it, and then nothing is made. Times are whole milliseconds from 1 to 2 147 483 647
/// (24.8 days) unless an option says otherwise; a fraction is rounded up.
#[derive(Clone, Debug, Default, PartialEq, uniffi::Record)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
#[cfg_attr(feature = "testing", serde(default, deny_unknown_fields))]
pub struct ConnectOptions {
    /// A `ws://` or `wss://` URL without a fragment. Characters outside ASCII in path and query are
    /// percent-encoded. A host name must be ASCII (use its `xn--` form).
    pub url: String,
    /// Headers of the upgrade request, sent as written. `Referer`, `Host` and the headers of
    /// the WebSocket handshake cannot be set.
    #[uniffi(default)]
    pub header: Vec<Header>,
    /// Sub-protocols in order of preference. If there are any, the server must choose one.
    #[uniffi(default)]
    pub protocols: Vec<String>,
    /// Sends small packets at once instead of collecting them (TCP_NODELAY). Default: off in
    /// preset `wx`, as in the wx API; on in all others.
    #[uniffi(default)]
    pub tcp_no_delay: Option<bool>,
    /// The time for a whole dial: name lookup, TCP, TLS and upgrade. Default: 60 s, as in the wx
    /// API; 15 s in preset `resilient`.
    #[uniffi(default)]
    pub timeout: Option<Millis>,
    /// The set of rules that all other options come from when they are left out. Default: `wx`.
    #[uniffi(default)]
    pub preset: Option<Preset>,
    /// When a lost connection is dialled again.
    #[uniffi(default)]
    pub reconnect: ReconnectOptions,
    /// How a dead connection is noticed.
    #[uniffi(default)]
    pub heartbeat: HeartbeatOptions,
    /// What is kept while the connection is not open.
    #[uniffi(default)]
    pub queue: QueueOptions,
    /// Which certificates are trusted.
    #[uniffi(default)]
    pub tls: TlsOptions,
    /// The first message of every connection. It is sent before the queued messages.
    #[uniffi(default)]
    pub greeting: Option<Message>,
    /// The largest message that is accepted from the server, in bytes. A larger one closes the
    /// connection with 1009. Default: 16 MiB; at least 1, at most 1 GiB.
    #[uniffi(default)]
    pub max_message_bytes: Option<i64>,
    /// The bytes that may wait for an *open* connection which takes messages more slowly than the
    /// app sends them. Each message counts its payload and 64 bytes more. A message of up to 1 GiB
    /// is always taken when nothing waits; beyond the bound `send` fails with number 10001. What a
    /// lost connection has not written waits for the next one. Default: 16 MiB; at least 1, at
    /// most 1 GiB.
    #[uniffi(default)]
    pub max_buffered_bytes: Option<i64>,
    /// How long `close` waits for the server's close frame before it ends the TCP connection.
    /// Default: 3 s.
    #[uniffi(default)]
    pub close_timeout: Option<Millis>,
    /// What happens when the app leaves the foreground. Default: preset `wx` interrupts after 5 s,
    /// as WeChat does; `resilient` after 30 s; the others keep the connection.
    #[uniffi(default)]
    pub background: Option<BackgroundPolicy>,
}

impl ConnectOptions {
    /// The options for `url`; all others come from the preset.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

/// When a lost connection is dialled again. An option that is left out comes from the preset.
#[derive(Clone, Debug, Default, PartialEq, uniffi::Record)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
#[cfg_attr(feature = "testing", serde(default, deny_unknown_fields))]
pub struct ReconnectOptions {
    /// False: the task has one connection and ends with it. Default: true.
    #[uniffi(default)]
    pub enabled: Option<bool>,
    /// The wait before each attempt.
    #[uniffi(default)]
    pub delay: Option<ReconnectDelay>,
    /// The number of failed attempts in a row after which the task ends.
    #[uniffi(default)]
    pub max_attempts: Option<AttemptLimit>,
    /// A connection that was open for this long sets the counter of attempts to zero. Default: 5 s.
    #[uniffi(default)]
    pub stable_after: Option<Millis>,
    /// The task ends when the server closes with one of these codes (1000 to 4999).
    #[uniffi(default)]
    pub stop_codes: Option<Vec<i32>>,
    /// The task ends when the server refuses the upgrade with one of these HTTP statuses (100 to
    /// 599). With a `before_connect`, 401 and 403 lead to one more dial first, because it may have
    /// a new token.
    #[uniffi(default)]
    pub stop_statuses: Option<Vec<i32>>,
    /// True: the task waits at least as long as the server's `Retry-After` asks, up to an hour (a
    /// minute when the answer did not come over TLS), and a random part longer: a quarter of that
    /// time, at least 5 s and at most 60 s. Default: true.
    #[uniffi(default)]
    pub honour_retry_after: Option<bool>,
}

/// The wait before an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize))]
#[cfg_attr(feature = "testing", serde(rename_all = "camelCase", rename_all_fields = "camelCase"))]
pub enum ReconnectDelay {
    /// The same time before every attempt.
    Fixed {
        /// The time; 0 dials at once.
        delay: Millis,
    },
    /// A random time between bounds that grow, so that the many clients of a server that restarts
    /// do not come back at the same moment.
    ///
    /// The first attempt waits 0 to `first`; attempt n waits `min` to the smaller of `max` and
    /// `min` × 2ⁿ⁻¹. When the task has failed for `slow_after`, each attempt waits `slow` ± 20 %.
    /// Before that, after close codes 1012 and 1013 and HTTP status 503, an attempt waits 5 to
    /// 20 s.
    FullJitter {
        /// The upper bound of the first wait; 0 dials at once.
        first: Millis,
        /// The lower bound of the later waits.
        min: Millis,
        /// The upper bound of the later waits.
        max: Millis,
        /// How long the task must have failed before it slows down.
        slow_after: Millis,
        /// The wait of a task that has slowed down.
        slow: Millis,
    },
}

/// The number of failed attempts in a row after which a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum AttemptLimit {
    /// The task never ends by itself.
    Unlimited,
    /// The task ends after this many.
    Attempts {
        /// At least 1, at most 2 147 483 647.
        count: i64,
    },
}

/// How a dead connection is noticed. An option that is left out comes from the preset.
#[derive(Clone, Debug, Default, PartialEq, uniffi::Record)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
#[cfg_attr(feature = "testing", serde(default, deny_unknown_fields))]
pub struct HeartbeatOptions {
    /// False: there is no heartbeat. Default: true, except in preset `browser`.
    #[uniffi(default)]
    pub enabled: Option<bool>,
    /// What the heartbeat sends.
    #[uniffi(default)]
    pub payload: Option<HeartbeatPayload>,
    /// The time from the open, and from each answer, to the next heartbeat.
    #[uniffi(default)]
    pub interval: Option<Millis>,
    /// The time that the server has to answer a heartbeat. After it the connection is dead.
    #[uniffi(default)]
    pub timeout: Option<Millis>,
    /// Which message is the answer. The app does not get that message. A protocol Ping needs no
    /// such rule: its answer is a Pong.
    #[uniffi(default)]
    pub reply: Option<ReplyMatch>,
    /// True: only the answer shows that the connection is alive. False: any frame does. Default:
    /// false.
    #[uniffi(default)]
    pub strict: Option<bool>,
    /// True: the app gets the answer as a message, too. Default: false.
    #[uniffi(default)]
    pub deliver_reply: Option<bool>,
    /// True: every message from the server restarts the interval. False: only the answer does.
    #[uniffi(default)]
    pub idle_driven: Option<bool>,
}

/// What `send` keeps while the connection is not open.
///
/// The limits hold for new messages. What an *open* connection had accepted and could not write
/// before it was lost (see `max_buffered_bytes`) stays for the next connection and counts: until
/// there is less of it, a new message is refused, or `overflow` says what is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
#[cfg_attr(feature = "testing", serde(default, deny_unknown_fields))]
pub struct QueueOptions {
    /// False: `send` fails while the connection is not open, as in the wx API. Default: true.
    #[uniffi(default)]
    pub enabled: Option<bool>,
    /// The number of messages. Default: 256; at least 1.
    #[uniffi(default)]
    pub messages: Option<i64>,
    /// The bytes of their payloads. Default: 1 MiB; at least 1, at most 1 GiB.
    #[uniffi(default)]
    pub bytes: Option<i64>,
    /// A message that has waited longer than this for an open connection is handed back instead of
    /// sent. Default: no limit.
    #[uniffi(default)]
    pub max_age: Option<Millis>,
    /// What is dropped when the queue is full. Default: the new message is refused. It has no
    /// effect while the connection is open.
    #[uniffi(default)]
    pub overflow: Option<OverflowPolicy>,
}

/// Which certificates are trusted on `wss://`. The operating system's authorities always are; on
/// Android they are those that come with the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
#[cfg_attr(feature = "testing", serde(default, deny_unknown_fields))]
pub struct TlsOptions {
    /// More authorities to trust: one or more certificates in PEM.
    #[uniffi(default)]
    pub ca_pem: Option<String>,
}

/// What happens to a connection when the app leaves the foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum BackgroundPolicy {
    /// Nothing: the connection lives for as long as the operating system allows.
    Keep,
    /// It is closed (1006 "interrupted") after some time, and dialled again in the foreground.
    Interrupt {
        /// The time.
        grace: Millis,
    },
}
