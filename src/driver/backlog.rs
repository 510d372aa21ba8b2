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
        if self.bytes >= MAX_BYTES { 0 } else { MAX_EVENTS.saturating_sub(self.events) }
    }

    /// True when a dial may begin. Messages that wait do not matter: the new connection is not
    /// read before there is room for what it brings.
    pub(super) fn has_room_to_dial(&self) -> bool {
        self.steps < MAX_STEPS && self.step_bytes < MAX_STEP_BYTES
    }

    /// True when at least half of each bound is free.
    pub(super) fn is_roomy(&self) -> bool {
        self.events <= MAX_EVENTS / 2
            && self.bytes <= MAX_BYTES / 2
            && self.steps <= MAX_STEPS / 2
            && self.step_bytes <= MAX_STEP_BYTES / 2
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
        if let Notice::Step(step) = &step
            && !matches!(step.event, Event::Error { .. })
        {
            // They belong to a connection that is over.
            for old in self.queue.drain(..at).collect::<Vec<_>>() {
                self.discard(&old);
            }
        }
        Some(step)
    }

    /// Discards the oldest messages beyond what is kept for a listener of messages.
    fn trim(&mut self) {
        while self.events - self.steps > MAX_UNHEARD || self.bytes > MAX_BYTES {
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
mod tests {
    use super::super::packed::tests::packed;
    use super::*;
    use crate::session::{ErrorKind, Failure, Header, Message, Refusal, Retry};

    fn open(epoch: u64) -> Notice {
        Notice::of(Event::Open { epoch, attempt: 0, unsent: Vec::new() }, None)
    }

    fn error(epoch: u64) -> Notice {
        let failure = Failure::new(ErrorKind::ConnectionLost, "");
        Notice::of(Event::Error { epoch, failure }, None)
    }

    fn close(epoch: u64) -> Notice {
        let retry = Some(Retry { attempt: 1, max: None, delay: None });
        let (code, reason, was_clean, unsent) = (1006, String::new(), false, Vec::new());
        Notice::of(Event::Close { epoch, code, reason, was_clean, retry, unsent }, None)
    }

    fn text(text: &str) -> Notice {
        Notice::Packed(packed(&[text.into()]))
    }

    fn lines<'a>(notices: impl IntoIterator<Item = &'a Notice>) -> Vec<String> {
        let mut lines = Vec::new();
        for notice in notices {
            match notice {
                Notice::Packed(packed) => lines.extend(packed.messages().map(|message| {
                    let Message::Text { text } = message else { panic!("not a text") };
                    text
                })),
                Notice::Message { message, .. } => lines.push(message.len().to_string()),
                Notice::Step(step) => lines.push(step_line(step)),
            }
        }
        lines
    }

    fn step_line(step: &Step) -> String {
        match step.event {
            Event::Open { epoch, .. } => format!("open {epoch}"),
            Event::Error { epoch, .. } => format!("error {epoch}"),
            Event::Close { epoch, .. } => format!("close {epoch}"),
            Event::Message { .. } => panic!("not a step"),
        }
    }

    fn present(backlog: &Backlog) -> Vec<String> {
        backlog.present().iter().map(|step| step_line(step)).collect()
    }

    fn filled(notices: impl IntoIterator<Item = Notice>) -> Backlog {
        let mut backlog = Backlog::new();
        for notice in notices {
            backlog.push(notice, false);
        }
        backlog
    }

    fn assert_counts(backlog: &Backlog) {
        let sum = |of: fn(&Notice) -> usize| backlog.queue.iter().map(of).sum::<usize>();
        assert_eq!(backlog.events, sum(Notice::count));
        assert_eq!(backlog.bytes, sum(Notice::size));
        assert_eq!(backlog.steps, backlog.queue.iter().filter(|notice| notice.is_step()).count());
    }

    #[test]
    fn everything_is_kept_until_somebody_listens() {
        let mut backlog = filled([open(1), text("a"), error(1), close(1), open(2), text("b")]);
        assert!(!backlog.has_some() && backlog.take(10).is_empty());
        backlog.listen(Interest::Everything);
        let mut heard = Vec::new();
        while backlog.has_some() {
            let taken = backlog.take(10);
            assert!(taken.iter().skip(1).all(|notice| !notice.is_step()), "a step comes first");
            heard.extend(lines(&taken));
        }
        assert_eq!(heard, ["open 1", "a", "error 1", "close 1", "open 2", "b"]);
        assert_eq!((backlog.events, backlog.steps, backlog.bytes), (0, 0, 0));
        assert_eq!(backlog.discarded(), 0);
    }

    #[test]
    fn the_present_state_is_the_open_or_the_last_error_and_close() {
        let mut backlog = filled([open(1), error(1), close(1), open(2), close(2), error(3)]);
        backlog.listen(Interest::Steps);
        let mut states = vec![present(&backlog)];
        while backlog.has_some() {
            backlog.take(10);
            states.push(present(&backlog));
        }
        let expected: [&[&str]; 7] = [
            &[],
            &["open 1"],
            &["error 1"],
            &["error 1", "close 1"],
            &["open 2"],
            &["close 2"],
            &["error 3"],
        ];
        assert_eq!(states, expected);
    }

    #[test]
    fn a_step_that_is_put_back_is_not_present_yet() {
        let mut backlog = filled([error(1), close(1), open(2), text("a"), text("b")]);
        backlog.listen(Interest::Everything);
        backlog.take(1);
        backlog.take(1);
        let mut taken = backlog.take(10);
        assert_eq!(lines(&taken), ["open 2", "a", "b"]);
        backlog.put_back(taken.clone());
        assert_eq!(present(&backlog), ["error 1", "close 1"]);
        assert_counts(&backlog);
        backlog.take(10);
        taken.pop_front();
        backlog.put_back(taken);
        assert_eq!(present(&backlog), ["open 2"]);
        assert_eq!(lines(&backlog.take(1)), ["a"]);
        assert_counts(&backlog);
    }

    #[test]
    fn messages_that_nobody_listens_to_are_kept_for_a_while() {
        let mut backlog = filled([open(1)]);
        backlog.listen(Interest::Steps);
        for n in 0..300 {
            backlog.push(text(&n.to_string()), false);
        }
        assert_eq!(lines(&backlog.take(10)), ["open 1"]);
        assert!(!backlog.has_some());
        assert!(backlog.room() > 0, "whoever does not listen to messages does not stop them");
        assert_eq!(backlog.discarded(), 300 - 256);
        assert_counts(&backlog);
        backlog.listen(Interest::Everything);
        assert_eq!(lines(&backlog.take(1000))[0], "44");

        let mut backlog = filled([open(1)]);
        backlog.listen(Interest::Steps);
        let many: Vec<Message> = (0..300).map(|n| n.to_string().as_str().into()).collect();
        backlog.push(Notice::Packed(packed(&many)), false);
        assert_eq!(backlog.discarded(), 300 - 256);
        assert_counts(&backlog);
        let large = Message::from(vec![1; MAX_BYTES]);
        backlog.push(Notice::Message { epoch: 1, message: large.clone() }, false);
        backlog.push(Notice::Message { epoch: 1, message: large }, false);
        assert!(backlog.bytes <= MAX_BYTES, "{}", backlog.bytes);
        assert_counts(&backlog);
    }

    #[test]
    fn messages_of_a_connection_that_is_over_are_no_news() {
        let mut backlog = filled([open(1)]);
        backlog.listen(Interest::Steps);
        backlog.take(1);
        for notice in [text("old"), error(1), close(1), open(2), text("new")] {
            backlog.push(notice, false);
        }
        let mut heard = Vec::new();
        while backlog.has_some() {
            heard.extend(lines(&backlog.take(10)));
        }
        assert_eq!(heard, ["error 1", "close 1", "open 2"]);
        assert_eq!(backlog.discarded(), 1);
        backlog.listen(Interest::Everything);
        assert_eq!(lines(&backlog.take(10)), ["new"]);
        assert_counts(&backlog);
    }

    #[test]
    fn headers_count_and_what_has_no_room_is_discarded_when_asked() {
        let refusal = Refusal {
            status: 503,
            headers: vec![Header::new("X", "y".repeat(12_000))],
            body: Vec::new(),
            verified: false,
        };
        let mut backlog = Backlog::new();
        let mut refusals = 0;
        while backlog.has_room_to_dial() {
            let mut failure = Failure::new(ErrorKind::HttpStatus, "");
            failure.refusal = Some(refusal.clone());
            backlog.push(Notice::of(Event::Error { epoch: 1, failure }, None), false);
            refusals += 1;
        }
        assert!(refusals < 45, "{refusals} refusals of 12 KB are more than half a mebibyte");
        let mut flood = filled((0..2_000).map(|n| text(&n.to_string())));
        assert!(flood.room() == 0 && flood.has_room_to_dial(), "messages hold up no dial");
        while flood.has_room_to_dial() {
            flood.push(open(1), false);
        }
        assert_eq!(flood.steps, MAX_STEPS);
        while backlog.room() > 0 {
            backlog.push(text("filler"), false);
        }
        assert!(!backlog.push(text("late"), true));
        assert!(backlog.push(close(1), true), "a step is never discarded");
        assert_eq!(backlog.discarded(), 1);
        assert!(!filled([text("a")]).push(text("b"), true), "no step");
    }
}
