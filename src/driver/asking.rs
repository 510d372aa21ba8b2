//! Asks the app before a dial, on a thread that the app may hold for as long as it likes.

use super::{BeforeDial, DialRefused};
use crate::net::DialOptions;
use crate::session::{ErrorKind, Failure};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// So many calls of one task may be under way. One that hangs is not the end of the task, which
/// asks again; but an app that never answers must not collect threads.
const MAX_CALLS: usize = 4;

/// And so many of all tasks. Their threads are not the runtime's: who keeps those would keep
/// everybody's name lookups waiting.
const MAX_CALLS_OF_ALL: usize = 256;

static CALLS_OF_ALL: AtomicUsize = AtomicUsize::new(0);

/// One task's way to ask.
#[derive(Clone)]
pub(super) struct Asking {
    hook: Arc<dyn BeforeDial>,
    calls: Arc<AtomicUsize>,
}

impl Asking {
    pub(super) fn new(hook: Arc<dyn BeforeDial>) -> Self {
        Self { hook, calls: Arc::default() }
    }

    /// The app's answer, within the time of a dial.
    pub(super) async fn ask(
        self,
        epoch: u64,
        attempt: u32,
        last_failure: Option<Failure>,
        options: DialOptions,
    ) -> Result<DialOptions, DialRefused> {
        let patience = options.timeout;
        let Some(call) = Call::begin(self.calls) else {
            return Err(failed("earlier calls have not returned".to_owned()));
        };
        let (told, answer) = oneshot::channel();
        let thread = std::thread::Builder::new().name("wxsocket-ask".to_owned()).spawn(move || {
            let _call = call;
            // A panic drops the sender, which is an answer too. Whoever asked may be gone.
            let _ = told.send(self.hook.before_dial(epoch, attempt, last_failure, &options));
        });
        if let Err(error) = thread {
            return Err(failed(format!("no thread: {error}")));
        }
        match tokio::time::timeout(patience, answer).await {
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
struct Call(Arc<AtomicUsize>);

impl Call {
    fn begin(calls: Arc<AtomicUsize>) -> Option<Self> {
        one_more(&CALLS_OF_ALL, MAX_CALLS_OF_ALL)?;
        if one_more(&calls, MAX_CALLS).is_none() {
            CALLS_OF_ALL.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(calls))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        CALLS_OF_ALL.fetch_sub(1, Ordering::Relaxed);
    }
}

fn one_more(count: &AtomicUsize, max: usize) -> Option<usize> {
    let more = |count| (count < max).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()
}
