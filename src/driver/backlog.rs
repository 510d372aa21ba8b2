//! The events of one task that its app has not been told yet, in order and bounded; and what a
//! listener that comes late is told first.
//!
//! The rules:
//!
//! - Until somebody listens, everything is kept. When that is as much as the bounds allow, the
//!   socket is not read ([`Backlog::room`]) and no dial begins
//!   ([`Backlog::has_room_to_dial`]); nothing is dropped.
//! - While somebody listens, but not to messages, steps (open, error, close) are told, and of
//!   the messages of the present connection the newest are kept.
//! - A late listener hears the present state: the open if the connection is open; else the last
//!   close, and its error if there was one. Never what was before.

use super::notice::{News, Notice, Step};
use crate::session::Event;
use std::collections::VecDeque;
use std::sync::Arc;

/// Enough to keep a fast listener busy while the socket is read, little enough to be nothing
/// on a phone.
pub(super) const MAX_EVENTS: usize = 1024;
pub(super) const MAX_BYTES: usize = 1 << 20;

/// While as many steps as this, or of so many bytes, wait to be told, no dial begins: each dial
/// adds two or three, and a refusal may carry 16 KiB of headers.
const MAX_STEPS: usize = 256;
const MAX_STEP_BYTES: usize = 512 << 10;

/// So many messages are kept for a listener of messages while only others listen.
const MAX_UNHEARD: usize = 256;

/// What somebody listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Interest {
    /// Nobody listens.
    Nothing,
    /// Opens, errors and closes.
    Steps,
    /// Messages too.
    Everything,
}

