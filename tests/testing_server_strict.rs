//! Protocol errors of a client: the scripted server records each of them, and answers as RFC 6455
//! asks.

// In a test an unexpected value may panic.
#![allow(clippy::unwrap_used)]

#[path = "support/raw_client.rs"]
mod raw_client;

use raw_client::*;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use wxsocket::testing::{Script, ScriptedServer, SeenEnd};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADE: &str = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\n";

fn tcp(server: &ScriptedServer) -> TcpStream {
    let tcp = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    tcp.set_read_timeout(Some(LONG)).unwrap();
    tcp
}

/// Makes an upgraded connection.
fn open(server: &ScriptedServer) -> TcpStream {
    let mut tcp = tcp(server);
    tcp.write_all(format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}\r\n").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    tcp
}

/// Makes a final client frame. It is masked with zeros, so that its payload stays unchanged.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    assert!(len < 126);
    [&[0x80 | opcode, 0x80 | len, 0, 0, 0, 0][..], payload].concat()
}

fn rest(tcp: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    tcp.read_to_end(&mut rest).unwrap();
    rest
}

/// Returns the code of the close frame, which must be the whole answer.
fn only_close(answer: &[u8]) -> u16 {
    let [0x88, len, high, low, reason @ ..] = answer else { panic!("{answer:?}") };
    assert_eq!(usize::from(*len), 2 + reason.len(), "{answer:?}");
    u16::from_be_bytes([*high, *low])
}

#[test]
fn close_codes_that_no_client_may_send_are_violations() {
    for code in [0_u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535] {
        let server = start("[]");
        let mut tcp = open(&server);
        tcp.write_all(&frame(8, &code.to_be_bytes())).unwrap();
        assert_eq!(only_close(&rest(&mut tcp)), 1002, "{code}");
        let seen = ended(&server);
        assert_eq!(seen.ended, Some(SeenEnd::Violation), "{code}");
        assert_eq!(seen.violations, [format!("close code {code}")]);
    }
    for code in [1000_u16, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999] {
        let server = start("[]");
        let mut tcp = open(&server);
        tcp.write_all(&frame(8, &code.to_be_bytes())).unwrap();
        assert_eq!(only_close(&rest(&mut tcp)), code);
        let seen = ended(&server);
        assert_eq!((seen.ended, seen.violations.len()), (Some(SeenEnd::ClientClosed), 0), "{code}");
    }
}

#[test]
fn a_close_reason_that_is_not_utf8_is_a_violation() {
    let server = start("[]");
    let mut tcp = open(&server);
    tcp.write_all(&frame(8, b"\x03\xe8caf\xe9")).unwrap();
    assert_eq!(only_close(&rest(&mut tcp)), 1007);
    let seen = ended(&server);
    assert_eq!(seen.ended, Some(SeenEnd::Violation));
    assert_eq!(seen.violations, ["close reason is not UTF-8"]);
}

#[test]
fn text_that_is_not_utf8_is_never_sent_back() {
    let whole = frame(1, b"caf\xe9");
    let mut cut = frame(1, b"caf");
    cut[0] = 0x01;
    cut.extend(frame(0, b"\xe9"));
    for bytes in [whole, cut] {
        let server = start("[]");
        let mut tcp = open(&server);
        tcp.write_all(&bytes).unwrap();
        assert_eq!(only_close(&rest(&mut tcp)), 1007);
        let seen = ended(&server);
        assert_eq!(seen.ended, Some(SeenEnd::Violation));
        assert_eq!(seen.violations, ["text is not UTF-8"]);
    }
}

