//! Delivery by threads that the app's language owns.
//!
//! A call into a JVM from a native thread costs more than everything else that happens to a
//! message, and a thread for each task would cost more still. So a few threads of the app
//! serve all tasks: each asks for a *turn* ([`next`]), which is one task with what it has to
//! tell; while that turn lasts no other thread gets the same task, which keeps its events
//! serial and, when the turn takes long, its socket unread. See [`pool`](super::pool) for the
//! same with threads of our own.

use super::Task;
use super::mailbox::{Bulletin, Lane, Mailbox, Turn, TurnEnd};
use once_cell::sync::Lazy;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What a task wants a thread for.
type Work = (Arc<Mailbox>, Lane);

#[derive(Default)]
struct State {
    /// Tasks that want a turn; one that is over has no mailbox here any more.
    ready: VecDeque<(i64, Option<Work>)>,
    /// Not the tasks themselves: nobody is kept alive by being listened to.
    members: HashMap<i64, Member>,
    last: i64,
}

struct Member {
    mailbox: Arc<Mailbox>,
    task: Weak<Task>,
}

#[derive(Default)]
struct Turns {
    state: Mutex<State>,
    work: Condvar,
}

static TURNS: Lazy<Turns> = Lazy::new(Turns::default);

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn member(&self, number: i64) -> Option<Arc<Mailbox>> {
        self.state().members.get(&number).map(|member| member.mailbox.clone())
    }
}

/// Adds a task; its number is never 0 and never another's.
pub(super) fn join(mailbox: Arc<Mailbox>, task: Weak<Task>) -> i64 {
    let mut state = TURNS.state();
    state.last += 1;
    let number = state.last;
    state.members.insert(number, Member { mailbox, task });
    number
}

/// The task with this number, until it is over.
pub(crate) fn task(number: i64) -> Option<Arc<Task>> {
    TURNS.state().members.get(&number).and_then(|member| member.task.upgrade())
}

pub(super) fn schedule(number: i64, work: Option<Work>) {
    TURNS.state().ready.push_back((number, work));
    TURNS.work.notify_one();
}

/// What a thread gets when it asks for a turn.
pub(crate) enum Taken {
    /// A turn, to be ended.
    Turn(Turn),
    /// News of a task; there is nothing to end, and events of the same task may be under way on
    /// another thread.
    News(Bulletin),
    /// A turn of a task that is over, because somebody asked for it.
    Over,
}

/// Ends the turn of `done` (0: none), then waits for the next one, of any task. `None`: there
/// was nothing for that long.
pub(crate) fn next(done: i64, max: usize, patience: Duration) -> Option<(i64, Taken)> {
    let until = Instant::now() + patience;
    let mut state = put_back(done, false);
    loop {
        if let Some((number, work)) = state.ready.pop_front() {
            // Whoever puts something in line wakes one thread, except this one above: it
            // would wake another only to find that this one has taken it.
            if !state.ready.is_empty() {
                TURNS.work.notify_one();
            }
            drop(state);
            let taken = match work {
                Some((mailbox, Lane::Events)) => Taken::Turn(mailbox.begin_turn(max)),
                Some((mailbox, Lane::News)) => Taken::News(mailbox.bulletin()),
                None => Taken::Over,
            };
            return Some((number, taken));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        state = TURNS.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Ends the turn of a task; `again` asks for another one at once.
pub(crate) fn end(number: i64, again: bool) {
    let state = put_back(number, again);
    if !state.ready.is_empty() {
        TURNS.work.notify_one();
    }
}

fn put_back(number: i64, again: bool) -> MutexGuard<'static, State> {
    let mailbox = TURNS.member(number);
    // Not under the lock of the line: those who hold a mailbox's lock take that one.
    let end = mailbox.as_ref().map(|mailbox| mailbox.end_turn(again));
    let mut state = TURNS.state();
    match end {
        Some(TurnEnd::Ready) => {
            state.ready.push_back((number, mailbox.map(|mailbox| (mailbox, Lane::Events))));
        }
        Some(TurnEnd::Over) => {
            state.members.remove(&number);
        }
        None if again => state.ready.push_back((number, None)),
        Some(TurnEnd::Quiet) | None => {}
    }
    state
}

/// Asks for a turn of a task, whether or not it has something to tell.
pub(crate) fn wake(number: i64) {
    match TURNS.member(number) {
        Some(mailbox) => {
            mailbox.wake();
        }
        None => schedule(number, None),
    }
}