pub(super) struct Backlog {
    queue: VecDeque<Notice>,
    /// How many events that is, and how many bytes.
    events: usize,
    bytes: usize,
    /// How many of them are steps, and of how many bytes.
    steps: usize,
    step_bytes: usize,
    interest: Interest,
    /// What a late listener hears, as of what was taken last.
    present: Vec<Arc<Step>>,
    /// The same as of what was taken before that.
    before: Vec<Arc<Step>>,
    /// Something was taken.
    told: bool,
    news: News,
    /// The final event is in; nothing follows.
    complete: bool,
    discarded: u64,
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            events: 0,
            bytes: 0,
            steps: 0,
            step_bytes: 0,
            interest: Interest::Nothing,
            present: Vec::new(),
            before: Vec::new(),
            told: false,
            news: News::default(),
            complete: false,
            discarded: 0,
        }
    }

    /// How many more messages may come; 0: none until some are taken.
    pub(super) fn room(&self) -> usize {
        if self.interest == Interest::Steps {
            // The oldest messages make room for new ones.
            return MAX_EVENTS;
        }
        if self.bytes >= MAX_BYTES { 0 } else { MAX_EVENTS.saturating_sub(self.events) }
    }

    /// True when a dial may begin. Messages that wait do not matter: the new connection is not
    /// read before there is room for what it brings.
    pub(super) fn has_room_to_dial(&self) -> bool {
        self.steps < MAX_STEPS && self.step_bytes < MAX_STEP_BYTES
    }

    /// True when at least half of each bound is free.
    pub(super) fn is_roomy(&self) -> bool {
        let takes_messages = self.interest == Interest::Steps
            || self.events <= MAX_EVENTS / 2 && self.bytes <= MAX_BYTES / 2;
        takes_messages && self.steps <= MAX_STEPS / 2 && self.step_bytes <= MAX_STEP_BYTES / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// True when the final event was taken: nothing follows.
    pub(super) fn is_over(&self) -> bool {
        self.complete && self.queue.is_empty()
    }

    /// True when the final event has come, taken or not.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// True when [`take`](Self::take) gives something.
    pub(super) fn has_some(&self) -> bool {
        match self.interest {
            Interest::Nothing => false,
            Interest::Steps => self.steps > 0,
            Interest::Everything => !self.queue.is_empty(),
        }
    }

    /// True when something was taken before.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// Messages that nobody will hear.
    pub(super) fn discarded(&self) -> u64 {
        self.discarded
    }

    pub(super) fn news(&self) -> &News {
        &self.news
    }

    pub(super) fn present(&self) -> &[Arc<Step>] {
        &self.present
    }

    /// Somebody listens to this, too. Interest never falls: whoever stops listening leaves what
    /// comes to those who stay.
    pub(super) fn listen(&mut self, interest: Interest) {
        self.interest = self.interest.max(interest);
        if self.interest == Interest::Steps {
            self.trim();
        }
    }

    /// Adds what has happened. With `lossy`, messages for which there is no room are discarded
    /// and counted. True: a step was among it.
    pub(super) fn push(&mut self, notice: Notice, lossy: bool) -> bool {
        if lossy && !notice.is_step() && self.room() == 0 {
            self.discarded += notice.count() as u64;
            return false;
        }
        let step = match &notice {
            Notice::Step(step) => {
                self.news.note(step);
                self.complete |= step.is_final();
                true
            }
            _ => false,
        };
        self.count_in(&notice);
        self.queue.push_back(notice);
        if self.interest == Interest::Steps {
            self.trim();
        }
        step
    }

    /// Takes at most `max` events: at most one step, which comes first, then messages. The one
    /// that goes beyond the bound of bytes is taken too: it may be alone.
    pub(super) fn take(&mut self, max: usize) -> VecDeque<Notice> {
        let mut taken = VecDeque::new();
        match self.interest {
            Interest::Nothing => {}
            Interest::Steps => taken.extend(self.take_step()),
            Interest::Everything => self.take_run(max.max(1), &mut taken),
        }
        if let Some(Notice::Step(step)) = taken.front() {
            let step = step.clone();
            self.before = self.present.clone();
            self.now_present(step);
        }
        self.told |= !taken.is_empty();
        if self.queue.is_empty() {
            // It goes with its memory: a burst is rare, and an idle task is to be small.
            self.queue = VecDeque::new();
        }
        taken
    }

    /// Takes back what was taken last and not told.
    pub(super) fn put_back(&mut self, rest: VecDeque<Notice>) {
        if rest.front().is_some_and(Notice::is_step) {
            self.present = std::mem::take(&mut self.before);
        }
        for notice in rest.into_iter().rev() {
            self.count_in(&notice);
            self.queue.push_front(notice);
        }
    }

    fn take_run(&mut self, max: usize, taken: &mut VecDeque<Notice>) {
        let (mut events, mut bytes) = (0, 0);
        while events < max && bytes < MAX_BYTES {
            let Some(next) = self.queue.pop_front() else { break };
            if next.is_step() && events > 0 {
                self.queue.push_front(next);
                break;
            }
            let next = self.split(next, max - events);
            self.count_out(&next);
            events += next.count();
            bytes += next.size();
            taken.push_back(next);
        }
    }

    /// Gives the first `room` events of this, and keeps the others.
    fn split(&mut self, mut notice: Notice, room: usize) -> Notice {
        if let Notice::Packed(packed) = &mut notice
            && packed.count() > room
        {
            let first = packed.split_to(room);
            self.queue.push_front(Notice::Packed(std::mem::replace(packed, first)));
        }
        notice
    }

    /// Takes the next step past the messages that nobody listens to.
    fn take_step(&mut self) -> Option<Notice> {
        let at = self.queue.iter().position(Notice::is_step)?;
        let step = self.queue.remove(at)?;
        self.count_out(&step);
        // What came before it belongs to a connection that is over, or about to be: nobody is to
        // hear a message after the error.
        for old in self.queue.drain(..at).collect::<Vec<_>>() {
            self.discard(&old);
        }
        Some(step)
    }

    /// Discards the oldest messages beyond what is kept for a listener of messages.
    fn trim(&mut self) {
        while self.events - self.steps > MAX_UNHEARD || self.bytes - self.step_bytes > MAX_BYTES {
            let Some(at) = self.queue.iter().position(|notice| !notice.is_step()) else { return };
            let Some(oldest) = self.queue.remove(at) else { return };
            let excess = (self.events - self.steps).saturating_sub(MAX_UNHEARD).max(1);
            match oldest {
                Notice::Packed(mut packed) if packed.count() > excess => {
                    self.count_out(&Notice::Packed(packed.clone()));
                    packed.split_to(excess);
                    self.discarded += excess as u64;
                    let rest = Notice::Packed(packed);
                    self.count_in(&rest);
                    self.queue.insert(at, rest);
                }
                oldest => self.discard(&oldest),
            }
        }
    }

    fn discard(&mut self, notice: &Notice) {
        self.count_out(notice);
        self.discarded += notice.count() as u64;
    }

    fn count_in(&mut self, notice: &Notice) {
        self.events += notice.count();
        self.bytes += notice.size();
        if notice.is_step() {
            self.steps += 1;
            self.step_bytes += notice.size();
        }
    }

    fn count_out(&mut self, notice: &Notice) {
        self.events -= notice.count();
        self.bytes -= notice.size();
        if notice.is_step() {
            self.steps -= 1;
            self.step_bytes -= notice.size();
        }
    }

    fn now_present(&mut self, step: Arc<Step>) {
        let after_error = match (self.present.as_slice(), &step.event) {
            ([error], Event::Close { epoch, .. }) => {
                matches!(&error.event, Event::Error { epoch: of, .. } if of == epoch)
            }
            _ => false,
        };
        if !after_error {
            self.present.clear();
        }
        self.present.push(step);
    }
}

#[cfg(test)]
mod tests;
