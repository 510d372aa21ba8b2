//! What a task has to tell its app, in order: the place between the run loop, which never
//! waits, and the app, which may.
//!
//! It is bounded: when it is full, the run loop stops reading the socket, TCP's window closes,
//! and the server waits. Nothing is dropped.

use super::pool;
use crate::net::SocketProfile;
use crate::session::{Event, Header};
use futures_util::task::AtomicWaker;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Enough to keep a fast listener busy while the socket is read, little enough to be nothing
/// on a phone.
const MAX_NOTICES: usize = 1024;
const MAX_BYTES: usize = 1 << 20;

/// One turn of a delivery thread; then other tasks have theirs.
const BATCH: usize = 64;

/// What the net knows of a connection that has opened.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) header: Vec<Header>,
    pub(crate) protocol: Option<String>,
    pub(crate) profile: SocketProfile,
}

/// One event on its way, with what belongs to it.
pub(crate) struct Notice {
    pub(crate) event: Event,
    /// Present with [`Event::Open`].
    pub(crate) opening: Option<Box<Opening>>,
}

impl Notice {
    fn size(&self) -> usize {
        match &self.event {
            Event::Message { message, .. } => message.len(),
            _ => 0,
        }
    }

    fn is_final(&self) -> bool {
        matches!(self.event, Event::Close { retry: None, .. })
    }
}

/// Who is told. It may block, fail or panic: only its own task notices.
pub(crate) trait Receiver: Send + Sync {
    /// Takes one event; an error is logged and counted.
    fn receive(&self, notice: Notice) -> Result<(), String>;
}

pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// Signals those who pull.
    arrived: Condvar,
    /// The run loop, which waits for room.
    reader: Arc<AtomicWaker>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Notice>,
    bytes: usize,
    receiver: Option<Arc<dyn Receiver>>,
    /// A delivery thread has it, or will.
    scheduled: bool,
    /// The run loop stopped reading for want of room.
    starved: bool,
    /// The final event is in; nothing follows.
    complete: bool,
    failures: u64,
}

impl Mailbox {
    pub(super) fn new(reader: Arc<AtomicWaker>) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), reader }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages the run loop may read; 0: none until it is woken.
    pub(super) fn room(&self) -> usize {
        let mut state = self.state();
        if state.queue.len() >= MAX_NOTICES || state.bytes >= MAX_BYTES {
            state.starved = true;
            return 0;
        }
        MAX_NOTICES - state.queue.len()
    }

    pub(super) fn push(self: &Arc<Self>, notices: impl IntoIterator<Item = Notice>) {
        let mut state = self.state();
        for notice in notices {
            state.bytes += notice.size();
            state.complete |= notice.is_final();
            state.queue.push_back(notice);
        }
        self.arrived.notify_all();
        self.schedule(state);
    }

    /// Whom to tell from now on, beginning with whatever has not been told yet.
    pub(crate) fn set_receiver(self: &Arc<Self>, receiver: Arc<dyn Receiver>) {
        let mut state = self.state();
        let before = state.receiver.replace(receiver);
        // Whoever pulls has nothing to wait for any more.
        self.arrived.notify_all();
        self.schedule(state);
        // Outside the lock: its destructor is the app's code.
        drop(before);
    }

    /// Receivers' errors and panics so far.
    pub(crate) fn failures(&self) -> u64 {
        self.state().failures
    }

    fn schedule(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.scheduled || state.receiver.is_none() || state.queue.is_empty() {
            return;
        }
        state.scheduled = true;
        drop(state);
        pool::schedule(self.clone());
    }

    /// Waits until there is something and takes it, at most `max`. Empty: it is all over, or
    /// there is a receiver, which gets everything.
    pub(crate) fn take(&self, max: usize) -> Vec<Notice> {
        let mut state = self.state();
        while state.queue.is_empty() && !state.complete && state.receiver.is_none() {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.receiver.is_some() {
            return Vec::new();
        }
        self.remove(state, max.max(1))
    }

    fn remove(&self, mut state: MutexGuard<'_, State>, max: usize) -> Vec<Notice> {
        let count = max.min(state.queue.len());
        let taken: Vec<_> = state.queue.drain(..count).collect();
        state.bytes -= taken.iter().map(Notice::size).sum::<usize>();
        let roomy = state.queue.len() <= MAX_NOTICES / 2 && state.bytes <= MAX_BYTES / 2;
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
        let state = self.state();
        let Some(receiver) = state.receiver.clone() else { return self.rest() };
        let mut failures = 0;
        let mut over = false;
        for notice in self.remove(state, BATCH) {
            over |= notice.is_final();
            // The receiver is the app's: whatever it does to itself, its task goes on.
            match catch_unwind(AssertUnwindSafe(|| receiver.receive(notice))) {
                Ok(Ok(())) => continue,
                Ok(Err(reason)) => log::warn!("a listener failed: {reason}"),
                Err(_) => log::error!("a listener panicked"),
            }
            failures += 1;
        }
        drop(receiver);
        let mut state = self.state();
        state.failures += failures;
        // Whoever is told the end is let go: it may own whatever keeps this task alive.
        let done = if over { state.receiver.take() } else { None };
        drop(state);
        drop(done);
        self.rest()
    }

    /// Ends a turn. True: not yet, there is more.
    fn rest(&self) -> bool {
        let mut state = self.state();
        let more = !state.queue.is_empty() && state.receiver.is_some();
        state.scheduled = more;
        more
    }
}
