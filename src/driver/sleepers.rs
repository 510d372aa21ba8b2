//! Tells every task when the device has slept.
//!
//! Each task notices a sleep when it looks at the clock, and one that waits for a timer may do so
//! late: that timer stood still. Whoever notices first wakes the others. On Linux and Android the
//! system tells the process, so that a sleep is noticed although nobody calls.

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::ffi::ClockJumps;
use futures_util::task::AtomicWaker;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The run loops of the process, by the numbers of their tasks.
static WAKERS: Mutex<BTreeMap<u64, Arc<AtomicWaker>>> = Mutex::new(BTreeMap::new());

/// How long the device had slept in all when the tasks were last woken, in milliseconds.
static TOLD: AtomicU64 = AtomicU64::new(0);

fn wakers() -> MutexGuard<'static, BTreeMap<u64, Arc<AtomicWaker>>> {
    WAKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run loop that is woken after a sleep, for as long as this lives.
#[derive(Debug)]
pub(super) struct Sleeper(u64);

impl Sleeper {
    pub(super) fn new(task: u64, waker: Arc<AtomicWaker>) -> Self {
        wakers().insert(task, waker);
        Self(task)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        wakers().remove(&self.0);
    }
}

/// A task has noticed that the device slept: so many milliseconds in all so far. The others are
/// woken once for each sleep of at least `least`, whoever notices it.
pub(super) fn noticed(asleep: u64, least: Duration) {
    let told = TOLD.fetch_max(asleep, Ordering::Relaxed);
    if u128::from(asleep.saturating_sub(told)) >= least.as_millis() {
        wake_all();
    }
}

fn wake_all() {
    // Not under the lock: whatever a waker does may end in the drop of a run loop.
    let all: Vec<_> = wakers().values().cloned().collect();
    for waker in all {
        waker.wake();
    }
}

/// Wakes every task whenever the system says that the clock has jumped; each looks for itself
/// whether that was a sleep. Without such news it waits and costs nothing.
///
/// That Linux says so of a resume is what its manual and source promise. Neither a resume nor a
/// jump was run here, where the clock cannot be set.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) async fn listen_to_the_clock() {
    let jumps = match ClockJumps::new().and_then(ClockJumps::watch) {
        Ok(jumps) => jumps,
        // A task notices a sleep all the same when it looks at the clock.
        Err(error) => return log::debug!("no news of a sleep: {error}"),
    };
    while let Ok(mut ready) = jumps.readable().await {
        match ready.try_io(|jumps| jumps.get_ref().take()) {
            Ok(taken) if !jumped(&taken) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// What follows a look at the clock's news. False: there will be no more.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn jumped(taken: &std::io::Result<()>) -> bool {
    // Even if it is the last: it is news.
    wake_all();
    if let Err(error) = taken {
        log::debug!("no more news of a sleep: {error}");
    }
    taken.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A run loop that waits, and how often it was woken.
    fn waiting(task: u64) -> (Sleeper, Arc<AtomicWaker>, Arc<Woken>) {
        let (woken, waker) = (Arc::<Woken>::default(), Arc::<AtomicWaker>::default());
        waker.register(&Waker::from(woken.clone()));
        (Sleeper::new(task, waker.clone()), waker, woken)
    }

    /// Numbers that no task has.
    const FREE: u64 = u64::MAX - 10;

    #[test]
    fn all_that_run_are_woken_and_nobody_else() {
        let (_first, _, one) = waiting(FREE);
        let (_second, _, two) = waiting(FREE + 1);
        let (gone, waker, three) = waiting(FREE + 2);
        drop(gone);
        three.0.store(0, Ordering::SeqCst);
        waker.register(&Waker::from(three.clone()));
        wake_all();
        let counts = [one, two, three].map(|woken| woken.0.load(Ordering::SeqCst));
        // Each once: nobody waits any more after the first.
        assert_eq!(counts, [1, 1, 0]);
        assert!(!wakers().contains_key(&(FREE + 2)));
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn a_jump_of_the_clock_wakes_all() {
        let (_sleeper, waker, woken) = waiting(FREE + 3);
        assert!(jumped(&Ok(())));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        waker.register(&Waker::from(woken.clone()));
        assert!(!jumped(&Err(std::io::Error::other("it cannot be armed again"))));
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
    }
}
