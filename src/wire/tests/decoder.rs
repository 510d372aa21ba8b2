//! What the server may say and what not, at every boundary.

use super::*;
use crate::wire::{MAX_SMALL, READ_BUFFER};

fn text(text: &str) -> Said {
    Said::Message(Message::text(text))
}

fn binary(bytes: &[u8]) -> Said {
    Said::Message(bytes.into())
}

/// The examples of RFC 6455, 5.7, that a server may send.
#[test]
fn the_examples_of_the_rfc_are_read() {
    assert_eq!(decode(b"\x81\x05Hello"), [text("Hello")]);
    assert_eq!(decode(b"\x01\x03Hel\x80\x02lo"), [text("Hello")]);
    assert_eq!(decode(b"\x89\x05Hello"), [Said::Ping(b"Hello".to_vec())]);
    assert_eq!(decode(&[&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat()), [binary(&[7; 256])]);
    let large = [&b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"[..], &[7; 65_536]].concat();
    assert_eq!(decode(&large), [binary(&[7; 65_536])]);
}

#[test]
fn a_message_of_every_length_is_read_at_every_cut() {
    for len in [0, 1, 2, 125, 126, 127, 4_095, 4_096, 4_097, 65_535, 65_536, 65_537] {
        let payload: Vec<u8> = (0..len).map(|number| (number % 127) as u8).collect();
        for (first, said) in [
            (FIN | BINARY, binary(&payload)),
            (FIN | TEXT, text(std::str::from_utf8(&payload).expect("ASCII"))),
        ] {
            let bytes = frame(first, &payload);
            let near_ends = (0..16).chain(bytes.len().saturating_sub(16)..bytes.len());
            for cut in near_ends.filter(|cut| *cut < bytes.len()) {
                let mut decoder = Decoder::new(LIMIT);
                assert_eq!(read(&mut decoder, &bytes[..cut]), [], "{len} at {cut}");
                assert_eq!(
                    read(&mut decoder, &bytes[cut..]),
                    std::slice::from_ref(&said),
                    "{len} at {cut}"
                );
                assert_eq!(decoder.partial(), 0);
            }
        }
    }
}

/// Small messages are read where they lie, also those that come in fragments.
#[test]
fn only_large_messages_are_values_of_their_own() {
    for (len, is_small) in [(MAX_SMALL, true), (MAX_SMALL + 1, false)] {
        let payload = vec![b'x'; len];
        let (start, end) = payload.split_at(len / 2);
        for bytes in [
            frame(FIN | TEXT, &payload),
            frame(FIN | BINARY, &payload),
            [frame(TEXT, start), frame(FIN | CONTINUATION, end)].concat(),
            [frame(BINARY, start), frame(FIN | CONTINUATION, end)].concat(),
        ] {
            let mut decoder = Decoder::new(LIMIT);
            assert_eq!(read_some(&mut decoder, &bytes), bytes.len());
            let event = decoder.next().expect("whole").expect("valid");
            assert_eq!(matches!(event, Event::Data(_)), is_small, "{len}");
            assert_eq!(matches!(event, Event::Message(_)), !is_small, "{len}");
        }
    }
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let bytes = [
        frame(TEXT, "h\u{e9}".as_bytes()),
        frame(PING, &[1; 125]),
        frame(CONTINUATION, b""),
        frame(PONG, b""),
        frame(FIN | CONTINUATION, b"!"),
        frame(FIN | TEXT, b""),
        frame(CLOSE, b"\x03\xe8bye"),
    ]
    .concat();
    let expected = [
        Said::Ping(vec![1; 125]),
        Said::Pong(vec![]),
        text("h\u{e9}!"),
        text(""),
        Said::Close(Some(1000), "bye".to_owned()),
    ];
    assert_eq!(decode(&bytes), expected);
    for piece in 1..bytes.len() {
        let mut decoder = Decoder::new(LIMIT);
        let said: Vec<_> =
            bytes.chunks(piece).flat_map(|piece| read(&mut decoder, piece)).collect();
        assert_eq!(said, expected, "{piece} at a time");
    }
}

#[test]
fn each_violation_has_its_code_and_its_words() {
    use Violation as V;
    let long_control = frame(PING, &[0; 126]);
    let cases: Vec<(&[u8], V, u16, &str)> = vec![
        (b"\x81\x80", V::Masked, 1002, "a masked frame from the server (RFC 6455, 5.1)"),
        (b"\xc1\x00", V::ReservedBit, 1002, "a reserved bit is set (RFC 6455, 5.2)"),
        (b"\xa1\x00", V::ReservedBit, 1002, "a reserved bit is set (RFC 6455, 5.2)"),
        (b"\x91\x00", V::ReservedBit, 1002, "a reserved bit is set (RFC 6455, 5.2)"),
        (b"\xc9\x00", V::ReservedBit, 1002, "a reserved bit is set (RFC 6455, 5.2)"),
        (b"\x83\x00", V::ReservedOpcode(3), 1002, "reserved opcode 3 (RFC 6455, 5.2)"),
        (b"\x87\x00", V::ReservedOpcode(7), 1002, "reserved opcode 7 (RFC 6455, 5.2)"),
        (b"\x8b\x00", V::ReservedOpcode(11), 1002, "reserved opcode 11 (RFC 6455, 5.2)"),
        (b"\x8f\x00", V::ReservedOpcode(15), 1002, "reserved opcode 15 (RFC 6455, 5.2)"),
        (
            b"\x82\x7e\x00\x7d",
            V::LengthForm,
            1002,
            "a length that is not in its shortest form (RFC 6455, 5.2)",
        ),
        (
            b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
            V::LengthForm,
            1002,
            "a length that is not in its shortest form (RFC 6455, 5.2)",
        ),
        (
            b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
            V::LengthRange,
            1002,
            "a length of 2^63 bytes or more (RFC 6455, 5.2)",
        ),
        (b"\x09\x00", V::FragmentedControl, 1002, "a fragmented control frame (RFC 6455, 5.5)"),
        (
            &long_control,
            V::LongControl,
            1002,
            "a control frame of more than 125 bytes (RFC 6455, 5.5)",
        ),
        (
            b"\x80\x00",
            V::NothingToContinue,
            1002,
            "a continuation frame without a message (RFC 6455, 5.4)",
        ),
        (
            b"\x01\x00\x81\x00",
            V::Interleaved,
            1002,
            "a new message before the end of a fragmented one (RFC 6455, 5.4)",
        ),
        (
            b"\x88\x01\x03",
            V::HalfCloseCode,
            1002,
            "a close frame with half a close code (RFC 6455, 5.5.1)",
        ),
        (
            b"\x88\x02\x03\xed",
            V::CloseCode(1005),
            1002,
            "close code 1005 must not be sent (RFC 6455, 7.4)",
        ),
        (
            b"\x88\x03\x03\xe8\xff",
            V::ReasonNotUtf8,
            1007,
            "the reason of a close frame is not UTF-8 (RFC 6455, 5.5.1)",
        ),
        (b"\x81\x01\xff", V::TextNotUtf8, 1007, "a text message is not UTF-8 (RFC 6455, 8.1)"),
        (
            b"\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x01",
            V::TooBig { limit: LIMIT },
            1009,
            "a message is larger than the limit of 1048576 bytes",
        ),
    ];
    for (bytes, violation, code, words) in cases {
        assert_eq!((violation.close_code(), &*violation.to_string()), (code, words));
        // Nothing is said after it, and nothing more is taken in.
        let mut decoder = Decoder::new(LIMIT);
        let more = [bytes, b"\x81\x01x"].concat();
        assert_eq!(read(&mut decoder, &more), [Said::Violation(violation)], "{bytes:x?}");
        assert_eq!(read(&mut decoder, b"\x81\x01x"), []);
        assert_eq!(decoder.partial(), 0);
    }
}

/// A breach is found when the bytes that show it are there; the payload need not be.
#[test]
fn a_violation_is_found_early() {
    let cases: [(&[u8], Violation); 6] = [
        (b"\x81\xfe", Violation::Masked),
        (b"\x83\x7f", Violation::ReservedOpcode(3)),
        (b"\x89\x7e", Violation::LongControl),
        (b"\x80\x7d", Violation::NothingToContinue),
        (b"\x81\x7d\xe2\x82\x28", Violation::TextNotUtf8),
        (b"\x01\x01\xe2\x80\x7d\x28", Violation::TextNotUtf8),
    ];
    for (bytes, violation) in cases {
        let (last, first) = bytes.split_last().expect("not empty");
        let mut decoder = Decoder::new(LIMIT);
        assert_eq!(read(&mut decoder, first), [], "{bytes:x?}");
        assert_eq!(read(&mut decoder, &[*last]), [Said::Violation(violation)], "{bytes:x?}");
    }
}

#[test]
fn every_close_code_is_judged() {
    for code in 0..=u16::MAX {
        let said = decode(&frame(CLOSE, &[&code.to_be_bytes()[..], "é".as_bytes()].concat()));
        let expected = match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Said::Close(Some(code), "é".to_owned()),
            _ => Said::Violation(Violation::CloseCode(code)),
        };
        assert_eq!(said, [expected]);
    }
    assert_eq!(decode(b"\x88\x00"), [Said::Close(None, String::new())]);
    let longest = [&b"\x03\xe8"[..], &[b'x'; 123]].concat();
    assert_eq!(decode(&frame(CLOSE, &longest)), [Said::Close(Some(1000), "x".repeat(123))]);
}

#[test]
fn nothing_follows_the_close_frame() {
    for after in [&b"\x81\x01x"[..], b"\xff\xff", b"\x88\x00"] {
        let mut decoder = Decoder::new(LIMIT);
        let bytes = [b"\x88\x02\x03\xe8", after].concat();
        assert_eq!(read(&mut decoder, &bytes), [Said::Close(Some(1000), String::new())]);
        for _ in 0..10_000 {
            assert_eq!(read(&mut decoder, after), []);
        }
        assert!(decoder.rest().capacity() <= READ_BUFFER);
    }
}

#[test]
fn text_is_checked_across_frames_and_reads() {
    let valid = "κόσμε 字 😀 \u{10ffff}";
    for cut in 0..=valid.len() {
        let (start, end) = valid.as_bytes().split_at(cut);
        let bytes = [frame(TEXT, start), frame(PING, b""), frame(FIN | CONTINUATION, end)].concat();
        for piece in [1, 2, 3, bytes.len()] {
            let mut decoder = Decoder::new(LIMIT);
            let said: Vec<_> =
                bytes.chunks(piece).flat_map(|piece| read(&mut decoder, piece)).collect();
            assert_eq!(said, [Said::Ping(vec![]), text(valid)], "{cut} {piece}");
        }
    }
    // A message must not end inside a character.
    let not_utf8 = [Said::Violation(Violation::TextNotUtf8)];
    assert_eq!(decode(b"\x81\x02\xe2\x82"), not_utf8);
    assert_eq!(decode(b"\x01\x01\xe2\x80\x01\x82"), not_utf8);
    assert_eq!(decode(b"\x01\x01\xe2\x80\x00"), not_utf8);
    // Binary messages may have anything.
    assert_eq!(decode(b"\x82\x02\xe2\x82"), [binary(b"\xe2\x82")]);
}

/// The first byte that cannot be UTF-8 is told before the message is whole: large or small, in
/// one frame or in fragments.
#[test]
fn text_fails_fast() {
    for len in [100, MAX_SMALL, MAX_SMALL + 1, 100_000] {
        for first in [TEXT, FIN | TEXT] {
            let mut payload = vec![b'x'; len];
            payload[len / 2] = 0xff;
            let bytes = frame(first, &payload);
            let bad = bytes.len() - len + len / 2;
            let mut decoder = Decoder::new(LIMIT);
            assert_eq!(read(&mut decoder, &bytes[..bad]), []);
            let said = read(&mut decoder, &bytes[bad..=bad]);
            assert_eq!(said, [Said::Violation(Violation::TextNotUtf8)], "{len} {first}");
        }
    }
}

#[test]
fn the_limit_is_met_as_soon_as_it_is_known() {
    let too_big = [Said::Violation(Violation::TooBig { limit: 10 })];
    let decode = |bytes: &[u8]| read(&mut Decoder::new(10), bytes);
    assert_eq!(decode(&frame(FIN | BINARY, &[1; 10])), [binary(&[1; 10])]);
    assert_eq!(decode(b"\x82\x0b"), too_big);
    assert_eq!(decode(b"\x02\x0b"), too_big);
    let half = frame(BINARY, &[1; 5]);
    assert_eq!(decode(&[&half[..], b"\x80\x05\x01\x01\x01\x01\x01"].concat()), [binary(&[1; 10])]);
    assert_eq!(decode(&[&half[..], b"\x80\x06"].concat()), too_big);
    assert_eq!(decode(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), too_big);
    // Half a character counts too.
    assert_eq!(
        decode(&[frame(TEXT, "123456é字".as_bytes()), frame(CONTINUATION, b"")].concat()),
        too_big
    );
    assert_eq!(decode(b"\x01\x0a12345678\xe5\xad\x80\x01"), too_big);
    // Control frames are no part of a message.
    assert_eq!(decode(&frame(PING, &[1; 125])), [Said::Ping(vec![1; 125])]);
    let none = read(&mut Decoder::new(0), b"\x82\x00\x82\x01");
    assert_eq!(none, [binary(b""), Said::Violation(Violation::TooBig { limit: 0 })]);
}

#[test]
fn a_part_of_a_message_is_visible() {
    for (first, len) in [(FIN | BINARY, 1_000), (FIN | TEXT, 1_000), (FIN | BINARY, 100_000)] {
        let bytes = frame(first, &vec![b'x'; len]);
        let header = bytes.len() - len;
        let mut decoder = Decoder::new(LIMIT);
        for (at, byte) in bytes[..bytes.len() - 1].iter().enumerate() {
            assert_eq!(decoder.partial(), at.saturating_sub(header));
            read(&mut decoder, &[*byte]);
        }
        assert_eq!(decoder.partial(), len - 1);
        assert_eq!(read(&mut decoder, b"x").len(), 1);
        assert_eq!(decoder.partial(), 0);
    }
    let mut decoder = Decoder::new(LIMIT);
    read(&mut decoder, &[frame(TEXT, b"abc"), frame(PING, b"12345")[..4].to_vec()].concat());
    assert_eq!(decoder.partial(), 3, "the Ping is not part of it");
}

/// The capacity of what an idle decoder keeps.
fn kept(decoder: &mut Decoder) -> usize {
    decoder.rest();
    let before = format!("{decoder:?}");
    let buffer = decoder.rest();
    assert!(buffer.is_empty(), "{before}");
    buffer.capacity()
}

#[test]
fn after_a_large_message_nothing_is_kept() {
    let limit = 16 << 20;
    for first in [FIN | TEXT, FIN | BINARY] {
        let mut decoder = Decoder::new(limit);
        let bytes = frame(first, &vec![b'x'; limit]);
        let said = read(&mut decoder, &bytes);
        let [Said::Message(message)] = &said[..] else { panic!("one message") };
        assert_eq!(message.len(), limit);
        let capacity = match message.clone() {
            Message::Text { text } => text.into_bytes().capacity(),
            Message::Binary { bytes } => bytes.len(),
        };
        assert!(capacity <= limit + limit / 8, "{capacity}");
        assert!(decoder.rest().capacity() <= READ_BUFFER);
        assert_eq!(kept(&mut decoder), 0);
    }
}

/// What is given away has little memory that it does not need, in however many fragments it came.
#[test]
fn a_message_given_away_has_its_own_size() {
    for count in 2..40 {
        let mut bytes = frame(TEXT, &[b'x'; 5_000]);
        bytes.extend(frame(CONTINUATION, &[b'x'; 5_000]).repeat(count - 2));
        bytes.extend(frame(FIN | CONTINUATION, &[b'x'; 5_000]));
        let said = decode(&bytes);
        let [Said::Message(Message::Text { text })] = &said[..] else { panic!("one message") };
        assert_eq!(text.len(), count * 5_000);
        assert!(text.capacity() <= text.len() * 4 / 3, "{} of {}", text.len(), text.capacity());
    }
}

/// A binary message that is read into its own memory is given away with that memory.
#[test]
fn a_large_binary_message_is_not_copied() {
    let mut decoder = Decoder::new(LIMIT);
    let bytes = frame(FIN | BINARY, &vec![1; LIMIT]);
    let (most, rest) = bytes.split_at(bytes.len() - 20_000);
    read(&mut decoder, most);
    let mut space = decoder.space();
    let next = space.chunk_mut().as_mut_ptr() as usize;
    assert_eq!(space.remaining_mut(), rest.len(), "no byte of the next frame");
    let said = read(&mut decoder, rest);
    let [Said::Message(Message::Binary { bytes })] = &said[..] else { panic!("one message") };
    assert_eq!(bytes.as_ptr() as usize + LIMIT - rest.len(), next);
}

/// A header that announces much makes nobody reserve it.
#[test]
fn memory_follows_what_has_arrived() {
    let mut decoder = Decoder::new(1 << 30);
    let header = [0x82, 0x7f, 0, 0, 0, 0, 0x40, 0, 0, 0];
    assert_eq!(read(&mut decoder, &header), []);
    let mut arrived = 0_usize;
    for _ in 0..200 {
        let room = decoder.space().remaining_mut();
        assert!(room <= READ_BUFFER.max(arrived + arrived / 8), "{room} after {arrived}");
        read(&mut decoder, &[0; 1_000]);
        arrived += 1_000;
    }
    assert_eq!(decoder.partial(), arrived);
}

#[test]
fn a_lent_buffer_comes_back_and_takes_what_was_left() {
    let mut decoder = Decoder::new(LIMIT);
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    let memory = buffer.as_ptr();
    let bytes = [frame(FIN | TEXT, b"one"), frame(FIN | TEXT, "zwei é".as_bytes())].concat();
    let mut said = Vec::new();
    for piece in bytes.chunks(3) {
        buffer.extend_from_slice(b"of another connection");
        decoder.lend(buffer);
        said.extend(read(&mut decoder, piece));
        buffer = decoder.rest();
        assert_eq!(buffer.as_ptr(), memory);
    }
    assert_eq!(said, [text("one"), text("zwei é")]);
}

/// A caller may stop in the middle of what was read, and go on later.
#[test]
fn events_wait_until_they_are_asked_for() {
    let mut decoder = Decoder::new(LIMIT);
    let bytes: Vec<u8> = (0..100).flat_map(|number| frame(FIN | BINARY, &[number])).collect();
    assert_eq!(read_some(&mut decoder, &bytes), bytes.len());
    for number in 0..100 {
        let said = decoder.next().map(Said::from);
        assert_eq!(said, Some(binary(&[number])));
        if number % 10 == 0 {
            let buffer = decoder.rest();
            decoder.lend(buffer);
        }
    }
    assert_eq!(decoder.next(), None);
}
