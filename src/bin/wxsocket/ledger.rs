//! Counts which lines were handed to which connection. Only a clean close shows that the server had
//! the time to read them.

use std::collections::{BTreeMap, VecDeque};

/// The largest number of lines that are counted as waiting inside the task. When there are more,
/// all of them count as handed over.
const MAX_WAITING: usize = 1 << 16;

#[derive(Default)]
pub(crate) struct Ledger {
    /// The newest connection that has been open.
    opened: Option<i64>,
    /// The lines that the task has accepted and may not have written yet: the connection at that
    /// time, and the size. The oldest is the first, because it is written first.
    waiting: VecDeque<(i64, usize)>,
    /// How many lines were written to each connection that is not known to have ended.
    handed: BTreeMap<i64, u64>,
    lost: u64,
}

impl Ledger {
    /// Notes that the task has accepted a line. `buffered` is the number of bytes that it had not
    /// written before.
    pub(crate) fn took(&mut self, epoch: i64, len: usize, is_open: bool, buffered: i64) {
        if is_open && buffered == 0 || self.waiting.len() >= MAX_WAITING {
            for (epoch, _) in std::mem::take(&mut self.waiting) {
                *self.handed.entry(epoch.max(self.opened.unwrap_or(epoch))).or_default() += 1;
            }
        }
        self.waiting.push_back((epoch, len));
    }

    /// Notes that the task has returned its `count` oldest lines without writing them.
    pub(crate) fn gave_back(&mut self, count: usize) {
        self.waiting.drain(..count.min(self.waiting.len()));
    }

    pub(crate) fn opened(&mut self, epoch: i64) {
        self.opened = Some(epoch);
    }

    /// Notes that a connection has ended. `buffered` bytes and the newest `unsent` lines were not
    /// written to it. Returns how many lines were lost with it.
    pub(crate) fn closed(&mut self, epoch: i64, clean: bool, buffered: i64, unsent: usize) -> u64 {
        // No line was ever handed to a dial that failed.
        if self.opened != Some(epoch) {
            return 0;
        }
        let unsent = unsent.min(self.waiting.len());
        self.waiting.truncate(self.waiting.len() - unsent);
        let mut left = usize::try_from(buffered).unwrap_or(0);
        let mut first_kept = self.waiting.len();
        while let Some(&(taken, len)) = first_kept.checked_sub(1).map(|at| &self.waiting[at]) {
            if taken <= epoch && (left == 0 || len > left) {
                break;
            }
            left = left.saturating_sub(len);
            first_kept -= 1;
        }
        let mut handed = self.waiting.drain(..first_kept).count() as u64;
        let later = self.handed.split_off(&(epoch + 1));
        handed += std::mem::replace(&mut self.handed, later).into_values().sum::<u64>();
        let lost = if clean { 0 } else { handed };
        self.lost += lost;
        lost
    }

    /// Returns how many lines were handed to connections that were not closed cleanly.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(epoch: i64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.opened(epoch);
        ledger
    }

    #[test]
    fn lines_of_a_lost_connection_are_lost_and_those_of_a_clean_one_are_not() {
        for (clean, lost) in [(true, 0), (false, 2)] {
            let mut ledger = opened(1);
            ledger.took(1, 5, true, 0);
            ledger.took(1, 0, true, 0);
            assert_eq!(ledger.closed(1, clean, 0, 0), lost);
            assert_eq!(ledger.lost(), lost);
        }
    }

    #[test]
    fn lines_that_wait_for_the_next_connection_are_not_lost() {
        let mut ledger = opened(1);
        for _ in 0..3 {
            ledger.took(1, 10, true, 5);
        }
        assert_eq!(ledger.closed(1, false, 20, 0), 1);
        ledger.opened(2);
        assert_eq!(ledger.closed(2, true, 0, 0), 0);
        assert_eq!(ledger.lost(), 1);
    }

    #[test]
    fn a_line_of_the_next_connection_is_not_lost_with_the_one_before() {
        let mut ledger = opened(1);
        ledger.took(2, 10, true, 0);
        assert_eq!(ledger.closed(1, false, 0, 0), 0);
    }

    #[test]
    fn a_dial_that_fails_loses_nothing_and_unsent_lines_are_told_elsewhere() {
        let mut ledger = Ledger::default();
        ledger.took(1, 0, false, 0);
        assert_eq!(ledger.closed(1, false, 0, 0), 0);
        ledger.opened(2);
        assert_eq!(ledger.closed(2, false, 0, 1), 0);
        assert_eq!(ledger.lost(), 0);
    }
}
