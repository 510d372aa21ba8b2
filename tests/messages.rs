//! Messages as they are on the wire, in both directions.

#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wxsocket::testing::{SeenEnd, SeenFrameKind};
use wxsocket::*;

#[test]
fn text_stays_text_and_bytes_stay_bytes() {
    let server = echo();
    let mut client = Client::connect(fast(server.url()));
    client.open();
    let mebibyte = "é".repeat(1 << 19);
    let messages = [
        Message::text(""),
        Message::binary(vec![]),
        Message::text("grüße, 再见 🚀 \u{0} \u{feff}"),
        Message::binary(vec![0, 0xff, 0xc3, 0x28]),
        // The same bytes as text and as binary.
        Message::text("same"),
        Message::binary(b"same".to_vec()),
        Message::binary(mebibyte.clone().into_bytes()),
        Message::text(mebibyte),
    ];
    for message in &messages {
        client.send(message.clone());
    }
    for (n, message) in messages.iter().enumerate() {
        assert!(client.message() == *message, "message {n}");
    }
    // Of a slice only its own bytes are sent.
    client.task().send_bytes(&b"xxslicexx"[2..7]).unwrap();
    assert_eq!(client.message(), Message::binary(b"slice".to_vec()));
    client.task().send_text("by name".into()).unwrap();
    assert_eq!(client.text(), "by name");
    let stats = client.task().stats();
    assert_eq!((stats.messages_out, stats.messages_in), (10, 10));
    assert_eq!(stats.bytes_out, stats.bytes_in);
    assert!(server.connection(1).unwrap().violations.is_empty());
    client.finish();
}

#[test]
fn the_largest_message_is_heard_and_one_byte_more_is_1009() {
    // The default limit and another one.
    for (limit, bytes) in [(None, 16 << 20), (Some(1_001), 1_001)] {
        let flood = |bytes: u32| {
            format!(r#"{{"flood": {{"count": 1, "bytes": {bytes}, "binary": true}}}}"#)
        };
        let server = serve(&format!(
            r#"[{{"rules": [{{"on": "open", "do": [{}, {}]}}]}}]"#,
            flood(bytes),
            flood(bytes + 1)
        ));
        let mut options = patient(server.url());
        options.max_message_bytes = limit;
        let mut client = Client::connect(options);
        client.open();
        assert_eq!(client.message().len(), bytes as usize);
        too_big(&mut client);
        assert_eq!(ended(&server, 1).frames.last().unwrap().close_code, Some(1009));
        client.finish();
    }
}

#[track_caller]
fn too_big(client: &mut Client) {
    let error = client.error();
    assert_eq!((error.kind, error.err_code), (ErrorKind::TooBig, 690_032), "{error:?}");
    let close = client.close();
    assert_eq!((close.code, close.was_clean), (1009, false));
}

#[test]
fn a_message_too_big_in_pieces_is_too_big() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [
            {"fragment": {"text": "0123456789", "pieces": 5}},
            {"fragment": {"text": "0123456789a", "pieces": 5}}]}]}]"#,
    );
    let mut options = patient(server.url());
    options.max_message_bytes = Some(10);
    let mut client = Client::connect(options);
    client.open();
    assert_eq!(client.text(), "0123456789");
    too_big(&mut client);
    client.finish();
}

#[test]
fn fragments_are_put_together_with_control_frames_between_them() {
    // 6 bytes in 6 frames: characters of several bytes are split. Then empty frames.
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [
            {"fragment": {"text": "é你x", "pieces": 6}},
            {"fragment": {"hex": "00 01", "pieces": 5}},
            {"fragment": {"text": "", "pieces": 3}},
            {"garbage": "01 01 61  89 01 70  8a 00  80 01 62"}]}]}]"#,
    );
    let mut client = Client::connect(fast(server.url()));
    client.open();
    assert_eq!(client.text(), "é你x");
    assert_eq!(client.message(), Message::binary(vec![0, 1]));
    assert_eq!(client.text(), "");
    assert_eq!(client.text(), "ab");
    // The Ping in the middle was answered, with its payload; the Pong was not.
    until(&server, |seen| !seen.connections[0].frames.is_empty());
    client.finish();
    let seen = ended(&server, 1);
    let pongs: Vec<_> =
        seen.frames.iter().filter(|frame| frame.kind == SeenFrameKind::Pong).collect();
    assert_eq!(pongs.len(), 1);
    assert_eq!(pongs[0].bytes, b"p");
}

