//! One dial: name → addresses → TCP → TLS → upgrade. It knows nothing of retries.

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

/// Everything that one dial needs to know, checked already.
#[derive(Clone, Debug)]
pub(crate) struct DialOptions {
    /// Where to.
    pub(crate) target: Target,
    /// What the app adds to the request.
    pub(crate) header: Vec<Header>,
    /// What is offered; the server must choose one of them if there are any.
    pub(crate) protocols: Vec<String>,
    pub(crate) tcp_no_delay: bool,
    /// For all of it.
    pub(crate) timeout: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) tls: TlsSettings,
}

/// What a dial that succeeded brings home.
pub(crate) struct Opened {
    pub(crate) socket: Socket,
    /// The headers of the answer, original case, duplicates kept.
    pub(crate) header: Vec<Header>,
    /// The sub-protocol that the server chose.
    pub(crate) protocol: Option<String>,
    pub(crate) profile: SocketProfile,
}
