//! The output of a connection that is not written yet.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// With this many unsent bytes nothing more is read: the client has to read its echoes first.
const HIGH_WATER: usize = 4 * 1024 * 1024;
/// The same limit for output that a delay holds back, counted in reads.
const HIGH_WATER_DELAYED: usize = 1024;
/// Written bytes are removed from the buffer when there are this many.
const COMPACT: usize = 256 * 1024;

/// The bytes to write, now or after the delay of the script.
pub(super) struct OutBuf {
    delay: Duration,
    ready: Vec<u8>,
    written: usize,
    delayed: VecDeque<(Instant, Vec<u8>)>,
}

impl OutBuf {
    /// Makes an empty buffer. `delay` holds back everything.
    pub(super) fn new(delay: Duration) -> OutBuf {
        OutBuf { delay, ready: Vec::new(), written: 0, delayed: VecDeque::new() }
    }

    /// Returns the bytes to append to.
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

    /// Returns true when nothing more should be read, because the client leaves too much unread.
    pub(super) fn is_full(&self) -> bool {
        self.delayed.len() >= HIGH_WATER_DELAYED || self.len() >= HIGH_WATER
    }

    /// Returns the number of bytes to write, including those that are held back.
    pub(super) fn len(&self) -> usize {
        let delayed = self.delayed.iter().map(|(_, bytes)| bytes.len());
        self.pending().len() + delayed.sum::<usize>()
    }

    /// Makes those bytes ready whose delay is over.
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

    /// Returns the bytes that can be written now.
    pub(super) fn pending(&self) -> &[u8] {
        &self.ready[self.written..]
    }

    pub(super) fn wrote(&mut self, n: usize) {
        self.written += n;
        if self.written == self.ready.len() {
            self.written = 0;
            self.ready.clear();
            // An idle connection must not keep the buffer of a flood.
            if self.ready.capacity() > HIGH_WATER {
                self.ready = Vec::new();
            }
        } else if self.written > COMPACT && self.written > self.ready.len() / 2 {
            self.ready.drain(..self.written);
            self.written = 0;
        }
    }

    /// Discards what is not written yet.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.written = 0;
        self.delayed.clear();
    }
}
