//! What a message costs. Not part of the tests: prints nanoseconds.
//!
//! `CARGO_PROFILE_RELEASE_LTO=off cargo test --release --features testing --lib wire::tests::speed
//! -- --ignored --nocapture`

use super::*;
use crate::wire::{Agreement, Encoder, FRAGMENT, Origin, READ_BUFFER};
use std::hint::black_box;
use std::io::Cursor;
use std::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

/// The best of several rounds, in nanoseconds for each of `count`.
fn best(count: usize, mut round: impl FnMut()) -> f64 {
    let times = (0..15).map(|_| {
        let begun = Instant::now();
        round();
        begun.elapsed().as_nanos() as f64 / count as f64
    });
    times.fold(f64::MAX, f64::min)
}

/// A run as the driver packs it.
fn append(run: &mut Vec<u8>, is_text: bool, payload: &[u8]) {
    let mut head = [u8::from(!is_text), 0, 0, 0, 0];
    head[1..].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    run.extend_from_slice(&head);
    run.extend_from_slice(payload);
}

fn decode_flood(bytes: &[u8], run: &mut Vec<u8>, buffer: Vec<u8>) -> Vec<u8> {
    let mut decoder = Decoder::new(LIMIT);
    decoder.lend(buffer);
    let mut rest = bytes;
    loop {
        while let Some(event) = decoder.next() {
            if let Ok(Event::Data(data)) = event {
                append(run, data.is_text, data.payload);
                if run.len() >= 64 << 10 {
                    black_box(&*run);
                    run.clear();
                }
            }
        }
        if rest.is_empty() {
            return decoder.rest();
        }
        let len = read_some(&mut decoder, rest);
        rest = &rest[len..];
    }
}

/// A plain reader on top of tungstenite's header parser, doing the same.
fn parse_flood(bytes: &[u8], run: &mut Vec<u8>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut cursor = Cursor::new(rest);
        let parsed = FrameHeader::parse(&mut cursor).expect("valid");
        let (header, len) = parsed.expect("whole");
        assert!(header.is_final && !header.rsv1 && header.mask.is_none());
        let (payload, after) = rest[cursor.position() as usize..].split_at(len as usize);
        assert!(std::str::from_utf8(payload).is_ok());
        append(run, true, payload);
        if run.len() >= 64 << 10 {
            black_box(&*run);
            run.clear();
        }
        rest = after;
    }
}

#[test]
#[ignore = "a measurement"]
fn flood_in() {
    let mut run = Vec::with_capacity(80 << 10);
    for (size, count) in [(32, 100_000), (1_024, 20_000), (4_096, 5_000), (65_536, 300)] {
        let ascii = "x".repeat(size);
        let mixed: String = "héllo 字 ".chars().cycle().take(size).collect();
        let mixed = &mixed[..(0..=size).rev().find(|at| mixed.is_char_boundary(*at)).unwrap_or(0)];
        for (name, text) in [("ASCII", &*ascii), ("mixed", mixed)] {
            let bytes = frame(FIN | TEXT, text.as_bytes()).repeat(count);
            let mut buffer = Vec::with_capacity(READ_BUFFER);
            let ours = best(count, || {
                buffer = decode_flood(&bytes, &mut run, std::mem::take(&mut buffer));
            });
            let parsed = best(count, || parse_flood(&bytes, &mut run));
            let theirs = best(count, || {
                let config = WebSocketConfig::default();
                let stream = differential::Stream::new(bytes.clone());
                let mut socket = WebSocket::from_raw_socket(stream, Role::Client, Some(config));
                while let Ok(message) = socket.read() {
                    black_box(message);
                }
            });
            println!(
                "in  {size:6} B {name}: {ours:8.1} ns; with tungstenite's header {parsed:8.1}; \
                 tungstenite itself {theirs:8.1}"
            );
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn flood_out() {
    for (size, count) in [(32, 100_000), (1_024, 20_000), (FRAGMENT, 1_000), (16 << 20, 1)] {
        let message = Message::from(vec![7; size]);
        let mut encoder = Encoder::new([3; 32]);
        let ours = best(count, || {
            let mut left = count;
            while left > 0 || encoder.is_pending() {
                while left > 0 && encoder.has_room() {
                    encoder.push(message.clone(), Origin::App).expect("room");
                    left -= 1;
                }
                let len = black_box(encoder.pending()).len();
                encoder.advance(len);
            }
            encoder.rest();
        });
        println!("out {size:8} B: {ours:12.1} ns, {:5.1} GB/s", size as f64 / ours);
    }
    let mut bytes = vec![7; FRAGMENT];
    let mask = best(1, || super::super::mask::mask(black_box(&mut bytes), [1, 2, 3, 4]));
    println!("mask {FRAGMENT} B: {mask:.0} ns, {:.1} GB/s", FRAGMENT as f64 / mask);
}

#[test]
#[ignore = "a measurement"]
fn compressed() {
    let agreement = Agreement {
        server_takes_over: true,
        client_takes_over: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let mut dice = Dice::new(1);
    let texts = ["hello there", "ok", "see you tomorrow at the station", "消息内容"];
    let messages: Vec<String> = (0..2_000)
        .map(|id| {
            let mut text = String::new();
            while text.len() < 1_000 {
                let user = dice.below(1_000);
                text +=
                    &format!("{{\"id\":{id},\"user\":{user},\"text\":\"{}\"}},", dice.of(&texts));
            }
            text
        })
        .collect();
    for level in [1, 3, 6, 9] {
        let mut bytes = Vec::new();
        let out = best(messages.len(), || {
            bytes.clear();
            let mut encoder = Encoder::new([3; 32]);
            encoder.compress(&agreement, level, 0);
            for message in &messages {
                encoder.push(Message::text(&**message), Origin::App).expect("room");
                let len = encoder.pending().len();
                bytes.extend_from_slice(encoder.pending());
                encoder.advance(len);
            }
        });
        let frames = read_client(&bytes);
        let bytes: Vec<u8> =
            frames.iter().flat_map(|read| frame(read.first, &read.payload)).collect();
        let back = best(messages.len(), || {
            let mut decoder = Decoder::new(LIMIT);
            decoder.decompress(&agreement);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = read_some(&mut decoder, rest);
                rest = &rest[len..];
                while let Some(event) = decoder.next() {
                    black_box(event).expect("valid");
                }
            }
        });
        let size: usize = messages.iter().map(String::len).sum();
        let part = 100.0 * bytes.len() as f64 / size as f64;
        println!("compressed 1 KB, level {level}: {part:.1} %, out {out:7.0} ns, in {back:6.0} ns");
    }
}
