//! Messages and control frames in, masked frames out.

#[cfg(test)]
use super::deflate::Agreement;
use super::deflate::Compressor;
use super::header::{self, MAX_CONTROL, Opcode};
use super::mask::{self, MaskKeys};
use crate::session::Message;
use std::collections::VecDeque;

/// The largest payload of a frame of data, in bytes. A larger message goes in fragments of this
/// size. With its header of 8 bytes such a frame fills two TLS records (16 KiB each). A control
/// frame waits for one of them: 33 ms at 1 MB/s, 0.3 s at 100 KB/s. A smaller one would cost more
/// system calls, and a larger one would wait longer than what the kernel has not sent (64 KiB).
pub(crate) const FRAGMENT: usize = (32 << 10) - 8;

/// While so many bytes wait to be written, nothing more is taken: a system call for this much
/// costs little for each byte, and no more than this and one frame is in the way of a control
/// frame.
const FULL: usize = 32 << 10;

/// So many messages at most wait to be written. Each needs memory beside its bytes: 64 bytes.
const MAX_MESSAGES: usize = 512;

/// One fragment is made of at most this much, in bytes, however well it compresses, unless nothing
/// has come out of it yet: some 5 ms of work for a phone.
const MAX_COMPRESSED: usize = 256 << 10;

/// A buffer of this size is kept while nothing is sent, in bytes.
const KEPT: usize = 1 << 10;

/// The list of messages is kept while nothing is sent if it has room for no more than these.
const KEPT_MESSAGES: usize = 4;

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The app's: it counts as buffered until it is written, and it comes back from
    /// [`Encoder::withdraw`].
    App,
    /// The engine's own, as a heartbeat or a greeting: it is of no use on another connection.
    Engine,
}

/// What the system has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Messages of the app that are wholly written now and were not before.
    pub(crate) messages: usize,
    /// Bytes of payload of the app's messages, those of a message in fragments included.
    pub(crate) payload: usize,
}

/// A message that is not wholly written.
#[derive(Debug)]
struct Outgoing {
    message: Message,
    origin: Origin,
    /// Where its first frame begins, in bytes since the connection began; `None`: no frame of it
    /// is made.
    begin: Option<u64>,
    /// Where its last frame ends; `None`: fragments of it are still to be made.
    end: Option<u64>,
    /// Its payload that is counted as written.
    counted: usize,
}

/// The fragments of one message.
#[derive(Debug)]
struct Fragments {
    /// The next one is the first.
    is_first: bool,
    is_compressed: bool,
    /// Payload of the message that is in frames, or compressed.
    framed: usize,
    /// Where the newest frame ends, in bytes since the connection began.
    end: u64,
}

/// Makes payloads smaller (RFC 7692).
#[derive(Debug)]
struct Compression {
    compressor: Compressor,
    /// Smaller messages go as they are, in bytes.
    threshold: usize,
    /// What is compressed and not in a frame.
    ready: Vec<u8>,
}

/// Makes the frames of a client (RFC 6455, 5). What was taken is written in order, but control
/// frames go between the fragments of a message.
///
/// A turn of the caller: [`push`](Self::push) messages while there [is room](Self::has_room),
/// write [`pending`](Self::pending) and tell [`advance`](Self::advance) how much was taken, until
/// nothing is pending; then [`rest`](Self::rest).
#[derive(Debug)]
pub(crate) struct Encoder {
    /// Frames. It always ends at the end of one, which is why a control frame can be added at any
    /// time.
    out: Vec<u8>,
    /// Bytes of `out` that are written.
    written: usize,
    /// Bytes written since the connection began.
    total: u64,
    /// Oldest first.
    messages: VecDeque<Outgoing>,
    /// Of the newest message, while it has fragments to come.
    fragments: Option<Fragments>,
    /// Waits for room.
    pong: Option<Vec<u8>>,
    keys: MaskKeys,
    /// Present when permessage-deflate is agreed on.
    compression: Option<Compression>,
    /// The close frame is in `out`.
    closed: bool,
}

