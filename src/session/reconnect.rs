//! Whether to come back, and when.

use super::config::{Backoff, ReconnectPolicy};
use super::failure::{ErrorKind, Failure};
use std::time::{Duration, Instant};

/// A hostile `Retry-After` must not silence an app for days.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The same for an answer that did not come over TLS: a captive portal, and not the server, may
/// have written it, and the user may leave that network within a minute.
const MAX_UNVERIFIED_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A server gives the same `Retry-After` to all its clients. Each adds a random part of up to a
/// quarter of what was asked, within these bounds: 5 s spread 10,000 clients over 20 in each
/// 10 ms, and more than a minute would keep users waiting for nothing.
const MIN_SPREAD: Duration = Duration::from_secs(5);
const MAX_SPREAD: Duration = Duration::from_secs(60);

/// The longest wait before a dial whose only purpose is to try a new token.
const REFRESH_DELAY: Duration = Duration::from_secs(1);

/// A server that says "try again later" is restarting with all its clients waiting: jittered
/// clients come back 5 to 20 s later (measured advice for 1012, 1013 and 503).
const HERD_MIN: Duration = Duration::from_secs(5);
const HERD_SPREAD: Duration = Duration::from_secs(15);

/// How a connection ended, as far as coming back is concerned.
pub(super) struct Cause<'a> {
    /// The code of the peer's close frame, 1005 if it had none; absent if none came.
    pub(super) close_code: Option<u16>,
    pub(super) failure: Option<&'a Failure>,
    /// The app is asked before every dial, and may have a new token then.
    pub(super) can_refresh: bool,
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
    /// One dial was granted for a new token since the last open.
    refreshed: bool,
}

impl Reconnect {
    /// Attempts used since the last stable connection.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn rearm(&mut self) {
        *self = Self::default();
    }

    /// A connection has opened: the server accepts the token.
    pub(super) fn opened(&mut self) {
        self.refreshed = false;
    }

    /// The device slept for so long, and did not fail all that time. What it failed before counts.
    pub(super) fn woke(&mut self, slept: Duration, now: Instant) {
        self.failing_since = self.failing_since.map(|since| now.min(since + slept));
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
        let is_exhausted = policy.max_attempts.is_some_and(|max| self.attempt >= max);
        let is_fatal = is_fatal(policy, cause);
        let refresh = is_fatal && may_refresh(cause) && !self.refreshed && !is_exhausted;
        if is_fatal && !refresh {
            return Verdict::Stop;
        }
        if is_exhausted {
            return Verdict::Exhausted;
        }
        self.attempt = self.attempt.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let failing_for = now.saturating_duration_since(since);
        let mut delay = policy.backoff.delay(self.attempt, failing_for, cause, jitter);
        if refresh {
            self.refreshed = true;
            delay = delay.min(REFRESH_DELAY.mul_f64(jitter()));
        }
        if let (true, Some(failure)) = (policy.honour_retry_after, cause.failure) {
            delay = delay.max(asked_by(failure, jitter));
        }
        Verdict::Retry { delay }
    }
}

/// How long the server asked to be left alone, with the random part on top.
fn asked_by(failure: &Failure, jitter: &mut dyn FnMut() -> f64) -> Duration {
    let Some(asked) = failure.retry_after.filter(|asked| !asked.is_zero()) else {
        return Duration::ZERO;
    };
    let is_verified = failure.refusal.as_ref().is_some_and(|refusal| refusal.verified);
    let most = if is_verified { MAX_RETRY_AFTER } else { MAX_UNVERIFIED_RETRY_AFTER };
    let asked = asked.min(most);
    asked + (asked / 4).clamp(MIN_SPREAD, MAX_SPREAD).mul_f64(jitter())
}

/// True when the server refused the token, and the app may have another one.
fn may_refresh(cause: &Cause<'_>) -> bool {
    cause.can_refresh && matches!(refused_with(cause), Some(401 | 403))
}

fn refused_with(cause: &Cause<'_>) -> Option<u16> {
    let failure = cause.failure.filter(|failure| failure.kind == ErrorKind::HttpStatus)?;
    failure.refusal.as_ref().map(|refusal| refusal.status)
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
            // Before the question of a restart: a server that has said "later" for this long
            // is not restarting, and each of its clients counts.
            Backoff::FullJitter { slow_after, slow, .. } if failing_for >= slow_after => {
                let slow = slow.mul_f64(0.8 + 0.4 * jitter());
                if is_herd(cause) { slow.max(HERD_MIN) } else { slow }
            }
            Backoff::FullJitter { .. } if is_herd(cause) => {
                HERD_MIN + HERD_SPREAD.mul_f64(jitter())
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
    matches!(cause.close_code, Some(1012 | 1013)) || refused_with(cause) == Some(503)
}
