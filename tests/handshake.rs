//! The upgrade: what is asked, what is answered, and what a bad answer turns into.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use support::*;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wxsocket::testing::{
    ConnectionScript, Handshake, Script, ScriptedServer, SeenConnection, SeenEnd,
};
use wxsocket::*;

fn header(name: &str, value: &str) -> Header {
    Header::new(name, value)
}

/// The request that these options make.
fn request(change: impl FnOnce(&mut ConnectOptions)) -> (u16, SeenConnection) {
    let server = echo();
    let mut options = once(server.url());
    change(&mut options);
    let mut client = Client::connect(options);
    client.open();
    client.finish();
    (server.port(), server.connection(1).unwrap())
}

/// How a dial that is answered like this fails, and that it does not count as open.
#[track_caller]
fn refused(handshake: Handshake, protocols: &[&str]) -> ErrorEvent {
    let script = Script::new(vec![ConnectionScript::handshake(handshake)]);
    let server = ScriptedServer::start(script).unwrap();
    let mut options = once(server.url());
    options.protocols = protocols.iter().map(ToString::to_string).collect();
    let mut client = Client::connect(options);
    let error = client.error();
    let end = client.end();
    assert_eq!((end.code, end.reason.as_str(), end.was_clean), (1006, "", false));
    // Nothing stays behind at the server.
    ended(&server, 1);
    error
}

fn raw(answer: impl Into<Vec<u8>>) -> Handshake {
    Handshake::Raw(answer.into())
}

fn upgrade(json: &str) -> Handshake {
    let script = Script::parse(&format!(r#"[{{"handshake": {json}}}]"#)).unwrap();
    script.connections.into_iter().next().unwrap().handshake
}

#[test]
fn headers_are_sent_as_written() {
    let (port, seen) = request(|options| {
        options.header = vec![
            header("X-CaSe", "1"),
            header("x-case", "2"),
            header("X-CaSe", "1"),
            header("Authorization", "Bearer a.b.c"),
            header("Cookie", "a=1; b=2"),
            header("x-empty", ""),
        ];
    });
    let own = ["x-case", "authorization", "cookie", "x-empty"];
    let sent = seen.headers.iter().filter(|(name, _)| own.contains(&&*name.to_lowercase()));
    let sent: Vec<_> = sent.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        sent,
        [
            ("X-CaSe", "1"),
            ("x-case", "2"),
            ("X-CaSe", "1"),
            ("Authorization", "Bearer a.b.c"),
            ("Cookie", "a=1; b=2"),
            ("x-empty", ""),
        ]
    );
    assert_eq!(seen.header("Host"), Some(format!("127.0.0.1:{port}")));
}

#[test]
fn nothing_is_said_that_nobody_asked_for() {
    let (_, seen) = request(|_| {});
    // No Origin above all: servers answer 403 to one they do not know.
    let mut names: Vec<_> = seen.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    names.sort();
    let own = ["connection", "host", "sec-websocket-key", "sec-websocket-version", "upgrade"];
    assert_eq!(names, own);
    assert_eq!(seen.request_path.as_deref(), Some("/"));

    let (_, seen) =
        request(|options| options.header = vec![header("Origin", "https://app.example")]);
    assert_eq!(seen.header("Origin").as_deref(), Some("https://app.example"));
}

#[test]
fn path_and_query_are_percent_encoded_once() {
    for (path, sent) in [
        ("", "/"),
        ("/", "/"),
        ("?a=b", "/?a=b"),
        ("/chat/房间?name=é x", "/chat/%E6%88%BF%E9%97%B4?name=%C3%A9%20x"),
        // Encoded already, and what a query may hold as it is.
        ("/%E6%88%BF%20?u=a/b?c&d=[1]+2%25", "/%E6%88%BF%20?u=a/b?c&d=[1]+2%25"),
        ("/a//b/../c", "/a//b/../c"),
    ] {
        let (_, seen) = request(|options| options.url += path);
        assert_eq!(seen.request_path.as_deref(), Some(sent), "{path:?}");
    }
}

#[test]
fn the_answers_headers_keep_their_case_and_their_twins() {
    let server = serve(
        r#"[{"handshake": {"headers": [["Set-Cookie", "a=1"], ["X-CaSe", "v, w"],
            ["Set-Cookie", "b=2; Path=/"], ["set-cookie", "c=3"]]}}]"#,
    );
    let mut client = Client::connect(once(server.url()));
    let open = client.open();
    let own: Vec<_> = open
        .header
        .iter()
        .filter(|line| !line.name.starts_with("Sec-") && !line.name.ends_with("rade"))
        .filter(|line| line.name != "Connection")
        .cloned()
        .collect();
    assert_eq!(
        own,
        [
            header("Set-Cookie", "a=1"),
            header("X-CaSe", "v, w"),
            header("Set-Cookie", "b=2; Path=/"),
            header("set-cookie", "c=3"),
        ]
    );
    client.finish();
}

