//! The threads that call listeners.
//!
//! Two of them serve every task of the process. A listener may block for as long as it likes,
//! and other tasks must not notice: when all threads are stuck while something waits, their
//! number doubles, and does so again every few milliseconds until nothing waits. Those that were
//! added go away when they have been idle for a while.
//!
//! Those who wait for news of a task have a thread of their own, which no listener holds up.

use super::mailbox::{Lane, Mailbox};
use super::runtime;
use once_cell::sync::Lazy;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Always there once needed: for events, and for news.
const THREADS: usize = 2;
const NEWS_THREADS: usize = 1;

/// With this many listeners blocked at once, the next task waits after all.
const MAX_THREADS: usize = 256;

/// A thread whose turn lasts this long is stuck: twice as long as a long turn of a listener that
/// does not block (see [`Mailbox::deliver`]).
const STUCK: Duration = Duration::from_millis(4);

/// How often the threads are looked at, as long as something waits. From 2 threads to 256 are
/// seven looks: with 250 listeners that block at once, another one waits some 40 ms.
const TICK: Duration = Duration::from_millis(5);

/// How long an added thread waits for more work.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Mailbox>>,
    /// Those that are being started included.
    threads: usize,
    idle: usize,
    /// The turns that threads are in, each by the number of its thread, and when it began.
    turns: Vec<(u64, Instant)>,
    /// The number of the thread that was started last.
    last: u64,
    watched: bool,
}

struct Pool {
    lane: Lane,
    /// So many threads stay when there is nothing to do.
    kept: usize,
    state: Mutex<State>,
    work: Condvar,
}

static EVENTS: Lazy<Pool> = Lazy::new(|| Pool::new(Lane::Events, THREADS));
static NEWS: Lazy<Pool> = Lazy::new(|| Pool::new(Lane::News, NEWS_THREADS));

/// Has a delivery thread call [`Mailbox::deliver`].
pub(super) fn schedule(mailbox: Arc<Mailbox>, lane: Lane) {
    match lane {
        Lane::Events => EVENTS.schedule(mailbox),
        Lane::News => NEWS.schedule(mailbox),
    }
}

impl Pool {
    fn new(lane: Lane, kept: usize) -> Self {
        Self { lane, kept, state: Mutex::default(), work: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(&'static self, mailbox: Arc<Mailbox>) {
        let mut state = self.state();
        state.waiting.push_back(mailbox);
        if state.idle >= state.waiting.len() {
            // Not under the lock, on which the one that is woken would at once wait again.
            drop(state);
            return self.work.notify_one();
        }
        if state.idle > 0 {
            self.work.notify_one();
        }
        let is_new = state.threads < self.kept;
        state.threads += usize::from(is_new);
        let watch_now = !std::mem::replace(&mut state.watched, true);
        drop(state);
        if is_new {
            self.start(1);
        }
        if watch_now {
            runtime::handle().spawn(self.watch());
        }
    }

    /// Adds threads as long as something waits and all threads are stuck.
    async fn watch(&'static self) {
        loop {
            tokio::time::sleep(TICK).await;
            let more = {
                let mut state = self.state();
                if state.waiting.is_empty() {
                    state.watched = false;
                    return;
                }
                let now = Instant::now();
                let is_stuck = |begun: Instant| now.saturating_duration_since(begun) >= STUCK;
                let stuck = state.turns.iter().filter(|(_, begun)| is_stuck(*begun)).count();
                let more = threads_to_add(state.threads, stuck, state.waiting.len());
                state.threads += more;
                more
            };
            if more > 0 {
                self.start(more);
            }
        }
    }

    /// Starts threads that are counted already. The first one starts the others, because that
    /// takes milliseconds which neither the I/O thread nor a caller has.
    fn start(&'static self, count: usize) {
        let name = match self.lane {
            Lane::Events => "wxsocket-events",
            Lane::News => "wxsocket-news",
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        let begin = move || {
            (1..count).for_each(|_| self.start(1));
            self.serve();
        };
        if let Err(error) = thread.spawn(begin) {
            self.state().threads -= count;
            // Whatever waits is served by the threads there are, or at a later look.
            log::error!("no thread to deliver events: {error}");
        }
    }

    fn serve(&self) {
        let number = {
            let mut state = self.state();
            state.last += 1;
            state.last
        };
        while let Some(mailbox) = self.next(number) {
            if mailbox.deliver(self.lane) {
                self.state().waiting.push_back(mailbox);
            }
        }
    }

    /// Ends the turn of this thread and begins the next one, of whatever mailbox has something in
    /// it; `None`: this thread is one too many.
    fn next(&self, number: u64) -> Option<Arc<Mailbox>> {
        let mut state = self.state();
        state.turns.retain(|(of, _)| *of != number);
        loop {
            if let Some(mailbox) = state.waiting.pop_front() {
                state.turns.push((number, Instant::now()));
                return Some(mailbox);
            }
            state.idle += 1;
            let (woken, timeout) = if state.threads > self.kept {
                let (state, result) =
                    self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
                (state, result.timed_out())
            } else {
                (self.work.wait(state).unwrap_or_else(PoisonError::into_inner), false)
            };
            state = woken;
            state.idle -= 1;
            if timeout && state.waiting.is_empty() && state.threads > self.kept {
                state.threads -= 1;
                return None;
            }
        }
    }
}

/// As many again as there are, but no more than there is work for. None while a thread is idle,
/// about to begin, or in a turn that has not lasted long: it will take what waits.
fn threads_to_add(threads: usize, stuck: usize, waiting: usize) -> usize {
    if stuck < threads {
        return 0;
    }
    threads.max(1).min(waiting).min(MAX_THREADS.saturating_sub(threads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_only_when_all_are_stuck() {
        for (threads, stuck, waiting, more) in [
            (2, 0, 9, 0),
            (2, 1, 9, 0),
            (2, 2, 9, 2),
            (4, 4, 9, 4),
            (8, 7, 9, 0),
            (2, 2, 1, 1),
            (200, 200, 100, 56),
            (256, 256, 100, 0),
            (0, 0, 3, 1),
        ] {
            let added = threads_to_add(threads, stuck, waiting);
            assert_eq!(added, more, "{threads} threads, {stuck} stuck, {waiting} waiting");
        }
    }

    /// 250 listeners block at once, and another task has something to tell.
    #[test]
    fn seven_looks_are_enough_for_250_that_block() {
        let (mut threads, mut waiting, mut looks) = (2, 249, 0);
        while waiting > 0 {
            let more = threads_to_add(threads, threads, waiting);
            assert!(more > 0, "it comes to a halt at {threads}");
            (threads, waiting, looks) = (threads + more, waiting - more, looks + 1);
        }
        assert_eq!((threads, looks), (251, 7));
        assert!(TICK * looks < Duration::from_millis(50) && STUCK < TICK);
    }
}
