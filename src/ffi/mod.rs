//! The few lines that UniFFI's internals or `unsafe` need, each with its reason.
#![allow(unsafe_code)]

mod bytes;
mod clock;
mod hot;
mod kernel;

pub(crate) use clock::since_boot;
pub(crate) use hot::take_dropped;
pub(crate) use kernel::{limit_unsent, unacknowledged};
