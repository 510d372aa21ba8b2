//! Where a task is in its life.

use std::time::Instant;

/// The phase of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not asked to connect yet.
    Idle,
    /// Dialling or shaking hands.
    Connecting,
    /// Between attempts.
    Waiting {
        /// When the next one is due.
        due: Instant,
    },
    /// No attempt is due: offline, paused, in the background, or the app has not heard enough of
    /// what happened before.
    Suspended,
    /// Open.
    Open {
        /// Since when.
        since: Instant,
    },
    /// The app asked to close; the close frame is sent or about to be, the answer awaited.
    Closing,
    /// Final.
    Closed,
}

/// The WebSocket API's `readyState`. A task between two connections is `Connecting`:
/// `Closed` is final, and callers who see it open a second socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, uniffi::Enum)]
#[repr(u8)]
pub enum ReadyState {
    /// Not open yet, or not open again yet.
    Connecting = 0,
    /// Open.
    Open = 1,
    /// The app asked to close.
    Closing = 2,
    /// Final.
    Closed = 3,
}

impl Phase {
    /// The phase as the WebSocket API sees it.
    pub fn ready_state(self) -> ReadyState {
        match self {
            Self::Idle | Self::Connecting | Self::Waiting { .. } | Self::Suspended => {
                ReadyState::Connecting
            }
            Self::Open { .. } => ReadyState::Open,
            Self::Closing => ReadyState::Closing,
            Self::Closed => ReadyState::Closed,
        }
    }
}

/// What keeps a task from dialling.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holds {
    pub(super) offline: bool,
    pub(super) paused: bool,
    /// In the background with the grace used up.
    pub(super) background: bool,
    /// So many events wait for the app that no connection may add any.
    pub(super) crowded: bool,
}

impl Holds {
    pub(super) fn any(self) -> bool {
        self.crowded || self.forbids_any()
    }

    /// True when a connection, or a dial under way, may not even go on.
    pub(super) fn forbids_any(self) -> bool {
        self.offline || self.paused || self.background
    }
}
