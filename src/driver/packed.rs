//! Small messages many at a time: one run of bytes from the socket to the app.
//!
//! A message of 32 bytes that is a value of its own costs an allocation, a release on another
//! thread, and six moves of an event on its way: some 0.15 µs, twice what the protocol itself
//! takes. In one run it costs a copy.

use crate::session::{Data, Message};
use crate::wire::MAX_SMALL;
use bytes::Bytes;
use std::cell::RefCell;

/// A run of this many bytes takes no more.
const MAX_RUN: usize = 64 << 10;

/// Before each payload: a byte (0: text, 1: binary), and the payload's length as a big-endian
/// 32-bit number.
const HEAD: usize = 5;

thread_local! {
    /// Where a run grows; kept, so that the run itself is one allocation of the right size.
    static GROWING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Messages of one connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) epoch: u64,
    count: usize,
    bytes: Bytes,
}

impl Packed {
    /// How many messages.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Their payloads, together.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.count * HEAD
    }

    /// The memory that they take, in bytes. Empty messages take some too.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The run itself.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Drops those that `keep` does not want.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(Data<'_>) -> bool) {
        let (mut kept, mut count, mut at) = (None::<Vec<u8>>, 0, 0);
        for data in parts(&self.bytes) {
            if keep(data) {
                count += 1;
                if let Some(kept) = &mut kept {
                    append(kept, data);
                }
            } else if kept.is_none() {
                kept = Some(self.bytes[..at].to_vec());
            }
            at += HEAD + data.payload.len();
        }
        if let Some(kept) = kept {
            self.count = count;
            // Of the right size: what is left of 64 KiB may be one byte, and a mailbox counts
            // that byte.
            self.bytes = Bytes::copy_from_slice(&kept);
        }
    }

    /// Splits off the first `count` messages; there are more.
    pub(crate) fn split_to(&mut self, count: usize) -> Self {
        let size = parts(&self.bytes).take(count).map(|data| HEAD + data.payload.len()).sum();
        self.count -= count;
        Self { epoch: self.epoch, count, bytes: self.bytes.split_to(size) }
    }

    /// The messages, each on its own.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message> {
        parts(&self.bytes).map(|data| {
            if data.is_text {
                // The protocol has checked it; this is the way without `unsafe`.
                let text = String::from_utf8(data.payload.to_vec());
                Message::text(text.unwrap_or_default())
            } else {
                Message::from(data.payload)
            }
        })
    }
}

fn parts(mut rest: &[u8]) -> impl Iterator<Item = Data<'_>> {
    std::iter::from_fn(move || {
        let (&[kind, a, b, c, d], tail) = rest.split_first_chunk()?;
        let (payload, tail) = tail.split_at_checked(u32::from_be_bytes([a, b, c, d]) as usize)?;
        rest = tail;
        Some(Data { is_text: kind == 0, payload })
    })
}

fn append(run: &mut Vec<u8>, data: Data<'_>) {
    debug_assert!(data.payload.len() <= MAX_SMALL, "too large for a run");
    let [a, b, c, d] = (data.payload.len() as u32).to_be_bytes();
    run.extend_from_slice(&[u8::from(!data.is_text), a, b, c, d]);
    run.extend_from_slice(data.payload);
}

/// Collects what one look at the socket brings. One at a time on each thread.
pub(super) struct Packer {
    epoch: u64,
    count: usize,
    run: Vec<u8>,
}

impl Packer {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, count: 0, run: GROWING.take() }
    }

    /// Adds a message, of at most [`MAX_SMALL`] bytes: a larger one goes by itself, packing it would
    /// only copy it once more. True: this run is long enough.
    pub(super) fn push(&mut self, data: Data<'_>) -> bool {
        append(&mut self.run, data);
        self.count += 1;
        self.run.len() >= MAX_RUN
    }

    /// What has come together, if anything.
    pub(super) fn take(&mut self) -> Option<Packed> {
        let count = std::mem::take(&mut self.count);
        let packed = (count > 0).then(|| Packed {
            epoch: self.epoch,
            count,
            bytes: Bytes::copy_from_slice(&self.run),
        });
        self.run.clear();
        packed
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.run.clear();
        GROWING.set(std::mem::take(&mut self.run));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::driver) fn packed(messages: &[Message]) -> Packed {
        let mut packer = Packer::new(7);
        for message in messages {
            assert!(!packer.push(message.data()));
        }
        packer.take().expect("not empty")
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let messages =
            ["é".into(), "".into(), Message::from(&[0xff, 0][..]), Message::from(vec![])];
        let mut packed = packed(&messages);
        assert_eq!((packed.epoch, packed.count(), packed.len()), (7, 4, 4));
        assert_eq!(packed.messages().collect::<Vec<_>>(), messages);

        let first = packed.split_to(1);
        assert_eq!((first.count(), first.len()), (1, 2));
        assert_eq!(first.messages().collect::<Vec<_>>(), messages[..1]);
        assert_eq!(packed.messages().collect::<Vec<_>>(), messages[1..]);

        packed.retain(|data| !data.payload.is_empty());
        assert_eq!((packed.count(), packed.len()), (1, 2));
        assert_eq!(packed.messages().collect::<Vec<_>>(), messages[2..3]);
    }

    #[test]
    fn what_is_dropped_takes_no_memory() {
        let large = Message::from(vec![1; MAX_SMALL]);
        let mut packed = packed(&["a".into(), large.clone(), large, "b".into()]);
        packed.retain(|data| data.is_text);
        assert_eq!(packed.messages().collect::<Vec<_>>(), ["a".into(), "b".into()]);
        let bytes = packed.into_bytes().try_into_mut().expect("nobody else's");
        assert!(bytes.capacity() < 100, "{}", bytes.capacity());
    }

    #[test]
    fn a_run_has_an_end_and_the_next_one_is_empty() {
        let mut packer = Packer::new(1);
        let large = vec![1; MAX_SMALL];
        let mut count = 1;
        while !packer.push(Data { is_text: false, payload: &large }) {
            count += 1;
        }
        assert_eq!(count, MAX_RUN.div_ceil(MAX_SMALL + HEAD));
        assert_eq!(packer.take().expect("not empty").count(), count);
        assert_eq!(packer.take(), None);
        drop(packer);
        assert_eq!(Packer::new(1).take(), None);
    }
}
