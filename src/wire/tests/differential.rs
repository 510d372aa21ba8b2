//! Any bytes, cut anywhere, mean the same to the decoder as to tungstenite.
//!
//! The differences, which are meant:
//!
//! 1. A length that is not in its shortest form is a violation. RFC 6455, 5.2: "in all cases, the
//!    minimal number of bytes MUST be used to encode the length". tungstenite takes it.
//! 2. A length of 2^63 or more is a violation of the same section, "the most significant bit MUST
//!    be 0", and closes with 1002. tungstenite calls it too large, 1009.
//! 3. A breach is told when the bytes that show it are there. tungstenite waits until the frame is
//!    whole, and checks for UTF-8 at the end of a frame. Here it is therefore given zeros until the
//!    frame is whole.
//! 4. Where a frame breaks two rules, another one may be named first.
//! 5. An illegal close code is a violation. RFC 6455, 7.4: such codes "MUST NOT be set as a status
//!    code in a Close control frame by an endpoint", or are not yet assigned. tungstenite gives out
//!    a frame with 1002 and words of its own instead. It counts 1014 among them, which is assigned
//!    (IANA, WebSocket Close Code Number Registry).
//! 6. What follows the close frame is not looked at. RFC 6455, 1.4: "any further data received is
//!    discarded" (5.5.1 in other words). tungstenite calls it a breach.
//! 7. The payload limit holds for a message, whatever number of frames it has, and names no frame:
//!    it is the same for both, as tungstenite's frame limit is set to it. Control frames are bound
//!    by 125 bytes only; tungstenite holds them against that limit too.

use super::*;
use std::io::{self, Cursor, Read, Write};
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Theirs};

/// Reads from memory, and takes everything that is written.
#[derive(Debug)]
pub(super) struct Stream(Cursor<Vec<u8>>);

impl Stream {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(Cursor::new(bytes))
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How it ended: still open, a close frame, or a breach with its close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    Breach(u16),
}

/// The limit of both, in bytes; above that of a control frame.
const LIMIT: usize = 300;

fn ours(pieces: &[&[u8]]) -> (Vec<Said>, End) {
    let mut decoder = Decoder::new(LIMIT);
    let mut said: Vec<_> = pieces.iter().flat_map(|piece| read(&mut decoder, piece)).collect();
    let end = match said.last() {
        Some(Said::Violation(violation)) => End::Breach(violation.close_code()),
        Some(Said::Close(..)) => End::Closed,
        _ => End::Open,
    };
    if matches!(end, End::Breach(_)) {
        said.pop();
    }
    (said, end)
}

fn theirs(bytes: Vec<u8>) -> (Vec<Said>, End) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT))
        .read_buffer_size(1_024);
    let mut socket = WebSocket::from_raw_socket(Stream::new(bytes), Role::Client, Some(config));
    let mut said = Vec::new();
    loop {
        said.push(match socket.read() {
            Ok(Theirs::Text(text)) => Said::Message(Message::text(text.as_str())),
            Ok(Theirs::Binary(bytes)) => Said::Message(Message::binary(bytes)),
            Ok(Theirs::Ping(payload)) => Said::Ping(payload.to_vec()),
            Ok(Theirs::Pong(payload)) => Said::Pong(payload.to_vec()),
            Ok(Theirs::Close(close)) => {
                let code = close.as_ref().map(|close| close.code.into());
                let reason = close.map(|close| close.reason.to_string());
                said.push(Said::Close(code, reason.unwrap_or_default()));
                return (said, End::Closed);
            }
            Ok(Theirs::Frame(_)) => unreachable!("never given out"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (said, End::Open);
            }
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                return (said, End::Breach(1009));
            }
            Err(Error::Utf8(_)) => return (said, End::Breach(1007)),
            Err(Error::Protocol(_)) => return (said, End::Breach(1002)),
            Err(error) => panic!("{error}"),
        });
    }
}

/// The known differences that one input shows, of those that change a verdict.
#[derive(Default)]
struct Met {
    length_form: usize,
    close_code: usize,
    late: usize,
    other_rule: usize,
}

