//! wxsocket
mod api;
mod driver;
mod ffi;
mod net;
pub mod session;
pub use api::*;
pub use net::SocketProfile;
pub use session::{
    ErrorKind, Header, Message, OverflowPolicy, ReadyState, ReplyMatch, SendOutcome,
};
uniffi::setup_scaffolding!();
