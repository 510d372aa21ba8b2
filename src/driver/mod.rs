//! Carries inputs to the session and performs its outputs, on one shared runtime; hands
//! events to the app on threads of their own.

mod ahead;
mod asking;
mod backlog;
mod clock;
mod connection;
mod journal;
mod mailbox;
mod notice;
mod packed;
mod pool;
mod receiver;
mod run;
mod runtime;
mod sleepers;
pub(crate) mod turns;

pub(crate) use backlog::Interest;
#[cfg(feature = "testing")]
pub use clock::device_sleep;
pub(crate) use clock::now;
pub(crate) use mailbox::{Bulletin, Mailbox};
pub(crate) use notice::{News, Notice, Standing, Step};
pub(crate) use receiver::{Received, Receiver, Watcher, guarded};
pub(crate) use runtime::is_forked;
pub(crate) use turns::Taken;

use crate::net::{self, DialOptions};
use crate::session::{
    Config, Counters, Failure, Input, Message, Output, Phase, SendOutcome, SendRefused, Session,
};
use clock::Watch;
use connection::{Connection, Wrote};
use futures_util::task::AtomicWaker;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

/// A larger message is masked, copied and written by the run loop: `send` is to return at
/// once, and the app's thread may be the one that draws.
const WRITE_THROUGH: usize = 16 * 1024;

/// Asked before every dial. It may block, and is called on threads that may.
pub(crate) trait BeforeDial: Send + Sync {
    /// The options to dial with, or why not to.
    fn before_dial(
        &self,
        question: Question,
        options: &DialOptions,
    ) -> Result<DialOptions, DialError>;

    /// No answer is wanted any more to the questions up to this number.
    fn withdraw(&self, number: u64);
}

/// What is asked before a dial.
pub(crate) struct Question {
    /// Its number in its task, from 1.
    pub(crate) number: u64,
    /// The connection.
    pub(crate) epoch: u64,
    /// Attempts used since the last stable connection.
    pub(crate) attempt: u32,
    /// What ended the previous connection, if it failed.
    pub(crate) last_failure: Option<Failure>,
}

/// Why there is no dial.
pub(crate) enum DialError {
    /// A failed attempt like any other.
    Failed(Failure),
    /// The task is over.
    GiveUp(Failure),
}

/// A running task: what the app's threads and the run loop share.
pub(crate) struct Task {
    /// What the log calls it.
    number: u64,
    session: Mutex<Session>,
    /// Used under the lock of the session.
    watch: Watch,
    /// The open connection. Whoever holds it may lock the session, never the other way round.
    connection: Mutex<Option<Connection>>,
    /// Wakes the run loop.
    waker: Arc<AtomicWaker>,
    mailbox: Arc<Mailbox>,
}

impl Task {
    /// Starts a task; it dials in the background at once. The error says why the system does not
    /// let it.
    pub(crate) fn start(
        config: Config,
        dial: DialOptions,
        before_dial: Option<Arc<dyn BeforeDial>>,
    ) -> Result<Arc<Self>, String> {
        runtime::start()?;
        let close_timeout = config.close_timeout;
        let mut session = Session::new(config, Box::new(jitter));
        session.handle(Input::Connect, now());
        let waker = Arc::new(AtomicWaker::new());
        let standing = standing(&session);
        let task = Arc::new(Self {
            number: journal::next_number(),
            session: Mutex::new(session),
            watch: Watch::new(),
            connection: Mutex::default(),
            mailbox: Arc::new(Mailbox::new(waker.clone(), standing)),
            waker,
        });
        let runner = run::Runner::new(task.clone(), dial, before_dial, close_timeout);
        runtime::handle().spawn(runner);
        Ok(task)
    }

    /// Where the events arrive.
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Has the threads of [`turns`] take the events; see there.
    pub(crate) fn join_turns(self: &Arc<Self>) -> i64 {
        self.mailbox.set_turns(Arc::downgrade(self))
    }

    pub(crate) fn send(&self, message: Message) -> Result<SendOutcome, SendRefused> {
        let size = message.len();
        let (mut session, now) = self.session_now();
        let outcome = session.send(message, now)?;
        drop(session);
        if outcome == SendOutcome::Sent && !self.write_through(size) {
            self.waker.wake();
        }
        Ok(outcome)
    }

    /// Writes what was just accepted on the caller's thread, which spares a small message the
    /// wait for the run loop (two context switches, some 10 µs). True: everything is written.
    ///
    /// It writes this one message and only if nothing else waits. Otherwise the caller, which may
    /// be the thread that draws, would write megabytes that others have sent, and hold up the run
    /// loop meanwhile.
    fn write_through(&self, size: usize) -> bool {
        if size > WRITE_THROUGH {
            return false;
        }
        // Held by the run loop, which is about to write anyhow.
        let Ok(mut connection) = self.connection.try_lock() else { return false };
        let Some(connection) = connection.as_mut() else { return false };
        if runtime::is_forked() {
            // The connection is the parent's, whose bytes these would come between.
            return false;
        }
        let next = || self.session().poll_only_transmit(WRITE_THROUGH);
        let wrote = connection.write_through(next);
        if !wrote.moved {
            return false;
        }
        !self.wrote(connection, &wrote) && !connection.is_writing()
    }

