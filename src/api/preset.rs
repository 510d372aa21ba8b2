//! The presets: sets of rules under one name.

use crate::session::{
    Backoff, Config, Heartbeat, HeartbeatPayload, OverflowPolicy, QueueLimits, ReconnectPolicy,
    ReplyMatch,
};
use std::time::Duration;

/// A set of rules. All but the last reproduce a piece of JavaScript that many apps contain. Where
/// that code has a mistake, the preset does what its author meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, uniffi::Enum)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Preset {
    /// The rules of mini-programs, and the default: 5 s between attempts, 12 of them; text `ping`
    /// 10 s after the open and after each `pong`, 10 s to answer; the app does not get `pong`.
    ///
    /// The original never resets its counter of attempts, so that an app gives up for ever after
    /// the twelfth drop. Here a connection that was open for 5 s resets it.
    #[default]
    Wx,
    /// A snippet for browsers: the next attempt at once, 59 of them, no heartbeat. The original
    /// says that it has a heartbeat, but it has none. It reconnects only after a first successful
    /// open, so that an app that starts offline never connects; here the first dial is retried,
    /// too.
    Browser,
    /// The next attempt after 2 s, without a limit; text `HeartBeat` after 6 s without a message,
    /// and 6 s for any frame to come. The original clears the wrong timers, so that old deadlines
    /// close healthy connections; its comment says 60 s where its code says 6.
    HeartCheck,
    /// The next attempt after 60 s, without a limit; text `{"heart":1}` after 60 s without a
    /// message, and 60 s for any frame to come. The original reconnects in `onerror` and in
    /// `onclose`, which doubles the number of sockets at each failure, and does not stop when the
    /// page is gone.
    Vue,
    /// The next attempt after 3 s, without a limit, unless the close code is 1000; text
    /// `{"ping":true}` after 5 s without a message, and 5 s for any frame to come. The original
    /// reconnects in `onerror` and in `onclose`, and leaves the dead socket open beside the new
    /// one.
    UseWs,
    /// The rules of this library: the first attempt after 0 to 1 s, later ones after a random time
    /// from 1 s up to 30 s, and after five minutes of failing every 60 s ± 20 %, without a limit; a
    /// protocol Ping every 30 s, and 10 s for any frame to come. The task ends at close codes and
    /// HTTP statuses that say that another attempt is pointless. Statuses count only over TLS,
    /// because a captive portal's 403 over plain HTTP must not end a task.
    Resilient,
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Preset {
    /// Returns all rules of the preset.
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

    /// Returns the time limit of a whole dial.
    pub(crate) fn timeout(self) -> Duration {
        match self {
            Self::Resilient => secs(15),
            _ => secs(60),
        }
    }

    /// Returns true when small packets are sent at once (TCP_NODELAY). The wx API documents that it
    /// is off; every browser has it on.
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