fn compare(bytes: &[u8], pieces: &[&[u8]], met: &mut Met) {
    let (our_said, our_end) = ours(pieces);
    let violation = read(&mut Decoder::new(LIMIT), bytes).pop();
    let (mut their_said, mut their_end) = theirs(bytes.to_vec());
    if let Some(Said::Violation(Violation::LengthForm | Violation::LongControl)) = violation {
        // Difference 1: from there on the two read different things. In a control frame every
        // longer form is a violation of its own.
        met.length_form += 1;
        assert_eq!(our_said, their_said[..our_said.len()], "{bytes:x?}");
        return;
    }
    if let Some(Said::Violation(Violation::CloseCode(code))) = violation {
        // Difference 5.
        met.close_code += 1;
        assert_eq!(our_said, their_said[..our_said.len()], "{bytes:x?}");
        let replaced = Said::Close(Some(1002), "Protocol violation".to_owned());
        // Difference 4: the reason may be no UTF-8 either.
        let is_replaced = their_said.last() == Some(&replaced) || their_end == End::Breach(1007);
        assert!(is_replaced || their_end == End::Open, "{code} {bytes:x?}");
        return;
    }
    if matches!((our_end, their_end), (End::Breach(_), End::Open)) {
        // Difference 3.
        met.late += 1;
        (their_said, their_end) = theirs([bytes, &[0; LIMIT + 20]].concat());
    }
    if let (Some(Said::Close(Some(1014), _)), Some(close)) =
        (our_said.last(), their_said.last_mut())
    {
        // Difference 5 again.
        assert_eq!(*close, Said::Close(Some(1002), "Protocol violation".to_owned()));
        *close = our_said[our_said.len() - 1].clone();
    }
    assert_eq!(our_said, their_said, "{bytes:x?}");
    if our_end != their_end {
        // Difference 4, and 2.
        met.other_rule += 1;
        let both = matches!((our_end, their_end), (End::Breach(_), End::Breach(_)));
        assert!(both, "{our_end:?} {their_end:?} {bytes:x?}");
    }
}

fn compare_all(inputs: impl Iterator<Item = (u64, Vec<u8>)>) -> (usize, Met) {
    let (mut count, mut met) = (0, Met::default());
    for (seed, bytes) in inputs {
        let mut dice = Dice::new(seed);
        count += 1;
        compare(&bytes, &[&bytes], &mut met);
        compare(&bytes, &dice.pieces(&bytes), &mut met);
    }
    (count, met)
}

/// Bytes that mean nothing most of the time, but begin as a frame often enough.
fn noise(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..dice.below(6) {
        bytes.push(dice.of(&[0x81, 0x82, 0x01, 0x02, 0x80, 0x00, 0x88, 0x89, 0x8a, 0xc1, 0x83]));
        bytes.push(dice.of(&[0, 1, 2, 3, 5, 10, 126, 127, 128]));
        let len = dice.below(20);
        bytes.extend(dice.bytes(len));
    }
    bytes
}

#[test]
fn noise_means_the_same_to_both() {
    let (count, _) = compare_all((0..8_000).map(|seed| (seed, noise(&mut Dice::new(seed)))));
    assert_eq!(count, 8_000);
}

/// A conversation that is valid, or that has one thing wrong with it.
fn conversation(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut is_open = false;
    for _ in 0..1 + dice.below(8) {
        let fin = if dice.one_in(2) { FIN } else { 0 };
        let (first, payload) = match dice.below(10) {
            0..7 => {
                let opcode = if is_open { CONTINUATION } else { dice.of(&[TEXT, BINARY]) };
                is_open = fin == 0;
                let len = dice.of(&[0, 3, 40, 125, 126, 200]);
                (fin | opcode, dice.text(len).into_bytes())
            }
            7..9 => {
                let len = dice.below(126);
                (dice.of(&[PING, PONG]), dice.bytes(len))
            }
            _ => (
                CLOSE,
                [&dice.of::<u16>(&[1000, 1013, 1014, 4000]).to_be_bytes(), &b"bye"[..]].concat(),
            ),
        };
        // Text that is cut inside a character goes on in the next frame now and then.
        let cut = if dice.one_in(4) { dice.below(payload.len() + 1) } else { payload.len() };
        bytes.extend(frame(first, &payload[..cut]));
    }
    if !bytes.is_empty() && dice.one_in(2) {
        let at = dice.below(bytes.len());
        match dice.below(4) {
            0 => bytes[at] = dice.below(256) as u8,
            1 => bytes[at] ^= 1 << dice.below(8),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn conversations_mean_the_same_to_both() {
    let inputs = (0..8_000).map(|seed| (seed, conversation(&mut Dice::new(seed))));
    let (count, met) = compare_all(inputs);
    assert_eq!(count, 8_000);
    // The comparison is worth something only while few inputs are set aside, and each known
    // difference is met.
    assert!(met.other_rule < count / 10, "other rule: {}", met.other_rule);
    for (name, met) in
        [("length form", met.length_form), ("close code", met.close_code), ("late", met.late)]
    {
        assert!(met > 0 && met < 2 * count / 10, "{name}: {met}");
    }
}

#[test]
fn the_known_differences_are_still_there() {
    let both = |bytes: &[u8]| (ours(&[bytes]).1, theirs(bytes.to_vec()).1);
    assert_eq!(both(b"\x82\x7e\x00\x00"), (End::Breach(1002), End::Open), "1");
    let top_bit = b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(both(top_bit), (End::Breach(1002), End::Breach(1009)), "2");
    assert_eq!(both(b"\xc2\x01"), (End::Breach(1002), End::Open), "3");
    assert_eq!(both(b"\xc2\x7e\x40\x00"), (End::Breach(1002), End::Breach(1009)), "4");
    assert_eq!(both(b"\x88\x02\x03\xed"), (End::Breach(1002), End::Closed), "5");
    assert_eq!(both(b"\x88\x02\x03\xf6"), (End::Closed, End::Closed), "5");
}
