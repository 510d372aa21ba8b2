//! wxsocket
mod api;
mod ffi;
mod net;
pub mod session;
pub use api::{error::*, event::*, listener::*, options::*, preset::*};
pub use net::SocketProfile;
uniffi::setup_scaffolding!();
