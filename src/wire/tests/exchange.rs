//! Random conversations: what goes in at one end comes out at the other, however it is cut.

use super::*;
use crate::wire::{Encoder, Origin};

fn message(dice: &mut Dice) -> Message {
    let len = dice.of(&[0, 1, 20, 125, 126, 300, 300, 4_096, 4_097, 40_000, 65_536, 100_000]);
    let len = if dice.one_in(2) { len } else { dice.below(len + 1) };
    if dice.one_in(2) { Message::text(dice.text(len)) } else { Message::from(dice.bytes(len)) }
}

/// The frames of a server that says this, in fragments now and then.
fn frames(dice: &mut Dice, said: &Said) -> Vec<Vec<u8>> {
    match said {
        Said::Message(message) => {
            let data = message.data();
            let opcode = if data.is_text { TEXT } else { BINARY };
            if dice.one_in(2) {
                return vec![frame(FIN | opcode, data.payload)];
            }
            let mut parts = if dice.one_in(3) { vec![&[][..]] } else { vec![] };
            parts.extend(dice.pieces(data.payload));
            parts.truncate(300);
            let taken: usize = parts.iter().map(|part| part.len()).sum();
            parts.push(&data.payload[taken..]);
            let last = parts.len() - 1;
            let first = |at| match (at == 0, at == last) {
                (true, true) => FIN | opcode,
                (true, false) => opcode,
                (false, true) => FIN | CONTINUATION,
                (false, false) => CONTINUATION,
            };
            parts.iter().enumerate().map(|(at, part)| frame(first(at), part)).collect()
        }
        Said::Ping(payload) => vec![frame(PING, payload)],
        Said::Pong(payload) => vec![frame(PONG, payload)],
        Said::Close(code, reason) => {
            let code = code.map(u16::to_be_bytes);
            let code = code.as_ref().map_or(&[][..], |code| &code[..]);
            vec![frame(CLOSE, &[code, reason.as_bytes()].concat())]
        }
        Said::Violation(_) => unreachable!("nobody says that"),
    }
}

