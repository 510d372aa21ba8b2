//! Asks the app before a dial, on a thread that the app may hold for as long as it likes.

use super::{BeforeDial, DialRefused};
use crate::net::DialOptions;
use crate::session::{ErrorKind, Failure};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use tokio::sync::oneshot;

/// So many apps' calls at once; whoever would need one more has failed this time. Not the
/// runtime's own threads: an app that keeps those would keep everybody's name lookups waiting.
const MAX_CALLS: usize = 256;

static CALLS: AtomicUsize = AtomicUsize::new(0);

type Answer = Result<DialOptions, DialRefused>;

/// One task's way to ask. At most one call is under way: an answer that comes too late for its
/// dial is the next one's, where a second call would only be late too.
#[derive(Clone)]
pub(super) struct Asking {
    hook: Arc<dyn BeforeDial>,
    call: Arc<Mutex<Option<oneshot::Receiver<Answer>>>>,
}

impl Asking {
    pub(super) fn new(hook: Arc<dyn BeforeDial>) -> Self {
        Self { hook, call: Arc::default() }
    }

    /// The app's answer, within the time of a dial.
    pub(super) async fn ask(
        self,
        epoch: u64,
        attempt: u32,
        last_failure: Option<Failure>,
        options: DialOptions,
    ) -> Answer {
        let patience = options.timeout;
        // The dial of a task is the only one that asks for it, so nobody else looks in here.
        self.call().get_or_insert_with(|| {
            let hook = self.hook.clone();
            begin(move || hook.before_dial(epoch, attempt, last_failure, &options))
        });
        let answer = poll_fn(|cx| {
            let mut call = self.call();
            let Some(receiver) = call.as_mut() else { unreachable!("it was put there above") };
            let answer = ready!(Pin::new(receiver).poll(cx));
            *call = None;
            Poll::Ready(answer.unwrap_or_else(|_| Err(failed("it panicked".to_owned()))))
        });
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(failed(format!("no answer within {patience:?}"))),
        }
    }

    fn call(&self) -> MutexGuard<'_, Option<oneshot::Receiver<Answer>>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a call for as long as it lives.
struct Call;

impl Call {
    fn new() -> Option<Self> {
        let one_more = |calls| (calls < MAX_CALLS).then_some(calls + 1);
        CALLS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::Relaxed);
    }
}

fn begin(call: impl FnOnce() -> Answer + Send + 'static) -> oneshot::Receiver<Answer> {
    let (told, receiver) = oneshot::channel();
    let Some(counted) = Call::new() else {
        let _ = told.send(Err(failed(format!("{MAX_CALLS} calls have not returned"))));
        return receiver;
    };
    let thread = std::thread::Builder::new().name("wxsocket-ask".to_owned()).spawn(move || {
        let _counted = counted;
        // A panic drops the sender, which is an answer too. Whoever asked may be gone.
        let _ = told.send(call());
    });
    if let Err(error) = thread {
        log::error!("no thread to ask the app on: {error}");
    }
    receiver
}

fn failed(detail: String) -> DialRefused {
    DialRefused::Failed(Failure::new(ErrorKind::BeforeConnect, detail))
}
