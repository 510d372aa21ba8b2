//! What a task has to tell its app, in order: the place between the run loop, which never
//! waits, and the app, which may.
//!
//! It is bounded: when it is full, the run loop stops reading the socket, TCP's window closes,
//! and the server waits. Nothing is dropped.

use super::packed::Packed;
use super::{Task, pool, turns};
use crate::net::SocketProfile;
use crate::session::{Event, Header, Phase};
use futures_util::task::AtomicWaker;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Enough to keep a fast listener busy while the socket is read, little enough to be nothing
/// on a phone.
const MAX_EVENTS: usize = 1024;
const MAX_BYTES: usize = 1 << 20;

/// One turn of a delivery thread; then other tasks have theirs. It begins with few events and
/// doubles as long as a turn takes less than [`LONG_TURN`]: a fast listener hears many at a
/// time, and a slow one does not look like one that is stuck.
const MIN_BATCH: usize = 16;
const MAX_BATCH: usize = 256;
const LONG_TURN: Duration = Duration::from_millis(2);

/// What the net knows of a connection that has opened.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) header: Vec<Header>,
    pub(crate) protocol: Option<String>,
    pub(crate) profile: SocketProfile,
}

/// Something on its way to the app.
pub(crate) enum Notice {
    /// Small messages, many at a time.
    Packed(Packed),
    /// One event, with what belongs to it.
    Event {
        event: Event,
        /// Present with [`Event::Open`].
        opening: Option<Box<Opening>>,
    },
}

impl Notice {
    /// How many events.
    fn count(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.count(),
            Self::Event { .. } => 1,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Event { event: Event::Message { message, .. }, .. } => message.len(),
            Self::Event { .. } => 0,
        }
    }

    fn is_final(&self) -> bool {
        matches!(self, Self::Event { event: Event::Close { retry: None, .. }, .. })
    }
}

/// Where a task is in its life, for those who watch it from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) phase: Phase,
    /// Attempts used since the last stable connection.
    pub(crate) attempt: u32,
}

/// What a thread of [`turns`] takes at once.
pub(crate) struct Turn {
    pub(crate) standing: Standing,
    pub(crate) notices: Vec<Notice>,
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// Another one.
    Ready,
    /// Nothing for now.
    Quiet,
    /// Nothing ever: everything is told.
    Over,
}

/// Who is told. It may block, fail or panic: only its own task notices.
pub(crate) trait Receiver: Send + Sync {
    /// Takes what there is, in order, each call of the app's code within [`guarded`]. How often
    /// it failed.
    fn receive(&self, notices: Vec<Notice>) -> u64;

    /// Whether it wants to hear of each change of standing too.
    fn watches(&self) -> bool {
        false
    }

    /// The task stands elsewhere, which may be ahead of its events.
    fn stands(&self, _standing: Standing) -> Result<(), String> {
        Ok(())
    }
}

/// Calls a receiver. It is the app's: whatever it does to itself, its task goes on. 1: it
/// failed.
pub(crate) fn guarded(call: impl FnOnce() -> Result<(), String>) -> u64 {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return 0,
        Ok(Err(reason)) => log::warn!("a listener failed: {reason}"),
        Err(_) => log::error!("a listener panicked"),
    }
    1
}

pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// Signals those who pull.
    arrived: Condvar,
    /// The run loop, which waits for room.
    reader: Arc<AtomicWaker>,
}

/// Who empties the mailbox. Without one, those who pull from it.
enum Outlet {
    /// The threads of [`pool`].
    Receiver(Arc<dyn Receiver>),
    /// The threads of [`turns`], under this number.
    Turns(i64),
}

struct State {
    queue: VecDeque<Notice>,
    /// How many events that is.
    events: usize,
    bytes: usize,
    outlet: Option<Outlet>,
    /// A delivery thread has it, or will.
    scheduled: bool,
    /// It wants a turn even if the queue is empty.
    again: bool,
    standing: Standing,
    /// The run loop stopped reading for want of room.
    starved: bool,
    /// The final event is in; nothing follows.
    complete: bool,
    failures: u64,
    /// How many events the next turn of a delivery thread takes.
    batch: usize,
}

impl State {
    /// Whether the receiver, if there is one, has something to hear.
    fn has_work(&self) -> bool {
        match &self.outlet {
            Some(Outlet::Receiver(receiver)) => {
                !self.queue.is_empty() || self.again && receiver.watches()
            }
            _ => false,
        }
    }
}

