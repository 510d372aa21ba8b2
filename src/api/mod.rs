//! What every language sees.
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod listener;
pub(crate) mod options;
pub(crate) mod preset;
pub(crate) mod resolve;
