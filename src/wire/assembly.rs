//! A message that arrives in parts: a large one, or one in fragments.

use super::utf8::Partial;
use super::violation::Violation;
use crate::session::{Data, Message};
use bytes::buf::{BufMut, Limit};

/// The least memory that a message takes while it arrives.
const FIRST: usize = 256;

/// A read into the message has room for this much, unless its frame ends before.
const MIN_READ: usize = 16 << 10;

/// Where the parts of one message come together.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// Its last part has not arrived.
    is_open: bool,
    is_text: bool,
    text: String,
    /// The start of a character, which belongs at the end of `text`.
    partial: Partial,
    binary: Vec<u8>,
}

impl Assembly {
    /// Begins a message. What is left of the last one is dropped.
    pub(super) fn begin(&mut self, is_text: bool) {
        self.clear();
        self.is_open = true;
        self.is_text = is_text;
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn is_text(&self) -> bool {
        self.is_text
    }

    /// Bytes of the open message that have arrived.
    pub(super) fn len(&self) -> usize {
        match (self.is_open, self.is_text) {
            (false, _) => 0,
            (true, true) => self.text.len() + self.partial.len(),
            (true, false) => self.binary.len(),
        }
    }

    /// Adds a part. `most` is the number of bytes that the message may still bring, `part` included,
    /// if its header tells: no more memory than that is reserved, and no more than about twice
    /// what has arrived.
    pub(super) fn push(&mut self, part: &[u8], most: usize) -> Result<(), Violation> {
        if self.is_text {
            let more = growth(self.text.len(), self.text.capacity(), part.len(), most);
            self.text.reserve_exact(more);
            return self.partial.append(&mut self.text, part).map_err(|_| Violation::TextNotUtf8);
        }
        self.make_room(part.len(), most);
        self.binary.extend_from_slice(part);
        Ok(())
    }

    fn make_room(&mut self, part: usize, most: usize) {
        let more = growth(self.binary.len(), self.binary.capacity(), part, most);
        self.binary.reserve_exact(more);
    }

    /// Where the next bytes of a binary message can be read to without a copy. `frame` is the
    /// number of bytes that its frame may still bring, and `most` that of the message.
    pub(super) fn space(&mut self, frame: usize, most: usize) -> Limit<&mut Vec<u8>> {
        self.make_room(frame.min(MIN_READ), most);
        let room = self.binary.capacity() - self.binary.len();
        (&mut self.binary).limit(room.min(frame))
    }

    /// Ends the message.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        self.is_open = false;
        if self.is_text && self.partial.len() > 0 { Err(Violation::TextNotUtf8) } else { Ok(()) }
    }

    /// The finished message where it lies; `None`: it has more than `most` bytes.
    pub(super) fn small(&self, most: usize) -> Option<Data<'_>> {
        let payload = if self.is_text { self.text.as_bytes() } else { &self.binary };
        (payload.len() <= most).then_some(Data { is_text: self.is_text, payload })
    }

    /// Gives the finished message away.
    pub(super) fn take(&mut self) -> Message {
        if self.is_text {
            let mut text = std::mem::take(&mut self.text);
            if is_wasteful(text.len(), text.capacity()) {
                text.shrink_to_fit();
            }
            return Message::text(text);
        }
        let mut binary = std::mem::take(&mut self.binary);
        if is_wasteful(binary.len(), binary.capacity()) {
            binary.shrink_to_fit();
        }
        Message::binary(binary)
    }

    fn clear(&mut self) {
        self.text.clear();
        self.binary.clear();
        self.partial.clear();
    }

    /// Gives back the memory that no open message needs.
    pub(super) fn rest(&mut self) {
        if !self.is_open {
            *self = Self::default();
        }
    }
}

/// How much to reserve for `part` more bytes. Doubling makes few copies; the end of the message is a
/// bound if it is known, so that a message of one frame ends in memory of its own size.
fn growth(len: usize, capacity: usize, part: usize, most: usize) -> usize {
    if capacity - len >= part {
        return 0;
    }
    let ahead = len.max(FIRST).max(part);
    // A rest that is small beside it is taken in, so that nothing is moved once more for its sake.
    if most <= ahead + ahead / 8 { most.max(part) } else { ahead }
}

/// More than a quarter of the memory would be kept for nothing.
fn is_wasteful(len: usize, capacity: usize) -> bool {
    capacity - len > capacity / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message in very many parts is moved a few times only.
    #[test]
    fn many_parts_make_few_moves() {
        for is_text in [true, false] {
            let mut assembly = Assembly::default();
            assembly.begin(is_text);
            let mut capacities = std::collections::BTreeSet::new();
            for _ in 0..100_000 {
                assert_eq!(assembly.push(b"0123456789", usize::MAX), Ok(()));
                capacities.insert(assembly.text.capacity() + assembly.binary.capacity());
            }
            assert!(capacities.len() <= 13, "{capacities:?}");
        }
    }
}