impl Mailbox {
    pub(super) fn new(reader: Arc<AtomicWaker>, standing: Standing) -> Self {
        let state = State {
            queue: VecDeque::new(),
            events: 0,
            bytes: 0,
            outlet: None,
            scheduled: false,
            again: false,
            standing,
            starved: false,
            complete: false,
            failures: 0,
            batch: MIN_BATCH,
        };
        Self { state: Mutex::new(state), arrived: Condvar::new(), reader }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages the run loop may read; 0: none until it is woken.
    pub(super) fn room(&self) -> usize {
        let mut state = self.state();
        if state.events >= MAX_EVENTS || state.bytes >= MAX_BYTES {
            state.starved = true;
            return 0;
        }
        MAX_EVENTS - state.events
    }

    pub(super) fn push(
        self: &Arc<Self>,
        notices: impl IntoIterator<Item = Notice>,
        standing: Standing,
    ) {
        let mut state = self.state();
        for notice in notices {
            state.events += notice.count();
            state.bytes += notice.size();
            state.complete |= notice.is_final();
            state.queue.push_back(notice);
        }
        if state.standing != standing {
            state.standing = standing;
            state.again = true;
        }
        let pulled = state.outlet.is_none();
        self.schedule(state);
        // Not under the lock, on which those who are woken would at once wait again.
        if pulled {
            self.arrived.notify_all();
        }
    }

    /// Whom to tell from now on, beginning with whatever has not been told yet.
    pub(crate) fn set_receiver(self: &Arc<Self>, receiver: Arc<dyn Receiver>) {
        let mut state = self.state();
        let before = state.outlet.replace(Outlet::Receiver(receiver));
        // Whoever pulls has nothing to wait for any more.
        self.arrived.notify_all();
        self.schedule(state);
        // Outside the lock: its destructor is the app's code.
        drop(before);
    }

    /// Has the threads of [`turns`] empty it from now on, and gives its number there. Its first
    /// turn has begun, and is whose who calls.
    pub(super) fn set_turns(self: &Arc<Self>, task: Weak<Task>) -> i64 {
        let mut state = self.state();
        if let Some(Outlet::Turns(number)) = state.outlet {
            return number;
        }
        let number = turns::join(self.clone(), task);
        let before = state.outlet.replace(Outlet::Turns(number));
        self.arrived.notify_all();
        state.scheduled = true;
        drop(state);
        drop(before);
        number
    }

    /// Receivers' errors and panics so far.
    pub(crate) fn failures(&self) -> u64 {
        self.state().failures
    }

    fn schedule(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.scheduled {
            return;
        }
        match &state.outlet {
            Some(Outlet::Receiver(_)) if state.has_work() => {
                state.scheduled = true;
                drop(state);
                pool::schedule(self.clone());
            }
            Some(Outlet::Turns(number)) if state.again || !state.queue.is_empty() => {
                let number = *number;
                state.scheduled = true;
                drop(state);
                turns::schedule(number, Some(self.clone()));
            }
            _ => {}
        }
    }

    /// Waits until there is something and takes it, at most `max`. Empty: it is all over, or
    /// somebody else empties the mailbox.
    pub(crate) fn take(&self, max: usize) -> Vec<Notice> {
        let mut state = self.state();
        while state.queue.is_empty() && !state.complete && state.outlet.is_none() {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.outlet.is_some() {
            return Vec::new();
        }
        self.remove(state, max.max(1))
    }

    /// Begins a turn of a thread of [`turns`].
    pub(super) fn begin_turn(&self, max: usize) -> Turn {
        let mut state = self.state();
        state.again = false;
        let standing = state.standing;
        Turn { standing, notices: self.remove(state, max.max(1)) }
    }

    /// Ends that turn; whoever ends it puts the mailbox back in line if it wants another one.
    pub(super) fn end_turn(&self, again: bool) -> TurnEnd {
        let mut state = self.state();
        state.again |= again;
        let more = state.again || !state.queue.is_empty();
        state.scheduled = more;
        match (more, state.complete) {
            (true, _) => TurnEnd::Ready,
            (false, false) => TurnEnd::Quiet,
            (false, true) => TurnEnd::Over,
        }
    }

    /// Gives the threads of [`turns`] a turn, whether or not there is something.
    pub(super) fn wake(self: &Arc<Self>) {
        let mut state = self.state();
        state.again = true;
        self.schedule(state);
    }

    /// Takes at most `max` events. The one that goes beyond the bound of bytes is taken too: it
    /// may be alone.
    fn remove(&self, mut state: MutexGuard<'_, State>, max: usize) -> Vec<Notice> {
        let (mut taken, mut events, mut bytes) = (Vec::new(), 0, 0);
        while events < max
            && bytes < MAX_BYTES
            && let Some(mut notice) = state.queue.pop_front()
        {
            let room = max - events;
            if let Notice::Packed(packed) = &mut notice
                && packed.count() > room
            {
                let first = packed.split_to(room);
                state.queue.push_front(Notice::Packed(std::mem::replace(packed, first)));
            }
            events += notice.count();
            bytes += notice.size();
            taken.push(notice);
        }
        if state.queue.is_empty() {
            // It goes with its memory: a burst is rare, and an idle task is to be small.
            state.queue = VecDeque::new();
        }
        state.events -= events;
        state.bytes -= bytes;
        let roomy = state.events <= MAX_EVENTS / 2 && state.bytes <= MAX_BYTES / 2;
        let wake = state.starved && roomy;
        if wake {
            state.starved = false;
        }
        drop(state);
        if wake {
            self.reader.wake();
        }
        taken
    }

    /// One turn of a delivery thread. True: there is more.
    pub(super) fn deliver(self: &Arc<Self>) -> bool {
        let mut state = self.state();
        let Some(Outlet::Receiver(receiver)) = &state.outlet else {
            drop(state);
            return self.rest();
        };
        let receiver = receiver.clone();
        let moved = std::mem::take(&mut state.again).then_some(state.standing);
        let batch = state.batch;
        let notices = self.remove(state, batch);
        let begin = Instant::now();
        let over = notices.iter().any(Notice::is_final);
        let mut failures = moved.map_or(0, |standing| guarded(|| receiver.stands(standing)));
        failures += receiver.receive(notices);
        drop(receiver);
        let mut state = self.state();
        state.failures += failures;
        let was_long = begin.elapsed() > LONG_TURN;
        state.batch = if was_long { MIN_BATCH } else { MAX_BATCH.min(batch * 2) };
        // Whoever is told the end is let go: it may own whatever keeps this task alive.
        let done = if over { state.outlet.take() } else { None };
        drop(state);
        drop(done);
        self.rest()
    }

    /// Ends a turn. True: not yet, there is more.
    fn rest(self: &Arc<Self>) -> bool {
        let mut state = self.state();
        let more = state.has_work();
        state.scheduled = more;
        if !more {
            // The outlet may have been replaced meanwhile.
            self.schedule(state);
        }
        more
    }
}
