//! All code that has `unsafe` or uses UniFFI's internals.
#![allow(unsafe_code)]

mod bytes;
mod clock;
mod hot;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod jumps;
mod kernel;

pub(crate) use clock::since_boot;
pub(crate) use hot::take_dropped;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use jumps::ClockJumps;
pub(crate) use kernel::{limit_unsent, unacknowledged};
