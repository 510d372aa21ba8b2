//! Delivery by threads that the app's language owns.
//!
//! A call into a JVM from a native thread costs more than everything else that happens to a
//! message, and a thread for each task would cost more still. So a few threads of the app
//! serve all tasks: each asks for a *turn* ([`next`]), which is one task with what it has to
//! tell; while that turn lasts no other thread gets the same task, which keeps its events
//! serial and, when the turn takes long, its socket unread. See [`pool`](super::pool) for the
//! same with threads of our own.
//!
//! News ([`Lane::News`]) wait in a line of their own, because a thread may ask for news only.
//! All other threads may be blocked in listeners then, and whoever waits for an open still
//! hears of it.

use super::Task;
use super::mailbox::{Bulletin, Lane, Mailbox, Turn, TurnEnd};
use once_cell::sync::Lazy;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    /// Tasks that want a turn; one that is over has no mailbox here any more.
    ready: VecDeque<(i64, Option<Arc<Mailbox>>)>,
    /// Tasks that have news.
    news: VecDeque<(i64, Arc<Mailbox>)>,
    /// How many threads wait for news only.
    news_waiters: usize,
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
    /// Signals threads that take anything.
    any: Condvar,
    /// Signals threads that take news only.
    news: Condvar,
}

static TURNS: Lazy<Turns> = Lazy::new(Turns::default);

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn member(&self, number: i64) -> Option<Arc<Mailbox>> {
        self.state().members.get(&number).map(|member| member.mailbox.clone())
    }

    /// Puts a task in line for one of its lanes.
    fn schedule(&self, number: i64, mailbox: Arc<Mailbox>, lane: Lane) {
        let mut state = self.state();
        match lane {
            Lane::Events => state.ready.push_back((number, Some(mailbox))),
            Lane::News => state.news.push_back((number, mailbox)),
        }
        self.wake_one(&state, lane);
    }

    /// Puts a task in line that is over.
    fn schedule_over(&self, number: i64) {
        let mut state = self.state();
        state.ready.push_back((number, None));
        self.wake_one(&state, Lane::Events);
    }

    /// Wakes one thread for what is in line in this lane. News go to a thread that takes nothing
    /// else, if one waits.
    fn wake_one(&self, state: &State, lane: Lane) {
        if lane == Lane::News && state.news_waiters > 0 {
            self.news.notify_one();
        } else {
            self.any.notify_one();
        }
    }

    /// As [`wake_one`](Self::wake_one), if something is in line at all. One thread is enough:
    /// it wakes another one for the rest.
    fn wake_for_rest(&self, state: &State) {
        if !state.news.is_empty() {
            self.wake_one(state, Lane::News);
        } else if !state.ready.is_empty() {
            self.wake_one(state, Lane::Events);
        }
    }

    fn next(&self, done: i64, max: usize, patience: Duration) -> Option<(i64, Taken)> {
        let until = Instant::now() + patience;
        let mut state = self.put_back(done, false);
        let is_news_only = max == 0;
        if is_news_only && !state.ready.is_empty() {
            // The turn that has ended may be ready again, and it is not for this thread.
            self.wake_one(&state, Lane::Events);
        }
        loop {
            let news = state.news.pop_front();
            let turn = if news.is_some() || is_news_only { None } else { state.ready.pop_front() };
            if news.is_some() || turn.is_some() {
                // Whoever puts something in line wakes one thread, except `put_back` above: it
                // would wake another only to find that this one has taken it.
                self.wake_for_rest(&state);
                drop(state);
                return news.map(take_news).or_else(|| turn.map(|turn| begin(turn, max)));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.wait(state, is_news_only, left);
        }
    }

    /// Waits until there may be something, at most for `left`.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        is_news_only: bool,
        left: Duration,
    ) -> MutexGuard<'a, State> {
        if !is_news_only {
            return self.any.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.news_waiters += 1;
        let waited = self.news.wait_timeout(state, left);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.news_waiters -= 1;
        state
    }

    fn put_back(&self, number: i64, again: bool) -> MutexGuard<'_, State> {
        let mailbox = self.member(number);
        // Not under the lock of the line: those who hold a mailbox's lock take that one.
        let end = mailbox.as_ref().map(|mailbox| mailbox.end_turn(again));
        let mut state = self.state();
        match end {
            Some(TurnEnd::Ready) => state.ready.push_back((number, mailbox)),
            Some(TurnEnd::Over) => {
                state.members.remove(&number);
            }
            None if again => state.ready.push_back((number, None)),
            Some(TurnEnd::Quiet) | None => {}
        }
        state
    }
}

