//! Messages and frames of a WebSocket client (RFC 6455): bytes in, messages out, and back. Pure:
//! no socket, no clock, no thread, no randomness of its own.
//!
//! The [`Decoder`] has the bytes that the caller reads, and gives out one [`Event`] after the
//! other. The [`Encoder`] takes messages and has the bytes that the caller writes. Neither answers
//! by itself: the caller pushes the Pong, and the close frame.
//!
//! # How a caller uses it
//!
//! Reading, when the socket may have something, with a buffer that all connections of a thread
//! share:
//!
//! ```text
//! decoder.lend(buffer)
//! loop:
//!     while let Some(event) = decoder.next():
//!         Data        small: copy it into the run for the app
//!         Message     large: hand it over
//!         Ping        encoder.push_pong(payload)
//!         Pong, Close tell the session; after Close nothing follows
//!         violation   encoder.push_close(Some(violation.close_code()), ""); nothing follows
//!     match socket.read_buf(&mut decoder.space()):
//!         some bytes  they are a sign of life, whatever they are
//!         end         the connection is lost
//!         not ready   break
//! buffer = decoder.rest()
//! ```
//!
//! Writing, when there is something to say or the socket is writable:
//!
//! ```text
//! loop:
//!     while encoder.has_room() and there is a message: encoder.push(message, origin)
//!     if not encoder.is_pending(): break
//!     match socket.write(encoder.pending()):
//!         n bytes     encoder.advance(n): tell the session what is written
//!         not ready   break
//! socket.flush()
//! encoder.rest()
//! ```
//!
//! While a large message is on its way, `has_room` is false, and Pings, Pongs and the close frame
//! can be pushed: they are written after the fragment that is under way. When the connection is
//! lost, `encoder.withdraw()` has the messages that were never begun.
//!
//! `tests::turn` does all this in memory.
//!
//! # Memory
//!
//! Between turns a decoder keeps the part of a frame or message that has arrived, and nothing
//! else. An encoder keeps at most 1 KiB of buffer, and what is not written. What is reserved for a
//! message is about twice what has arrived of it, whatever its header says. With
//! permessage-deflate there is more: see [`deflate`].

mod assembly;
mod close;
mod decoder;
// Not used outside the tests until there is an option that turns compression on.
#[allow(dead_code)]
mod deflate;
mod encoder;
mod header;
mod mask;
mod utf8;
mod violation;

#[cfg(test)]
mod tests;
#[cfg(test)]
use {decoder::READ_BUFFER, encoder::FRAGMENT};

pub(crate) use {
    decoder::{Decoder, Event, MAX_SMALL},
    encoder::{Encoder, Origin, Written},
    violation::Violation,
};

// Not used outside the tests until there is an option that turns compression on.
#[allow(unused_imports)]
pub(crate) use deflate::{Agreement, ExtensionRefused, Offer};
