//! Decompresses the messages of a server (RFC 7692, 7.2.2).

use super::TAIL;
#[cfg(test)]
use super::negotiation::Agreement;
use crate::wire::Violation;
use zlib_rs::{Inflate, InflateFlush, Status};

/// This much is decompressed before the limit is looked at, in bytes.
const STEP: usize = 8 << 10;

pub(crate) struct Decompressor {
    /// Made for the first compressed message.
    inflate: Option<Box<Inflate>>,
    /// Something of the message has come.
    has_begun: bool,
    window_bits: u8,
    takes_over: bool,
    /// There is no option yet that turns compression on. With this field no value exists outside
    /// the tests, so that the library does not contain the code.
    #[cfg(not(test))]
    _none: std::convert::Infallible,
}

impl Decompressor {
    #[cfg(test)]
    pub(crate) fn new(agreement: &Agreement) -> Self {
        Self {
            inflate: None,
            has_begun: false,
            // A server that is to use 256 bytes may use 512, as zlib does not know less, and refer
            // to 250 of them.
            window_bits: agreement.server_max_window_bits.clamp(9, 15),
            takes_over: agreement.server_takes_over,
        }
    }

    /// Decompresses a part of a message, and gives it to `sink` piece by piece, until that fails.
    pub(crate) fn push(
        &mut self,
        part: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        if part.is_empty() {
            return Ok(());
        }
        self.has_begun = true;
        let (mut part, mut out) = (part, [0; STEP]);
        loop {
            let fresh = || Box::new(Inflate::new(false, self.window_bits));
            let inflate = self.inflate.get_or_insert_with(fresh);
            let (taken, made) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(part, &mut out, InflateFlush::SyncFlush)
                .map_err(|_| Violation::NotDeflate)?;
            let taken = (inflate.total_in() - taken) as usize;
            let made = (inflate.total_out() - made) as usize;
            part = &part[taken..];
            sink(&out[..made])?;
            if status == Status::StreamEnd {
                // A server may end the stream (RFC 7692, 7.2.3.4); another one follows.
                self.inflate = None;
            }
            let is_stuck = taken == 0 && made == 0;
            if is_stuck || (part.is_empty() && made < STEP) {
                return Ok(());
            }
        }
    }

    /// Ends a message: gives the rest of it to `sink`.
    pub(crate) fn finish(
        &mut self,
        sink: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        // A stream that has ended with the message needs no tail, and a message of no bytes at all,
        // which should have one, would not take it.
        if std::mem::take(&mut self.has_begun) && self.inflate.is_some() {
            self.push(&TAIL, sink)?;
            self.has_begun = false;
        }
        if !self.takes_over {
            self.inflate = None;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor")
            .field("window_bits", &self.window_bits)
            .finish_non_exhaustive()
    }
}
