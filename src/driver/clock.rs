//! The time that the session is told. Unlike that of `Instant::now` it runs on while the device
//! sleeps, so that a retry, a heartbeat or a close that was due during the sleep is due at once
//! after it.

use super::sleepers;
use crate::ffi;
use once_cell::sync::Lazy;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A shorter sleep makes no difference to a connection, and less than this may be the work of a
/// scheduler that stopped the thread between two readings of a clock.
const SLEPT: Duration = Duration::from_secs(3);

/// The first reading of both clocks.
static START: Lazy<(Instant, Duration)> = Lazy::new(|| (Instant::now(), since_boot()));

fn since_boot() -> Duration {
    // Without such a clock a sleep is noticed by nobody.
    let boot = ffi::since_boot().unwrap_or_else(|| {
        static FIRST: Lazy<Instant> = Lazy::new(Instant::now);
        FIRST.elapsed()
    });
    boot + pretended()
}

/// The time, for the session and for whoever compares with its times.
pub(crate) fn now() -> Instant {
    let (start, boot) = *START;
    start + since_boot().saturating_sub(boot)
}

#[cfg(not(feature = "testing"))]
fn pretended() -> Duration {
    Duration::ZERO
}

#[cfg(feature = "testing")]
static PRETENDED: AtomicU64 = AtomicU64::new(0);

#[cfg(feature = "testing")]
fn pretended() -> Duration {
    Duration::from_millis(PRETENDED.load(Ordering::Relaxed))
}

/// Pretends that the device has slept for so many whole milliseconds. Nobody is told: the first
/// task of the process that has something to do notices it, and wakes the others.
#[cfg(feature = "testing")]
pub fn device_sleep(duration: Duration) {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // The clock must not run from its first reading on before that is made.
    Lazy::force(&START);
    PRETENDED.fetch_add(millis, Ordering::Relaxed);
}

/// What one task knows of the device's sleep. Its methods are called under one lock.
#[derive(Debug)]
pub(super) struct Watch {
    /// When it last compared the clocks, in milliseconds of [`now`] since the first reading.
    compared: AtomicU64,
    /// How far the clock of [`now`] was ahead of that of `Instant` then, in milliseconds.
    ahead: AtomicU64,
    /// How many sleeps it has noticed.
    sleeps: AtomicU64,
}

impl Watch {
    pub(super) fn new() -> Self {
        let (compared, ahead) = compare();
        Self { compared: compared.into(), ahead: ahead.into(), sleeps: AtomicU64::new(0) }
    }

    /// How long the device has slept since this was last asked; `None`: not worth mentioning.
    /// The other tasks of the process are woken, to ask for themselves.
    pub(super) fn slept(&self, now: Instant) -> Option<Duration> {
        let passed = millis(now.saturating_duration_since(START.0));
        // Who has not lived for three seconds cannot have slept for three: most calls read one
        // clock only.
        if passed.saturating_sub(self.compared.load(Ordering::Relaxed)) < millis(SLEPT) {
            return None;
        }
        let (compared, ahead) = compare();
        self.compared.store(compared, Ordering::Relaxed);
        let slept = ahead.saturating_sub(self.ahead.swap(ahead, Ordering::Relaxed));
        if slept < millis(SLEPT) {
            return None;
        }
        self.sleeps.fetch_add(1, Ordering::Relaxed);
        sleepers::noticed(ahead, SLEPT);
        Some(Duration::from_millis(slept))
    }

    /// How many sleeps there were: an alarm that was set before the last one rings too late.
    pub(super) fn sleeps(&self) -> u64 {
        self.sleeps.load(Ordering::Relaxed)
    }
}

/// The time since the first reading, and how much of it the device slept.
fn compare() -> (u64, u64) {
    let passed = now().saturating_duration_since(START.0);
    (millis(passed), millis(passed.saturating_sub(START.0.elapsed())))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