/// What a server says, and its bytes; control frames stand between the fragments.
fn speech(dice: &mut Dice) -> (Vec<Said>, Vec<u8>) {
    let (mut said, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..dice.below(8) {
        let message = Said::Message(message(dice));
        for frame in frames(dice, &message) {
            if dice.one_in(4) {
                let len = dice.of(&[0, 1, 125]);
                let payload = dice.bytes(len);
                let control =
                    if dice.one_in(2) { Said::Ping(payload) } else { Said::Pong(payload) };
                bytes.extend(frames(dice, &control).concat());
                said.push(control);
            }
            bytes.extend(frame);
        }
        said.push(message);
    }
    if dice.one_in(3) {
        let close = Said::Close(Some(dice.of(&[1000, 1001, 1014, 3000, 4999])), "bye é".to_owned());
        bytes.extend(frames(dice, &close).concat());
        said.push(close);
    }
    (said, bytes)
}

#[test]
fn a_decoder_hears_what_was_said_however_it_is_cut() {
    for seed in 0..100 {
        let mut dice = Dice::new(seed);
        let (said, bytes) = speech(&mut dice);
        let mut decoder = Decoder::new(LIMIT);
        let mut heard = Vec::new();
        let (mut buffer, rests) = (Vec::with_capacity(dice.of(&[0, 65_536])), dice.one_in(2));
        for piece in dice.pieces(&bytes) {
            decoder.lend(std::mem::take(&mut buffer));
            heard.extend(read(&mut decoder, piece));
            if rests {
                buffer = decoder.rest();
            }
        }
        assert!(heard == said, "seed {seed}");
        assert_eq!(decoder.partial(), 0, "seed {seed}");
    }
}

/// What a decoder would hear if the frames came from a server.
fn unmasked(frames: &[ClientFrame]) -> Vec<u8> {
    frames.iter().flat_map(|read| frame(read.first, &read.payload)).collect()
}

#[test]
fn an_encoder_writes_what_it_took_however_it_is_taken() {
    for seed in 0..50 {
        let mut dice = Dice::new(seed);
        let mut encoder = Encoder::new([seed as u8; 32]);
        let (mut messages, mut controls, mut written) = (Vec::new(), Vec::new(), Vec::new());
        let mut payload = 0;
        let count = dice.below(20);
        let piece = dice.of(&[3_000, 20_000, 100_000]);
        while messages.len() < count || encoder.is_pending() {
            if messages.len() < count && encoder.has_room() && dice.one_in(2) {
                let message = message(&mut dice);
                messages.push(Said::Message(message.clone()));
                assert_eq!(encoder.push(message, Origin::App), Ok(()));
            }
            if dice.one_in(10) {
                controls.push(Said::Ping(vec![controls.len() as u8]));
                encoder.push_ping(&[controls.len() as u8 - 1]);
            }
            let pending = encoder.pending();
            let taken = pending.len().min(1 + dice.below(piece));
            written.extend_from_slice(&pending[..taken]);
            payload += encoder.advance(taken).payload;
            if dice.one_in(5) {
                encoder.rest();
            }
        }
        let heard = decode(&unmasked(&read_client(&written)));
        let (heard_messages, heard_controls): (Vec<_>, Vec<_>) =
            heard.into_iter().partition(|said| matches!(said, Said::Message(_)));
        assert!(heard_messages == messages, "seed {seed}");
        assert_eq!(heard_controls, controls, "seed {seed}");
        let sizes = messages.iter().map(|said| match said {
            Said::Message(message) => message.len(),
            _ => 0,
        });
        assert_eq!((payload, encoder.buffered()), (sizes.sum(), 0), "seed {seed}");
    }
}

/// A connection that is lost: every message is either wholly written, partly written (at most
/// one), or comes back.
#[test]
fn every_message_is_accounted_for_when_a_connection_is_lost() {
    for seed in 0..100 {
        let mut dice = Dice::new(seed);
        let mut encoder = Encoder::new([seed as u8; 32]);
        let mut messages = Vec::new();
        let (mut written, mut whole) = (Vec::new(), 0);
        for _ in 0..dice.below(30) {
            if encoder.has_room() {
                let message = message(&mut dice);
                messages.push(message.clone());
                assert_eq!(encoder.push(message, Origin::App), Ok(()));
            }
            let pending = encoder.pending();
            let taken = dice.below(pending.len() + 1);
            written.extend_from_slice(&pending[..taken]);
            whole += encoder.advance(taken).messages;
        }
        let unsent = encoder.withdraw();
        let partly = messages.len() - whole - unsent.len();
        assert!(partly <= 1, "seed {seed}: {partly}");
        assert!(messages[messages.len() - unsent.len()..] == unsent, "seed {seed}");
        // What the server has of them says the same.
        let end = whole_frames(&written);
        let heard = decode(&unmasked(&read_client(&written[..end])));
        assert_eq!(heard.len(), whole, "seed {seed}");
        let has_more = end < written.len() || heard_begins_another(&written[..end]);
        assert_eq!(partly == 1, has_more, "seed {seed}");
        // Nothing of what came back is written, only the rest of a frame and the close frame.
        encoder.push_close(Some(4000), "");
        while encoder.is_pending() {
            let pending = encoder.pending();
            written.extend_from_slice(pending);
            let taken = pending.len();
            encoder.advance(taken);
        }
        let mut heard = decode(&unmasked(&read_client(&written)));
        assert_eq!(heard.pop(), Some(Said::Close(Some(4000), String::new())), "seed {seed}");
        assert!((whole..=whole + partly).contains(&heard.len()), "seed {seed}");
        let same = heard
            .iter()
            .zip(&messages)
            .all(|(said, message)| matches!(said, Said::Message(said) if said == message));
        assert!(same, "seed {seed}");
    }
}

/// The end of the last frame that is whole.
fn whole_frames(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let [_, second, ..] = rest else { return at };
        let (header, len) = match second & 0x7f {
            126 if rest.len() >= 4 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            126 => return at,
            short => (2, usize::from(short)),
        };
        if rest.len() < header + 4 + len {
            return at;
        }
        at += header + 4 + len;
    }
}

fn heard_begins_another(bytes: &[u8]) -> bool {
    read_client(bytes).last().is_some_and(|frame| frame.first & FIN == 0)
}
