//! What an app asks for. Everything but the URL may be left out: it then comes from the
//! preset, which is `wx` unless said.
//!
//! Times are whole milliseconds, as in the wx API, from 1 to 2 147 483 647 (24.8 days) unless
//! a field says otherwise. A value out of bounds is an error that names the field, when the
//! socket is made, and nothing else happens.

use super::preset::Preset;
use crate::session::{Header, Message, OverflowPolicy, ReplyMatch};
use bytes::Bytes;

/// The options of [`connect_socket`](crate::connect_socket).
///
/// ```
/// use wxsocket::{ConnectOptions, HeartbeatOptions, Preset};
///
/// let options = ConnectOptions {
///     preset: Some(Preset::Resilient),
///     heartbeat: HeartbeatOptions { interval_ms: Some(20_000), ..Default::default() },
///     ..ConnectOptions::new("wss://example.com/live")
/// };
/// ```
#[derive(Clone, Debug, Default, PartialEq, uniffi::Record)]
pub struct ConnectOptions {
    /// `ws://` or `wss://`, without a fragment. Characters outside ASCII in path and query
    /// are percent-encoded; a host name must be ASCII (use its `xn--` form).
    pub url: String,
    /// Headers of the upgrade request, sent as written. `Referer`, `Host` and the headers of
    /// the handshake itself cannot be set.
    #[uniffi(default = [])]
    pub header: Vec<Header>,
    /// Sub-protocols in order of preference. If there are any, the server must choose one.
    #[uniffi(default = [])]
    pub protocols: Vec<String>,
    /// Send small packets at once instead of collecting them (TCP_NODELAY). Default: off in
    /// preset `wx`, as in the wx API; on in all others.
    #[uniffi(default = None)]
    pub tcp_no_delay: Option<bool>,
    /// Time for the whole dial: name, TCP, TLS, upgrade. Default: 60 000, as in the wx API;
    /// 15 000 in preset `resilient`.
    #[uniffi(default = None)]
    pub timeout_ms: Option<i64>,
    /// Where everything else comes from that is not said. Default: `wx`.
    #[uniffi(default = None)]
    pub preset: Option<Preset>,
    /// When to come back.
    #[uniffi(default)]
    pub reconnect: ReconnectOptions,
    /// How to notice a dead peer.
    #[uniffi(default)]
    pub heartbeat: HeartbeatOptions,
    /// What is kept while the connection is not open.
    #[uniffi(default)]
    pub queue: QueueOptions,
    /// Whom to trust.
    #[uniffi(default)]
    pub tls: TlsOptions,
    /// The first message of every connection, ahead of queued ones.
    #[uniffi(default = None)]
    pub greeting: Option<Message>,
    /// The largest message that is accepted from the server, in bytes; a larger one closes
    /// with 1009. Default: 16 MiB; at most 1 GiB.
    #[uniffi(default = None)]
    pub max_message_bytes: Option<i64>,
    /// What may wait for an *open* connection that takes messages more slowly than the app sends
    /// them, in bytes. Each message counts its payload and 64 bytes more. A message that finds
    /// nothing buffered is always taken, up to 1 GiB; beyond the bound `send` fails with number
    /// 10001. If the connection is lost, what it has not written waits for the next one. Default:
    /// 16 MiB; at least 1, at most 1 GiB.
    #[uniffi(default = None)]
    pub max_buffered_bytes: Option<i64>,
    /// How long `close` waits for the server before it aborts. Default: 3000.
    #[uniffi(default = None)]
    pub close_timeout_ms: Option<i64>,
    /// What to do when the app leaves the foreground. Default: `wx` interrupts after 5 s, as
    /// WeChat does; `resilient` after 30 s; the others keep the connection.
    #[uniffi(default = None)]
    pub background: Option<BackgroundPolicy>,
}

