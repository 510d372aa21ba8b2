//! What goes into the machine and what comes out of it.

use super::failure::Failure;
use super::network::NetworkStatus;
use bytes::Bytes;
use std::time::Duration;

/// A WebSocket message: text stays text and bytes stay bytes, empty ones included.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
#[cfg_attr(feature = "testing", derive(serde::Deserialize), serde(rename_all = "camelCase"))]
pub enum Message {
    /// A text message.
    Text {
        /// The text.
        text: String,
    },
    /// A binary message.
    Binary {
        /// The bytes.
        bytes: Bytes,
    },
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary { bytes: bytes.into() }
    }

    /// Length of the payload in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text { text } => text.len(),
            Self::Binary { bytes } => bytes.len(),
        }
    }

    /// True when the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message where it lies.
    pub fn data(&self) -> Data<'_> {
        match self {
            Self::Text { text } => Data { is_text: true, payload: text.as_bytes() },
            Self::Binary { bytes } => Data { is_text: false, payload: bytes },
        }
    }
}

/// A message that nobody owns yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// Text, which is valid UTF-8, or binary.
    pub is_text: bool,
    /// Its content.
    pub payload: &'a [u8],
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::binary(bytes)
    }
}

/// Something that happened outside the machine. Whatever concerns a dial names its number, and
/// whatever concerns an open connection its epoch; what comes from an older one is ignored.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start: dial, unless something holds the task back.
    Connect,
    /// The app asks to end the task. Code and reason are valid already
    /// ([`check_close`](super::check_close)).
    Close {
        /// 1000 or 3000 to 4999.
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
    /// The dial has passed a step: `beforeConnect` has answered, the name is looked up, the TCP
    /// connection is made, the TLS handshake is done.
    DialProgress {
        /// The dial's number.
        dial: u64,
    },
    /// The dial ended in an open WebSocket.
    Opened {
        /// The dial's number.
        dial: u64,
    },
    /// The dial failed.
    DialFailed {
        /// The dial's number.
        dial: u64,
        /// What is known of it.
        failure: Failure,
    },
    /// `beforeConnect` says that there is no point in dialling: the task is over.
    GiveUp {
        /// The dial's number.
        dial: u64,
        /// Why.
        failure: Failure,
    },
    /// A data message arrived.
    Received {
        /// The connection.
        epoch: u64,
        /// The message.
        message: Message,
    },
    /// A sign of life that is no message: bytes have arrived, of a protocol Ping (the driver has
    /// answered it), or of a message that is not whole yet.
    Alive {
        /// The connection.
        epoch: u64,
    },
    /// A protocol Pong arrived.
    Ponged {
        /// The connection.
        epoch: u64,
        /// What it carries: a Ping's payload sent back.
        payload: Bytes,
    },
    /// The peer's close frame arrived.
    CloseReceived {
        /// The connection.
        epoch: u64,
        /// Its code; none when the frame was empty.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// The open connection broke. An end without a close frame is
    /// [`ErrorKind::ConnectionLost`](super::ErrorKind::ConnectionLost).
    Failed {
        /// The connection.
        epoch: u64,
        /// What is known of it.
        failure: Failure,
    },
    /// Everything handed out by [`poll_transmit`](super::Session::poll_transmit) is written: the
    /// kernel has it.
    Flushed,
    /// A part of what was handed out is written.
    Written {
        /// The connection.
        epoch: u64,
        /// Messages of the app that are wholly written now and were not before.
        messages: usize,
        /// Bytes of payload of the app's messages, those of a message that is written in part
        /// included.
        payload: usize,
        /// True: the heartbeat that was handed out is written, and nothing behind it is.
        heartbeat: bool,
    },
    /// How far our bytes have come. Of use while an answer is awaited
    /// ([`watches_progress`](super::Session::watches_progress)): at each attempt to write, before
    /// [`Flushed`](Self::Flushed), and before
    /// [`handle_timeout`](super::Session::handle_timeout).
    Progress {
        /// The connection.
        epoch: u64,
        /// Bytes of the connection that our kernel has taken, those of the handshake included.
        written: u64,
        /// How many of them the peer's kernel has acknowledged; `None`: the system does not tell.
        acknowledged: Option<u64>,
    },
    /// Reading has stopped because the listener is slow (true), or goes on (false).
    ReadPaused(bool),
    /// So many events wait for the app that no dial may begin (true), or no longer (false). A dial
    /// under way goes on.
    Crowded(bool),
    /// What the operating system knows of the network has changed.
    Network(NetworkStatus),
    /// The app came to the foreground (true) or left it (false).
    Foreground(bool),
    /// The operating system suspends the app soon: the grace in the background, if it is
    /// running, ends now.
    GraceOver,
    /// Hang up and stay away until [`Resume`](Self::Resume).
    Pause,
    /// Undo [`Pause`](Self::Pause).
    Resume,
    /// Stop waiting: dial now, with a fresh counter, unless the task is
    /// [`Crowded`](Self::Crowded). A dial without progress for 2 s is begun again.
    ReconnectNow,
    /// The device has slept. It comes before any other input and before
    /// [`handle_timeout`](super::Session::handle_timeout).
    Woke {
        /// For how long: the times that the session is told include this time.
        slept: Duration,
    },
}

/// Something that the machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Dial for the connection `epoch`. At most one dial is asked for at a time: when another
    /// one is asked for while a dial of the same connection is under way, an
    /// [`Abort`](Self::Abort) comes before it.
    Dial {
        /// The new connection.
        epoch: u64,
        /// The dial's number, by which its result is told; no two have the same.
        dial: u64,
        /// Attempts used since the last stable connection; 0 the first time.
        attempt: u32,
        /// What ended the previous connection, if it failed.
        last_failure: Option<Failure>,
    },
    /// Drop the dial or the TCP connection of `epoch` now, without ceremony (RST).
    Abort {
        /// The connection.
        epoch: u64,
    },
    /// Let go of `epoch` politely: write a close frame with this code (the answer to the
    /// peer's, when it is `None`), wait a moment for the end, then drop it. The machine
    /// hears nothing more of it.
    HangUp {
        /// The connection.
        epoch: u64,
        /// What to say; `None` when the close frame is already answered.
        close: Option<(u16, String)>,
    },
    /// Tell the app.
    Emit(Event),
}

