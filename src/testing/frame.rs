//! The WebSocket framing. It is written by hand because a library would refuse to send what a
//! script may ask for.

use std::ops::Range;

/// The largest client frame, and the largest message of several fragments, in bytes.
pub(super) const MAX_FRAME: usize = 64 * 1024 * 1024;

/// How many bytes are read at once. It is also the smallest buffer of a connection, and not larger
/// because a test may have a thousand connections.
const CHUNK: usize = 16 * 1024;

pub(super) mod opcode {
    pub(crate) const CONTINUATION: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
}

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Appends a server frame (unmasked). Nothing is checked: a control frame may be too long.
pub(super) fn encode(out: &mut Vec<u8>, fin: bool, opcode: u8, payload: &[u8]) {
    encode_header(out, fin, opcode, payload.len());
    out.extend_from_slice(payload);
}

pub(super) fn encode_header(out: &mut Vec<u8>, fin: bool, opcode: u8, len: usize) {
    out.push(if fin { FIN | opcode } else { opcode });
    if let Ok(short) = u8::try_from(len)
        && short < 126
    {
        out.push(short);
    } else if let Ok(medium) = u16::try_from(len) {
        out.push(126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
}

/// Appends a close frame; without a code it is empty.
pub(super) fn encode_close(out: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    let mut payload = Vec::with_capacity(2 + reason.len());
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    }
    encode(out, true, opcode::CLOSE, &payload);
}

/// The result of [`decode`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// The frame is not complete yet.
    Incomplete,
    /// A frame. Its payload was unmasked in place.
    Frame { fin: bool, opcode: u8, payload: Range<usize> },
    /// Bytes that no client may send, and the close code to answer.
    Violation(u16, &'static str),
}

/// The close codes that the server chooses itself (RFC 6455, 7.4.1).
pub(super) mod close_code {
    pub(crate) const PROTOCOL: u16 = 1002;
    pub(crate) const NOT_UTF8: u16 = 1007;
    pub(crate) const TOO_BIG: u16 = 1009;

    /// Returns true when a close frame may have this code: the codes that are assigned and not
    /// reserved for other uses (RFC 6455, 7.4.1, and its registry), and those for libraries and
    /// applications (7.4.2).
    pub(crate) fn may_be_sent(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// Decodes the client frame at the start of a buffer.
pub(super) fn decode(buf: &mut [u8]) -> Decoded {
    let [first, second, rest @ ..] = &*buf else {
        return Decoded::Incomplete;
    };
    let (first, second) = (*first, *second);
    let (len, len_bytes) = match second & !MASKED {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
            None => return Decoded::Incomplete,
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 8),
            None => return Decoded::Incomplete,
        },
        short => (u64::from(short), 0),
    };
    let opcode = first & 0x0f;
    if let Some(violation) = violation(first, second, len, len_bytes) {
        return Decoded::Violation(close_code::PROTOCOL, violation);
    }
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= MAX_FRAME) else {
        return Decoded::Violation(close_code::TOO_BIG, "frame larger than 64 MiB");
    };
    let Some(mask) = rest[len_bytes..].first_chunk::<4>().copied() else {
        return Decoded::Incomplete;
    };
    let start = 2 + len_bytes + 4;
    let payload = start..start + len;
    let Some(masked) = buf.get_mut(payload.clone()) else {
        return Decoded::Incomplete;
    };
    unmask(masked, mask);
    let fin = first & FIN != 0;
    Decoded::Frame { fin, opcode, payload }
}

fn violation(first: u8, second: u8, len: u64, len_bytes: usize) -> Option<&'static str> {
    let opcode = first & 0x0f;
    let control = opcode >= opcode::CLOSE;
    if first & 0x70 != 0 {
        Some("reserved bit set")
    } else if !matches!(opcode, 0..=2 | 8..=10) {
        Some("reserved opcode")
    } else if second & MASKED == 0 {
        Some("frame not masked")
    } else if control && first & FIN == 0 {
        Some("control frame fragmented")
    } else if control && len > 125 {
        Some("control frame longer than 125 bytes")
    } else if (len_bytes == 2 && len < 126) || (len_bytes == 8 && len < 65_536) {
        Some("length not in its shortest form")
    } else {
        None
    }
}