#[test]
fn a_frame_that_is_too_large_is_closed_with_1009() {
    let server = start("[]");
    let mut tcp = open(&server);
    tcp.write_all(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(only_close(&rest(&mut tcp)), 1009);
    assert_eq!(ended(&server).violations, ["frame larger than 64 MiB"]);
}

#[test]
fn only_one_close_frame_is_ever_sent() {
    let twice = r#"[{"rules": [{"on": {"text": "x"}, "do": {"close": {"code": 4001}}}]}]"#;
    let close = [0x88, 2, 0x0f, 0xa1];
    let server = start(twice);
    let mut tcp = open(&server);
    tcp.write_all(&[frame(1, b"x"), frame(1, b"x")].concat()).unwrap();
    assert!(server.wait_messages(2, LONG));
    server.close_all(Some(4002), "");
    server.send_text_all("nothing follows a close frame");
    tcp.write_all(&frame(8, &4001_u16.to_be_bytes())).unwrap();
    assert_eq!(rest(&mut tcp), close);
    assert_eq!(ended(&server).ended, Some(SeenEnd::ServerClosed));

    // A protocol error after it is recorded, but not answered.
    let server = start(twice);
    let mut tcp = open(&server);
    tcp.write_all(&[&frame(1, b"x")[..], b"\x81\x01x"].concat()).unwrap();
    assert_eq!(rest(&mut tcp), close);
    assert_eq!(ended(&server).violations, ["frame not masked"]);
}

/// Returns the first line of the server's answer to these bytes, and the violations that it
/// records.
fn turned_away(request: &str) -> (String, Vec<String>) {
    let server = start("[]");
    let mut tcp = tcp(&server);
    // The write fails when the server ends the connection before it has read everything.
    let _ = tcp.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer);
    let seen = ended(&server);
    assert_eq!((seen.ended, seen.opened), (Some(SeenEnd::BadRequest), false), "{request}");
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    (line, seen.violations)
}

#[test]
fn an_upgrade_request_that_is_none_is_turned_away() {
    let get = |head: &str| format!("GET / HTTP/1.1\r\n{head}\r\n");
    let keyed = |key: &str| get(&format!("{UPGRADE}Sec-WebSocket-Key: {key}\r\n"));
    let offering = |names: &str| get(&format!("{UPGRADE}{KEY}Sec-WebSocket-Protocol: {names}\r\n"));
    let malformed = "Sec-WebSocket-Key is not 16 bytes in base64";
    let cases = [
        (format!("GET / HTTP/1.0\r\n{UPGRADE}{KEY}\r\n"), "HTTP/1.0"),
        (get(&format!("{UPGRADE}Sec-WebSocket-Key:\r\n")), malformed),
        (keyed("dGhlIHNhbXBsZQ=="), malformed),
        (keyed("dGhlIHNhbXBsZSBub25jZSE="), malformed),
        (keyed("dGhlIHNhbXBsZSBub25jZQ"), malformed),
        (keyed("dGhlIHNhbXBsZSBub25jZR=="), malformed),
        (keyed("dGhlIHNhbXBsZSBub2*jZQ=="), malformed),
        (get(&format!("{UPGRADE}{KEY}{KEY}")), "more than one Sec-WebSocket-Key"),
        (
            get(&format!("{UPGRADE}{KEY}Content-Length: 5\r\n")),
            "Content-Length in an upgrade request",
        ),
        (
            get(&format!("{UPGRADE}{KEY}Transfer-Encoding: chunked\r\n")),
            "Transfer-Encoding in an upgrade request",
        ),
        (get(&format!("{}{KEY}", UPGRADE.replace("Host: h", "Host: "))), "empty Host"),
        (get(&format!("Host: i\r\n{UPGRADE}{KEY}")), "more than one Host"),
        (offering("a b"), "sub-protocol \"a b\" is not a token"),
        (offering("a, \u{4e2d}"), "sub-protocol \"\u{4e2d}\" is not a token"),
        (offering("a, b, a"), "sub-protocol \"a\" is offered twice"),
    ];
    for (request, violation) in cases {
        let (answer, violations) = turned_away(&request);
        assert_eq!(answer, "HTTP/1.1 400 Bad Request", "{request}");
        assert_eq!(violations, [violation], "{request}");
    }
}

