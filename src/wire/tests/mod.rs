//! The message layer against a server of a few lines ([`frame`], [`read_client`]), against itself,
//! and against tungstenite.

mod decoder;
mod deflate;
mod differential;
mod encoder;
mod exchange;
mod speed;
mod turn;

use super::{Decoder, Event, Violation};
use crate::session::Message;
use bytes::{Buf, BufMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The payload limit of most tests, in bytes.
const LIMIT: usize = 1 << 20;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = FIN | 8;
const PING: u8 = FIN | 9;
const PONG: u8 = FIN | 10;

/// A frame of a server, whatever the first byte says.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ ..126 => bytes.push(len as u8),
        len @ ..65_536 => {
            bytes.push(126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// A frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ClientFrame {
    first: u8,
    key: [u8; 4],
    payload: Vec<u8>,
}

/// Reads frames of a client that are whole, as a server would.
fn read_client(bytes: &[u8]) -> Vec<ClientFrame> {
    let (mut bytes, mut frames) = (bytes, Vec::new());
    while bytes.has_remaining() {
        let (first, second) = (bytes.get_u8(), bytes.get_u8());
        assert_eq!(second & 0x80, 0x80, "a client masks");
        let len = match second & 0x7f {
            126 => usize::from(bytes.get_u16()),
            127 => bytes.get_u64() as usize,
            short => usize::from(short),
        };
        let key = bytes.get_u32().to_be_bytes();
        let mut payload = bytes.copy_to_bytes(len).to_vec();
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        frames.push(ClientFrame { first, key, payload });
    }
    frames
}

/// An event that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Message(Message),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(Violation),
}

impl From<Result<Event<'_>, Violation>> for Said {
    fn from(event: Result<Event<'_>, Violation>) -> Self {
        match event {
            Ok(Event::Data(data)) if data.is_text => {
                Self::Message(Message::text(std::str::from_utf8(data.payload).expect("checked")))
            }
            Ok(Event::Data(data)) => Self::Message(data.payload.into()),
            Ok(Event::Message(message)) => Self::Message(message),
            Ok(Event::Ping(payload)) => Self::Ping(payload.to_vec()),
            Ok(Event::Pong(payload)) => Self::Pong(payload.to_vec()),
            Ok(Event::Close(close)) => Self::Close(close.code, close.reason.to_owned()),
            Err(violation) => Self::Violation(violation),
        }
    }
}

/// Reads as much as the decoder takes at once. Returns how much that was.
fn read_some(decoder: &mut Decoder, bytes: &[u8]) -> usize {
    let mut space = decoder.space();
    assert!(space.has_remaining_mut(), "a read of no bytes would look like the end");
    let len = bytes.len().min(space.remaining_mut());
    space.put_slice(&bytes[..len]);
    len
}

/// Reads all of it, and what it says.
fn read(decoder: &mut Decoder, mut bytes: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    loop {
        while let Some(event) = decoder.next() {
            said.push(event.into());
        }
        if bytes.is_empty() {
            return said;
        }
        let len = read_some(decoder, bytes);
        bytes = &bytes[len..];
    }
}

fn decode(bytes: &[u8]) -> Vec<Said> {
    read(&mut Decoder::new(LIMIT), bytes)
}

/// Numbers that are the same in every run.
struct Dice(StdRng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Less than `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    fn text(&mut self, len: usize) -> String {
        let mut text = String::new();
        while text.len() < len {
            text.push(self.of(&['a', 'Z', ' ', 'é', '€', '字', '😀', '\u{10ffff}', '\0']));
        }
        text
    }

    /// Cuts bytes into pieces, of one byte or of thousands.
    fn pieces<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        // Thousands of pieces are enough.
        let sizes = [1, 2, 7, 100, 5_000, 70_000];
        let most = self.of(&sizes[if bytes.len() > 10_000 { 3 } else { 0 }..]);
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((1 + self.below(most)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}
