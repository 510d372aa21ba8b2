//! Whole sets of rules under one name.

use crate::session::{
    Backoff, Config, Heartbeat, HeartbeatPayload, OverflowPolicy, QueueLimits, ReconnectPolicy,
    ReplyMatch,
};
use std::time::Duration;

/// A set of rules. All but the last reproduce a piece of JavaScript that many apps carry
/// around, and do what its author meant where the code has a slip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, uniffi::Enum)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Preset {
    /// The mini-program way, and the default: 5 s between attempts, 12 of them; text `ping`
    /// 10 s after the open and after each `pong`, 10 s to answer, `pong` hidden from the app.
    ///
    /// The original never sets its counter back, so that an app gives up for good after the
    /// twelfth drop of its life. Here a connection that was open for 5 s sets it back.
    #[default]
    Wx,
    /// The browser snippet: at once, 59 times, no heartbeat. The original calls this a
    /// heartbeat and has none; it reconnects only after the first successful open, which
    /// would leave an app that starts offline dead. Here the first dial is retried too.
    Browser,
    /// Reconnect after 2 s without end; text `HeartBeat` after 6 s without a message, and 6 s
    /// for any message to come. The original clears the wrong timers, so that old deadlines
    /// close healthy connections; its comment says 60 s where its code says 6.
    HeartCheck,
    /// Reconnect after 60 s without end; `{"heart":1}` after 60 s without a message, and 60 s
    /// for any message. The original reconnects from `onerror` and from `onclose`, which
    /// doubles the sockets at each failure, and goes on after the page is gone.
    Vue,
    /// Reconnect after 3 s without end, unless the close code is 1000; `{"ping":true}` after
    /// 5 s without a message, and 5 s for any message. The original reconnects through
    /// `onerror` and `onclose` both, and leaves the dead socket open beside the new one.
    UseWs,
    /// Ours: 0 to 1 s, then full jitter from 1 to 30 s, after five minutes every 60 s ± 20 %;
    /// protocol Ping every 30 s, 10 s for any frame; stops on close codes and HTTP statuses
    /// that say that coming back is pointless. Statuses count only over TLS: a captive
    /// portal's 403 over plain HTTP must not end a session.
    Resilient,
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Preset {
    /// The rules, complete.
    pub(crate) fn config(self) -> Config {
        Config {
            reconnect: Some(self.reconnect()),
            heartbeat: self.heartbeat(),
            queue: QueueLimits {
                messages: 256,
                bytes: 1 << 20,
                max_age: None,
                overflow: OverflowPolicy::Reject,
            },
            max_buffered_bytes: 16 << 20,
            close_timeout: secs(3),
            background_grace: match self {
                Self::Wx => Some(secs(5)),
                Self::Resilient => Some(secs(30)),
                _ => None,
            },
            greeting: None,
            can_refresh: false,
        }
    }

    /// The time for a whole dial.
    pub(crate) fn timeout(self) -> Duration {
        match self {
            Self::Resilient => secs(15),
            _ => secs(60),
        }
    }

    /// The wx API documents "off"; every browser has it on.
    pub(crate) fn tcp_no_delay(self) -> bool {
        self != Self::Wx
    }

    fn reconnect(self) -> ReconnectPolicy {
        let (delay, max_attempts) = match self {
            Self::Wx => (secs(5), Some(12)),
            Self::Browser => (Duration::ZERO, Some(59)),
            Self::HeartCheck => (secs(2), None),
            Self::Vue => (secs(60), None),
            Self::UseWs => (secs(3), None),
            Self::Resilient => return resilient(),
        };
        ReconnectPolicy {
            backoff: Backoff::Fixed(delay),
            max_attempts,
            stable_after: secs(5),
            stop_codes: if self == Self::UseWs { vec![1000] } else { vec![] },
            stop_statuses: vec![],
            stop_statuses_need_tls: false,
            honour_retry_after: true,
        }
    }

    fn heartbeat(self) -> Option<Heartbeat> {
        let text = |text: &str| HeartbeatPayload::Text { text: text.to_owned() };
        let (payload, interval, timeout) = match self {
            Self::Wx => (text("ping"), secs(10), secs(10)),
            Self::Browser => return None,
            Self::HeartCheck => (text("HeartBeat"), secs(6), secs(6)),
            Self::Vue => (text(r#"{"heart":1}"#), secs(60), secs(60)),
            Self::UseWs => (text(r#"{"ping":true}"#), secs(5), secs(5)),
            Self::Resilient => (HeartbeatPayload::Ping, secs(30), secs(10)),
        };
        Some(Heartbeat {
            payload,
            interval,
            timeout,
            reply: (self == Self::Wx).then(|| ReplyMatch::Text { text: "pong".to_owned() }),
            strict: false,
            deliver_reply: false,
            idle_driven: matches!(self, Self::HeartCheck | Self::Vue | Self::UseWs),
        })
    }
}

fn resilient() -> ReconnectPolicy {
    ReconnectPolicy {
        backoff: Backoff::FullJitter {
            first: secs(1),
            min: secs(1),
            max: secs(30),
            slow_after: secs(5 * 60),
            slow: secs(60),
        },
        max_attempts: None,
        stable_after: secs(5),
        stop_codes: vec![1000, 1002, 1003, 1007, 1008, 1009, 1010],
        stop_statuses: vec![400, 401, 403, 404, 410, 426],
        stop_statuses_need_tls: true,
        honour_retry_after: true,
    }
}
