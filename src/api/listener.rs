//! The listener of four methods, in the form of the wx API, and the hook before each dial.

use super::error::ListenerError;
use super::event::{CloseEvent, ErrorEvent, MessageEvent, OpenEvent};
use crate::session::Header;

/// Gets all events of a task.
///
/// The methods are called one at a time and in the order of the events, on a thread that does no I/O. A
/// call may block: then the socket of this task is no longer read, and other tasks are not delayed.
/// Every method of the task may be called from inside. An error or a panic is logged and counted;
/// nothing else happens.
///
/// A listener must not own the task, not even through something else: then neither would be freed.
// `foreign` rather than `callback_interface`: Rust keeps it in an `Arc` and may call it
// without holding a lock, and Rust code can implement it too.
#[uniffi::export(foreign)]
pub trait SocketListener: Send + Sync {
    /// Called when a connection is open.
    fn on_open(&self, event: OpenEvent) -> Result<(), ListenerError>;
    /// Called for each message.
    fn on_message(&self, event: MessageEvent) -> Result<(), ListenerError>;
    /// Called when a connection has failed. Its close follows.
    fn on_error(&self, event: ErrorEvent) -> Result<(), ListenerError>;
    /// Called when a connection is over. Without `retry` in the event the task is over, too.
    fn on_close(&self, event: CloseEvent) -> Result<(), ListenerError>;
}

/// Called before every dial, to set a fresh token or another address.
#[uniffi::export(foreign)]
pub trait BeforeConnect: Send + Sync {
    /// Returns how to dial for this attempt. When HTTP 401 or 403 would end the task, this is called once
    /// more first, to get a new token.
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

/// The dial that `before_connect` is called for.
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

/// The answer of `before_connect`.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ConnectDecision {
    /// Dial with the options of the task.
    Proceed,
    /// Dial with these values. An absent one is that of the options.
    Change {
        /// The URL.
        #[uniffi(default)]
        url: Option<String>,
        /// All headers.
        #[uniffi(default)]
        header: Option<Vec<Header>>,
        /// All sub-protocols.
        #[uniffi(default)]
        protocols: Option<Vec<String>>,
    },
    /// Do not dial. The task ends.
    Stop {
        /// The reason. It becomes the `detail` of the error event.
        #[uniffi(default)]
        reason: String,
    },
}