/// Something to write to the open connection, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// A message of the app.
    Message(Message),
    /// A greeting, or a heartbeat that is a message: of no use on another connection.
    Own(Message),
    /// A protocol Ping.
    Ping(Bytes),
    /// The close frame; nothing follows it.
    Close {
        /// The code.
        code: u16,
        /// The reason.
        reason: String,
    },
}

/// What the app is told. Per epoch: at most one `Open`, messages, at most one `Error`, then
/// exactly one `Close`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The connection is open.
    Open {
        /// The connection.
        epoch: u64,
        /// Attempts used since the last stable connection.
        attempt: u32,
        /// Queued messages that grew too old to be sent.
        unsent: Vec<Message>,
    },
    /// A message arrived.
    Message {
        /// The connection.
        epoch: u64,
        /// The message.
        message: Message,
    },
    /// The connection failed; its `Close` follows.
    Error {
        /// The connection.
        epoch: u64,
        /// Why.
        failure: Failure,
    },
    /// The connection is over.
    Close {
        /// The connection.
        epoch: u64,
        /// The close code (RFC 6455, 7.4).
        code: u16,
        /// The reason, perhaps empty.
        reason: String,
        /// Both sides sent a close frame.
        was_clean: bool,
        /// What comes next; `None` is final.
        retry: Option<Retry>,
        /// At a final close: what was accepted and never sent.
        unsent: Vec<Message>,
    },
}

/// The attempt that will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Its number: 1 is the first after a stable connection.
    pub attempt: u32,
    /// The limit, if there is one.
    pub max: Option<u32>,
    /// How long until then; `None` while the task is suspended.
    pub delay: Option<Duration>,
}

/// What became of a message that was sent.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum SendOutcome {
    /// Handed to the open connection.
    Sent,
    /// Kept for the next open.
    Queued {
        /// Older messages that gave way or grew too old; they will not be sent.
        dropped: Vec<Message>,
    },
    /// The queue is full and its policy is to drop the newest: not kept.
    Dropped,
}

/// Why a message was not accepted. It was not kept; nothing else changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendRefused {
    /// The task is closing or closed.
    NotConnected,
    /// The queue has no room.
    QueueFull,
}
