//! Answers to the upgrade request, written byte by byte: what comes before them, answers that look
//! almost right, and where answers end.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use support::*;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wxsocket::*;

/// Starts a server for one client, and returns its URL. `answer` writes to the stream; it gets the
/// right `Sec-WebSocket-Accept`. The connection stays until the client has ended it.
fn serving(answer: impl FnOnce(&mut TcpStream, &str) + Send + 'static) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut request = String::new();
        let mut byte = [0];
        while !request.ends_with("\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0].into());
        }
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        answer(&mut stream, &derive_accept_key(key.unwrap().as_bytes()));
        // What the client sends does not matter any more.
        while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    });
    url
}

/// Starts a server that writes this answer, and returns its URL.
fn answering<T: Into<Vec<u8>>>(answer: impl FnOnce(&str) -> T + Send + 'static) -> String {
    serving(move |stream, accept| {
        let answer: Vec<u8> = answer(accept).into();
        // The write fails when the client has read enough and has ended the connection.
        let _ = stream.write_all(&answer);
    })
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

#[test]
fn whatever_comes_before_the_final_answer_is_skipped() {
    for before in [
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-Interim: 1\r\n\r\n".to_owned(),
        // With a status that is not defined yet (RFC 9110, 15.2).
        "HTTP/1.1 199 Soon\r\n\r\n".repeat(200),
    ] {
        let url = answering(move |accept| {
            let head =
                format!("{SWITCHING}{UPGRADE}Sec-WebSocket-Accept: {accept}\r\nX-Own: 1\r\n\r\n");
            // A text frame directly after the head is the first message.
            [before.as_bytes(), head.as_bytes(), b"\x81\x02hi"].concat()
        });
        let mut client = Client::connect(once(url));
        let open = client.open();
        let names: Vec<_> = open.header.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["Upgrade", "Connection", "Sec-WebSocket-Accept", "X-Own"]);
        assert_eq!(client.text(), "hi");
        client.task().close(1000, String::new()).unwrap();
    }
}

#[test]
fn a_refusal_after_early_hints_is_that_refusal() {
    let url = answering(|_| {
        "HTTP/1.1 103 Early Hints\r\nX-Why: hint\r\n\r\n\
         HTTP/1.1 403 Forbidden\r\nX-Why: no\r\nContent-Length: 2\r\n\r\nno"
            .to_owned()
    });
    let mut client = Client::connect(once(url));
    let error = client.error();
    assert_eq!((error.kind, error.http_status), (ErrorKind::HttpStatus, Some(403)));
    assert_eq!(error.http_header, [Header::new("X-Why", "no"), Header::new("Content-Length", "2")]);
    assert_eq!(error.http_body, &b"no"[..]);
    client.end();
}

