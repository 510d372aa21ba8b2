//! The scripted server from the side of a client: each of its faults on a real connection.

// In a test an unexpected value may panic.
#![allow(clippy::unwrap_used)]

#[path = "support/raw_client.rs"]
mod raw_client;

use raw_client::*;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{client_async, connect_async};
use wxsocket::testing::{Script, ScriptedServer, SeenConnection, SeenEnd, SeenFrameKind};

#[tokio::test]
async fn without_a_script_it_echoes_and_answers_heartbeats() {
    let server = ScriptedServer::start(Script::default()).unwrap();
    let mut client = dial(&server).await;
    send(&mut client, "hello").await;
    send(&mut client, "ping").await;
    client.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    client.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(next(&mut client).await.unwrap(), Message::text("hello"));
    assert_eq!(next(&mut client).await.unwrap(), Message::text("pong"));
    assert_eq!(next(&mut client).await.unwrap(), Message::binary(vec![1, 2, 3]));
    assert_eq!(next(&mut client).await.unwrap(), Message::Pong("p".into()));
    assert_eq!(server.open_connections(), 1);
    let bye = CloseFrame { code: 4000.into(), reason: "bye".into() };
    client.close(Some(bye.clone())).await.unwrap();
    assert_eq!(
        next(&mut client).await.unwrap(),
        Message::Close(Some(bye)),
        "the close frame is answered with the same code and reason"
    );
    let seen = ended(&server);
    assert_eq!(seen.ended, Some(SeenEnd::ClientClosed));
    assert_eq!((seen.messages_received, seen.heartbeats_received), (2, 1));
    assert_eq!(seen.texts(), ["hello", "ping"]);
    let last = seen.frames.last().unwrap();
    assert_eq!(last.kind, SeenFrameKind::Close);
    assert_eq!((last.close_code, &*last.close_reason), (Some(4000), "bye"));
    assert!(seen.frames.is_sorted_by_key(|frame| frame.at_ms));
    assert!(seen.violations.is_empty());
    assert_eq!(server.open_connections(), 0);
}