impl ConnectOptions {
    /// Everything from the preset.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

/// When to come back after a connection ended. What is not said comes from the preset.
#[derive(Clone, Debug, Default, PartialEq, uniffi::Record)]
pub struct ReconnectOptions {
    /// False: one connection, and the task is over when it is.
    #[uniffi(default = None)]
    pub enabled: Option<bool>,
    /// How long to wait before each attempt.
    #[uniffi(default = None)]
    pub delay: Option<ReconnectDelay>,
    /// How many attempts in a row before giving up.
    #[uniffi(default = None)]
    pub max_attempts: Option<AttemptLimit>,
    /// A connection that was open this long sets the counter back to zero. Default: 5000.
    #[uniffi(default = None)]
    pub stable_after_ms: Option<i64>,
    /// Close codes (1000 to 4999) of the server's after which there is no point in coming back.
    #[uniffi(default = None)]
    pub stop_codes: Option<Vec<i32>>,
    /// HTTP statuses (100 to 599) after which there is no point in coming back. With a
    /// `before_connect`, 401 and 403 lead to one more dial first, as it may have a new token.
    #[uniffi(default = None)]
    pub stop_statuses: Option<Vec<i32>>,
    /// Wait at least as long as the server's `Retry-After` asks, up to an hour (a minute when
    /// the answer did not come over TLS), and a random part longer: a quarter of it, but at
    /// least 5 s and at most 60 s. Default: yes.
    #[uniffi(default = None)]
    pub honour_retry_after: Option<bool>,
}

/// How long to wait before an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ReconnectDelay {
    /// Always the same.
    Fixed {
        /// 0 is "at once".
        delay_ms: i64,
    },
    /// Random between bounds that grow, so that a thousand clients of a restarting server do
    /// not come back in step. The first attempt waits 0 to `first_ms`; attempt n waits
    /// `min_ms` to min(`max_ms`, `min_ms` × 2ⁿ⁻¹); after `slow_after_ms` of failing each
    /// waits `slow_ms` ± 20 %. Before that, after close codes 1012 and 1013 and HTTP 503, 5 to
    /// 20 s.
    FullJitter {
        /// Upper bound of the first delay; 0 is "at once".
        first_ms: i64,
        /// Lower bound of the later ones.
        min_ms: i64,
        /// Upper bound.
        max_ms: i64,
        /// Slow down after failing this long.
        slow_after_ms: i64,
        /// The slow pace.
        slow_ms: i64,
    },
}

/// How many attempts in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum AttemptLimit {
    /// Never give up.
    Unlimited,
    /// Give up after so many.
    Attempts {
        /// At least 1.
        count: i32,
    },
}

/// How to notice a dead peer. What is not said comes from the preset.
#[derive(Clone, Debug, Default, PartialEq, uniffi::Record)]
pub struct HeartbeatOptions {
    /// False: no heartbeat.
    #[uniffi(default = None)]
    pub enabled: Option<bool>,
    /// What to send.
    #[uniffi(default = None)]
    pub payload: Option<HeartbeatPayload>,
    /// How long after the open, and after each answer, to send it.
    #[uniffi(default = None)]
    pub interval_ms: Option<i64>,
    /// How long to wait for life after it.
    #[uniffi(default = None)]
    pub timeout_ms: Option<i64>,
    /// Which message is the answer; it is not delivered to the app. A protocol Ping needs
    /// none: its Pong is the answer.
    #[uniffi(default = None)]
    pub reply: Option<ReplyMatch>,
    /// Only the answer counts as life, not any frame. Default: no.
    #[uniffi(default = None)]
    pub strict: Option<bool>,
    /// Deliver the answer to the app too. Default: no.
    #[uniffi(default = None)]
    pub deliver_reply: Option<bool>,
    /// Every message restarts the interval, not only the answer.
    #[uniffi(default = None)]
    pub idle_driven: Option<bool>,
}

/// What a heartbeat sends.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
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
    /// A protocol Ping, invisible to the server's application.
    Ping,
}

/// What `send` keeps while the connection is not open. What is not said has the defaults below.
///
/// These limits also hold for new messages while messages wait that an *open* connection had
/// accepted and could not write before it was lost (see `max_buffered_bytes`). Those stay for the
/// next connection and count: until there are fewer, a new message is refused, or `overflow`
/// says what gives way.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct QueueOptions {
    /// False: `send` is refused while the connection is not open, as in the wx API.
    #[uniffi(default = None)]
    pub enabled: Option<bool>,
    /// Messages. Default: 256; at least 1.
    #[uniffi(default = None)]
    pub messages: Option<i64>,
    /// Bytes of payload. Default: 1 MiB; at least 1, at most 1 GiB.
    #[uniffi(default = None)]
    pub bytes: Option<i64>,
    /// A message older than this is handed back instead of sent. Default: no limit.
    #[uniffi(default = None)]
    pub max_age_ms: Option<i64>,
    /// What gives way when it is full. Default: the new message is refused. It does not apply
    /// while the connection is open.
    #[uniffi(default = None)]
    pub overflow: Option<OverflowPolicy>,
}

/// Whom to trust on `wss://`. The operating system's authorities always count; on Android they
/// are those that come with the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct TlsOptions {
    /// More authorities to trust: one or more certificates in PEM.
    #[uniffi(default = None)]
    pub ca_pem: Option<String>,
}

/// What to do when the app leaves the foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum BackgroundPolicy {
    /// Nothing: the connection lives as long as the operating system lets it.
    Keep,
    /// Close it after a while (1006 "interrupted"), and come back in the foreground.
    Interrupt {
        /// The while.
        grace_ms: i64,
    },
}
