//! Asks the app before a dial, on a thread that the app may hold for as long as it likes.

use super::{BeforeDial, DialError, Question};
use crate::net::DialOptions;
use crate::session::{ErrorKind, Failure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// So many calls of one task may be under way. One that hangs is not the end of the task, which
/// asks again; but an app that never answers must not collect threads.
const MAX_CALLS: usize = 4;

/// And so many of all tasks. Their threads are not the runtime's: who keeps those would keep
/// everybody's name lookups waiting.
const MAX_CALLS_OF_ALL: usize = 256;

static CALLS_OF_ALL: AtomicUsize = AtomicUsize::new(0);

/// A call that began so long ago, and whose dial was given up, holds up the next one no longer:
/// it may wait for a network that is gone. As long as a dial may go without progress.
const LONG: Duration = Duration::from_secs(2);

/// One task's way to ask.
#[derive(Clone)]
pub(super) struct Asking {
    hook: Arc<dyn BeforeDial>,
    calls: Arc<AtomicUsize>,
    /// The newest call. Locked by the dial that is about to ask.
    newest: Arc<Mutex<Option<Newest>>>,
    /// How many questions there were.
    count: Arc<AtomicU64>,
}

/// The call that began last.
struct Newest {
    /// When the next one may begin although this one has not returned.
    until: Instant,
    /// Ends with the call.
    returned: oneshot::Receiver<()>,
}

impl Asking {
    pub(super) fn new(hook: Arc<dyn BeforeDial>) -> Self {
        Self { hook, calls: Arc::default(), newest: Arc::default(), count: Arc::default() }
    }

    /// The app's answer, within the time of a dial. The call for a dial that was given up comes
    /// to its end first, unless that takes [`LONG`]; its answer is not used, because the app may
    /// have had a reason to hold the task, such as another user.
    pub(super) async fn ask(
        self,
        epoch: u64,
        attempt: u32,
        last_failure: Option<Failure>,
        options: DialOptions,
    ) -> Result<DialOptions, DialError> {
        let patience = options.timeout;
        let mut newest = self.newest.lock().await;
        if let Some(Newest { until, returned }) = newest.as_mut() {
            // Whether it has returned or has taken too long is the same from here on.
            let _ = timeout_at(*until, returned).await;
        }
        *newest = None;
        let Some((call, returned)) = Call::begin(self.calls) else {
            return Err(failed("earlier calls have not returned".to_owned()));
        };
        *newest = Some(Newest { until: Instant::now() + LONG.min(patience), returned });
        drop(newest);
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let question = Question { number, epoch, attempt, last_failure };
        let hook = self.hook;
        // From here on until there is an answer, whoever drops this future withdraws the question.
        let mut wanted = Wanted { number, hook: Some(hook.clone()) };
        let (told, answer) = oneshot::channel();
        let thread = std::thread::Builder::new().name("wxsocket-ask".to_owned()).spawn(move || {
            let _call = call;
            // A panic drops the sender, which is an answer too. Whoever asked may be gone.
            let _ = told.send(hook.before_dial(question, &options));
        });
        if let Err(error) = thread {
            wanted.hook = None;
            return Err(failed(format!("no thread: {error}")));
        }
        let Ok(answer) = timeout(patience, answer).await else {
            return Err(failed(format!("no answer within {patience:?}")));
        };
        wanted.hook = None;
        answer.unwrap_or_else(|_| Err(failed("it panicked".to_owned())))
    }
}

fn failed(detail: String) -> DialError {
    DialError::Failed(Failure::new(ErrorKind::BeforeConnect, detail))
}

/// A question that is open: dropping this withdraws it.
struct Wanted {
    number: u64,
    /// `None`: it was answered.
    hook: Option<Arc<dyn BeforeDial>>,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let (number, Some(hook)) = (self.number, self.hook.take()) else { return };
        let withdraw = std::thread::Builder::new().name("wxsocket-ask".to_owned());
        // Without a thread the answer comes later, and is not used.
        let _ = withdraw.spawn(move || hook.withdraw(number));
    }
}

/// Counts a call for as long as it lives.
struct Call {
    of_task: Arc<AtomicUsize>,
    /// Dropped when the call has returned, which tells whoever waits for that.
    _returned: oneshot::Sender<()>,
}

impl Call {
    /// A call, and what ends when it has returned. `None`: too many have not.
    fn begin(calls: Arc<AtomicUsize>) -> Option<(Self, oneshot::Receiver<()>)> {
        one_more(&CALLS_OF_ALL, MAX_CALLS_OF_ALL)?;
        if one_more(&calls, MAX_CALLS).is_none() {
            CALLS_OF_ALL.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let (sender, returned) = oneshot::channel();
        Some((Self { of_task: calls, _returned: sender }, returned))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.of_task.fetch_sub(1, Ordering::Relaxed);
        CALLS_OF_ALL.fetch_sub(1, Ordering::Relaxed);
    }
}

fn one_more(count: &AtomicUsize, max: usize) -> Option<usize> {
    let more = |count| (count < max).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()
}