fn take_news((number, mailbox): (i64, Arc<Mailbox>)) -> (i64, Taken) {
    (number, Taken::News(mailbox.bulletin()))
}

fn begin((number, mailbox): (i64, Option<Arc<Mailbox>>), max: usize) -> (i64, Taken) {
    let taken = mailbox.map_or(Taken::Over, |mailbox| Taken::Turn(mailbox.begin_turn(max)));
    (number, taken)
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

/// Puts a task in line for one of its lanes.
pub(super) fn schedule(number: i64, mailbox: Arc<Mailbox>, lane: Lane) {
    TURNS.schedule(number, mailbox, lane);
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

/// Ends the turn of `done` (0: none), then waits for the next one, of any task. With a `max` of 0
/// it waits for news only. `None`: there was nothing for that long.
pub(crate) fn next(done: i64, max: usize, patience: Duration) -> Option<(i64, Taken)> {
    TURNS.next(done, max, patience)
}

/// Ends the turn of a task; `again` asks for another one at once.
pub(crate) fn end(number: i64, again: bool) {
    let state = TURNS.put_back(number, again);
    TURNS.wake_for_rest(&state);
}

/// Asks for a turn of a task, whether or not it has something to tell.
pub(crate) fn wake(number: i64) {
    match TURNS.member(number) {
        Some(mailbox) => {
            mailbox.wake();
        }
        None => TURNS.schedule_over(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::notice::Standing;
    use crate::session::Phase;
    use std::thread;

    const SOON: Duration = Duration::from_secs(20);

    fn mailbox() -> Arc<Mailbox> {
        let standing = Standing { phase: Phase::Connecting, attempt: 0 };
        Arc::new(Mailbox::new(Arc::default(), standing))
    }

    fn is_news(taken: Option<(i64, Taken)>, of: i64) -> bool {
        matches!(taken, Some((number, Taken::News(_))) if number == of)
    }

    fn is_turn(taken: Option<(i64, Taken)>, of: i64) -> bool {
        matches!(taken, Some((number, Taken::Turn(_))) if number == of)
    }

    #[test]
    fn a_thread_that_takes_news_only_takes_no_turn() {
        let turns = Turns::default();
        turns.schedule(1, mailbox(), Lane::Events);
        assert!(turns.next(0, 0, Duration::ZERO).is_none());
        turns.schedule(2, mailbox(), Lane::News);
        assert!(is_news(turns.next(0, 0, Duration::ZERO), 2));
        turns.schedule(3, mailbox(), Lane::News);
        assert!(is_news(turns.next(0, 1, Duration::ZERO), 3), "others take both, news first");
        assert!(is_turn(turns.next(0, 1, Duration::ZERO), 1));
        turns.schedule_over(4);
        assert!(turns.next(0, 0, Duration::ZERO).is_none());
        assert!(matches!(turns.next(0, 1, Duration::ZERO), Some((4, Taken::Over))));
    }

    #[test]
    fn news_are_taken_although_all_other_threads_are_busy() {
        let turns = Turns::default();
        thread::scope(|scope| {
            let news = scope.spawn(|| turns.next(0, 0, SOON));
            // There is nobody but the one that waits for news.
            turns.schedule(1, mailbox(), Lane::Events);
            turns.schedule(2, mailbox(), Lane::News);
            assert!(is_news(news.join().expect("no panic"), 2));
        });
        assert!(is_turn(turns.next(0, 1, Duration::ZERO), 1));
    }

    #[test]
    fn each_kind_of_thread_is_woken_for_what_it_takes() {
        let turns = Turns::default();
        for _ in 0..200 {
            thread::scope(|scope| {
                let any = scope.spawn(|| turns.next(0, 1, SOON));
                let news = scope.spawn(|| turns.next(0, 0, SOON));
                turns.schedule(1, mailbox(), Lane::News);
                turns.schedule(2, mailbox(), Lane::Events);
                // The thread that takes both may have taken the first news.
                let taken = any.join().expect("no panic");
                if is_turn(taken, 2) {
                    assert!(is_news(news.join().expect("no panic"), 1));
                } else {
                    turns.schedule(3, mailbox(), Lane::News);
                    assert!(is_news(news.join().expect("no panic"), 3));
                    assert!(is_turn(turns.next(0, 1, Duration::ZERO), 2));
                }
            });
        }
    }
}
