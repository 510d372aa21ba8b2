//! Compresses the messages of a client (RFC 7692, 7.2.1).

use super::TAIL;
#[cfg(test)]
use super::negotiation::Agreement;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

/// zlib's `memLevel`: 28 KB for what is not yet written. With 112 KB, its default, messages of
/// 1 KiB become no smaller, and one of 2 MB by 0.2 %.
const MEM_LEVEL: i32 = 6;

/// The output grows by this much at a time, at most, in bytes.
const STEP: usize = 16 << 10;

pub(crate) struct Compressor {
    /// Made for the first message.
    deflate: Option<Box<Deflate>>,
    level: i32,
    window_bits: u8,
    takes_over: bool,
    /// There is no option yet that turns compression on. With this field no value exists outside
    /// the tests, so that the library does not contain the code.
    #[cfg(not(test))]
    _none: std::convert::Infallible,
}

impl Compressor {
    /// `level`: 0 (no compression) to 9 (the most).
    #[cfg(test)]
    pub(crate) fn new(level: u8, agreement: &Agreement) -> Self {
        Self {
            deflate: None,
            level: i32::from(level.min(9)),
            // zlib makes no raw stream with a window of 256 bytes. With one of 512 it refers to
            // 250 bytes at most: it needs 262 for itself.
            window_bits: agreement.client_max_window_bits.clamp(9, 15),
            takes_over: agreement.client_takes_over,
        }
    }

    /// Compresses a part of a message and appends what can be sent of it to `out`. `is_last`: it
    /// ends the message.
    pub(crate) fn push(&mut self, part: &[u8], is_last: bool, out: &mut Vec<u8>) {
        let deflate = self.deflate.get_or_insert_with(|| {
            Box::new(Deflate::new_with_config(DeflateConfig {
                level: self.level,
                // Negative: without zlib's own header.
                window_bits: -i32::from(self.window_bits),
                mem_level: MEM_LEVEL,
                ..DeflateConfig::default()
            }))
        });
        let start = out.len();
        let flush = if is_last { DeflateFlush::SyncFlush } else { DeflateFlush::NoFlush };
        let mut part = part;
        loop {
            let (len, room) = (out.len(), (part.len() + 64).min(STEP));
            out.resize(len + room, 0);
            let (taken, made) = (deflate.total_in(), deflate.total_out());
            // Errors are those of a caller that goes on after the end of a stream; this one never
            // ends it.
            let result = deflate.compress(part, &mut out[len..], flush);
            debug_assert!(result.is_ok(), "{result:?}");
            part = &part[(deflate.total_in() - taken) as usize..];
            let made = (deflate.total_out() - made) as usize;
            out.truncate(len + made);
            if result.is_err() || (part.is_empty() && made < room) {
                break;
            }
        }
        if is_last {
            if out[start..].ends_with(&TAIL) {
                out.truncate(out.len() - TAIL.len());
            }
            // Nothing at all comes for an empty message after a flush. With the tail, this byte is
            // an empty block (RFC 7692, 7.2.3.6).
            if out.is_empty() {
                out.push(0);
            }
            if !self.takes_over {
                deflate.reset();
            }
        }
    }

    /// Gives back its memory. The next message is compressed without regard to earlier ones.
    pub(crate) fn forget(&mut self) {
        self.deflate = None;
    }

    /// Gives back its memory if nothing in it is of use to the next message.
    pub(crate) fn rest(&mut self) {
        if !self.takes_over {
            self.forget();
        }
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("window_bits", &self.window_bits).finish_non_exhaustive()
    }
}
