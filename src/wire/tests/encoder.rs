//! What is written, in which order, and what is known of it.

use super::*;
use crate::wire::{Encoder, FRAGMENT, Origin, Written};

fn encoder() -> Encoder {
    Encoder::new([7; 32])
}

fn push(encoder: &mut Encoder, message: impl Into<Message>) {
    assert_eq!(encoder.push(message.into(), Origin::App), Ok(()));
}

/// Writes everything, as one write after the other takes all that is pending.
fn drain(encoder: &mut Encoder) -> Vec<u8> {
    let mut written = Vec::new();
    while encoder.is_pending() {
        let pending = encoder.pending().to_vec();
        assert!(!pending.is_empty());
        encoder.advance(pending.len());
        written.extend(pending);
    }
    assert!(encoder.pending().is_empty());
    written
}

fn shapes(bytes: &[u8]) -> Vec<(u8, usize)> {
    read_client(bytes).iter().map(|frame| (frame.first, frame.payload.len())).collect()
}

#[test]
fn a_message_of_every_length_is_framed() {
    for len in [0, 1, 124, 125, 126, 127, 65_535, 65_536, 65_537] {
        let payload: Vec<u8> = (0..len).map(|number| number as u8).collect();
        let mut encoder = encoder();
        push(&mut encoder, payload.clone());
        let bytes = drain(&mut encoder);
        let read: Vec<u8> = read_client(&bytes).into_iter().flat_map(|f| f.payload).collect();
        assert_eq!(read, payload);
        let header = match len {
            ..126 => 6,
            126..=FRAGMENT => 8,
            // The last fragment is short.
            _ => 2 * 8 + 6,
        };
        assert_eq!(bytes.len(), header + len, "the shortest form");
    }
    // Only a caller's own fragments could need the longest form of a length.
    let mut out = Vec::new();
    let opcode = super::super::header::Opcode::Binary;
    super::super::header::append(&mut out, (true, false), opcode, 65_536, [9; 4]);
    assert_eq!(out, [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9]);
}

#[test]
fn a_large_message_goes_in_fragments() {
    let mut encoder = encoder();
    for len in [FRAGMENT, FRAGMENT + 1, 3 * FRAGMENT] {
        push(&mut encoder, "x".repeat(len));
        let expected: &[(u8, usize)] = match len {
            FRAGMENT => &[(0x81, FRAGMENT)],
            3.. if len == FRAGMENT + 1 => &[(0x01, FRAGMENT), (0x80, 1)],
            _ => &[(0x01, FRAGMENT), (0x00, FRAGMENT), (0x80, FRAGMENT)],
        };
        assert_eq!(shapes(&drain(&mut encoder)), expected);
    }
    assert_eq!((FRAGMENT + 8) % (16 << 10), 0, "whole TLS records");
}

#[test]
fn every_frame_has_a_key_of_its_own() {
    let mut encoder = encoder();
    push(&mut encoder, vec![0; 10 * FRAGMENT]);
    let bytes = drain(&mut encoder);
    let keys: std::collections::HashSet<_> = read_client(&bytes).iter().map(|f| f.key).collect();
    assert_eq!(keys.len(), 10);
}

#[test]
fn a_control_frame_waits_for_one_fragment() {
    let mut encoder = encoder();
    push(&mut encoder, vec![1; 4 * FRAGMENT]);
    let mut written = Vec::new();
    for (at, control) in [(10, "ping"), (FRAGMENT + 20, "pong"), (2 * FRAGMENT + 40, "close")] {
        while written.len() < at {
            let taken = encoder.pending().len().min(at - written.len());
            written.extend_from_slice(&encoder.pending()[..taken]);
            encoder.advance(taken);
        }
        assert!(!encoder.has_room(), "a message cannot go between the fragments of another");
        match control {
            "ping" => encoder.push_ping(b"1"),
            "pong" => encoder.push_pong(b"2"),
            _ => encoder.push_close(Some(1002), "é"),
        }
    }
    written.extend(drain(&mut encoder));
    let expected =
        [(0x02, FRAGMENT), (0x89, 1), (0x00, FRAGMENT), (0x8a, 1), (0x00, FRAGMENT), (0x88, 4)];
    assert_eq!(shapes(&written), expected);
    assert_eq!(read_client(&written)[5].payload, [0x03, 0xea, 0xc3, 0xa9]);
    assert!(!encoder.has_room());
    assert_eq!(encoder.push("late".into(), Origin::App), Err("late".into()));
    encoder.push_pong(b"late");
    encoder.push_ping(b"late");
    encoder.push_close(Some(1000), "late");
    assert!(!encoder.is_pending(), "nothing follows the close frame");
    assert_eq!(encoder.buffered(), FRAGMENT, "the rest of the message is never written");
    assert_eq!(encoder.withdraw(), [], "a part of it was");
}

