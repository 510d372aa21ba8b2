//! Carries inputs to the session and performs its outputs, on one shared runtime; hands
//! events to the app on threads of their own.

mod connection;
mod mailbox;
mod pool;
mod run;
mod runtime;
pub(crate) mod turns;

pub(crate) use mailbox::{Mailbox, Notice, Receiver, Standing};

use crate::net::DialOptions;
use crate::session::{
    Config, Counters, Failure, Input, Message, Phase, SendOutcome, SendRefused, Session,
};
use futures_util::task::AtomicWaker;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Asked before every dial. It may block, and is called on a thread that may.
pub(crate) trait BeforeDial: Send + Sync {
    /// The options to dial with, or why not to.
    fn before_dial(
        &self,
        epoch: u64,
        attempt: u32,
        last_failure: Option<Failure>,
        options: &DialOptions,
    ) -> Result<DialOptions, DialRefused>;
}

/// Why there is no dial.
pub(crate) enum DialRefused {
    /// A failed attempt like any other.
    Failed(Failure),
    /// The task is over.
    GiveUp(Failure),
}

/// A running task: what the app's threads and the run loop share.
pub(crate) struct Task {
    session: Mutex<Session>,
    /// Wakes the run loop.
    waker: Arc<AtomicWaker>,
    mailbox: Arc<Mailbox>,
}

impl Task {
    /// Starts a task; it dials in the background at once.
    pub(crate) fn start(
        config: Config,
        dial: DialOptions,
        before_dial: Option<Arc<dyn BeforeDial>>,
    ) -> Arc<Self> {
        let close_timeout = config.close_timeout;
        let mut session = Session::new(config, Box::new(jitter));
        session.handle(Input::Connect, Instant::now());
        let waker = Arc::new(AtomicWaker::new());
        let standing = standing(&session);
        let task = Arc::new(Self {
            session: Mutex::new(session),
            mailbox: Arc::new(Mailbox::new(waker.clone(), standing)),
            waker,
        });
        let runner = run::Runner::new(task.clone(), dial, before_dial, close_timeout);
        runtime::handle().spawn(runner);
        task
    }

    /// Where the events arrive.
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    pub(crate) fn send(&self, message: Message) -> Result<SendOutcome, SendRefused> {
        let outcome = self.session().send(message, Instant::now())?;
        if outcome == SendOutcome::Sent {
            self.waker.wake();
        }
        Ok(outcome)
    }

    pub(crate) fn handle(&self, input: Input) {
        self.session().handle(input, Instant::now());
        self.waker.wake();
    }

    pub(crate) fn phase(&self) -> Phase {
        self.session().phase()
    }

    /// The phase, and the attempt that goes with it.
    pub(crate) fn standing(&self) -> Standing {
        standing(&self.session())
    }

    pub(crate) fn buffered_amount(&self) -> usize {
        self.session().buffered_amount()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.session().counters()
    }

    pub(crate) fn last_failure(&self) -> Option<(u64, Failure)> {
        let session = self.session();
        session.last_failure().map(|failure| (session.epoch(), failure.clone()))
    }

    /// Held only for as long as a decision takes, never across I/O or a call to the app.
    fn session(&self) -> MutexGuard<'_, Session> {
        // A panic while deciding is a bug, but not one that should multiply.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn standing(session: &Session) -> Standing {
    Standing { phase: session.phase(), attempt: session.counters().attempt }
}

/// Uniform in 0 to 1. The standard library seeds each hasher from the system's randomness,
/// which is all that spreading out reconnects needs.
fn jitter() -> f64 {
    let bits = std::hash::RandomState::new().hash_one(()) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}