impl Encoder {
    /// `seed`: 32 bytes from the system's source of randomness, never used before.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            out: Vec::new(),
            written: 0,
            total: 0,
            messages: VecDeque::new(),
            fragments: None,
            pong: None,
            keys: MaskKeys::new(seed),
            compression: None,
            closed: false,
        }
    }

    /// From now on compresses messages of at least `threshold` bytes, at `level` 0 to 9.
    #[cfg(test)]
    pub(crate) fn compress(&mut self, agreement: &Agreement, level: u8, threshold: usize) {
        let compressor = Compressor::new(level, agreement);
        self.compression = Some(Compression { compressor, threshold, ready: Vec::new() });
    }

    /// True: another message is taken. False: something must be written first, or the close frame
    /// is on its way.
    pub(crate) fn has_room(&self) -> bool {
        !self.closed
            && self.fragments.is_none()
            && self.waiting() < FULL
            && self.messages.len() < MAX_MESSAGES
    }

    /// Takes a message, or gives it back if there is no [room](Self::has_room).
    pub(crate) fn push(&mut self, message: Message, origin: Origin) -> Result<(), Message> {
        if !self.has_room() {
            return Err(message);
        }
        self.make_way();
        self.release_pong();
        let data = message.data();
        let (position, len) = (self.position(), data.payload.len());
        let compression = self.compression.as_mut();
        let compression = compression.filter(|compression| len >= compression.threshold);
        let (begin, end) = if len <= FRAGMENT {
            let (key, opcode) = (self.keys.next(), opcode(data.is_text));
            if let Some(Compression { compressor, ready, .. }) = compression {
                compressor.push(data.payload, true, ready);
                frame(&mut self.out, (true, true), opcode, ready, key);
                ready.clear();
            } else {
                frame(&mut self.out, (true, false), opcode, data.payload, key);
            }
            (Some(position), Some(self.position()))
        } else {
            // The first of them is made when everything before it is written.
            self.fragments = Some(Fragments {
                is_first: true,
                is_compressed: compression.is_some(),
                framed: 0,
                end: position,
            });
            (None, None)
        };
        self.messages.push_back(Outgoing { message, origin, begin, end, counted: 0 });
        Ok(())
    }

    /// Adds a Ping, of at most 125 bytes. It is not bounded: whoever asks waits for the answer.
    pub(crate) fn push_ping(&mut self, payload: &[u8]) {
        self.push_control(Opcode::Ping, payload);
    }

    /// Adds the answer to a Ping, of at most 125 bytes. If there is no room for it, it takes the
    /// place of an older one that waits, which RFC 6455, 5.5.3 allows: a server that asks without
    /// reading must not fill the memory.
    pub(crate) fn push_pong(&mut self, payload: &[u8]) {
        if self.waiting() < FULL + FRAGMENT && self.pong.is_none() {
            self.push_control(Opcode::Pong, payload);
        } else if !self.closed {
            self.pong = Some(payload.to_vec());
        }
    }

    /// Adds the close frame; nothing is taken after it. The message whose fragments are being
    /// written, if there is one, is cut off: nobody waits for the rest of it. A code of `None`
    /// makes an empty frame. The reason has at most 123 bytes, or its end is cut off.
    pub(crate) fn push_close(&mut self, code: Option<u16>, reason: &str) {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend_from_slice(&code.to_be_bytes());
            let fits = (0..=MAX_CONTROL - 2).rev().find(|end| reason.is_char_boundary(*end));
            let reason = fits.and_then(|end| reason.get(..end)).unwrap_or(reason);
            payload.extend_from_slice(reason.as_bytes());
        }
        self.push_control(Opcode::Close, &payload);
        self.closed = true;
        self.pong = None;
    }

    fn push_control(&mut self, opcode: Opcode, payload: &[u8]) {
        debug_assert!(payload.len() <= MAX_CONTROL, "a control frame of more than 125 bytes");
        if self.closed {
            return;
        }
        self.make_way();
        let payload = &payload[..payload.len().min(MAX_CONTROL)];
        let key = self.keys.next();
        frame(&mut self.out, (true, false), opcode, payload, key);
    }

    /// What has to be written next; empty: everything is.
    pub(crate) fn pending(&mut self) -> &[u8] {
        self.release_pong();
        if self.waiting() == 0 {
            self.make_way();
            self.make_fragment();
        }
        &self.out[self.written..]
    }

    /// True: [`pending`](Self::pending) has something.
    pub(crate) fn is_pending(&self) -> bool {
        let has_more = self.fragments.is_some() || self.pong.is_some();
        self.waiting() > 0 || (has_more && !self.closed)
    }

    /// True: everything that was taken is written, but perhaps a message of the app that goes in
    /// fragments. A Ping is written then.
    pub(crate) fn is_caught_up(&self) -> bool {
        let newest = self.messages.back().map(|outgoing| outgoing.origin);
        self.waiting() == 0 && (self.fragments.is_none() || newest == Some(Origin::App))
    }

    /// The first `bytes` of what is pending are written.
    pub(crate) fn advance(&mut self, bytes: usize) -> Written {
        debug_assert!(bytes <= self.waiting(), "more than was pending");
        let bytes = bytes.min(self.waiting());
        self.written += bytes;
        self.total += bytes as u64;
        let mut written = Written::default();
        while let Some(first) = self.messages.front_mut() {
            let is_whole = first.end.is_some_and(|end| end <= self.total);
            let done = match &self.fragments {
                _ if is_whole => first.message.len(),
                // All but the last frame of a message in fragments: it is the newest one.
                Some(fragments) if first.end.is_none() && fragments.end <= self.total => {
                    fragments.framed
                }
                _ => first.counted,
            };
            if first.origin == Origin::App {
                written.payload += done - first.counted;
                written.messages += usize::from(is_whole);
            }
            first.counted = done;
            if !is_whole {
                break;
            }
            self.messages.pop_front();
        }
        written
    }

    /// Bytes of payload of the app's messages that are taken and not written.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        let ours = self.messages.iter().filter(|outgoing| outgoing.origin == Origin::App);
        ours.map(|outgoing| outgoing.message.len() - outgoing.counted).sum()
    }

    /// Takes back the app's messages of which no byte is written, in order: they can be sent on
    /// another connection. Of one that is partly written nobody knows what the server made of it.
    ///
    /// Their frames are dropped, and all that follow them; if the close frame is one of those, it
    /// has to be pushed again.
    pub(crate) fn withdraw(&mut self) -> Vec<Message> {
        let total = self.total;
        let is_unsent = |outgoing: &Outgoing| outgoing.begin.is_none_or(|begin| begin >= total);
        let Some(first) = self.messages.iter().position(is_unsent) else { return Vec::new() };
        let unsent = self.messages.split_off(first);
        if let Some(begin) = unsent[0].begin {
            // It is in the buffer, so the difference is no more than its length.
            let kept = self.written + (begin - total) as usize;
            self.closed &= kept == self.out.len();
            self.out.truncate(kept);
        }
        if unsent.iter().any(|outgoing| outgoing.end.is_none()) {
            self.fragments = None;
        }
        let unsent = unsent.into_iter().filter(|outgoing| outgoing.origin == Origin::App);
        unsent.map(|outgoing| outgoing.message).collect()
    }

    /// Gives back the memory that an idle connection does not need. To be called when nothing is
    /// pending, or when the socket takes nothing more.
    pub(crate) fn rest(&mut self) {
        self.make_way();
        if let Some(compression) = &mut self.compression
            && self.fragments.is_none()
        {
            compression.compressor.rest();
            if compression.ready.capacity() > KEPT {
                compression.ready = Vec::new();
            }
        }
        if self.out.is_empty() && self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        if self.messages.is_empty() && self.messages.capacity() > KEPT_MESSAGES {
            self.messages = VecDeque::new();
        }
    }

    /// Gives back the compressor's memory, after which the next message is compressed without
    /// regard to earlier ones. For a connection that has been idle for a while.
    // Not used outside the tests until there is an option that turns compression on.
    #[allow(dead_code)]
    pub(crate) fn forget(&mut self) {
        if let Some(compression) = &mut self.compression
            && self.fragments.is_none()
        {
            compression.compressor.forget();
        }
    }

    /// Bytes of memory that it holds, those of the messages themselves not counted.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.out.capacity() + self.messages.capacity() * size_of::<Outgoing>()
    }

    /// Bytes of frames that are not written.
    fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// The end of the frames, in bytes since the connection began.
    fn position(&self) -> u64 {
        self.total + self.waiting() as u64
    }

    /// Drops what is written from the buffer, when that is cheap.
    fn make_way(&mut self) {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        } else if self.written >= FULL {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }

    fn release_pong(&mut self) {
        if self.waiting() < FULL
            && let Some(pong) = self.pong.take()
        {
            self.push_control(Opcode::Pong, &pong);
        }
    }

    fn make_fragment(&mut self) {
        if self.closed {
            return;
        }
        let (Some(fragments), Some(outgoing)) = (&mut self.fragments, self.messages.back_mut())
        else {
            return;
        };
        let data = outgoing.message.data();
        let opcode = if fragments.is_first { opcode(data.is_text) } else { Opcode::Continuation };
        let rsv1 = fragments.is_first && fragments.is_compressed;
        if fragments.is_first {
            outgoing.begin = Some(self.total);
        }
        fragments.is_first = false;
        let rest = &data.payload[fragments.framed..];
        let key = self.keys.next();
        let fin = match &mut self.compression {
            Some(compression) if fragments.is_compressed => {
                fragments.framed += compression.fill(rest);
                let ready = &mut compression.ready;
                let size = ready.len().min(FRAGMENT);
                let fin = size == ready.len() && fragments.framed == data.payload.len();
                frame(&mut self.out, (fin, rsv1), opcode, &ready[..size], key);
                ready.drain(..size);
                fin
            }
            _ => {
                let part = &rest[..rest.len().min(FRAGMENT)];
                let fin = part.len() == rest.len();
                frame(&mut self.out, (fin, rsv1), opcode, part, key);
                fragments.framed += part.len();
                fin
            }
        };
        // Nothing else is in the buffer.
        fragments.end = self.total + self.out.len() as u64;
        if fin {
            outgoing.end = Some(fragments.end);
            self.fragments = None;
        }
    }
}

impl Compression {
    /// Compresses the next part of a message, whose rest is `rest`, until a fragment is ready. How
    /// much of it that took.
    fn fill(&mut self, rest: &[u8]) -> usize {
        let mut taken = 0;
        // What compresses very well makes a small fragment: the CPU time of one is bounded.
        while taken < rest.len()
            && self.ready.len() < FRAGMENT
            && (self.ready.is_empty() || taken < MAX_COMPRESSED)
        {
            let part = &rest[taken..];
            let part = &part[..part.len().min(FRAGMENT)];
            taken += part.len();
            self.compressor.push(part, taken == rest.len(), &mut self.ready);
        }
        taken
    }
}

fn opcode(is_text: bool) -> Opcode {
    if is_text { Opcode::Text } else { Opcode::Binary }
}

fn frame(
    out: &mut Vec<u8>,
    (fin, rsv1): (bool, bool),
    opcode: Opcode,
    payload: &[u8],
    key: [u8; 4],
) {
    // The header is at most 14 bytes (RFC 6455, 5.2).
    out.reserve(14 + payload.len());
    header::append(out, (fin, rsv1), opcode, payload.len(), key);
    mask::append_masked(out, payload, key);
}
