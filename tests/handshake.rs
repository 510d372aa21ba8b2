//! The upgrade: what is asked, what is answered, and what a bad answer turns into.

#![allow(clippy::unwrap_used)]

mod support;

use support::*;
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
        options.timeout = Some(Millis(400));
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
    options.timeout = Some(Millis(1_200));
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
