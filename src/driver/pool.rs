//! The threads that call listeners.
//!
//! Two of them serve every task of the process. A listener may block for as long as it likes,
//! and other tasks must not notice: when something waits for long while all threads are busy,
//! their number doubles, and does so again every few milliseconds until nothing waits for long.
//! Those that were added go away when they have been idle for a while.
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

/// How often the threads are looked at, as long as something waits.
const TICK: Duration = Duration::from_millis(5);

/// Whoever has waited for so long has waited for too long. It takes one more look to notice that,
/// and from 2 threads to 256 are seven: with 250 listeners that block at once, another one waits
/// some 45 ms.
const LONG_WAIT: Duration = Duration::from_millis(10);

/// Turns that take less than half a millisecond on average, so many to a thread between two
/// looks, are the work of listeners that do not block. More threads would not make them faster.
const MANY_TURNS: usize = 10;

/// How long an added thread waits for more work.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    /// Since when, and for what.
    waiting: VecDeque<(Instant, Arc<Mailbox>)>,
    /// Those that are being started included.
    threads: usize,
    idle: usize,
    /// How many are in a turn.
    busy: usize,
    /// How many turns have begun since the threads were last looked at.
    begun: usize,
    watched: bool,
}

impl State {
    /// What [`threads_to_add`] is told.
    fn look(&mut self) -> Look {
        Look {
            threads: self.threads,
            busy: self.busy,
            begun: std::mem::take(&mut self.begun),
            waiting: self.waiting.len(),
            longest: self.waiting.front().map_or(Duration::ZERO, |(since, _)| since.elapsed()),
        }
    }
}

/// How the threads stand.
#[derive(Clone, Copy, Debug)]
struct Look {
    threads: usize,
    busy: usize,
    /// Turns that began since the look before.
    begun: usize,
    waiting: usize,
    /// How long the first of those has waited.
    longest: Duration,
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
        state.waiting.push_back((Instant::now(), mailbox));
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

    /// Adds threads as long as something waits for long.
    async fn watch(&'static self) {
        loop {
            tokio::time::sleep(TICK).await;
            let more = {
                let mut state = self.state();
                if state.waiting.is_empty() {
                    state.watched = false;
                    return;
                }
                let more = threads_to_add(state.look());
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
        let mut in_turn = false;
        while let Some(mailbox) = self.next(in_turn) {
            in_turn = true;
            if mailbox.deliver(self.lane) {
                self.state().waiting.push_back((Instant::now(), mailbox));
            }
        }
    }

    /// Ends the turn of this thread, if it is in one, and begins the next one, of whatever mailbox
    /// has something in it; `None`: this thread is one too many.
    fn next(&self, in_turn: bool) -> Option<Arc<Mailbox>> {
        let mut state = self.state();
        state.busy -= usize::from(in_turn);
        loop {
            if let Some((_, mailbox)) = state.waiting.pop_front() {
                state.busy += 1;
                state.begun += 1;
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

/// As many again as there are, but no more than there is work for. None while a thread is idle or
/// about to begin, which will take what waits; and none if all that waits is taken soon.
fn threads_to_add(Look { threads, busy, begun, waiting, longest }: Look) -> usize {
    if busy < threads || longest < LONG_WAIT || begun > threads * MANY_TURNS {
        return 0;
    }
    threads.max(1).min(waiting).min(MAX_THREADS.saturating_sub(threads))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(threads: usize, busy: usize, begun: usize, waiting: usize, longest: u64) -> Look {
        Look { threads, busy, begun, waiting, longest: Duration::from_millis(longest) }
    }

    #[test]
    fn threads_are_added_only_when_somebody_waits_for_long_and_all_are_busy() {
        for (look, more) in [
            (look(2, 0, 0, 9, 50), 0),
            (look(2, 1, 0, 9, 50), 0),
            (look(2, 2, 0, 9, 50), 2),
            (look(2, 2, 0, 9, 9), 0),
            (look(2, 2, 0, 9, 10), 2),
            // Turns of half a millisecond, and shorter ones.
            (look(2, 2, 20, 9, 50), 2),
            (look(2, 2, 21, 9, 50), 0),
            (look(4, 4, 21, 9, 50), 4),
            (look(8, 7, 0, 9, 50), 0),
            (look(2, 2, 0, 1, 50), 1),
            (look(200, 200, 0, 100, 50), 56),
            (look(256, 256, 0, 100, 50), 0),
            // No thread could be started.
            (look(0, 0, 0, 3, 10), 1),
        ] {
            assert_eq!(threads_to_add(look), more, "{look:?}");
        }
    }

    /// 250 listeners block at once, and another task has something to tell.
    #[test]
    fn seven_looks_are_enough_for_250_that_block() {
        let (mut threads, mut waiting, mut looks) = (2, 249, 0);
        while waiting > 0 {
            let more = threads_to_add(look(threads, threads, 0, waiting, 10));
            assert!(more > 0, "it comes to a halt at {threads}");
            (threads, waiting, looks) = (threads + more, waiting - more, looks + 1);
        }
        assert_eq!((threads, looks), (251, 7));
        assert!(LONG_WAIT + TICK * looks < Duration::from_millis(50));
    }
}
