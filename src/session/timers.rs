//! The machine's few deadlines in one small table.

use std::time::Instant;

/// One slot for each thing that can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The next dial.
    Retry,
    /// The next heartbeat.
    Heartbeat,
    /// Life after a heartbeat.
    Answer,
    /// The peer's close frame after `close()`.
    Close,
    /// The end of the grace in the background.
    Grace,
}

impl Timer {
    const ALL: [Timer; 5] =
        [Timer::Retry, Timer::Heartbeat, Timer::Answer, Timer::Close, Timer::Grace];
}

#[derive(Debug, Default)]
pub(super) struct TimerTable {
    due: [Option<Instant>; Timer::ALL.len()],
}

impl TimerTable {
    pub(super) fn set(&mut self, timer: Timer, due: Instant) {
        self.due[timer as usize] = Some(due);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    pub(super) fn get(&self, timer: Timer) -> Option<Instant> {
        self.due[timer as usize]
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.get(timer).is_some()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.iter().flatten().min().copied()
    }

    /// Takes the earliest timer that is due, with the time it was due at.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        let (timer, due) = Timer::ALL
            .into_iter()
            .filter_map(|timer| self.get(timer).map(|due| (timer, due)))
            .min_by_key(|(_, due)| *due)?;
        if due > now {
            return None;
        }
        self.stop(timer);
        Some((timer, due))
    }
}
