//! Bytes of the server in, messages and control frames out.

use super::assembly::Assembly;
use super::close::CloseFrame;
#[cfg(test)]
use super::deflate::Agreement;
use super::deflate::Decompressor;
use super::header::{Header, MAX_CONTROL, Opcode};
use super::utf8;
use super::violation::Violation;
use crate::session::{Data, Message};
use bytes::buf::{BufMut, Limit};

/// A message of at most this many bytes is given out where it lies: 4 KiB, what one packed run
/// takes.
pub(crate) const MAX_SMALL: usize = 4 << 10;

/// The size of a read buffer, in bytes. One read takes a whole receive window of a phone, or 1 900
/// messages of 32 bytes, and it fits into the second cache of every processor.
pub(crate) const READ_BUFFER: usize = 64 << 10;

/// A read is never asked for less than this. Undecoded bytes are moved to the front of the buffer
/// first: at most one frame of [`MAX_SMALL`] and its header.
const MIN_READ: usize = 16 << 10;

/// When a frame of a binary message has this much to come, it is read into the message itself.
const MIN_DIRECT: usize = 16 << 10;

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A message of at most [`MAX_SMALL`] bytes. Text is valid UTF-8.
    Data(Data<'a>),
    /// A larger one. It is given away without a copy.
    Message(Message),
    /// A Ping, which must be answered by a Pong with the same payload, of at most 125 bytes.
    Ping(&'a [u8]),
    /// A Pong, with a payload of at most 125 bytes.
    Pong(&'a [u8]),
    /// The close frame. Nothing follows it.
    Close(CloseFrame<'a>),
}

#[derive(Debug)]
enum State {
    /// A frame begins.
    Header,
    /// A frame of data that is taken as it arrives; so many bytes of it have not.
    Payload { left: usize, fin: bool },
    /// The close frame has come, or a violation. Whatever comes now is dropped.
    Over,
}

/// Reads the frames of a server (RFC 6455, 5).
///
/// A turn of the caller: [`lend`](Self::lend) a buffer, then in a loop take events from
/// [`next`](Self::next) until there are none and read into [`space`](Self::space); when the socket
/// has nothing more, take the buffer back with [`rest`](Self::rest).
#[derive(Debug)]
pub(crate) struct Decoder {
    max_message: usize,
    /// What was read. What lies before `start` is done with.
    buffer: Vec<u8>,
    start: usize,
    /// Of the text frame at `start` that is not whole, so many bytes of payload are checked.
    checked: usize,
    state: State,
    assembly: Assembly,
    /// Bytes of `assembly` that are accounted for. It has more after a read into the message.
    assembled: usize,
    /// Present when permessage-deflate is agreed on.
    decompressor: Option<Decompressor>,
    /// The message under way is compressed.
    is_compressed: bool,
}

impl Decoder {
    /// `max_message`: the largest payload of a message that is accepted, in bytes.
    pub(crate) fn new(max_message: usize) -> Self {
        Self {
            max_message,
            buffer: Vec::new(),
            start: 0,
            checked: 0,
            state: State::Header,
            assembly: Assembly::default(),
            assembled: 0,
            decompressor: None,
            is_compressed: false,
        }
    }

    /// From now on messages may be compressed. The limit holds for what comes out of them.
    #[cfg(test)]
    pub(crate) fn decompress(&mut self, agreement: &Agreement) {
        self.decompressor = Some(Decompressor::new(agreement));
    }

    /// Gives the decoder memory to read into, which it returns from [`rest`](Self::rest). One
    /// buffer for each thread is enough for any number of connections. Without it the decoder
    /// allocates one of [`READ_BUFFER`] bytes when it needs it.
    pub(crate) fn lend(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= self.buffer.capacity() {
            return;
        }
        buffer.clear();
        buffer.extend_from_slice(self.undecoded());
        (self.buffer, self.start) = (buffer, 0);
    }

    /// Where the next bytes of the server belong. Ask for events first, until there are none: the
    /// buffer would grow otherwise.
    pub(crate) fn space(&mut self) -> Limit<&mut Vec<u8>> {
        if self.start == self.buffer.len() || matches!(self.state, State::Over) {
            self.buffer.clear();
            self.start = 0;
        }
        if self.buffer.is_empty()
            && let State::Payload { left, fin } = self.state
            && !self.assembly.is_text()
            && !self.is_compressed
            && self.to_come(left) >= MIN_DIRECT
        {
            let left = self.to_come(left);
            return self.assembly.space(left, most(left, fin));
        }
        if self.buffer.capacity() - self.buffer.len() < MIN_READ {
            self.buffer.drain(..self.start);
            self.start = 0;
            if self.buffer.capacity() - self.buffer.len() < MIN_READ {
                self.buffer.reserve_exact(READ_BUFFER);
            }
        }
        let room = self.buffer.capacity() - self.buffer.len();
        (&mut self.buffer).limit(room)
    }

    /// The next thing that the server says; `None`: more bytes are needed, or nothing follows any
    /// more. After a violation, as after the close frame, there is only `None`.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Result<Event<'_>, Violation>> {
        loop {
            let step = match self.state {
                State::Header => self.frame(),
                State::Payload { left, fin } => self.payload(left, fin),
                State::Over => return None,
            };
            match step {
                Ok(Step::Wait) => return None,
                Ok(Step::On) => {}
                Ok(Step::Small { opcode, at, len }) => {
                    return Some(small(&mut self.state, opcode, &self.buffer[at..at + len]));
                }
                Ok(Step::Finished) => {
                    // Asked twice because of a limit of the borrow checker.
                    if self.assembly.small(MAX_SMALL).is_none() {
                        return Some(Ok(Event::Message(self.assembly.take())));
                    }
                    return self.assembly.small(MAX_SMALL).map(|data| Ok(Event::Data(data)));
                }
                Err(violation) => {
                    self.end();
                    return Some(Err(violation));
                }
            }
        }
    }

    /// Bytes of the message under way that have arrived; 0: none is under way.
    pub(crate) fn partial(&self) -> usize {
        let bytes = self.undecoded();
        let waiting = match (&self.state, Header::parse(bytes)) {
            (State::Header, Ok(Some(header))) if !header.opcode.is_control() => {
                bytes.len() - header.size
            }
            _ => 0,
        };
        self.assembly.len() + waiting
    }

    /// Gives back the read buffer, for the next connection, and all memory but that of what has
    /// arrived in part. To be called when the socket has nothing more.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        if matches!(self.state, State::Over) {
            self.end();
        }
        self.assembly.rest();
        let undecoded = self.undecoded().to_vec();
        self.start = 0;
        std::mem::replace(&mut self.buffer, undecoded)
    }

    fn undecoded(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.assembly = Assembly::default();
        (self.start, self.checked) = (self.buffer.len(), 0);
    }

    /// Bytes of the frame that have not arrived; `left` is not counted since the last read into
    /// the message itself.
    fn to_come(&self, left: usize) -> usize {
        left - (self.assembly.len() - self.assembled)
    }

    /// Reads the header of a frame, and the frame itself if it is small.
    #[inline]
    fn frame(&mut self) -> Result<Step, Violation> {
        let bytes = self.undecoded();
        let Some(header) = Header::parse(bytes)? else { return Ok(Step::Wait) };
        let available = bytes.len() - header.size;
        let len = self.admit(&header)?;
        let at = self.start + header.size;
        let is_whole = header.fin && header.opcode != Opcode::Continuation && !header.rsv1;
        if header.opcode.is_control() || (is_whole && len <= MAX_SMALL) {
            let part = &self.buffer[at..at + len.min(available)];
            if header.opcode == Opcode::Text {
                self.checked += checked(&part[self.checked..], available >= len)?;
            }
            if available < len {
                return Ok(Step::Wait);
            }
            (self.start, self.checked) = (at + len, 0);
            return Ok(Step::Small { opcode: header.opcode, at, len });
        }
        if header.opcode != Opcode::Continuation {
            self.assembly.begin(header.opcode == Opcode::Text);
            self.is_compressed = header.rsv1;
            self.assembled = 0;
        }
        self.start = at;
        self.state = State::Payload { left: len, fin: header.fin };
        Ok(Step::On)
    }

    /// Checks that the frame may stand here, and that its message does not become too large.
    /// Returns the length of its payload.
    #[inline]
    fn admit(&self, header: &Header) -> Result<usize, Violation> {
        // RFC 7692, 6: the bit stands in the first frame of a message.
        let may_be_compressed = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.rsv1 && !(may_be_compressed && self.decompressor.is_some()) {
            return Err(Violation::ReservedBit);
        }
        if header.opcode.is_control() {
            return Ok(usize::try_from(header.len).unwrap_or(MAX_CONTROL));
        }
        match (header.opcode == Opcode::Continuation, self.assembly.is_open()) {
            (true, false) => return Err(Violation::NothingToContinue),
            (false, true) => return Err(Violation::Interleaved),
            _ => {}
        }
        let is_compressed =
            header.rsv1 || (header.opcode == Opcode::Continuation && self.is_compressed);
        // Of a compressed message nobody knows the size before it is there.
        let room = match is_compressed {
            true => usize::MAX,
            false => self.max_message.saturating_sub(self.assembly.len()),
        };
        match usize::try_from(header.len) {
            Ok(len) if len <= room => Ok(len),
            _ => Err(Violation::TooBig { limit: self.max_message }),
        }
    }

    /// Takes what has arrived of a frame's payload.
    fn payload(&mut self, left: usize, fin: bool) -> Result<Step, Violation> {
        let left = self.to_come(left);
        let part = &self.buffer[self.start..];
        let part = &part[..part.len().min(left)];
        let (taken, is_end) = (part.len(), part.len() == left && fin);
        let (assembly, limit) = (&mut self.assembly, self.max_message);
        match &mut self.decompressor {
            Some(decompressor) if self.is_compressed => {
                let mut sink = |part: &[u8]| {
                    if part.len() > limit - assembly.len() {
                        return Err(Violation::TooBig { limit });
                    }
                    assembly.push(part, usize::MAX)
                };
                decompressor.push(part, &mut sink)?;
                if is_end {
                    decompressor.finish(&mut sink)?;
                }
            }
            _ => assembly.push(part, most(left, fin))?,
        }
        self.start += taken;
        self.assembled = self.assembly.len();
        let left = left - taken;
        if left > 0 {
            self.state = State::Payload { left, fin };
            return Ok(Step::Wait);
        }
        self.state = State::Header;
        if !fin {
            return Ok(Step::On);
        }
        self.assembly.finish()?;
        self.assembled = 0;
        Ok(Step::Finished)
    }
}

