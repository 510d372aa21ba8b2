//! A reconnecting WebSocket client engine.

#[cfg(feature = "testing")]
pub mod testing;
