//! What a connection has still to write.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// With this much unsent, nothing more is read: the client has to read its echoes first.
const HIGH_WATER: usize = 4 * 1024 * 1024;
/// The same for what is held back by a delay, in reads.
const HIGH_WATER_DELAYED: usize = 1024;
/// What is written already is thrown away when it is this much.
const COMPACT: usize = 256 * 1024;

/// What is to be written, now or after the script's delay.
pub(super) struct OutBuf {
    delay: Duration,
    ready: Vec<u8>,
    written: usize,
    delayed: VecDeque<(Instant, Vec<u8>)>,
}

impl OutBuf {
    /// `delay` goes for everything.
    pub(super) fn new(delay: Duration) -> OutBuf {
        OutBuf { delay, ready: Vec::new(), written: 0, delayed: VecDeque::new() }
    }

    /// Where to append.
    pub(super) fn tail(&mut self, now: Instant) -> &mut Vec<u8> {
        if self.delay.is_zero() {
            return &mut self.ready;
        }
        let due = now + self.delay;
        if self.delayed.back().is_none_or(|(last, _)| *last != due) {
            self.delayed.push_back((due, Vec::new()));
        }
        let (_, bytes) = self.delayed.back_mut().expect("there is one, see above");
        bytes
    }

    /// Whether nothing more should be read: the client leaves too much unread.
    pub(super) fn is_full(&self) -> bool {
        self.delayed.len() >= HIGH_WATER_DELAYED || self.len() >= HIGH_WATER
    }

    /// How much is to be written, held back or not.
    pub(super) fn len(&self) -> usize {
        let delayed = self.delayed.iter().map(|(_, bytes)| bytes.len());
        self.pending().len() + delayed.sum::<usize>()
    }

    /// Makes ready what was held back for long enough.
    pub(super) fn promote(&mut self, now: Instant) {
        while let Some((due, _)) = self.delayed.front()
            && *due <= now
            && let Some((_, bytes)) = self.delayed.pop_front()
        {
            self.ready.extend_from_slice(&bytes);
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.front().map(|(due, _)| *due)
    }

    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    /// What can be written now.
    pub(super) fn pending(&self) -> &[u8] {
        &self.ready[self.written..]
    }

    pub(super) fn wrote(&mut self, n: usize) {
        self.written += n;
        if self.written == self.ready.len() {
            self.written = 0;
            self.ready.clear();
            // An idle connection must not hold on to the buffer of a flood.
            if self.ready.capacity() > HIGH_WATER {
                self.ready = Vec::new();
            }
        } else if self.written > COMPACT && self.written > self.ready.len() / 2 {
            self.ready.drain(..self.written);
            self.written = 0;
        }
    }

    /// Forgets what is not written yet.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.written = 0;
        self.delayed.clear();
    }
}
