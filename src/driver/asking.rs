//! Asks the app before a dial, on a thread that the app may hold for as long as it likes.

use super::{BeforeDial, DialRefused};
use crate::net::DialOptions;
use crate::session::{ErrorKind, Failure};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, oneshot};

/// So many apps' calls at once; more wait for their turn. Not the runtime's own threads: an app
/// that keeps those would keep everybody's name lookups waiting.
const MAX_CALLS: usize = 256;

static CALLS: Semaphore = Semaphore::const_new(MAX_CALLS);

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
        let answer = async {
            let mut call = self.call.lock().await;
            let receiver = match &mut *call {
                Some(receiver) => receiver,
                // Never closed.
                none => match CALLS.acquire().await {
                    Ok(permit) => none.insert(begin(permit, {
                        let hook = self.hook.clone();
                        move || hook.before_dial(epoch, attempt, last_failure, &options)
                    })),
                    Err(_) => return Err(failed("no thread to ask on".to_owned())),
                },
            };
            let answer = receiver.await;
            *call = None;
            answer.unwrap_or_else(|_| Err(failed("it panicked".to_owned())))
        };
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(failed(format!("no answer within {patience:?}"))),
        }
    }
}

fn begin(
    permit: SemaphorePermit<'static>,
    call: impl FnOnce() -> Answer + Send + 'static,
) -> oneshot::Receiver<Answer> {
    let (told, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("wxsocket-ask".to_owned()).spawn(move || {
        // A panic drops the sender, which is an answer too.
        let answer = call();
        drop(permit);
        // Whoever asked may be gone.
        let _ = told.send(answer);
    });
    if let Err(error) = thread {
        log::error!("no thread to ask the app on: {error}");
    }
    receiver
}

fn failed(detail: String) -> DialRefused {
    DialRefused::Failed(Failure::new(ErrorKind::BeforeConnect, detail))
}
