//! Compressed messages, there and back, with every parameter.

use super::*;
use crate::wire::{Agreement, Encoder, FRAGMENT, Origin};
use zlib_rs::{Inflate, InflateFlush};

/// The first reserved bit: the message is compressed.
const RSV1: u8 = 0x40;

const FULL: Agreement = Agreement {
    server_takes_over: true,
    client_takes_over: true,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

fn decoder(agreement: &Agreement, limit: usize) -> Decoder {
    let mut decoder = Decoder::new(limit);
    decoder.decompress(agreement);
    decoder
}

fn encoder(agreement: &Agreement, level: u8) -> Encoder {
    let mut encoder = Encoder::new([5; 32]);
    encoder.compress(agreement, level, 0);
    encoder
}

/// A decoder for what a client says, as if a server had said it.
fn of_client(agreement: &Agreement) -> Decoder {
    let mirrored = Agreement {
        server_takes_over: agreement.client_takes_over,
        server_max_window_bits: agreement.client_max_window_bits,
        ..FULL
    };
    decoder(&mirrored, LIMIT)
}

fn send(encoder: &mut Encoder, message: Message) -> Vec<ClientFrame> {
    assert_eq!(encoder.push(message, Origin::App), Ok(()));
    let mut written = Vec::new();
    while encoder.is_pending() {
        let pending = encoder.pending().to_vec();
        encoder.advance(pending.len());
        written.extend(pending);
    }
    assert_eq!(encoder.buffered(), 0);
    read_client(&written)
}

fn unmasked(frames: &[ClientFrame]) -> Vec<u8> {
    frames.iter().flat_map(|read| frame(read.first, &read.payload)).collect()
}

/// RFC 7692, 7.2.3.1 to 7.2.3.5.
#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = || Said::Message("Hello".into());
    let mut decoder = decoder(&FULL, LIMIT);
    for bytes in [
        &b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
        b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00",
        b"\xc1\x05\xf2\x00\x11\x00\x00",
        b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        // The end of a stream without the byte that should follow it.
        b"\xc1\x07\xf3\x48\xcd\xc9\xc9\x07\x00",
        b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
        // Not compressed: each message says so.
        b"\x81\x05Hello",
    ] {
        assert_eq!(read(&mut decoder, bytes), [hello()], "{bytes:x?}");
    }
    // 7.2.3.6, and a message of no bytes at all.
    for bytes in [&b"\xc1\x01\x00"[..], b"\xc1\x00", b"\x41\x00\x80\x01\x00"] {
        assert_eq!(read(&mut decoder, bytes), [Said::Message("".into())], "{bytes:x?}");
    }
}

#[test]
fn the_encoder_makes_the_example_of_the_rfc() {
    let mut encoder = encoder(&FULL, 6);
    let frames = send(&mut encoder, "Hello".into());
    assert_eq!(
        (frames[0].first, &*frames[0].payload),
        (0xc1, &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..])
    );
    // The window is shared.
    let frames = send(&mut encoder, "Hello".into());
    assert!(frames[0].payload.len() <= 5, "{:x?}", frames[0].payload);
}

