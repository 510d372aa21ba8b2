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
    /// Answers what to do for this attempt. When HTTP 401 or 403 would end the task, it is asked
    /// once more first: for a new token.
    ///
    /// It may block for as long as the dial's `timeout`. After that, and after an error or a
    /// panic, the attempt has failed. It is called on a thread of its own; calls for one task do
    /// not overlap, except that a call which has not returned 2 s after it began and is no longer
    /// wanted does not hold up the next one. With four calls that have not returned the task asks
    /// no more until one does.
    fn before_connect(&self, request: ConnectRequest) -> Result<ConnectDecision, ListenerError>;

    /// Tells that no answer is wanted any more to the requests up to this number: their dial was
    /// given up, they took too long, or the task is over. It is called on a thread of its own,
    /// perhaps before `before_connect` is called with that number.
    fn withdraw(&self, number: i64) -> Result<(), ListenerError>;
}

/// What [`BeforeConnect`] is asked.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct ConnectRequest {
    /// The request's number in its task, from 1.
    pub number: i64,
    /// The connection that the dial is for. A dial that is begun again asks again.
    pub epoch: i64,
    /// Attempts used since the last stable connection; 0 for the first dial.
    pub attempt: i32,
    /// What ended the previous connection, if it failed.
    pub last_error: Option<ErrorEvent>,
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
