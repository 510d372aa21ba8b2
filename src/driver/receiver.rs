//! Who takes what is in a mailbox: the app, behind one of these.

use super::mailbox::Bulletin;
use super::notice::Notice;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of the notices that a [`Receiver`] was given.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// How often a call of the app's code failed.
    pub(crate) failures: u64,
    /// The receiver took the last notice and is still busy with it; [`Mailbox::resume`](super::Mailbox::resume) tells
    /// when it is done.
    pub(crate) is_busy: bool,
}

/// Who is told the events. It may block, fail or panic: only its own task notices.
pub(crate) trait Receiver: Send + Sync {
    /// Takes notices from the front and tells the app, each call of the app's code within
    /// [`guarded`]. Leaves those behind that it did not tell because `is_wanted` became false
    /// (another receiver has its place) or because it is busy.
    fn receive(&self, notices: &mut VecDeque<Notice>, is_wanted: &dyn Fn() -> bool) -> Received;

    /// It was woken ([`Mailbox::wake`](super::Mailbox::wake)), between two calls of [`receive`](Self::receive). How
    /// often a call of the app's code failed.
    fn woken(&self) -> u64 {
        0
    }
}

/// Who is told the news.
pub(crate) trait Watcher: Send + Sync {
    /// The task stands elsewhere; bulletins that are old by the time they would be told are
    /// left out.
    fn bulletin(&self, bulletin: Bulletin) -> Result<(), String>;
}

/// Calls a receiver. It is the app's: whatever it does to itself, its task goes on. 1: it
/// failed.
pub(crate) fn guarded(call: impl FnOnce() -> Result<(), String>) -> u64 {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return 0,
        Ok(Err(reason)) => log::warn!("a listener failed: {reason}"),
        Err(_) => log::error!("a listener panicked"),
    }
    1
}
