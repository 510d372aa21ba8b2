//! The scripted server: a WebSocket server that misbehaves on command.
//!
//! A client that reconnects is only as good as the failures it was tried against. This server
//! produces them for real, on a real loopback socket: it refuses, hangs, answers with an HTTP
//! error, upgrades wrongly, resets, goes silent, floods, sends garbage, and comes back. It records
//! what it saw, so that a test can assert on it, and lets a test wait for what it expects to
//! happen instead of sleeping.
//!
//! ```
//! use std::time::Duration;
//! use wxsocket::testing::{Script, ScriptedServer};
//!
//! // The first connection is answered 503, every later one echoes until its third message.
//! let script = Script::parse(
//!     r#"[{"handshake": {"status": 503, "headers": [["Retry-After", "1"]], "body": "busy"}},
//!         {"rules": [{"on": {"messages": 3}, "do": "drop"}]}]"#,
//! )?;
//! let server = ScriptedServer::start(script)?;
//! println!("dial {}", server.url());
//! assert!(!server.wait_open(1, Duration::from_millis(10)), "nobody dialled");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a script is played
//!
//! The n-th accepted connection plays the n-th [`ConnectionScript`]; the last one repeats for
//! ever. An empty script is a plain echo server that answers heartbeats. Within a connection the
//! [`Handshake`] comes first; then the server echoes, answers heartbeats and pings, and runs the
//! actions of each [`Rule`] whose [`Trigger`] fires. The rule for a message runs after its echo.
//!
//! # Bounds
//!
//! A client frame (or a message put together from fragments) may have up to 64 MiB, a request
//! head up to 64 KiB and 100 headers. What is kept of the traffic is bounded too: see [`SeenConnection`].

mod connection;
mod frame;
mod handshake;
mod listener;
mod outbuf;
mod peer;
mod player;
mod record;
mod script;
mod script_serde;
mod seen;
mod server;

pub use crate::driver::device_sleep;
pub use crate::net::set_resolver;
pub use record::Snapshot;
pub use script::{
    Action, ConnectionScript, Handshake, Payload, ProtocolAnswer, Rule, Script, ScriptError,
    StatusAnswer, Trigger, Upgrade,
};
pub use seen::{SeenConnection, SeenEnd, SeenFrame, SeenFrameKind};
pub use server::ScriptedServer;