#[test]
fn the_close_frame_says_as_much_as_fits() {
    for (code, reason, payload) in [
        (None, "ignored", vec![]),
        (Some(1000), "", vec![0x03, 0xe8]),
        (Some(4999), "bye", b"\x13\x87bye".to_vec()),
        (Some(4000), &*"é".repeat(70), [&[0x0f, 0xa0][..], "é".repeat(61).as_bytes()].concat()),
    ] {
        let mut encoder = encoder();
        encoder.push_close(code, reason);
        let frames = read_client(&drain(&mut encoder));
        assert_eq!((frames[0].first, &frames[0].payload), (0x88, &payload));
    }
}

#[test]
fn what_is_written_is_known_to_the_byte() {
    let mut encoder = encoder();
    let nothing = Written::default();
    push(&mut encoder, "12345");
    push(&mut encoder, "");
    assert_eq!(encoder.push("engine".into(), Origin::Engine), Ok(()));
    push(&mut encoder, "67");
    encoder.push_ping(b"?");
    assert_eq!(encoder.buffered(), 7);
    assert_eq!(encoder.advance(10), nothing);
    assert_eq!(encoder.advance(1), Written { messages: 1, payload: 5 });
    assert_eq!(encoder.advance(6), Written { messages: 1, payload: 0 });
    assert_eq!(encoder.advance(12), nothing, "the engine's own");
    assert_eq!(encoder.buffered(), 2);
    assert_eq!(encoder.advance(8), Written { messages: 1, payload: 2 });
    assert_eq!((encoder.buffered(), encoder.is_pending()), (0, true));
    assert_eq!(encoder.advance(7), nothing);
    assert!(!encoder.is_pending());

    // A message in fragments is counted fragment by fragment.
    push(&mut encoder, vec![0; 2 * FRAGMENT + 1]);
    for (payload, messages) in [(FRAGMENT, 0), (FRAGMENT, 0), (1, 1)] {
        let pending = encoder.pending().len();
        assert_eq!(encoder.advance(pending - 1), nothing);
        assert_eq!(encoder.advance(1), Written { messages, payload });
    }
    assert_eq!(encoder.buffered(), 0);
}

/// Those of which no byte is written can be sent again.
#[test]
fn what_was_never_begun_comes_back() {
    let fill = |messages: &[Message]| {
        let mut encoder = encoder();
        assert_eq!(encoder.push("engine".into(), Origin::Engine), Ok(()));
        messages.iter().for_each(|message| push(&mut encoder, message.clone()));
        encoder
    };
    let messages: [Message; 3] = ["one".into(), "two".into(), vec![3; 2 * FRAGMENT].into()];
    // Each header has six bytes, and the engine's own comes first.
    for (written, unsent) in [(0, 3), (12, 3), (13, 2), (21, 2), (22, 1), (30, 1)] {
        let mut encoder = fill(&messages);
        encoder.pending();
        encoder.advance(written);
        assert_eq!(encoder.withdraw(), messages[3 - unsent..], "{written}");
    }
    let mut encoder = fill(&messages);
    encoder.pending();
    encoder.advance(30);
    // A control frame between two messages is no part of either.
    encoder.push_ping(b"");
    assert_eq!(encoder.pending().len(), 6);
    encoder.advance(6);
    encoder.pending();
    encoder.advance(1);
    assert_eq!(encoder.withdraw(), []);

    // The close frame came before the first fragment.
    let mut encoder = fill(&messages);
    encoder.push_close(None, "");
    drain(&mut encoder);
    assert_eq!(encoder.withdraw(), messages[2..]);
}

#[test]
fn a_close_frame_behind_what_comes_back_is_pushed_again() {
    for (written, frames) in [(0, &[0x88][..]), (1, &[0x81, 0x88]), (9, &[0x88])] {
        let mut encoder = encoder();
        push(&mut encoder, "one");
        push(&mut encoder, "two");
        encoder.push_close(Some(1000), "");
        let begun = encoder.pending()[..written].to_vec();
        encoder.advance(written);
        assert_eq!(encoder.withdraw().len(), if written == 0 { 2 } else { 1 });
        assert_eq!(encoder.buffered(), if written == 1 { 3 } else { 0 });
        encoder.push_close(Some(4000), "");
        encoder.push_close(Some(4001), "");
        let all = [begun, drain(&mut encoder)].concat();
        let all = read_client(&all);
        let firsts: Vec<_> = all.iter().skip(usize::from(written == 9)).map(|f| f.first).collect();
        assert_eq!(firsts, frames, "{written}");
        assert_eq!(all.last().map(|frame| &*frame.payload), Some(&b"\x0f\xa0"[..]));
    }
}

