//! What waits to be written: the app's messages in order, and ahead of them what the machine
//! itself has to say.

use super::config::{OverflowPolicy, QueueLimits};
use super::io::{Message, SendRefused, Transmit};
use std::collections::VecDeque;
use std::time::Instant;

/// The largest message that is taken, in bytes: 1 GiB. Lengths cross the FFI as 32-bit numbers.
const MAX_MESSAGE: usize = 1 << 30;

/// What each message counts towards `max_buffered_bytes` beside its payload, in bytes. An empty
/// message needs memory too: its place in the queue, and the header of its frame.
const MESSAGE_OVERHEAD: usize = 64;
const _: () = assert!(size_of::<(Message, Instant)>() <= MESSAGE_OVERHEAD);

/// So many places for messages that were handed out are kept while there are none.
const KEPT: usize = 4;

/// What became of a message that was offered.
pub(super) enum Kept {
    /// It is in, and these are out.
    Yes(Vec<Message>),
    /// The policy is to drop the newest.
    No,
}

#[derive(Debug)]
pub(super) struct Outbox {
    /// What `send` keeps while the connection is not open.
    limits: QueueLimits,
    /// What `send` keeps while it is open.
    max_buffered_bytes: usize,
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
    /// When those messages were accepted, oldest first. One that is given back keeps its age.
    in_flight_since: VecDeque<Instant>,
}

impl Outbox {
    pub(super) fn new(limits: QueueLimits, max_buffered_bytes: usize) -> Self {
        Self {
            limits,
            max_buffered_bytes,
            greeting: None,
            question: None,
            asking: false,
            waiting: VecDeque::new(),
            bytes: 0,
            in_flight: 0,
            in_flight_since: VecDeque::new(),
        }
    }

    pub(super) fn push(
        &mut self,
        message: Message,
        open: bool,
        now: Instant,
    ) -> Result<Kept, SendRefused> {
        let size = message.len();
        // How many of the oldest have to go is settled first, so that a refusal changes nothing.
        let gone = if open { self.make_room_open(size, now) } else { self.make_room(size, now) };
        let Some(gone) = gone? else { return Ok(Kept::No) };
        let dropped = self.pop_many(gone);
        self.bytes += size;
        self.waiting.push_back((message, now));
        Ok(Kept::Yes(dropped))
    }

    /// How many of the oldest leave an open connection's buffer for a message of this size: only
    /// those that are too old. Beyond the bound the new message is refused, whatever the policy
    /// of the queue says. A message that finds nothing buffered is taken even if it is larger
    /// than the bound: it could never be sent otherwise.
    fn make_room_open(&self, size: usize, now: Instant) -> Result<Option<usize>, SendRefused> {
        let gone = self.count_expired(now);
        let messages = self.waiting.len() - gone + self.in_flight_since.len();
        let bytes = self.bytes - self.size_of_oldest(gone) + self.in_flight;
        let cost = (messages + 1) * MESSAGE_OVERHEAD + bytes + size;
        let fits = size <= MAX_MESSAGE && (messages == 0 || cost <= self.max_buffered_bytes);
        if fits { Ok(Some(gone)) } else { Err(SendRefused::QueueFull) }
    }

    /// How many of the oldest leave the queue for a message of this size; `None`: the policy is
    /// to drop the new message. What an open connection accepted and could not send counts too.
    fn make_room(&self, size: usize, now: Instant) -> Result<Option<usize>, SendRefused> {
        let limits = &self.limits;
        if size > limits.bytes {
            return Err(SendRefused::QueueFull);
        }
        let mut gone = self.count_expired(now);
        let mut freed = self.size_of_oldest(gone);
        while self.waiting.len() - gone >= limits.messages
            || self.bytes - freed + size > limits.bytes
        {
            match (limits.overflow, self.waiting.get(gone)) {
                (OverflowPolicy::DropOldest, Some((oldest, _))) => {
                    freed += oldest.len();
                    gone += 1;
                }
                (OverflowPolicy::DropNewest, _) => return Ok(None),
                _ => return Err(SendRefused::QueueFull),
            }
        }
        Ok(Some(gone))
    }

    /// The payload of the oldest messages, in bytes.
    fn size_of_oldest(&self, count: usize) -> usize {
        self.waiting.iter().take(count).map(|(old, _)| old.len()).sum()
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
        (0..count).filter_map(|_| self.pop()).map(|(message, _)| message).collect()
    }

    fn pop(&mut self) -> Option<(Message, Instant)> {
        let (message, at) = self.waiting.pop_front()?;
        self.bytes -= message.len();
        Some((message, at))
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
            return Some(Transmit::Own(greeting));
        }
        if let Some(question) = self.question.take() {
            self.asking = true;
            return Some(question);
        }
        let (message, at) = self.pop()?;
        self.in_flight += message.len();
        self.in_flight_since.push_back(at);
        Some(Transmit::Message(message))
    }

    /// The question, if it can go between the fragments of a message (RFC 6455, 5.4).
    pub(super) fn next_ping(&mut self) -> Option<Transmit> {
        let is_first = self.greeting.is_none();
        let ping =
            self.question.take_if(|question| is_first && matches!(question, Transmit::Ping(_)));
        self.asking |= ping.is_some();
        ping
    }

    /// One message of the app waits, of at most so many bytes, and nothing else does.
    pub(super) fn has_only(&self, max_bytes: usize) -> bool {
        let is_small = |(message, _): &(Message, Instant)| message.len() <= max_bytes;
        self.greeting.is_none()
            && self.question.is_none()
            && self.waiting.len() == 1
            && self.waiting.iter().all(is_small)
    }

    /// A question waits to be handed out.
    pub(super) fn has_question(&self) -> bool {
        self.question.is_some()
    }

    pub(super) fn has_next(&self) -> bool {
        self.greeting.is_some() || self.question.is_some() || !self.waiting.is_empty()
    }

    /// Everything that was handed out is written.
    pub(super) fn flushed(&mut self) {
        self.asking = false;
        self.in_flight = 0;
        // An idle task does not keep what a burst needed.
        if self.in_flight_since.capacity() > KEPT {
            self.in_flight_since = VecDeque::new();
        }
        self.in_flight_since.clear();
    }

    /// So many of the app's messages that were handed out are written, and so many bytes.
    pub(super) fn written(&mut self, messages: usize, payload: usize) {
        self.in_flight = self.in_flight.saturating_sub(payload);
        let messages = messages.min(self.in_flight_since.len());
        self.in_flight_since.drain(..messages);
    }

    /// The connection is gone: what the machine had to say is void, what was handed out
    /// counts as written until it is given back, what waits stays for the next one.
    pub(super) fn disconnected(&mut self) {
        self.greeting = None;
        self.question = None;
        self.asking = false;
        self.in_flight = 0;
    }

    /// The newest of the messages that were handed out: no byte of them was written to the
    /// connection, which is gone. They are the first for the next one.
    pub(super) fn give_back(&mut self, messages: Vec<Message>, now: Instant) {
        for message in messages.into_iter().rev() {
            self.bytes += message.len();
            let since = self.in_flight_since.pop_back().unwrap_or(now);
            self.waiting.push_front((message, since));
        }
    }

    /// Takes out everything that was never handed out.
    pub(super) fn drain(&mut self) -> Vec<Message> {
        self.disconnected();
        self.bytes = 0;
        self.waiting.drain(..).map(|(message, _)| message).collect()
    }

    pub(super) fn buffered_amount(&self) -> usize {
        self.bytes + self.in_flight
    }
}