#[test]
fn answers_that_only_look_right_are_refused() {
    let upgraded = |accept: &str, more: &str| {
        format!("{SWITCHING}{UPGRADE}Sec-WebSocket-Accept: {accept}\r\n{more}\r\n")
    };
    type Answer = Box<dyn FnOnce(&str) -> String + Send>;
    let cases: Vec<(&str, ErrorKind, Answer)> = vec![
        (
            "without end",
            ErrorKind::BadUpgrade,
            Box::new(|_| "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1_000)),
        ),
        (
            "one line without end",
            ErrorKind::BadUpgrade,
            Box::new(|_| format!("{SWITCHING}X: {}", "x".repeat(40_000))),
        ),
        (
            "too long, with a right answer at the end",
            ErrorKind::BadUpgrade,
            Box::new(move |accept| {
                let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(500);
                hints + &upgraded(accept, "")
            }),
        ),
        (
            "HTTP/1.0",
            ErrorKind::BadUpgrade,
            Box::new(move |accept| upgraded(accept, "").replace("HTTP/1.1", "HTTP/1.0")),
        ),
        (
            "a second line of extensions",
            ErrorKind::BadUpgrade,
            Box::new(move |accept| {
                let line = "Sec-WebSocket-Extensions: ";
                upgraded(accept, &format!("{line}\r\n{line}permessage-deflate\r\n"))
            }),
        ),
        (
            "a second proof",
            ErrorKind::BadUpgrade,
            Box::new(move |accept| {
                upgraded(accept, &format!("Sec-WebSocket-Accept: {accept}\r\n"))
            }),
        ),
        (
            "a wrong proof first",
            ErrorKind::BadUpgrade,
            Box::new(|accept| {
                format!(
                    "{SWITCHING}{UPGRADE}Sec-WebSocket-Accept: x\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                )
            }),
        ),
        (
            "more than WebSocket",
            ErrorKind::BadUpgrade,
            Box::new(move |accept| {
                upgraded(accept, "").replace("Upgrade: websocket", "Upgrade: websocket, h2c")
            }),
        ),
        (
            "a second upgrade",
            ErrorKind::BadUpgrade,
            Box::new(move |accept| upgraded(accept, "Upgrade: h2c\r\n")),
        ),
        (
            "not upgraded here",
            ErrorKind::BadUpgrade,
            Box::new(move |accept| {
                upgraded(accept, "").replace("Connection: Upgrade", "Connection: keep-alive")
            }),
        ),
        (
            "two sub-protocols",
            ErrorKind::Subprotocol,
            Box::new(move |accept| {
                let line = "Sec-WebSocket-Protocol: ";
                upgraded(accept, &format!("{line}chat\r\n{line}other\r\n"))
            }),
        ),
    ];
    for (name, kind, answer) in cases {
        let mut options = once(answering(answer));
        if kind == ErrorKind::Subprotocol {
            options.protocols = vec!["chat".to_owned(), "other".to_owned()];
        }
        let mut client = Client::connect(options);
        match client.next() {
            SocketEvent::Error { event } => {
                assert_eq!(event.kind, kind, "{name}: {event:?}");
                assert_eq!(event.http_status, None, "{name}");
                assert!(event.detail.len() < 200, "{name}: {}", event.detail);
            }
            event => panic!("{name}: {event:?}"),
        }
        client.end();
    }
}

#[test]
fn lists_of_headers_are_read_as_lists() {
    // Empty elements do not count (RFC 9110, 5.6.1), and case does not matter.
    let url = answering(|accept| {
        format!(
            "{SWITCHING}UPGRADE: WebSocket\r\nConnection: keep-alive\r\nconnection: x, uPGRADE\r\n\
             Sec-WebSocket-Extensions:\r\nSec-WebSocket-Extensions: , \r\n\
             sec-websocket-accept:   {accept}  \r\n\r\n"
        )
    });
    let mut client = Client::connect(once(url));
    client.open();
    client.task().close(1000, String::new()).unwrap();
}

#[test]
fn a_head_of_16_kib_is_the_longest() {
    for (length, opens) in [(16 * 1024, true), (16 * 1024 + 1, false)] {
        let url = answering(move |accept| {
            let head = format!("{SWITCHING}{UPGRADE}Sec-WebSocket-Accept: {accept}\r\nX-Own: ");
            let padding = length - head.len() - "\r\n\r\n".len();
            head + &"x".repeat(padding) + "\r\n\r\n"
        });
        let mut client = Client::connect(once(url));
        if opens {
            client.open();
            client.task().close(1000, String::new()).unwrap();
        } else {
            let error = client.error();
            assert_eq!(error.kind, ErrorKind::BadUpgrade);
            assert!(error.detail.contains("longer than 16 KiB"), "{error:?}");
            client.end();
        }
    }
}

#[test]
fn the_body_of_a_refusal_may_come_after_its_head() {
    for (head, body, expected) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n", "later", "later"),
        // The body is shorter than its length says. What was received within half a second is used.
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 500\r\n\r\n", "later", "later"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "later", "later"),
        (
            "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n",
            "2\r\nla\r\n3\r\nter\r\n0\r\n\r\n",
            "later",
        ),
    ] {
        let url = serving(move |stream, _| {
            stream.write_all(head.as_bytes()).unwrap();
            // Most likely the client reads the head alone. The result must be the same if it does
            // not.
            std::thread::sleep(Duration::from_millis(50));
            stream.write_all(body.as_bytes()).unwrap();
        });
        let mut client = Client::connect(once(url));
        let error = client.error();
        assert_eq!((error.kind, error.http_status), (ErrorKind::HttpStatus, Some(403)));
        assert_eq!(error.http_body, expected.as_bytes(), "{head:?}");
        client.end();
    }
}

#[test]
fn the_frames_of_chunks_do_not_count_as_body() {
    let chunks = "a\r\n0123456789\r\n".repeat(200);
    let url = serving(move |stream, _| {
        let head = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n";
        // This is more than 1 KiB with the framing, and less than 1 KiB of body.
        let (first, rest) = chunks.split_at(1_200);
        stream.write_all(format!("{head}{first}").as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        // The write fails when the client has read enough and has ended the connection.
        let _ = stream.write_all(rest.as_bytes());
    });
    let mut client = Client::connect(once(url));
    assert_eq!(client.error().http_body, &"0123456789".repeat(200).as_bytes()[..1024]);
    client.end();
}

#[test]
fn a_body_that_is_complete_is_not_waited_for() {
    const DIALS: u32 = 20;
    let start = Instant::now();
    for _ in 0..DIALS {
        for body in [
            "Content-Length: 5\r\n\r\nready",
            "Content-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nready\r\n0\r\n\r\n",
        ] {
            // The connection stays open, as behind a proxy that uses it again for others.
            let url = answering(move |_| format!("HTTP/1.1 403 Forbidden\r\n{body}"));
            let mut client = Client::connect(once(url));
            assert_eq!(client.error().http_status, Some(403));
            client.end();
        }
    }
    // If the client waited half a second after just one kind of answer, that would be ten seconds
    // in all.
    assert!(start.elapsed() < Duration::from_millis(500) * DIALS, "{:?}", start.elapsed());
}