#[test]
fn a_head_that_is_too_large_is_turned_away() {
    let mut many = format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}");
    for number in 0..300 {
        write!(many, "X-{number}: x\r\n").unwrap();
    }
    let (answer, violations) = turned_away(&format!("{many}\r\n"));
    assert_eq!(answer, "HTTP/1.1 431 Request Header Fields Too Large");
    assert_eq!(violations, ["more than 100 headers"]);

    let large = format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}X: {}\r\n\r\n", "x".repeat(64 << 10));
    let (_, violations) = turned_away(&large);
    assert_eq!(violations, ["request head larger than 64 KiB"]);

    let (_, violations) = turned_away("GET /\u{0} HTTP/1.1\r\n\r\n");
    assert!(violations[0].starts_with("not an HTTP request: "), "{violations:?}");
}

#[test]
fn a_bad_request_is_on_record_whatever_the_script_answers() {
    let server = start(r#"[{"handshake": {"status": 503}}]"#);
    let mut tcp = tcp(&server);
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(rest(&mut tcp).starts_with(b"HTTP/1.1 503 "));
    let seen = ended(&server);
    assert_eq!(seen.ended, Some(SeenEnd::Rejected));
    assert_eq!(seen.violations, ["no `Connection: Upgrade`"]);
}

#[test]
fn a_script_that_cannot_be_played_is_refused_where_it_says_so() {
    let long = "x".repeat(124);
    let rule = |on: &str, action: &str| {
        format!("[{{}},\n{{\"rules\": [{{\"on\": {on}, \"do\": {action}}}]}}]")
    };
    let status = |status: u16| format!("[{{}},\n{{\"handshake\": {{\"status\": {status}}}}}]");
    let close = |reason: &str| {
        rule("\"open\"", &format!("{{\"close\": {{\"code\": 4000, \"reason\": \"{reason}\"}}}}"))
    };
    let cases = [
        ("[{},\n []]".to_owned(), "expected an object"),
        ("[{},\n [\"hang\", false]]".to_owned(), "expected an object"),
        ("{\"connections\": [\n [\"hang\"]]}".to_owned(), "expected an object"),
        ("[{},\n{\"rules\": [[\"open\", \"drop\"]]}]".to_owned(), "expected an object"),
        (rule("\"open\"", "{\"close\": [1000, \"x\"]}"), "expected an object"),
        (rule("\"open\"", "{\"fragment\": [\"x\", null, 2]}"), "expected an object"),
        (rule("{\"messages\": 0}", "\"drop\""), "`messages` counts from 1"),
        (rule("{\"heartbeats\": 0}", "\"drop\""), "`heartbeats` counts from 1"),
        (status(0), "`status` must be from 100 to 999, and not 101"),
        (status(99), "`status` must be"),
        (status(101), "`status` must be"),
        (status(1000), "`status` must be"),
        (close(&long), "`reason` is 124 bytes long; a close frame has room for 123"),
        (close(&"\u{4e2d}".repeat(42)), "`reason` is 126 bytes long"),
        (rule("\"open\"", "{\"close\": {\"reason\": \"x\"}}"), "`reason` needs a `code`"),
        (
            rule("\"open\"", &format!("{{\"ping\": \"{}\"}}", "x".repeat(126))),
            "`ping` is 126 bytes long; a control frame has room for 125",
        ),
    ];
    for (json, message) in cases {
        let error = Script::parse(&json).unwrap_err();
        assert_eq!(error.line, 2, "{json}: {error}");
        assert!(error.column > 0, "{json}: {error}");
        assert!(error.message.contains(message), "{json}: {error}");
    }
    Script::parse(&close(&long[1..])).unwrap();
    Script::parse(&status(999)).unwrap();
}

#[test]
fn the_server_says_nothing_after_its_close_frame() {
    let server = start(
        r#"[{"rules": [{"on": "open", "do": [{"close": {"code": 4001}}, {"send": "x"},
                {"sendHex": "00"}, {"ping": "p"}, {"fragment": {"text": "abc", "pieces": 2}},
                {"flood": {"count": 1000, "bytes": 1000}}]},
            {"on": {"text": "x"}, "do": {"send": "y"}}]}]"#,
    );
    let mut tcp = open(&server);
    tcp.write_all(&[frame(9, b"ping"), frame(1, b"x"), frame(1, b"echo")].concat()).unwrap();
    assert!(server.wait_messages(2, LONG));
    tcp.write_all(&frame(8, &4001_u16.to_be_bytes())).unwrap();
    assert_eq!(rest(&mut tcp), [0x88, 2, 0x0f, 0xa1]);
    assert_eq!(ended(&server).ended, Some(SeenEnd::ServerClosed));
}

