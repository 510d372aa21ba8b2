//! Who is told: a listener of four methods, in the shape of the wx API.

use super::error::ListenerError;
use super::event::{CloseEvent, ErrorEvent, MessageEvent, OpenEvent};
use crate::session::Header;

/// Hears everything that happens to a task.
///
/// Calls come one at a time and in order, never on the thread that does the I/O. A call may
/// take as long as it likes: the task's own socket is then no longer read, and no other task
/// notices. Every method of the task may be called from here. An error or a panic is logged
/// and counted; nothing else happens.
///
/// A listener must not own the task (directly or through what it owns): neither would ever
/// be freed.
// `foreign` rather than `callback_interface`: Rust keeps it in an `Arc` and may call it
// without holding a lock, and Rust code can implement it too.
#[uniffi::export(foreign)]
pub trait SocketListener: Send + Sync {
    /// The connection is open.
    fn on_open(&self, event: OpenEvent) -> Result<(), ListenerError>;
    /// A message arrived.
    fn on_message(&self, event: MessageEvent) -> Result<(), ListenerError>;
    /// The connection failed; its close follows.
    fn on_error(&self, event: ErrorEvent) -> Result<(), ListenerError>;
    /// The connection is over; without `retry` the task is.
    fn on_close(&self, event: CloseEvent) -> Result<(), ListenerError>;
}

/// Asked before every dial, for a fresh token or another address.
#[uniffi::export(foreign)]
pub trait BeforeConnect: Send + Sync {
    /// What to do for this attempt. `attempt` is 0 for the first dial and after a stable
    /// connection; `last_error` is what ended the previous connection, if it failed. When HTTP
    /// 401 or 403 would end the task, this is called once more first: for a new token.
    ///
    /// It may block, though no longer than the dial's `timeout`: then the attempt has failed,
    /// as it has after an error, and what comes later is not heard. It is called on a thread of
    /// its own. While a call is under way for a dial that was given up (the network was lost, the
    /// task was paused), the next dial waits for it to return and then asks again, so that calls
    /// of one task do not overlap. A call that has lasted 2 s, or the dial's `timeout` if that is
    /// shorter, is not waited for: the next one may begin beside it. With four calls that have
    /// not returned the task asks no more until one does, and its attempts fail meanwhile.
    fn before_connect(
        &self,
        attempt: i32,
        last_error: Option<ErrorEvent>,
    ) -> Result<ConnectDecision, ListenerError>;
}

/// What [`BeforeConnect`] answers.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ConnectDecision {
    /// Dial as the options say.
    Proceed,
    /// Dial with these instead; what is absent stays as in the options.
    Change {
        /// Another URL.
        #[uniffi(default)]
        url: Option<String>,
        /// Other headers: all of them.
        #[uniffi(default)]
        header: Option<Vec<Header>>,
        /// Other sub-protocols: all of them.
        #[uniffi(default)]
        protocols: Option<Vec<String>>,
    },
    /// Do not dial; the task is over.
    Stop {
        /// Why; it becomes the error's detail.
        #[uniffi(default)]
        reason: String,
    },
}
