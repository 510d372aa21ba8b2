//! What the layers of other languages call beside the public API.

use super::batch::{BatchListener, SocketWatcher, ToBatchListener, ToWatcher};
use super::event::{SocketEvent, epoch_number, socket_event};
use super::task::SocketTask;
use crate::driver::{Interest, turns};
use crate::session::{ErrorKind, Failure, Input};
use std::sync::Arc;

/// Ends connection `epoch` of the task with this number in the turns, because a message has
/// arrived that the app's language has no memory for: `on_error` with 690032 and this `detail`,
/// then `on_close` with 1009, and a retry as after any other failure. Messages that were read
/// before are still told. Does nothing when that connection is over already.
#[uniffi::export]
pub fn refuse_message(task: i64, epoch: i64, detail: String) {
    if let (Some(task), Ok(epoch)) = (turns::task(task), u64::try_from(epoch)) {
        let failure = Failure::new(ErrorKind::TooBig, detail);
        task.handle(Input::Failed { epoch, failure });
    }
}

#[doc(hidden)]
#[uniffi::export]
impl SocketTask {
    /// As `set_listener`, for a listener that takes many messages in one call and serves others.
    /// It hears nothing before `listen` says what those others want to hear. Returns the number
    /// of this listener for `resume_delivery`.
    pub fn set_batch_listener(&self, listener: Arc<dyn BatchListener>) -> i64 {
        let listener = Arc::new(ToBatchListener(listener));
        epoch_number(self.task.mailbox().set_receiver(listener, false))
    }

    /// Sets who hears where the task is in its life, beginning with how things are now.
    pub fn set_watcher(&self, watcher: Arc<dyn SocketWatcher>) {
        self.task.mailbox().set_watcher(Arc::new(ToWatcher(watcher)));
    }

    /// Has its events come out of `next_turn` together with those of other tasks, and gives
    /// the number it goes by there. For a language that has its own threads for all tasks;
    /// it takes the place of a listener. Its first turn has begun: it is the caller's, to be
    /// ended with `end_turn` once the number is known to whoever takes turns. Events come once
    /// `listen` says what is wanted.
    pub fn join_turns(&self) -> i64 {
        self.task.join_turns()
    }

    /// Says that somebody listens: to opens, errors and closes, and with `messages` to messages
    /// too. For a batch listener and for turns, which serve many listeners; called from `on_wake`
    /// or within a turn, once that listener is in its place.
    ///
    /// Until the first call everything is kept; when that is 1,024 events or 1 MiB, the socket
    /// is not read and no dial begins. While only opens, errors and closes are listened to, the
    /// newest 256 messages of the present connection (at most 1 MiB) are kept for the first
    /// listener of messages. Nobody can stop listening: what comes is then for those who stay.
    pub fn listen(&self, messages: bool) {
        let interest = if messages { Interest::Everything } else { Interest::Steps };
        self.task.mailbox().listen(interest);
    }

    /// What somebody who begins to listen now hears first: the open if the connection is open;
    /// else the last close, and before it the error that led there, if one did. As of the event
    /// that the batch listener or the turn was given last; exact within `on_wake`, within a
    /// turn, and while a call or a turn is being told to its listeners.
    pub fn present_state(&self) -> Vec<SocketEvent> {
        self.task.mailbox().present().iter().map(|step| socket_event(step)).collect()
    }

    /// Has the batch listener's `on_wake` called, between two events. False: it was told the end
    /// and is let go; `present_state` holds for good.
    pub fn wake_listener(&self) -> bool {
        self.task.mailbox().wake()
    }

    /// The batch listener with this number, which answered false, has told everybody: the next
    /// call may come. Does nothing when another listener has taken its place.
    pub fn resume_delivery(&self, listener: i64) {
        self.task.mailbox().resume(u64::try_from(listener).unwrap_or(0));
    }
}
