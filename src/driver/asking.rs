//! Asks the app before a dial, on a thread that the app may hold for as long as it likes.

use super::{BeforeDial, DialRefused};
use crate::net::DialOptions;
use crate::session::{ErrorKind, Failure};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
        Self { hook, calls: Arc::default(), newest: Arc::default() }
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
    ) -> Result<DialOptions, DialRefused> {
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
        let (told, answer) = oneshot::channel();
        let thread = std::thread::Builder::new().name("wxsocket-ask".to_owned()).spawn(move || {
            let _call = call;
            // A panic drops the sender, which is an answer too. Whoever asked may be gone.
            let _ = told.send(self.hook.before_dial(epoch, attempt, last_failure, &options));
        });
        if let Err(error) = thread {
            return Err(failed(format!("no thread: {error}")));
        }
        match timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(failed("it panicked".to_owned())),
            Err(_) => Err(failed(format!("no answer within {patience:?}"))),
        }
    }
}

fn failed(detail: String) -> DialRefused {
    DialRefused::Failed(Failure::new(ErrorKind::BeforeConnect, detail))
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
