//! The loop that the module describes, on a socket in memory.

use super::*;
use crate::session::Data;
use crate::wire::{Encoder, Origin};
use std::collections::VecDeque;

/// A socket that never waits: reads come in pieces, writes are taken in part.
struct Socket {
    inbound: VecDeque<Vec<u8>>,
    written: Vec<u8>,
}

impl Socket {
    fn read(&mut self, space: &mut impl BufMut) -> Option<usize> {
        let mut piece = self.inbound.pop_front()?;
        let len = piece.len().min(space.remaining_mut());
        space.put_slice(&piece[..len]);
        let rest = piece.split_off(len);
        if !rest.is_empty() {
            self.inbound.push_front(rest);
        }
        Some(len)
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().div_ceil(2);
        self.written.extend_from_slice(&bytes[..len]);
        len
    }
}

/// An app that sends back what it hears.
#[derive(Default)]
struct Echo {
    to_send: VecDeque<Message>,
    buffered: usize,
    close: Option<Said>,
}

/// Reads what the socket has, as the driver does in one look.
fn read_turn(socket: &mut Socket, decoder: &mut Decoder, encoder: &mut Encoder, app: &mut Echo) {
    decoder.lend(Vec::with_capacity(super::super::READ_BUFFER));
    loop {
        while let Some(event) = decoder.next() {
            match event {
                Ok(Event::Data(Data { is_text, payload })) => {
                    let text = is_text.then(|| std::str::from_utf8(payload).expect("checked"));
                    app.to_send.push_back(text.map_or_else(|| payload.into(), Message::text));
                }
                Ok(Event::Message(message)) => app.to_send.push_back(message),
                Ok(Event::Ping(payload)) => encoder.push_pong(payload),
                Ok(Event::Pong(_)) => {}
                Ok(Event::Close(close)) => {
                    encoder.push_close(close.code, close.reason);
                    app.close = Some(Said::Close(close.code, close.reason.to_owned()));
                }
                Err(violation) => {
                    encoder.push_close(Some(violation.close_code()), "");
                    app.close = Some(Said::Violation(violation));
                }
            }
        }
        if socket.read(&mut decoder.space()).is_none() {
            break;
        }
    }
    decoder.rest();
}

/// Writes what there is to say.
fn write_turn(socket: &mut Socket, encoder: &mut Encoder, app: &mut Echo) {
    loop {
        while encoder.has_room()
            && let Some(message) = app.to_send.pop_front()
        {
            app.buffered += message.len();
            assert_eq!(encoder.push(message, Origin::App), Ok(()));
        }
        if !encoder.is_pending() {
            break;
        }
        let taken = socket.write(encoder.pending());
        app.buffered -= encoder.advance(taken).payload;
        assert_eq!(app.buffered, encoder.buffered());
    }
    encoder.rest();
}

#[test]
fn a_turn_reads_and_writes_everything() {
    let large = "x".repeat(100_000);
    let bytes = [
        frame(FIN | TEXT, b"hello"),
        frame(PING, b"?"),
        frame(FIN | TEXT, large.as_bytes()),
        frame(FIN | BINARY, &[0xff]),
    ]
    .concat();
    let mut socket =
        Socket { inbound: bytes.chunks(7_001).map(<[u8]>::to_vec).collect(), written: vec![] };
    let (mut decoder, mut encoder) = (Decoder::new(LIMIT), Encoder::new([1; 32]));
    let mut app = Echo::default();
    read_turn(&mut socket, &mut decoder, &mut encoder, &mut app);
    write_turn(&mut socket, &mut encoder, &mut app);
    assert_eq!(app.buffered, 0);

    socket.inbound.push_back(frame(CLOSE, b"\x0f\xa0bye"));
    read_turn(&mut socket, &mut decoder, &mut encoder, &mut app);
    write_turn(&mut socket, &mut encoder, &mut app);
    assert_eq!(app.close, Some(Said::Close(Some(4000), "bye".to_owned())));

    let frames = read_client(&socket.written);
    let payloads: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.clone()).collect();
    assert_eq!(payloads, [b"?hello", large.as_bytes(), b"\xff\x0f\xa0bye"].concat());
    let firsts: Vec<_> = frames.iter().map(|frame| frame.first).collect();
    assert_eq!(firsts, [0x8a, 0x81, 0x01, 0x00, 0x00, 0x80, 0x82, 0x88]);
}
