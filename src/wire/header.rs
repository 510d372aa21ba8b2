//! The header of a frame (RFC 6455, 5.2).
//!
//! Not `FrameHeader` of tungstenite: that one does not see a length that is not in its shortest form,
//! and says nothing before the header is whole. It also takes 5 to 40 ns more for each frame,
//! depending on what the compiler inlines.

use super::violation::Violation;

/// The largest payload of a control frame, in bytes (RFC 6455, 5.5).
pub(super) const MAX_CONTROL: usize = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const MASK: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn of(first: u8) -> Result<Self, Violation> {
        match first & 0x0f {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            reserved => Err(Violation::ReservedOpcode(reserved)),
        }
    }

    pub(super) fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// The header of a server's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The frame is the last of its message.
    pub(super) fin: bool,
    /// The first reserved bit, which permessage-deflate uses (RFC 7692, 6).
    pub(super) rsv1: bool,
    pub(super) opcode: Opcode,
    /// Bytes of the header itself: 2, 4 or 10.
    pub(super) size: usize,
    /// Bytes of the payload.
    pub(super) len: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None`: it is not whole yet. What the first two
    /// bytes show to be a breach is one, whether or not more has come.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (first, second) = (*first, *second);
        if first & RSV2_AND_3 != 0 {
            return Err(Violation::ReservedBit);
        }
        let opcode = Opcode::of(first)?;
        if second & MASK != 0 {
            return Err(Violation::Masked);
        }
        let (fin, rsv1) = (first & FIN != 0, first & RSV1 != 0);
        if opcode.is_control() {
            if !fin {
                return Err(Violation::FragmentedControl);
            }
            if usize::from(second) > MAX_CONTROL {
                return Err(Violation::LongControl);
            }
        }
        let (size, len) = match second {
            126 => {
                let Some(bytes) = rest.first_chunk() else { return Ok(None) };
                (4, u64::from(u16::from_be_bytes(*bytes)))
            }
            127 => {
                let Some(bytes) = rest.first_chunk() else { return Ok(None) };
                (10, u64::from_be_bytes(*bytes))
            }
            short => (2, u64::from(short)),
        };
        match (size, len) {
            (4, ..126) | (10, ..65_536) => Err(Violation::LengthForm),
            (10, 0x8000_0000_0000_0000..) => Err(Violation::LengthRange),
            _ => Ok(Some(Self { fin, rsv1, opcode, size, len })),
        }
    }
}

/// Appends the header of a client's frame, which is always masked (RFC 6455, 5.1).
pub(super) fn append(
    out: &mut Vec<u8>,
    (fin, rsv1): (bool, bool),
    opcode: Opcode,
    len: usize,
    key: [u8; 4],
) {
    let first = if fin { FIN } else { 0 } | if rsv1 { RSV1 } else { 0 } | opcode as u8;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..126), _) => out.extend_from_slice(&[first, MASK | short]),
        (_, Ok(medium)) => {
            let [high, low] = medium.to_be_bytes();
            out.extend_from_slice(&[first, MASK | 126, high, low]);
        }
        _ => {
            out.extend_from_slice(&[first, MASK | 127]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
}
