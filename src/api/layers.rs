//! The functions that only the layers of Kotlin and Swift call.

use super::batch::{BatchListener, SocketWatcher, ToBatchListener, ToWatcher};
use super::event::{SocketEvent, epoch_number, socket_event};
use super::task::SocketTask;
use crate::driver::{Interest, turns};
use crate::session::{ErrorKind, Failure, Input};
use std::sync::Arc;

/// Ends a connection because the heap of the app's language has no room for a message of it. `task` is the
/// number that `join_turns` returned. The app gets an error 690032 with this `detail`, then a close with
/// 1009, and a retry follows as after any other failure. Messages that were read before are still told.
/// This does nothing when the connection is over already.
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
    /// Sets a listener that gets many messages in one call. As `set_listener`, but it gets nothing before
    /// `listen` is called. Returns the number of this listener for `resume_delivery`.
    pub fn set_batch_listener(&self, listener: Arc<dyn BatchListener>) -> i64 {
        let listener = Arc::new(ToBatchListener(listener));
        epoch_number(self.task.mailbox().set_receiver(listener, false))
    }

    /// Sets the watcher of the state. It gets the present state first.
    pub fn set_watcher(&self, watcher: Arc<dyn SocketWatcher>) {
        self.task.mailbox().set_watcher(Arc::new(ToWatcher(watcher)));
    }

    /// Adds the task to those whose events `next_turn` returns, and returns its number there. It takes the
    /// place of a listener, for a language whose own threads serve all tasks. The first turn has begun and
    /// belongs to the caller, who ends it with `end_turn` when the threads know the number. There are no
    /// events before `listen` is called.
    pub fn join_turns(&self) -> i64 {
        self.task.join_turns()
    }

    /// Tells the task that there is a listener of opens, errors and closes, and with `messages` of messages
    /// too. A batch listener and turns serve many listeners; this is called from `on_wake` or within a
    /// turn, when the new listener is in place.
    ///
    /// Until the first call all events are kept; at 1,024 events or 1 MiB the socket is no longer read and
    /// no dial begins. While there are only listeners of opens, errors and closes, the newest 256 messages
    /// of the present connection (at most 1 MiB) are kept for the first listener of messages. There is no
    /// call for the opposite: the layer discards what it has no listener for.
    pub fn listen(&self, messages: bool) {
        let interest = if messages { Interest::Everything } else { Interest::Steps };
        self.task.mailbox().listen(interest);
    }

    /// Returns what a new listener gets first: the open if the connection is open; otherwise the last close,
    /// and before it the error that caused it, if there was one. It is the state after the event that the
    /// batch listener or the turn got last, and it does not change within `on_wake`, within a turn, and
    /// while the listeners of a layer are being called.
    pub fn present_state(&self) -> Vec<SocketEvent> {
        self.task.mailbox().present().iter().map(|step| socket_event(step)).collect()
    }

    /// Has `on_wake` of the batch listener called between two events. Returns false when the listener has got
    /// the last event; then `present_state` never changes again.
    pub fn wake_listener(&self) -> bool {
        self.task.mailbox().wake()
    }

    /// Ends the wait of the batch listener with this number, which had returned false. This does nothing when
    /// another listener has taken its place.
    pub fn resume_delivery(&self, listener: i64) {
        self.task.mailbox().resume(u64::try_from(listener).unwrap_or(0));
    }
}
