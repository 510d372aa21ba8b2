//! A dial: name lookup, TCP, TLS and upgrade. It knows nothing of retries.

mod connect;
mod key;
mod nat64;
mod profile;
mod resolve;
mod target;
mod tls;
mod transport;
mod upgrade;

pub(crate) use connect::dial;
pub use profile::SocketProfile;
pub(crate) use resolve::network_changed;
#[cfg(feature = "testing")]
pub use resolve::stand_in::set_resolver;
pub(crate) use target::{Target, check_header, check_protocols};
pub(crate) use tls::TlsSettings;
pub(crate) use transport::Transport;

use crate::session::Header;
use crate::wire::{Decoder, Encoder};
use std::time::Duration;

/// An open WebSocket.
pub(crate) struct Socket {
    pub(crate) transport: Transport,
    /// It may have bytes already: those that came with the answer to the upgrade.
    pub(crate) decoder: Decoder,
    pub(crate) encoder: Encoder,
}

/// The options of a dial. They have been checked.
#[derive(Clone, Debug)]
pub(crate) struct DialOptions {
    /// The host, port and path.
    pub(crate) target: Target,
    /// The headers that the app adds to the upgrade request.
    pub(crate) header: Vec<Header>,
    /// The sub-protocols that are offered. If there are any, the server must choose one of them.
    pub(crate) protocols: Vec<String>,
    pub(crate) tcp_no_delay: bool,
    /// The time limit of the whole dial.
    pub(crate) timeout: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) tls: TlsSettings,
}

/// The result of a dial that has succeeded.
pub(crate) struct Opened {
    pub(crate) socket: Socket,
    /// The headers of the server's answer, in their order and case, with duplicates.
    pub(crate) header: Vec<Header>,
    /// The sub-protocol that the server chose.
    pub(crate) protocol: Option<String>,
    pub(crate) profile: SocketProfile,
}