/// How much a message may still bring of whose frame `left` bytes have not arrived.
fn most(left: usize, is_last: bool) -> usize {
    if is_last { left } else { usize::MAX }
}

/// What one look at the buffer brings.
enum Step {
    /// More bytes are needed.
    Wait,
    /// The next frame can be looked at.
    On,
    /// A whole frame, with its payload in the buffer.
    Small { opcode: Opcode, at: usize, len: usize },
    /// The assembled message has ended.
    Finished,
}

/// Checks the new part of a text. How many bytes need not be looked at again.
#[inline]
fn checked(part: &[u8], is_last: bool) -> Result<usize, Violation> {
    let checked =
        if is_last { utf8::check(part).map(|()| part.len()) } else { utf8::check_part(part) };
    checked.map_err(|_| Violation::TextNotUtf8)
}

/// A frame that is given out where it lies.
#[inline]
fn small<'a>(state: &mut State, opcode: Opcode, payload: &'a [u8]) -> Result<Event<'a>, Violation> {
    Ok(match opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => {
            *state = State::Over;
            Event::Close(CloseFrame::parse(payload)?)
        }
        // A continuation frame is always assembled.
        Opcode::Text | Opcode::Binary | Opcode::Continuation => {
            Event::Data(Data { is_text: opcode == Opcode::Text, payload })
        }
    })
}