/// Unmasks eight bytes at a time, because floods of large messages are common.
fn unmask(payload: &mut [u8], [a, b, c, d]: [u8; 4]) {
    let mask = [a, b, c, d, a, b, c, d];
    let word = u64::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// The input that was read and not decoded yet.
#[derive(Default)]
pub(super) struct InBuf {
    // Always initialised up to its length, so that it can be read into without unsafe code.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl InBuf {
    /// Returns the bytes to decode.
    pub(super) fn filled(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            // Frees the memory of a single large frame.
            if self.bytes.len() > 64 * CHUNK {
                self.bytes = Vec::new();
            }
        }
    }

    /// Returns the room for the next read. The buffer grows only when the bytes of a frame arrive:
    /// a header that announces 64 MiB costs nothing.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() - self.end < CHUNK / 2 {
            let len = (self.bytes.len() * 2).max(CHUNK);
            self.bytes.resize(len, 0);
        }
        &mut self.bytes[self.end..]
    }

    pub(super) fn filled_more(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.bytes.len());
    }

    pub(super) fn extend(&mut self, more: &[u8]) {
        let mut more = more;
        while !more.is_empty() {
            let room = self.room();
            let n = room.len().min(more.len());
            room[..n].copy_from_slice(&more[..n]);
            self.filled_more(n);
            more = &more[n..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_header(&mut out, fin, opcode, payload.len());
        out[1] |= MASKED;
        let mask = [1, 2, 3, 200];
        out.extend_from_slice(&mask);
        let start = out.len();
        out.extend_from_slice(payload);
        unmask(&mut out[start..], mask);
        out
    }

    #[test]
    fn a_frame_is_found_only_when_whole() {
        for len in [0, 1, 7, 8, 125, 126, 127, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let bytes = masked(true, opcode::BINARY, &payload);
            for cut in (0..bytes.len()).rev().take(20).chain(0..15.min(bytes.len())) {
                assert_eq!(decode(&mut bytes.clone()[..cut]), Decoded::Incomplete);
            }
            let mut whole = bytes.clone();
            let Decoded::Frame { fin, opcode, payload: range } = decode(&mut whole) else {
                panic!("no frame of {len} bytes");
            };
            assert!(fin);
            assert_eq!(opcode, opcode::BINARY);
            assert_eq!(whole[range.clone()], payload);
            assert_eq!(range.end, bytes.len());
        }
    }

    #[test]
    fn what_no_client_may_send_is_told_apart() {
        let cases: [(&[u8], u16, &str); 7] = [
            (&[0x81, 0x00], 1002, "frame not masked"),
            (&[0xc1, 0x80], 1002, "reserved bit set"),
            (&[0x83, 0x80], 1002, "reserved opcode"),
            (&[0x09, 0x80], 1002, "control frame fragmented"),
            (&[0x89, 0xfe, 0, 126], 1002, "control frame longer than 125 bytes"),
            (&[0x82, 0xfe, 0, 125], 1002, "length not in its shortest form"),
            (&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0], 1009, "frame larger than 64 MiB"),
        ];
        for (bytes, code, expected) in cases {
            assert_eq!(decode(&mut bytes.to_vec()), Decoded::Violation(code, expected));
        }
    }

    #[test]
    fn a_close_frame_carries_any_code() {
        let mut out = Vec::new();
        encode_close(&mut out, Some(1005), "no");
        encode_close(&mut out, None, "dropped");
        assert_eq!(out, [0x88, 4, 0x03, 0xed, b'n', b'o', 0x88, 0]);
    }

    #[test]
    fn the_read_buffer_keeps_what_is_not_consumed() {
        let mut buf = InBuf::default();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        buf.extend(&bytes);
        buf.consume(99_000);
        buf.extend(&bytes[..500]);
        let expected: Vec<u8> = [&bytes[99_000..], &bytes[..500]].concat();
        assert_eq!(buf.filled(), expected);
        buf.consume(1_500);
        assert!(buf.filled().is_empty());
    }
}
