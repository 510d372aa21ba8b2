//! permessage-deflate (RFC 7692): messages compressed one by one.
//!
//! [`Offer`] is what the upgrade request says and how the answer is read. A [`Compressor`] and a
//! [`Decompressor`] are made from the [`Agreement`].
//!
//! # Memory
//!
//! Measured: a compressor takes 294 KB, and 165 KB with a window of 512 bytes, as the table in
//! which it looks for matches has one size. A decompressor takes 48 KB, whatever its window. Each
//! is made for the first message that needs it. Without context takeover it is gone after a message; with it,
//! a compressor can still be dropped at any time, for worse compression of the next message: a
//! sender need not refer to what it sent before.

mod compressor;
mod decompressor;
mod negotiation;

pub(super) use {compressor::Compressor, decompressor::Decompressor};
// Until the upgrade makes the offer, only tests do.
#[allow(unused_imports)]
pub(crate) use negotiation::{Agreement, ExtensionRefused, Offer};

/// What ends the payload of every compressed message and is not sent (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
