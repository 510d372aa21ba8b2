//! A WebSocket that stays alive on a phone.
//!
//! One engine behind the mini-program ("wx") socket API: it dials, reconnects, beats, queues
//! and closes the same way for Rust, Kotlin and Swift.
//!
//! ```no_run
//! use wxsocket::{ConnectOptions, SocketEvent, connect_socket};
//!
//! let task = connect_socket(ConnectOptions::new("wss://echo.example.com"), None, None)?;
//! task.send("hello")?; // kept until the connection is open
//! for event in &*task.events() {
//!     match event {
//!         SocketEvent::Open { event } => println!("open after {} ms", event.profile.cost),
//!         SocketEvent::Message { event } => println!("{:?}", event.data),
//!         SocketEvent::Error { event } => println!("{} {}", event.err_code, event.err_msg),
//!         SocketEvent::Close { event } => println!("{} {:?}", event.code, event.retry),
//!     }
//! }
//! # Ok::<(), wxsocket::WxError>(())
//! ```
//!
//! # The life of a task
//!
//! A task lives through many connections, numbered by `epoch`. Per epoch there is at most one
//! open, then messages, then at most one error, then exactly one close; a close without
//! `retry` ends the task. See [`SocketEvent`].
//!
//! ```text
//!               ┌────────── retry is due ──────────┐
//!               ▼                                  │
//!  connect ─▶ Connecting ──── fails ──────────▶ Waiting ◀─┐
//!               │    ▲                             │      │ drop, heartbeat
//!          opens│    └ network, foreground, ── Suspended  │ lost, close frame
//!               ▼      resume                   ▲ offline,│
//!             Open ─────────────────────────────┴ paused ─┘
//!               │ close()                  limit, stop list
//!               ▼                                  │
//!            Closing ──── answered or timeout ──▶ Closed
//! ```
#![doc = ""]
#![doc = include_str!("architecture.md")]

mod api;
mod driver;
mod ffi;
mod net;
pub mod session;
#[cfg(feature = "testing")]
pub mod testing;
mod wire;

pub use api::{
    AttemptLimit, BackgroundPolicy, BeforeConnect, CloseEvent, ConnectDecision, ConnectOptions,
    ConnectRequest, ErrorEvent, EventStream, HeartbeatOptions, ListenerError, LogLevel, LogSink,
    MessageEvent, Millis, OpenEvent, Preset, QueueOptions, ReconnectDelay, ReconnectOptions,
    RetryInfo, SocketEvent, SocketListener, SocketState, SocketStats, SocketTask, TlsOptions,
    WxError, connect_socket, set_logger,
};
pub use net::SocketProfile;
pub use session::{
    ErrorKind, Header, HeartbeatPayload, Message, NetworkKind, NetworkStatus, OverflowPolicy,
    ReadyState, ReplyMatch, SendOutcome,
};

/// What the layers of other languages are built on: the events of many tasks on a few threads,
/// messages many at a time, listeners that come and go. A Rust app needs none of it.
///
/// [`SocketTask`] has methods for the same purpose, which its docs leave out.
pub mod layers {
    pub use crate::api::{
        BatchListener, SocketWatcher, TaskNews, Turn, TurnEvent, end_turn, next_turn,
        refuse_message, take_dropped, wake_task,
    };
}

uniffi::setup_scaffolding!();
