//! What waits to be written: the app's messages in order, and ahead of them what the machine
//! itself has to say.

use super::config::{OverflowPolicy, QueueLimits};
use super::io::{Message, SendRefused, Transmit};
use std::collections::VecDeque;
use std::time::Instant;

/// Empty messages cost memory too, so the number that may wait for an open connection is
/// bounded as well as their bytes.
const OPEN_MESSAGES: usize = 1 << 20;

/// What became of a message that was offered.
pub(super) enum Kept {
    /// It is in, and these are out.
    Yes(Vec<Message>),
    /// The policy is to drop the newest.
    No,
}

#[derive(Debug)]
pub(super) struct Outbox {
    limits: QueueLimits,
    /// The first message of the connection.
    greeting: Option<Message>,
    /// A heartbeat or a probe. It goes ahead of the app's messages, so that a full queue never
    /// starves the check for life.
    question: Option<Transmit>,
    /// A question was handed out and is not yet known to be written.
    asking: bool,
    waiting: VecDeque<(Message, Instant)>,
    bytes: usize,
    /// Bytes of the app's messages that were handed out and are not yet known to be written.
    in_flight: usize,
}

impl Outbox {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            greeting: None,
            question: None,
            asking: false,
            waiting: VecDeque::new(),
            bytes: 0,
            in_flight: 0,
        }
    }

    pub(super) fn push(
        &mut self,
        message: Message,
        open: bool,
        now: Instant,
    ) -> Result<Kept, SendRefused> {
        let (max_messages, max_bytes) = if open {
            (OPEN_MESSAGES, self.limits.open_bytes)
        } else {
            (self.limits.messages, self.limits.bytes)
        };
        let size = message.len();
        if size > max_bytes {
            return Err(SendRefused::QueueFull);
        }
        // How many of the oldest have to go is settled first, so that a refusal changes nothing.
        let mut gone = self.count_expired(now);
        let mut freed: usize = self.waiting.iter().take(gone).map(|(old, _)| old.len()).sum();
        let in_flight = if open { self.in_flight } else { 0 };
        while self.waiting.len() - gone >= max_messages
            || self.bytes - freed + in_flight + size > max_bytes
        {
            match (self.limits.overflow, self.waiting.get(gone)) {
                (OverflowPolicy::DropOldest, Some((oldest, _))) => {
                    freed += oldest.len();
                    gone += 1;
                }
                (OverflowPolicy::DropNewest, _) => return Ok(Kept::No),
                _ => return Err(SendRefused::QueueFull),
            }
        }
        let dropped = self.pop_many(gone);
        self.bytes += size;
        self.waiting.push_back((message, now));
        Ok(Kept::Yes(dropped))
    }

    fn count_expired(&self, now: Instant) -> usize {
        let Some(max_age) = self.limits.max_age else { return 0 };
        let too_old = |at: &Instant| now.saturating_duration_since(*at) > max_age;
        self.waiting.iter().take_while(|(_, at)| too_old(at)).count()
    }

    /// Takes out what is too old, oldest first.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Message> {
        self.pop_many(self.count_expired(now))
    }

    fn pop_many(&mut self, count: usize) -> Vec<Message> {
        (0..count).filter_map(|_| self.pop()).collect()
    }

    fn pop(&mut self) -> Option<Message> {
        let (message, _) = self.waiting.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }

    pub(super) fn greet(&mut self, greeting: Message) {
        self.greeting = Some(greeting);
    }

    pub(super) fn ask(&mut self, question: Transmit) {
        self.question = Some(question);
    }

    /// True while a question waits to be written. Another one would ask the same, and a peer
    /// that talks without reading would have them pile up.
    pub(super) fn is_asking(&self) -> bool {
        self.asking || self.question.is_some()
    }

    /// The answer shows that the question was written.
    pub(super) fn answered(&mut self) {
        self.asking = false;
    }

    /// The next thing to write.
    pub(super) fn next(&mut self) -> Option<Transmit> {
        // The app never offered these two: they are no part of what the app has buffered.
        if let Some(greeting) = self.greeting.take() {
            return Some(Transmit::Message(greeting));
        }
        if let Some(question) = self.question.take() {
            self.asking = true;
            return Some(question);
        }
        let message = self.pop()?;
        self.in_flight += message.len();
        Some(Transmit::Message(message))
    }

    pub(super) fn has_next(&self) -> bool {
        self.greeting.is_some() || self.question.is_some() || !self.waiting.is_empty()
    }

    pub(super) fn flushed(&mut self) {
        self.asking = false;
        self.in_flight = 0;
    }

    /// The connection is gone: what the machine had to say is void, what was handed out
    /// counts as written, what waits stays for the next one.
    pub(super) fn disconnected(&mut self) {
        self.greeting = None;
        self.question = None;
        self.asking = false;
        self.in_flight = 0;
    }

    /// Gives back everything that was never handed out.
    pub(super) fn drain(&mut self) -> Vec<Message> {
        self.disconnected();
        self.bytes = 0;
        self.waiting.drain(..).map(|(message, _)| message).collect()
    }

    pub(super) fn buffered_amount(&self) -> usize {
        self.bytes + self.in_flight
    }
}