#[test]
fn the_bit_is_set_where_it_belongs_and_nowhere_else() {
    let violation = [Said::Violation(Violation::ReservedBit)];
    // Not agreed on.
    assert_eq!(decode(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"), violation);
    for bytes in [&b"\xc9\x00"[..], b"\xc8\x00", b"\x41\x00\xc0\x00", b"\xa1\x00", b"\x91\x00"] {
        assert_eq!(read(&mut decoder(&FULL, LIMIT), bytes), violation, "{bytes:x?}");
    }
    let mut encoder = Encoder::new([5; 32]);
    encoder.compress(&FULL, 6, 10);
    let firsts = |frames: Vec<ClientFrame>| frames.iter().map(|f| f.first).collect::<Vec<_>>();
    assert_eq!(firsts(send(&mut encoder, "123456789".into())), [FIN | TEXT], "too small");
    assert_eq!(firsts(send(&mut encoder, "1234567890".into())), [FIN | RSV1 | TEXT]);
    let large = Dice::new(1).bytes(3 * FRAGMENT);
    let large = firsts(send(&mut encoder, large.into()));
    assert_eq!(large[0], RSV1 | BINARY);
    assert!(large.len() >= 3 && large[1..large.len() - 1].iter().all(|first| *first == 0));
    assert_eq!(large[large.len() - 1], FIN);
    encoder.push_ping(b"1234567890");
    assert_eq!(read_client(encoder.pending())[0].first, PING);
}

fn message(dice: &mut Dice) -> Message {
    let len = dice.of(&[0, 1, 20, 126, 300, 5_000, 70_000]);
    match dice.below(3) {
        0 => Message::text(dice.text(len)),
        1 => Message::from(dice.bytes(len)),
        _ => Message::text(
            "{\"id\":1,\"name\":\"é\"},".chars().cycle().take(len).collect::<String>(),
        ),
    }
}

#[test]
fn every_parameter_works_there_and_back() {
    let mut seed = 0;
    for bits in 8..=15 {
        for takes_over in [true, false] {
            for level in [0, 1, 6, 9] {
                seed += 1;
                let agreement = Agreement {
                    client_takes_over: takes_over,
                    client_max_window_bits: bits,
                    ..FULL
                };
                there_and_back(&mut Dice::new(seed), &agreement, level);
            }
        }
    }
}

fn there_and_back(dice: &mut Dice, agreement: &Agreement, level: u8) {
    let (mut encoder, mut decoder) = (encoder(agreement, level), of_client(agreement));
    for _ in 0..4 {
        let message = message(dice);
        let bytes = unmasked(&send(&mut encoder, message.clone()));
        let mut said = Vec::new();
        for piece in dice.pieces(&bytes) {
            said.extend(read(&mut decoder, piece));
            if dice.one_in(10) {
                decoder.rest();
            }
        }
        assert!(said == [Said::Message(message)], "{agreement:?} {level}");
        match dice.below(4) {
            0 => encoder.rest(),
            1 => encoder.forget(),
            _ => {}
        }
    }
}

/// A peer whose window is no larger than agreed can read it: each short message is read by one that
/// knows the last bytes of what came before and no more.
#[test]
fn the_window_is_no_larger_than_agreed() {
    for bits in 8..=15 {
        let agreement = Agreement { client_max_window_bits: bits, ..FULL };
        let window = 1_usize << bits;
        // One level of each way to look for matches, and the most thorough.
        for level in [1, 2, 3, 6, 9] {
            let (mut encoder, mut dice) = (encoder(&agreement, level), Dice::new(u64::from(bits)));
            let (word, mut history, mut sizes) = (dice.bytes(60), Vec::new(), Vec::new());
            // At the last distances a larger window than agreed would have it.
            for gap in [0, 100, window - 150, window - 40, window + 10, window + 200] {
                let first = [&word[..], &dice.bytes(gap)].concat();
                send(&mut encoder, first.clone().into());
                history.extend(first);
                let known = &history[history.len() - history.len().min(window)..];
                let frames = send(&mut encoder, word.clone().into());
                let compressed = [&frames[0].payload[..], &[0, 0, 0xff, 0xff]].concat();
                let (mut inflate, mut out) = (Inflate::new(false, 15), [0; 100]);
                inflate.set_dictionary(known).expect("a window");
                let result = inflate.decompress(&compressed, &mut out, InflateFlush::SyncFlush);
                assert!(result.is_ok(), "{result:?}: {bits} bits, level {level}, gap {gap}");
                assert_eq!(out[..inflate.total_out() as usize], word);
                history.extend(&word);
                sizes.push(compressed.len());
            }
            // What is near is referred to, or this would show nothing.
            assert!(sizes[1] < 40 && *sizes.last().expect("six") > 60, "{sizes:?}");
        }
    }
}

#[test]
fn context_is_taken_over_only_if_agreed() {
    let message = || Message::text(Dice::new(3).text(500));
    for takes_over in [true, false] {
        let agreement = Agreement { client_takes_over: takes_over, ..FULL };
        let mut encoder = encoder(&agreement, 6);
        let first = send(&mut encoder, message())[0].payload.clone();
        let second = send(&mut encoder, message())[0].payload.clone();
        assert_eq!(second == first, !takes_over);
        assert_eq!(second.len() < first.len() / 5, takes_over);
        // Each can be read alone after the window is forgotten.
        encoder.forget();
        let third = send(&mut encoder, message())[0].payload.clone();
        assert_eq!(third, first);
        let mut decoder = of_client(&agreement);
        for payload in [first, second, third] {
            let said = read(&mut decoder, &frame(FIN | RSV1 | TEXT, &payload));
            assert_eq!(said, [Said::Message(message())]);
        }
        // Without takeover each message can be read alone.
        let alone = frame(FIN | RSV1 | TEXT, &send(&mut encoder, message())[0].payload);
        let said = read(&mut of_client(&agreement), &alone);
        assert_eq!(said == [Said::Message(message())], !takes_over);
    }
}

#[test]
fn empty_messages_can_follow_each_other() {
    for takes_over in [true, false] {
        let agreement = Agreement { client_takes_over: takes_over, ..FULL };
        let (mut encoder, mut decoder) = (encoder(&agreement, 6), of_client(&agreement));
        for text in ["", "", "a", "", "", "a"] {
            let frames = send(&mut encoder, text.into());
            assert!(!frames[0].payload.is_empty());
            assert_eq!(read(&mut decoder, &unmasked(&frames)), [Said::Message(text.into())]);
        }
    }
}

/// A small message that becomes very large is stopped when it passes the limit.
#[test]
fn the_limit_holds_for_what_comes_out() {
    let mut encoder = encoder(&FULL, 6);
    let bytes = unmasked(&send(&mut encoder, vec![0; 4 << 20].into()));
    assert!(bytes.len() < 10_000, "{}", bytes.len());
    let mut decoder = decoder(&FULL, 100_000);
    for (at, piece) in bytes.chunks(10).enumerate() {
        let said = read(&mut decoder, piece);
        assert!(decoder.partial() <= 100_000);
        if !said.is_empty() {
            assert_eq!(said, [Said::Violation(Violation::TooBig { limit: 100_000 })]);
            assert!(at < 30, "piece {at}");
            return;
        }
    }
    panic!("the limit was not met");
}

#[test]
fn the_limit_is_exact() {
    for (len, fits) in [(1_000, true), (1_001, false)] {
        let bytes = unmasked(&send(&mut encoder(&FULL, 6), "x".repeat(len).into()));
        let said = read(&mut decoder(&FULL, 1_000), &bytes);
        assert_eq!(matches!(said[..], [Said::Message(_)]), fits, "{len}");
    }
}

#[test]
fn what_comes_out_is_checked() {
    let mut encoder = encoder(&FULL, 6);
    let mut bytes = unmasked(&send(&mut encoder, vec![b'a', 0xff, b'b'].into()));
    bytes[0] = FIN | RSV1 | TEXT;
    let said = read(&mut decoder(&FULL, LIMIT), &bytes);
    assert_eq!(said, [Said::Violation(Violation::TextNotUtf8)]);

    let said = read(&mut decoder(&FULL, LIMIT), b"\xc1\x03\xff\xff\xff");
    assert_eq!(said, [Said::Violation(Violation::NotDeflate)]);
    assert_eq!(Violation::NotDeflate.close_code(), 1007);
    // Nothing to refer to.
    let said = read(&mut decoder(&FULL, LIMIT), b"\xc1\x05\xf2\x00\x11\x00\x00");
    assert_eq!(said, [Said::Violation(Violation::NotDeflate)]);
}

/// Any bytes in a compressed message: a message or a violation, never a panic, never more than the
/// limit.
#[test]
fn noise_is_refused_or_read() {
    let (mut read_some, mut refused) = (0, 0);
    for seed in 0..1_500 {
        let mut dice = Dice::new(seed);
        let mut encoder = encoder(&FULL, dice.below(10) as u8);
        let text = dice.text(300);
        let mut payload = send(&mut encoder, text.into())[0].payload.clone();
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(payload.len());
            payload[at] = dice.below(256) as u8;
        }
        let bytes = frame(FIN | RSV1 | BINARY, &payload);
        let mut decoder = decoder(&FULL, 2_000);
        for piece in dice.pieces(&bytes) {
            for said in read(&mut decoder, piece) {
                match said {
                    Said::Message(message) => {
                        assert!(message.len() <= 2_000);
                        read_some += 1;
                    }
                    Said::Violation(_) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(read_some > 100 && refused > 100, "{read_some} {refused}");
}

#[test]
fn a_control_frame_goes_between_compressed_fragments() {
    let mut encoder = encoder(&FULL, 1);
    let message = Message::from(Dice::new(1).bytes(5 * FRAGMENT));
    assert_eq!(encoder.push(message.clone(), Origin::App), Ok(()));
    let mut written = Vec::new();
    while encoder.is_pending() {
        let pending = encoder.pending();
        assert!(pending.len() <= FRAGMENT + 14);
        let len = pending.len();
        written.extend_from_slice(pending);
        if written.len() < 4 * FRAGMENT {
            encoder.push_ping(b"?");
        }
        encoder.advance(len);
    }
    let said = read(&mut of_client(&FULL), &unmasked(&read_client(&written)));
    assert!(said.iter().filter(|said| matches!(said, Said::Ping(_))).count() >= 3);
    assert!(said.last() == Some(&Said::Message(message)));
}