    /// Tells the session what an attempt to write has come to. True: there is more to write.
    fn wrote(&self, connection: &Connection, wrote: &Wrote) -> bool {
        let (mut session, now) = self.session_now();
        if session.watches_progress() {
            session.handle(connection.progress(), now);
        }
        if let Some(news) = connection.news(wrote)
            && session.has(connection.epoch)
        {
            session.handle(news, now);
        }
        session.wants_transmit()
    }

    pub(crate) fn handle(&self, input: Input) {
        if runtime::is_forked() {
            return;
        }
        if let Input::Network(_) = input {
            net::network_changed();
        }
        self.tell(input);
        self.waker.wake();
    }

    /// Tells the session, on behalf of the run loop.
    fn tell(&self, input: Input) {
        let (mut session, now) = self.session_now();
        session.handle(input, now);
    }

    /// The session and the time, for the next input or the next timeout. If the device has slept
    /// the session is told first: whatever was due meanwhile is then a reason to ask the peer,
    /// and not to give it up.
    fn session_now(&self) -> (MutexGuard<'_, Session>, Instant) {
        let mut session = self.session();
        let now = now();
        if let Some(slept) = self.watch.slept(now) {
            session.handle(Input::Woke { slept }, now);
            self.waker.wake();
        }
        (session, now)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.session().phase()
    }

    /// The phase, and the attempt that goes with it.
    pub(crate) fn standing(&self) -> Standing {
        standing(&self.session())
    }

    /// Takes what is to be done, with where the task is after it.
    fn poll_all(&self) -> (VecDeque<Output>, Standing) {
        let mut connection = self.connection();
        let (mut session, now) = self.session_now();
        if let Some(connection) = connection.as_mut()
            && !session.has(connection.epoch)
        {
            session.give_back(connection.take_unsent(), now);
        }
        (session.poll_all(), standing(&session))
    }

    pub(crate) fn buffered_amount(&self) -> usize {
        self.session().buffered_amount()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.session().counters()
    }

    pub(crate) fn last_failure(&self) -> Option<(u64, Failure)> {
        let session = self.session();
        session.last_failure().map(|failure| (session.failed_epoch(), failure.clone()))
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held only for as long as a decision takes, never across I/O or a call to the app.
    fn session(&self) -> MutexGuard<'_, Session> {
        match self.session.try_lock() {
            Ok(session) => return session,
            // Whoever holds it may be a thread that this process does not have.
            Err(TryLockError::WouldBlock) => {
                assert!(
                    !runtime::is_forked(),
                    "a task of the process that this one was forked from"
                );
            }
            Err(TryLockError::Poisoned(_)) => {}
        }
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

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::ConnectOptions;
    use crate::api::resolve::resolve;
    use crate::testing::{Script, ScriptedServer};
    use std::sync::mpsc::channel;

    /// Calls `work` while the thread of all run loops is held up: what happens meanwhile is done
    /// by this thread.
    fn without_run_loops(work: impl FnOnce()) {
        let (entered, begun) = channel();
        let (release, held) = channel::<()>();
        runtime::handle().spawn(async move {
            entered.send(()).expect("the test waits");
            let _ = held.recv();
        });
        begun.recv().expect("it runs");
        work();
        drop(release);
    }

    fn bytes_written(task: &Task) -> u64 {
        let Input::Progress { written, .. } =
            task.connection().as_ref().expect("it is open").progress()
        else {
            unreachable!()
        };
        written
    }

    #[test]
    fn send_writes_its_own_message_and_only_if_nothing_else_waits() {
        let server = ScriptedServer::start(Script::default()).expect("starts");
        let rules = resolve(ConnectOptions::new(server.url())).expect("valid");
        let task = Task::start(rules.config, rules.dial, None).expect("a runtime");
        let hear = |what: &str| assert_eq!(task.mailbox().take(1).len(), 1, "{what}");
        hear("the open");

        without_run_loops(|| {
            let before = bytes_written(&task);
            task.send(Message::text("small")).expect("it is open");
            assert!(bytes_written(&task) > before, "a message that is alone is written at once");
            assert_eq!(task.buffered_amount(), 0);
        });
        hear("its echo");

        without_run_loops(|| {
            let before = bytes_written(&task);
            let large = Message::binary(vec![7; 64 << 10]);
            task.send(large).expect("it is open");
            task.send(Message::text("small")).expect("it is open");
            assert_eq!(bytes_written(&task), before, "the run loop writes what is large");
            assert_eq!(task.buffered_amount(), (64 << 10) + 5);
        });
        hear("the large one");
        hear("the small one");

        task.handle(Input::Close { code: 1000, reason: String::new() });
    }
}
