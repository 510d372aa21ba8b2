//! Whether to come back, and when.

use super::config::{Backoff, ReconnectPolicy};
use super::failure::{ErrorKind, Failure};
use std::time::{Duration, Instant};

/// A hostile `Retry-After` must not silence an app for days.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// A server that says "try again later" is restarting with all its clients waiting: jittered
/// clients come back 5 to 20 s later (measured advice for 1012, 1013 and 503).
const HERD_MIN: Duration = Duration::from_secs(5);
const HERD_SPREAD: Duration = Duration::from_secs(15);

/// How a connection ended, as far as coming back is concerned.
pub(super) struct Cause<'a> {
    /// The code of the close frame, the peer's or the one we closed with.
    pub(super) close_code: Option<u16>,
    pub(super) failure: Option<&'a Failure>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Retry {
        delay: Duration,
    },
    /// The stop list, or no policy at all.
    Stop,
    /// The limit is used up.
    Exhausted,
}

/// The counter and the streak of failures it belongs to.
#[derive(Debug, Default)]
pub(super) struct Reconnect {
    attempt: u32,
    failing_since: Option<Instant>,
}

impl Reconnect {
    /// Attempts used since the last stable connection.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn rearm(&mut self) {
        *self = Self::default();
    }

    /// Settles what follows the end of a connection and counts it.
    pub(super) fn decide(
        &mut self,
        policy: Option<&ReconnectPolicy>,
        cause: &Cause<'_>,
        opened_at: Option<Instant>,
        now: Instant,
        jitter: &mut dyn FnMut() -> f64,
    ) -> Verdict {
        let Some(policy) = policy else { return Verdict::Stop };
        if opened_at.is_some_and(|at| now.saturating_duration_since(at) >= policy.stable_after) {
            self.rearm();
        }
        if is_fatal(policy, cause) {
            return Verdict::Stop;
        }
        if policy.max_attempts.is_some_and(|max| self.attempt >= max) {
            return Verdict::Exhausted;
        }
        self.attempt = self.attempt.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let failing_for = now.saturating_duration_since(since);
        let mut delay = policy.backoff.delay(self.attempt, failing_for, cause, jitter);
        let asked = cause.failure.and_then(|failure| failure.retry_after);
        if let (true, Some(asked)) = (policy.honour_retry_after, asked) {
            delay = delay.max(asked.min(MAX_RETRY_AFTER));
        }
        Verdict::Retry { delay }
    }
}

fn is_fatal(policy: &ReconnectPolicy, cause: &Cause<'_>) -> bool {
    if cause.close_code.is_some_and(|code| policy.stop_codes.contains(&code)) {
        return true;
    }
    cause.failure.and_then(|failure| failure.refusal.as_ref()).is_some_and(|refusal| {
        policy.stop_statuses.contains(&refusal.status)
            && (refusal.verified || !policy.stop_statuses_need_tls)
    })
}

impl Backoff {
    fn delay(
        &self,
        attempt: u32,
        failing_for: Duration,
        cause: &Cause<'_>,
        jitter: &mut dyn FnMut() -> f64,
    ) -> Duration {
        match *self {
            Backoff::Fixed(delay) => delay,
            Backoff::FullJitter { .. } if is_herd(cause) => {
                HERD_MIN + HERD_SPREAD.mul_f64(jitter())
            }
            Backoff::FullJitter { slow_after, slow, .. } if failing_for >= slow_after => {
                slow.mul_f64(0.8 + 0.4 * jitter())
            }
            Backoff::FullJitter { first, .. } if attempt <= 1 => first.mul_f64(jitter()),
            Backoff::FullJitter { min, max, .. } => {
                let ceiling = min.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(max);
                min + ceiling.saturating_sub(min).mul_f64(jitter())
            }
        }
    }
}

fn is_herd(cause: &Cause<'_>) -> bool {
    let status = cause
        .failure
        .filter(|failure| failure.kind == ErrorKind::HttpStatus)
        .and_then(|failure| failure.refusal.as_ref())
        .map(|refusal| refusal.status);
    matches!(cause.close_code, Some(1012 | 1013)) || status == Some(503)
}
