//! The threads that call listeners.
//!
//! Two of them serve every task of the process. A listener may block for as long as it likes,
//! and other tasks must not notice: when all threads are stuck while something waits, another
//! one is added, and goes away when it has been idle for a while.

use super::mailbox::{Lane, Mailbox};
use super::runtime;
use once_cell::sync::Lazy;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Always there once needed.
const THREADS: usize = 2;

/// With this many listeners blocked at once, the next task waits after all.
const MAX_THREADS: usize = 256;

/// Nothing was begun for this long although something waits: all threads are stuck. Longer
/// than a turn of any honest listener takes, shorter than a person notices.
const STUCK: Duration = Duration::from_millis(20);

/// How long an added thread waits for more work.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    waiting: VecDeque<(Arc<Mailbox>, Lane)>,
    threads: usize,
    idle: usize,
    /// Turns begun so far; standing still means stuck.
    turns: u64,
    watched: bool,
}

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

static POOL: Lazy<Pool> = Lazy::new(Pool::default);

/// Has a delivery thread call [`Mailbox::deliver`].
pub(super) fn schedule(mailbox: Arc<Mailbox>, lane: Lane) {
    let mut state = POOL.state();
    state.waiting.push_back((mailbox, lane));
    if state.idle >= state.waiting.len() {
        // Not under the lock, on which the one that is woken would at once wait again.
        drop(state);
        return POOL.work.notify_one();
    }
    if state.idle > 0 {
        POOL.work.notify_one();
    }
    if state.threads < THREADS {
        add_thread(&mut state);
    } else if !state.watched {
        state.watched = true;
        drop(state);
        runtime::handle().spawn(watch());
    }
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds threads as long as work waits and none is begun.
async fn watch() {
    let mut turns = POOL.state().turns;
    loop {
        tokio::time::sleep(STUCK).await;
        let mut state = POOL.state();
        if state.waiting.is_empty() {
            state.watched = false;
            return;
        }
        if state.turns == turns && state.idle == 0 && state.threads < MAX_THREADS {
            add_thread(&mut state);
        }
        turns = state.turns;
    }
}

fn add_thread(state: &mut State) {
    let thread = std::thread::Builder::new().name("wxsocket-events".to_owned()).spawn(serve);
    match thread {
        Ok(_) => state.threads += 1,
        // Whatever waits is served by the threads there are, if later.
        Err(error) => log::error!("no thread to deliver events: {error}"),
    }
}

fn serve() {
    while let Some((mailbox, lane)) = next() {
        if mailbox.deliver(lane) {
            POOL.state().waiting.push_back((mailbox, lane));
        }
    }
}

/// The next mailbox with something in it; `None`: this thread is one too many.
fn next() -> Option<(Arc<Mailbox>, Lane)> {
    let mut state = POOL.state();
    loop {
        if let Some(work) = state.waiting.pop_front() {
            state.turns += 1;
            return Some(work);
        }
        state.idle += 1;
        let (woken, timeout) = if state.threads > THREADS {
            let (state, result) =
                POOL.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            (state, result.timed_out())
        } else {
            (POOL.work.wait(state).unwrap_or_else(PoisonError::into_inner), false)
        };
        state = woken;
        state.idle -= 1;
        if timeout && state.waiting.is_empty() && state.threads > THREADS {
            state.threads -= 1;
            return None;
        }
    }
}