#[test]
fn a_refused_upgrade_carries_status_headers_and_the_beginning_of_the_body() {
    let body: String = (0..1_000).map(|n| format!("{n} ")).collect();
    let error = refused(
        upgrade(&format!(
            r#"{{"status": 429, "headers": [["X-Why", "much"], ["x-why", "too"]], "body": "{body}"}}"#
        )),
        &[],
    );
    assert_eq!((error.kind, error.err_code), (ErrorKind::HttpStatus, 690_020));
    assert_eq!(error.err_msg, "connectSocket:fail invalid HTTP status");
    assert_eq!(error.http_status, Some(429));
    let own = error.http_header.iter().filter(|line| line.name.eq_ignore_ascii_case("x-why"));
    assert!(own.eq(&[header("X-Why", "much"), header("x-why", "too")]));
    assert_eq!(error.http_body, &body.as_bytes()[..1024]);
}

#[test]
fn every_framing_of_a_body_is_understood() {
    let long = "0123456789".repeat(300);
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let chunked = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, status, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned(), 200, "hi"),
        // More than it says: the rest is not of this answer.
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi there".to_owned(), 404, "hi"),
        ("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".to_owned(), 302, ""),
        // No length: up to the end of the stream.
        ("HTTP/1.0 500 Oops\r\n\r\nto the end".to_owned(), 500, "to the end"),
        (format!("{chunked}{}{}0\r\n\r\n", chunk("hello "), chunk("world")), 403, "hello world"),
        (format!("{chunked}{}{}", chunk(&long[..1_000]), chunk(&long)), 403, ""),
    ] {
        let error = refused(raw(answer), &[]);
        assert_eq!(error.http_status, Some(status));
        let body = if body.is_empty() && status == 403 {
            format!("{}{}", &long[..1_000], &long[..24])
        } else {
            body.to_owned()
        };
        assert_eq!(String::from_utf8_lossy(&error.http_body), body, "{status}");
    }
}

#[test]
fn an_answer_that_is_no_upgrade_is_a_bad_upgrade() {
    let flood = |line: String| format!("HTTP/1.1 101 Switching Protocols\r\n{line}");
    for answer in [
        Handshake::WrongUpgrade,
        raw("SSH-2.0-OpenSSH_9.2\r\n"),
        raw([0x15, 3, 1, 0, 2, 2, 40]),
        raw(""),
        raw("HTTP/1.1 101"),
        // Right, as far as it goes.
        raw("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        raw(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
        // A head without end, in one header and in many.
        raw(flood("X: ".to_owned() + &"x".repeat(100_000))),
        raw(flood("X: y\r\n".repeat(20_000))),
    ] {
        let name = format!("{answer:?}").chars().take(120).collect::<String>();
        let error = refused(answer, &[]);
        assert_eq!((error.kind, error.err_code), (ErrorKind::BadUpgrade, 690_021), "{name}");
        assert_eq!(error.err_msg, "connectSocket:fail invalid upgrade");
        assert_eq!(error.http_status, None);
        assert!(error.detail.len() < 200, "{name}: {}", error.detail);
    }
}

/// A server for one client: has `answer` write what it likes, given the right
/// `Sec-WebSocket-Accept`, and keeps the connection until the client has ended it.
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
        // What the client says no longer matters.
        while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    });
    url
}