#[tokio::test]
async fn the_request_goes_on_record_as_it_came() {
    let server = start(r#"[{"handshake": {"headers": [["X-Twice", "1"], ["x-twice", "2"]]}}]"#);
    let tcp = TcpStream::connect(("127.0.0.1", server.port())).await;
    let mut tcp = tcp.unwrap();
    let request = "GET /chat?room=1 HTTP/1.1\r\nHost: h\r\nconnection: keep-alive, upgrade\r\n\
        UPGRADE: WebSocket\r\nSec-WebSocket-Version: 13\r\nX-CaSe: 1\r\nX-CaSe: 2\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c\r\n\r\n";
    // The first frame comes directly after the request, as a fast client may send it.
    let frame = b"\x81\x81\0\0\0\0x";
    tcp.write_all(&[request.as_bytes(), frame].concat()).await.unwrap();
    let expected = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: a\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n\u{1}x";
    let mut answer = vec![0; expected.len()];
    tcp.read_exact(&mut answer).await.unwrap();
    let echo_at = expected.len() - 2;
    assert_eq!(answer[..echo_at - 1], expected.as_bytes()[..echo_at - 1]);
    let seen = server.connection(1).unwrap();
    assert_eq!(seen.request_path.as_deref(), Some("/chat?room=1"));
    let cased: Vec<_> = seen.headers.iter().filter(|(n, _)| n == "X-CaSe").collect();
    assert_eq!(cased.len(), 2);
    assert_eq!(seen.header("upgrade").as_deref(), Some("WebSocket"));
    assert_eq!(seen.protocols_offered, ["a", "b", "c"]);
    assert!(server.wait_messages(1, LONG));
}

#[tokio::test]
async fn the_subprotocol_can_be_forced_or_withheld() {
    let server =
        start(r#"[{}, {"handshake": {"protocol": null}}, {"handshake": {"protocol": "other"}}]"#);
    for expected in [Some("one"), None, Some("other")] {
        let mut request = server.url().into_client_request().unwrap();
        let offered = "one, two".parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", offered);
        match (connect_async(request).await, expected) {
            (Ok((_, response)), Some("one")) => {
                assert_eq!(response.headers()["sec-websocket-protocol"], "one");
            }
            (Err(Error::Protocol(_)), None | Some("other")) => {}
            (outcome, expected) => panic!("{expected:?}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_refused_connection_is_reset() {
    let server = start(r#"[{"handshake": "refuse"}]"#);
    let error = dial_error(&server).await;
    assert!(
        matches!(&error, Error::Io(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)),
        "{error:?}"
    );
    assert_eq!(ended(&server).ended, Some(SeenEnd::Refused));
}

#[tokio::test]
async fn a_hanging_server_says_nothing() {
    let server = start(r#"[{"handshake": "hang"}]"#);
    let dial = connect_async(server.url());
    let impatient = tokio::time::timeout(Duration::from_millis(200), dial).await;
    assert!(impatient.is_err(), "an answer came");
    let seen = ended(&server);
    assert_eq!((seen.opened, seen.request_path), (false, None));
    assert!(matches!(seen.ended, Some(SeenEnd::ClientEof | SeenEnd::ClientReset)));
}

#[tokio::test]
async fn an_http_status_comes_with_its_headers_and_body_and_then_an_echo() {
    let server = start(
        r#"[{"handshake": {"status": 503, "headers": [["Retry-After", "1"]], "body": "busy"}},
            {"echo": true, "rules": [{"on": {"messages": 3}, "do": "drop"}]}]"#,
    );
    let Error::Http(response) = dial_error(&server).await else {
        panic!("not an HTTP answer");
    };
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.body().as_deref(), Some(&b"busy"[..]));
    assert_eq!(ended(&server).ended, Some(SeenEnd::Rejected));
    // The last entry repeats.
    for round in 2..4 {
        let mut client = dial(&server).await;
        for text in ["1", "2", "3"] {
            send(&mut client, text).await;
            assert_eq!(next(&mut client).await.unwrap(), Message::text(text));
        }
        let error = next(&mut client).await.unwrap_err();
        assert!(is_reset(&error), "{error:?}");
        let seen = server.connection(round).unwrap();
        assert_eq!(seen.ended, Some(SeenEnd::ServerDropped));
    }
}

#[tokio::test]
async fn a_wrong_upgrade_has_the_wrong_key() {
    let server = start(r#"[{"handshake": "wrongUpgrade"}, {"handshake": {"raw": "SSH-2.0\r\n"}}]"#);
    assert!(matches!(
        dial_error(&server).await,
        Error::Protocol(ProtocolError::SecWebSocketAcceptKeyMismatch)
    ));
    let error = dial_error(&server).await;
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn a_plain_http_request_is_turned_away() {
    let server = start("[]");
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    let seen = ended(&server);
    assert_eq!(seen.ended, Some(SeenEnd::BadRequest));
    assert_eq!(seen.violations, ["no `Connection: Upgrade`"]);
}

#[tokio::test]
async fn any_close_code_goes_over_the_wire() {
    let server = start(
        r#"[{"rules": [{"on": "open", "do": {"close": {"code": 4001, "reason": "bye"}}}]},
            {"rules": [{"on": "open", "do": {"close": {}}}]},
            {"rules": [{"on": "open", "do": {"close": {"code": 1005}}}]}]"#,
    );
    let mut client = dial(&server).await;
    let Message::Close(Some(frame)) = next(&mut client).await.unwrap() else {
        panic!("no close frame");
    };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "bye"));
    assert!(client.next().await.is_none(), "then the stream ends");
    assert_eq!(ended(&server).ended, Some(SeenEnd::ServerClosed));
    let mut client = dial(&server).await;
    assert_eq!(next(&mut client).await.unwrap(), Message::Close(None));
    let mut client = dial(&server).await;
    // Tungstenite treats 1005, which must not be sent, as a protocol error (1002).
    let Message::Close(Some(frame)) = next(&mut client).await.unwrap() else {
        panic!("no close frame");
    };
    assert_eq!(u16::from(frame.code), 1002);
}

#[tokio::test]
async fn the_stream_can_end_without_a_close_frame() {
    let server = start(r#"[{"rules": [{"on": "open", "do": [{"send": "last"}, "eof"]}]}]"#);
    let mut client = dial(&server).await;
    assert_eq!(next(&mut client).await.unwrap(), Message::text("last"));
    let error = next(&mut client).await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!(ended(&server).ended, Some(SeenEnd::ServerEof));
}

#[tokio::test]
async fn a_silent_server_answers_nothing_but_stays_connected() {
    let server = start(r#"[{"rules": [{"on": {"messages": 2}, "do": "silence"}]}]"#);
    let mut client = dial(&server).await;
    for text in ["1", "2"] {
        send(&mut client, text).await;
        assert_eq!(next(&mut client).await.unwrap(), Message::text(text));
    }
    send(&mut client, "3").await;
    client.send(Message::Ping("p".into())).await.unwrap();
    server.send_text_all("not sent");
    let silence = tokio::time::timeout(Duration::from_millis(200), client.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    let seen = server.connection(1).unwrap();
    assert_eq!((seen.messages_received, seen.ended), (2, None));
    drop(client);
    let end = ended(&server).ended;
    assert!(matches!(end, Some(SeenEnd::ClientEof | SeenEnd::ClientReset)));
}

#[tokio::test]
async fn a_silent_connection_can_still_be_dropped() {
    let server = start("[]");
    let mut client = dial(&server).await;
    server.silence_all();
    server.drop_all();
    let error = next(&mut client).await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
}

#[tokio::test]
async fn fragments_floods_and_delays_arrive_whole() {
    let server = start(
        r#"[{"delayMs": 30, "rules": [{"on": {"text": "go"}, "do": [
            {"fragment": {"text": "fragmented", "pieces": 4}},
            {"wait": {"ms": 20}},
            {"fragment": {"hex": "00 ff", "pieces": 5}},
            {"sendHex": "0102"},
            {"flood": {"count": 20000, "bytes": 100}},
            {"send": "end"}]}]}]"#,
    );
    let mut client = dial(&server).await;
    let start = Instant::now();
    send(&mut client, "go").await;
    let first = next(&mut client).await.unwrap();
    assert_eq!(first, Message::text("fragmented"), "and no echo of `go`");
    assert!(start.elapsed() >= Duration::from_millis(30));
    let second = next(&mut client).await.unwrap();
    assert_eq!(second, Message::binary(vec![0, 0xff]));
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!(next(&mut client).await.unwrap(), Message::binary(vec![1, 2]));
    for _ in 0..20_000 {
        assert_eq!(next(&mut client).await.unwrap().len(), 100);
    }
    assert_eq!(next(&mut client).await.unwrap(), Message::text("end"));
}

#[tokio::test]
async fn garbage_breaks_the_framing() {
    let server = start(
        r#"[{"rules": [{"on": {"afterMs": 1}, "do": {"garbage": "ff7f 0000 0000 0000 0001 ff"}}]}]"#,
    );
    let mut client = dial(&server).await;
    let error = next(&mut client).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn answers_can_be_left_out() {
    let server = start(
        r#"[{"answerHeartbeats": false, "answerPings": false, "answerClose": false,
             "heartbeats": [["hb", "ok"]], "rules": [{"on": {"heartbeats": 2}, "do": {"ping": "?"}}]}]"#,
    );
    let mut client = dial(&server).await;
    for text in ["hb", "ping", "hb"] {
        send(&mut client, text).await;
    }
    client.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(next(&mut client).await.unwrap(), Message::text("ping"));
    assert_eq!(next(&mut client).await.unwrap(), Message::Ping("?".into()));
    client.send(Message::Close(None)).await.unwrap();
    let closed = |seen: &SeenConnection| {
        let mut frames = seen.frames.iter();
        frames.any(|frame| frame.kind == SeenFrameKind::Close)
    };
    assert!(server.wait_for(|seen| closed(&seen.connections[0]), LONG));
    let answer = tokio::time::timeout(Duration::from_millis(100), client.next()).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(server.connection(1).unwrap().heartbeats_received, 2);
}

#[tokio::test]
async fn it_goes_down_and_comes_back_on_the_same_port() {
    let server = start("[]");
    let mut client = dial(&server).await;
    server.stop_listening().unwrap();
    for _ in 0..50 {
        let error = dial_error(&server).await;
        let refused = matches!(&error, Error::Io(e) if e.kind() == ErrorKind::ConnectionRefused);
        assert!(refused, "{error:?}");
    }
    let error = next(&mut client).await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    server.resume_listening().unwrap();
    server.resume_listening().unwrap();
    let mut client = dial(&server).await;
    send(&mut client, "back").await;
    assert_eq!(next(&mut client).await.unwrap(), Message::text("back"));
    server.stop_listening_for(Duration::from_millis(50)).unwrap();
    dial_error(&server).await;
    assert!(server.wait_for(|seen| seen.listening, LONG));
    dial(&server).await;
}

#[tokio::test]
async fn a_rule_can_take_the_server_down() {
    let server = start(
        r#"[{"rules": [{"on": {"messages": 1}, "do": {"stopListening": {"ms": 100}}}]}, {}]"#,
    );
    let mut one = dial(&server).await;
    let mut two = dial(&server).await;
    send(&mut one, "down").await;
    assert_eq!(next(&mut one).await.unwrap(), Message::text("down"));
    assert!(is_reset(&next(&mut one).await.unwrap_err()));
    assert!(is_reset(&next(&mut two).await.unwrap_err()));
    dial_error(&server).await;
    assert!(server.wait_for(|seen| seen.listening, LONG));
    dial(&server).await;
    assert_eq!(server.connection(3).unwrap().index, 3);
}

#[tokio::test]
async fn live_controls_reach_all_open_connections() {
    let server = start("[]");
    let mut clients = vec![dial(&server).await, dial(&server).await];
    server.send_text_all("news");
    for client in &mut clients {
        assert_eq!(next(client).await.unwrap(), Message::text("news"));
    }
    server.close_all(Some(4100), "later");
    for client in &mut clients {
        let Message::Close(Some(frame)) = next(client).await.unwrap() else {
            panic!("no close frame");
        };
        assert_eq!(u16::from(frame.code), 4100);
        assert!(client.next().await.is_none());
    }
    assert!(server.wait_ended(2, LONG));
    server.set_script(Script::parse(r#"[{"handshake": {"status": 401}}, {}]"#).unwrap());
    assert!(matches!(dial_error(&server).await, Error::Http(_)));
    let mut client = dial(&server).await;
    server.shutdown();
    assert!(client.next().await.is_none_or(|end| end.is_err()));
    assert_eq!(server.open_connections(), 0);
    let last = server.connections().pop().unwrap();
    assert_eq!(last.ended, Some(SeenEnd::Shutdown));
    assert!(server.stop_listening().is_err());
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_found_out() {
    let server = start("[]");
    let tcp = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let (client, _) = client_async(server.url(), tcp).await.unwrap();
    let mut tcp = client.into_inner();
    tcp.write_all(b"\x81\x02hi").await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"\x88\x12\x03\xeaframe not masked");
    let seen = ended(&server);
    assert_eq!(seen.ended, Some(SeenEnd::Violation));
    assert_eq!(seen.violations, ["frame not masked"]);
}
