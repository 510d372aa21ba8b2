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
//! # Layers
//!
//! ```text
//!  api      SocketTask, ConnectOptions, events, errors, listeners: what every language sees
//!   ↑
//!  driver   one run loop per task on one shared runtime; delivery on threads of its own
//!   ↑
//!  net      one dial: name → addresses → TCP → TLS → upgrade; knows nothing of retries
//!   ↑
//!  session  pure state machine: no socket, no clock, no thread, no randomness of its own
//! ```
//!
//! The session decides, the driver carries out, the net dials, the api names.
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

mod api;
mod driver;
mod ffi;
mod net;
pub mod session;
#[cfg(feature = "testing")]
pub mod testing;
mod wire;

pub use api::*;
pub use net::SocketProfile;
pub use session::{
    ErrorKind, Header, HeartbeatPayload, Message, NetworkKind, NetworkStatus, OverflowPolicy,
    ReadyState, ReplyMatch, SendOutcome,
};

uniffi::setup_scaffolding!();