/// A server that writes this answer.
fn answering<T: Into<Vec<u8>>>(answer: impl FnOnce(&str) -> T + Send + 'static) -> String {
    serving(move |stream, accept| {
        let answer: Vec<u8> = answer(accept).into();
        // A client that has read enough may be gone.
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
        // Of a status that nobody has defined yet (RFC 9110, 15.2).
        "HTTP/1.1 199 Soon\r\n\r\n".repeat(200),
    ] {
        let url = answering(move |accept| {
            let head =
                format!("{SWITCHING}{UPGRADE}Sec-WebSocket-Accept: {accept}\r\nX-Own: 1\r\n\r\n");
            // A text frame right behind the head is the first message.
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
    assert_eq!(error.http_header, [header("X-Why", "no"), header("Content-Length", "2")]);
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
    // Empty elements mean nothing (RFC 9110, 5.6.1), and upper case neither.
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
        // It says more than it has: what came in half a second is what there is.
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
            // Most likely the client reads the head alone. It must not matter if it does not.
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
        // More than 1 KiB of it all, and less than 1 KiB of body.
        let (first, rest) = chunks.split_at(1_200);
        stream.write_all(format!("{head}{first}").as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        // A client that has read enough may be gone.
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
            // The connection stays open, as it does behind a proxy that keeps it for others.
            let url = answering(move |_| format!("HTTP/1.1 403 Forbidden\r\n{body}"));
            let mut client = Client::connect(once(url));
            assert_eq!(client.error().http_status, Some(403));
            client.end();
        }
    }
    // One kind alone that is waited for takes half a second each time: ten seconds.
    assert!(start.elapsed() < Duration::from_millis(500) * DIALS, "{:?}", start.elapsed());
}

#[test]
fn an_extension_that_was_not_offered_is_refused() {
    let error = refused(
        upgrade(r#"{"headers": [["Sec-WebSocket-Extensions", "permessage-deflate"]]}"#),
        &[],
    );
    assert_eq!(error.kind, ErrorKind::BadUpgrade);
    assert!(error.detail.contains("extension"), "{error:?}");
}

#[test]
fn the_server_chooses_a_sub_protocol_that_was_offered() {
    for (answer, offered, chosen) in [
        (r#""upgrade""#, &["chat.v2", "chat.v1"][..], Some("chat.v2")),
        (r#"{"protocol": "chat.v1"}"#, &["chat.v2", "chat.v1"], Some("chat.v1")),
        (r#""upgrade""#, &[], None),
    ] {
        let server = serve(&format!(r#"[{{"handshake": {answer}}}]"#));
        let mut options = once(server.url());
        options.protocols = offered.iter().map(ToString::to_string).collect();
        let mut client = Client::connect(options);
        assert_eq!(client.open().protocol.as_deref(), chosen);
        client.finish();
        assert_eq!(server.connection(1).unwrap().protocols_offered, offered);
    }
}

#[test]
fn any_other_sub_protocol_and_none_are_refused() {
    for (answer, offered) in [
        (r#"{"protocol": "other"}"#, &["chat"][..]),
        // Names are compared as they are written.
        (r#"{"protocol": "CHAT"}"#, &["chat"]),
        (r#"{"protocol": "chat, other"}"#, &["chat", "other"]),
        (r#"{"protocol": null}"#, &["chat"]),
        (r#"{"protocol": "unasked"}"#, &[]),
    ] {
        let error = refused(upgrade(answer), offered);
        assert_eq!((error.kind, error.err_code), (ErrorKind::Subprotocol, 690_022), "{answer}");
        assert_eq!(error.err_msg, "connectSocket:fail sub-protocol not agreed");
    }
}

#[test]
fn a_timeout_names_the_step_at_which_it_struck() {
    let server = serve(r#"[{"handshake": "hang"}]"#);
    for (url, step) in [
        (server.url(), "waiting for the answer to the upgrade"),
        (format!("wss://127.0.0.1:{}", server.port()), "shaking hands (TLS)"),
    ] {
        let mut options = once(url);
        options.timeout_ms = Some(400);
        let mut client = Client::connect(options);
        let error = client.error();
        assert_eq!((error.kind, error.err_code), (ErrorKind::Timeout, 690_004));
        assert_eq!(error.err_msg, "connectSocket:fail timeout");
        assert!(error.detail.contains(step), "{error:?}");
        client.end();
    }
    assert!(server.wait_ended(2, PATIENCE));
}

#[test]
fn the_time_limit_is_for_the_dial_and_not_for_what_comes_after() {
    let server = serve(r#"[{"rules": [{"on": {"afterMs": 1500}, "do": {"send": "late"}}]}]"#);
    let mut options = once(server.url());
    options.timeout_ms = Some(1_200);
    let mut client = Client::connect(options);
    client.open();
    assert_eq!(client.text(), "late");
    client.finish();
}

#[test]
fn the_profile_is_measured() {
    let server = serve(r#"[{"handshake": {"delayMs": 120}}]"#);
    for (host, is_name) in [("127.0.0.1", false), ("localhost", true)] {
        let before = now_ms();
        let mut client = Client::connect(once(format!("ws://{host}:{}", server.port())));
        let profile = client.open().profile;
        let after = now_ms();
        let points = [
            before,
            profile.fetch_start,
            profile.domain_look_up_start,
            profile.domain_look_up_end,
            profile.connect_start,
            profile.connect_end,
            profile.fetch_start + profile.cost,
            after,
        ];
        // The wall clock, read twice and in floating point, and a monotonic one between.
        let in_order = points.windows(2).all(|pair| pair[0] <= pair[1] + 1.0);
        assert!(in_order, "{points:?}");
        let look_up = profile.domain_look_up_end - profile.domain_look_up_start;
        // An address is not looked up: that takes as long as reading the clock twice.
        assert!(if is_name { look_up > 0.0 } else { look_up < 5.0 }, "{profile:?}");
        let near = |a: f64, b: f64| (a - b).abs() < 0.5;
        assert!(near(profile.rtt, profile.connect_end - profile.connect_start), "{profile:?}");
        assert!(profile.rtt > 0.0, "{profile:?}");
        // The server thought for 120 ms before it answered the upgrade.
        assert!(profile.handshake_cost >= 119.0, "{profile:?}");
        assert!(profile.cost >= profile.handshake_cost + profile.rtt, "{profile:?}");
        client.finish();
    }
}

fn now_ms() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs_f64() * 1_000.0
}

#[test]
fn a_name_that_cannot_be_resolved_says_so() {
    // A label has 63 bytes at most (RFC 1035, 2.3.4): nobody has to be asked.
    let mut client = Client::connect(once(format!("ws://{}/", "x".repeat(64))));
    let error = client.error();
    assert_eq!((error.kind, error.err_code), (ErrorKind::Dns, 690_001), "{error:?}");
    assert_eq!(error.err_msg, "connectSocket:fail host not found");
    client.end();
}

#[test]
fn a_request_that_was_cut_off_leaves_a_short_record() {
    // The dial is dropped in the middle of the server's thinking: no second try hides there.
    let server = serve(r#"[{"handshake": {"delayMs": 100}}]"#);
    let mut client = Client::connect(once(server.url()));
    until(&server, |seen| seen.connections.iter().any(|one| one.request_path.is_some()));
    client.task().close(1000, String::new()).unwrap();
    client.end();
    let end = ended(&server, 1).ended.unwrap();
    assert!(matches!(end, SeenEnd::ClientEof | SeenEnd::ClientReset), "{end:?}");
    assert_eq!(server.connections().len(), 1);
}