#[test]
fn a_flood_ends_with_the_close_frame() {
    // The flood is longer than what is made at once, and a rule closes meanwhile.
    let server = start(
        r#"[{"rules": [{"on": "open", "do": {"flood": {"count": 20000, "bytes": 1000}}},
            {"on": {"text": "enough"}, "do": {"close": {"code": 4001}}}]}]"#,
    );
    let close = [0x88, 2, 0x0f, 0xa1];
    let mut tcp = open(&server);
    tcp.write_all(&frame(1, b"enough")).unwrap();
    assert!(server.wait_messages(1, LONG));
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(&close) {
        let read = tcp.read(&mut piece).unwrap();
        assert!(read > 0, "more came after the close frame");
        answer.extend_from_slice(&piece[..read]);
    }
    tcp.write_all(&frame(8, &4001_u16.to_be_bytes())).unwrap();
    assert!(rest(&mut tcp).is_empty());
    assert_eq!(ended(&server).ended, Some(SeenEnd::ServerClosed));
}

#[test]
fn frames_at_the_wrong_time_are_violations() {
    // After the client's own close frame, in the same write or later.
    let close = frame(8, &1000_u16.to_be_bytes());
    for more in [frame(1, b"x"), frame(9, b"")] {
        let server = start("[]");
        let mut tcp = open(&server);
        tcp.write_all(&[&close[..], &more].concat()).unwrap();
        rest(&mut tcp);
        let seen = ended(&server);
        assert_eq!(seen.ended, Some(SeenEnd::ClientClosed));
        assert_eq!(seen.violations, ["data after the close frame"]);

        let server = start(r#"[{"answerClose": false}]"#);
        let mut tcp = open(&server);
        tcp.write_all(&[&close[..], &more].concat()).unwrap();
        assert_eq!(only_close(&rest(&mut tcp)), 1002);
        assert_eq!(ended(&server).violations, ["frame after the close frame"]);
    }

    // Before the server has answered the request.
    let server = start("[]");
    let mut tcp = tcp(&server);
    let request = format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}\r\n");
    tcp.write_all(&[request.as_bytes(), &close].concat()).unwrap();
    rest(&mut tcp);
    assert_eq!(ended(&server).violations, ["data before the answer to the request"]);

    // Half a frame, then the end of the stream.
    let server = start("[]");
    let mut tcp = open(&server);
    tcp.write_all(&frame(1, b"text")[..8]).unwrap();
    tcp.shutdown(std::net::Shutdown::Write).unwrap();
    rest(&mut tcp);
    let seen = ended(&server);
    assert_eq!(seen.ended, Some(SeenEnd::ClientEof));
    assert_eq!(seen.violations, ["the stream ended within a frame"]);
}

#[test]
fn a_client_that_leaves_during_a_late_answer_is_seen() {
    for handshake in [r#"{"delayMs": 3600000}"#, r#"{"status": 503, "delayMs": 3600000}"#] {
        let server = start(&format!(r#"[{{"handshake": {handshake}}}]"#));
        let mut tcp = tcp(&server);
        tcp.write_all(format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}\r\n").as_bytes()).unwrap();
        assert!(
            server.wait_for(|seen| seen.connections.iter().any(|c| c.request_path.is_some()), LONG)
        );
        drop(tcp);
        let seen = ended(&server);
        assert_eq!((seen.ended, seen.opened), (Some(SeenEnd::ClientEof), false));
    }
}