#[test]
fn a_ping_of_the_server_is_answered_and_not_told() {
    let server =
        serve(r#"[{"rules": [{"on": "open", "do": [{"ping": "are you there"}, {"send": "m"}]}]}]"#);
    let mut client = Client::connect(fast(server.url()));
    client.open();
    assert_eq!(client.text(), "m");
    // The app sends nothing, so the Pong has to be written without its help.
    until(&server, |seen| !seen.connections[0].frames.is_empty());
    let answer = &server.connection(1).unwrap().frames[0];
    assert_eq!((answer.kind, &answer.bytes[..]), (SeenFrameKind::Pong, &b"are you there"[..]));
    client.finish();
}

#[test]
fn text_that_is_not_utf8_closes_with_1007() {
    for garbage in [
        "81 02 c3 28",
        // The end is missing in the middle of a character.
        "81 01 c3",
        // In a later fragment.
        "01 01 61 80 01 ff",
        // A surrogate.
        "81 03 ed a0 80",
        // In the reason of a close frame.
        "88 04 03 e8 c3 28",
    ] {
        let (error, close) = broken(garbage);
        assert_eq!((error.kind, error.err_code), (ErrorKind::InvalidUtf8, 690_031), "{garbage}");
        assert_eq!(error.err_msg, "connectSocket:fail invalid UTF-8");
        assert_eq!((close.code, close.was_clean), (1007, false), "{garbage}");
    }
}

#[test]
fn what_is_against_the_protocol_closes_with_1002() {
    let control_of_126 = format!("89 7e 00 7e {}", "00 ".repeat(126));
    for garbage in [
        // Reserved bits, then reserved opcodes (data and control).
        "c1 00",
        "f1 00",
        "83 00",
        "8b 00",
        // A masked frame, which a server must not send.
        "81 81 00 00 00 00 61",
        // A control frame that is too long, and a fragmented one.
        &control_of_126,
        "09 00",
        // A continuation without a message, and a message inside a fragmented one.
        "80 00",
        "01 01 61 81 01 62",
        // Half a close code.
        "88 01 03",
    ] {
        let (error, close) = broken(garbage);
        assert_eq!((error.kind, error.err_code), (ErrorKind::Protocol, 690_030), "{garbage}");
        assert_eq!((close.code, close.was_clean), (1002, false), "{garbage}");
    }
}

/// Returns the error and the close of a connection on which the server sends these bytes. Checks
/// what the server gets.
#[track_caller]
fn broken(garbage: &str) -> (ErrorEvent, CloseEvent) {
    let server = serve(&format!(
        r#"[{{"rules": [{{"on": "open", "do": [{{"send": "fine"}}, {{"garbage": "{garbage}"}}]}}]}}]"#
    ));
    let mut client = Client::connect(patient(server.url()));
    client.open();
    assert_eq!(client.text(), "fine");
    let end = (client.error(), client.close());
    let seen = ended(&server, 1);
    let told = seen.frames.last().expect("the server is told").close_code;
    assert_eq!(told.map(i32::from), Some(end.1.code), "{garbage}");
    client.finish();
    end
}

#[test]
fn a_close_code_that_must_not_be_on_the_wire_is_1002() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535] {
        let server = serve(&format!(
            r#"[{{"rules": [{{"on": "open", "do": {{"close": {{"code": {code}}}}}}}]}}]"#
        ));
        let mut client = Client::connect(patient(server.url()));
        client.open();
        let close = match client.next() {
            SocketEvent::Error { event } => {
                assert_eq!(event.kind, ErrorKind::Protocol);
                client.close()
            }
            SocketEvent::Close { event } => event,
            other => panic!("{other:?}"),
        };
        // The illegal code is not passed on: 1005 and 1006 would be wrong.
        assert_eq!(close.code, 1002, "{code}");
        let seen = ended(&server, 1);
        assert_eq!(seen.ended, Some(SeenEnd::ServerClosed), "{code}");
        assert_eq!(seen.frames.last().unwrap().close_code, Some(1002), "{code}");
        client.finish();
    }
}

#[test]
fn messages_of_the_last_moment_are_heard_before_the_close() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [
            {"flood": {"count": 500, "bytes": 100}}, {"close": {"code": 4000}}]}]}]"#,
    );
    let mut client = Client::connect(patient(server.url()));
    client.open();
    for _ in 0..500 {
        client.text();
    }
    assert_eq!(client.close().code, 4000);
    client.finish();
}