#[test]
fn a_ping_is_known_to_be_written_between_two_fragments() {
    for (origin, caught_up) in [(Origin::App, true), (Origin::Engine, false)] {
        let mut encoder = encoder();
        assert_eq!(encoder.push(vec![0; 3 * FRAGMENT].into(), origin), Ok(()));
        encoder.pending();
        encoder.push_ping(b"?");
        let pending = encoder.pending().len();
        encoder.advance(pending - 1);
        assert!(!encoder.is_caught_up());
        encoder.advance(1);
        assert_eq!((encoder.is_caught_up(), encoder.is_pending()), (caught_up, true));
        drain(&mut encoder);
        assert!(encoder.is_caught_up());
    }
}

#[test]
fn what_waits_is_bounded() {
    let mut encoder = encoder();
    let mut count = 0;
    while encoder.has_room() {
        push(&mut encoder, "");
        count += 1;
    }
    assert_eq!(count, 512);
    let mut encoder = self::encoder();
    while encoder.has_room() {
        push(&mut encoder, vec![0; FRAGMENT]);
    }
    assert!(encoder.pending().len() <= 2 * (FRAGMENT + 8));

    // The system takes a little now and then, and the app has always something.
    let mut encoder = self::encoder();
    for _ in 0..10_000 {
        while encoder.has_room() {
            push(&mut encoder, vec![0; 1_000]);
        }
        assert!(encoder.pending().len() < 34_000);
        encoder.advance(500);
    }
    assert!(encoder.memory() < 200_000, "{}", encoder.memory());
}

/// A server that asks without reading: the last question is answered.
#[test]
fn pongs_do_not_pile_up() {
    let mut encoder = encoder();
    for number in 0..100_000_u32 {
        encoder.push_pong(&number.to_be_bytes());
    }
    assert!(encoder.pending().len() < 70_000);
    let frames = read_client(&drain(&mut encoder));
    assert_eq!(frames[0].payload, 0_u32.to_be_bytes());
    assert_eq!(frames[frames.len() - 1].payload, 99_999_u32.to_be_bytes());

    // The one that waits does not wait for an app that has always something to say.
    let mut encoder = self::encoder();
    for _ in 0..1_000 {
        encoder.push_pong(&[0; 100]);
    }
    encoder.push_pong(b"last");
    let mut written = Vec::new();
    for _ in 0..500 {
        while encoder.has_room() {
            push(&mut encoder, vec![0; 1_000]);
        }
        written.extend_from_slice(&encoder.pending()[..200]);
        encoder.advance(200);
    }
    written.extend(drain(&mut encoder));
    let frames = read_client(&written);
    let last = frames.iter().position(|frame| frame.payload == b"last");
    let after = frames.len() - last.expect("answered");
    assert!(after > 30, "it went ahead of {after} frames");
}

#[test]
fn after_a_large_message_little_is_kept() {
    assert!(size_of::<Encoder>() + size_of::<Decoder>() <= 1 << 10);
    let mut encoder = encoder();
    push(&mut encoder, vec![0; 16 << 20]);
    let mut most = 0;
    while encoder.is_pending() {
        let pending = encoder.pending().len();
        most = most.max(encoder.memory());
        encoder.advance(pending);
    }
    assert!(most <= 2 * FRAGMENT, "the message is masked a fragment at a time: {most}");
    while encoder.has_room() {
        push(&mut encoder, "x");
    }
    drain(&mut encoder);
    encoder.rest();
    assert!(encoder.memory() <= 2 << 10, "{}", encoder.memory());
}

/// tungstenite's server reads what the encoder writes.
#[test]
fn tungstenite_reads_it() {
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};
    use tokio_tungstenite::tungstenite::{Message as Theirs, protocol::WebSocketConfig};
    let large = "é".repeat(100_000);
    let mut encoder = encoder();
    let mut bytes = Vec::new();
    for message in [Message::text("a"), Message::from(vec![0xff; 70_000]), Message::text(&*large)] {
        push(&mut encoder, message);
        encoder.push_ping(b"p");
        bytes.extend(drain(&mut encoder));
    }
    encoder.push_close(Some(4001), "done");
    bytes.extend(drain(&mut encoder));
    let stream = super::differential::Stream::new(bytes);
    let config = WebSocketConfig::default();
    let mut server = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut read = Vec::new();
    while let Ok(message) = server.read() {
        read.push(message);
    }
    let ping = || Theirs::Ping("p".into());
    // The Ping behind a large message goes ahead of its first fragment.
    let expected = [
        Theirs::text("a"),
        ping(),
        ping(),
        Theirs::binary(vec![0xff; 70_000]),
        ping(),
        Theirs::text(large),
    ];
    assert_eq!(read[..6], expected);
    assert!(matches!(&read[6], Theirs::Close(Some(close)) if u16::from(close.code) == 4001));
}
