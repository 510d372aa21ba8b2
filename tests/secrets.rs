//! What must not leak: no token, header value, query or payload in a log line or an error.
//!
//! One test only: a process has one logger.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use support::*;
use wxsocket::*;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Everything;

impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // The engine's own lines; what a library below it writes is that library's.
        if record.target().starts_with("wxsocket") {
            LINES.lock().unwrap().push(format!("{} {}", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// Where each secret went in.
const SECRETS: [&str; 6] = [
    "s3cret-header",
    "s3cret-query",
    "s3cret-sent",
    "s3cret-heard",
    "s3cret-body",
    "s3cret-greeting",
];

#[track_caller]
fn clean(what: &str) {
    for secret in SECRETS {
        assert!(!what.contains(secret), "{secret} in {what}");
    }
}

/// Connects with all secrets, and looks at each error that comes until the task is over.
fn run(server: &testing::ScriptedServer, change: impl FnOnce(&mut ConnectOptions)) {
    let mut options = limited(format!("{}/path?token=s3cret-query", server.url()), 2);
    options.header = vec![
        Header::new("Authorization", "Bearer s3cret-header"),
        Header::new("Cookie", "session=s3cret-header"),
    ];
    options.greeting = Some(Message::text("s3cret-greeting"));
    options.reconnect.stable_after = Some(NEVER);
    change(&mut options);
    let mut client = Client::hooked(options, |task, event| {
        if let SocketEvent::Open { .. } = event {
            let _ = task.send("s3cret-sent");
            let _ = task.send(b"s3cret-sent".to_vec());
        }
    });
    loop {
        let event = client.next();
        if let SocketEvent::Error { event } = &event {
            clean(&event.detail);
            clean(&event.err_msg);
        }
        if event.is_final() {
            break;
        }
    }
    let last = client.task().stats().last_error.unwrap();
    clean(&last.detail);
    // And what the calls of a task that is over answer.
    clean(&format!("{:?}", client.task().send("s3cret-sent").unwrap_err()));
    clean(&client.task().send("s3cret-sent").unwrap_err().to_string());
}

#[test]
fn no_secret_is_logged_or_told_in_an_error() {
    log::set_logger(&Everything).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    // Dropped, cut off, refused in every way, closed, broken, too big.
    for script in [
        r#"[{"rules": [{"on": {"messages": 1}, "do": [{"send": "s3cret-heard"}, "drop"]}]}]"#,
        r#"[{"rules": [{"on": {"messages": 1}, "do": [{"send": "s3cret-heard"}, "eof"]}]}]"#,
        r#"[{"handshake": {"status": 401, "headers": [["WWW-Authenticate", "s3cret-body"]],
            "body": "s3cret-body"}}]"#,
        r#"[{"handshake": {"raw": "s3cret-body, and no HTTP at all\r\n\r\n"}}]"#,
        r#"[{"handshake": {"headers": [["Sec-WebSocket-Extensions", "s3cret-body"]]}}]"#,
        r#"[{"handshake": "wrongUpgrade"}]"#,
        r#"[{"handshake": "refuse"}]"#,
        r#"[{"rules": [{"on": "open", "do": {"close": {"code": 4000, "reason": "kicked"}}}]}]"#,
        r#"[{"rules": [{"on": "open", "do": {"garbage": "c1 0c 733363726574 2d 6865617264"}}]}]"#,
        r#"[{"rules": [{"on": "open", "do": {"garbage": "81 0e 733363726574 2d 6865617264 c328"}}]}]"#,
        r#"[{"rules": [{"on": "open", "do": {"fragment": {"text": "s3cret-heard, and much more", "pieces": 3}}}]}]"#,
    ] {
        let server = serve(script);
        run(&server, |options| {
            if script.contains("much more") {
                options.max_message_bytes = Some(20);
            }
        });
    }
    let server = serve(r#"[{"rules": [{"on": "open", "do": "silence"}]}]"#);
    run(&server, |options| {
        options.heartbeat = HeartbeatOptions {
            enabled: Some(true),
            payload: Some(HeartbeatPayload::Text { text: "s3cret-sent".into() }),
            interval: Some(Millis(20)),
            timeout: Some(Millis(20)),
            ..Default::default()
        };
    });
    let server = serve(r#"[{"handshake": "hang"}]"#);
    run(&server, |options| options.timeout = Some(Millis(50)));
    let server = echo();
    server.stop_listening().unwrap();
    run(&server, |_| {});

    bad_options();
    bad_provider();

    let lines = LINES.lock().unwrap();
    for said in [
        "connection 1, attempt 0: dialling 127.0.0.1:",
        "connection 1: open after ",
        "connection 1: 690040 connectSocket:fail heartbeat timeout",
        "connection 1: closed with 1006, attempt 1 in ",
        "connection 3: closed with 1006, for good",
    ] {
        assert!(lines.iter().any(|line| line.contains(said)), "{said:?} is not in {lines:#?}");
    }
    lines.iter().for_each(|line| clean(line));
}

/// Options that are refused with a secret in them, near the fault or in it.
fn bad_options() {
    let header = |value: &str| vec![Header::new("Authorization", value)];
    let bad = [
        ("ws://host:port/?token=s3cret-query", header("x")),
        ("ws://host/?token=s3cret-query#fragment", header("x")),
        ("http://host/?token=s3cret-query", header("x")),
        ("ws://user:s3cret-query@host/", header("x")),
        ("ws://host/?token=s3cret-query\n", header("x")),
        ("s3cret-query", header("x")),
        ("ws://host/", header("Bearer s3cret-header\r\n")),
        ("ws://host/", header("Bearer s3cret-header é")),
        ("ws://host:80token=s3cret-query", header("x")),
        ("ws://host&token=s3cret-query", header("x")),
        ("ws://host/", vec![Header::new("Authorization: Bearer s3cret-header", "")]),
    ];
    for (url, header) in bad {
        let options = ConnectOptions { header, ..ConnectOptions::new(url) };
        let refused = connect_socket(options, None, None).map(drop).unwrap_err();
        clean(&refused.to_string());
        clean(&format!("{refused:?}"));
    }
}

/// The same out of the mouth of a provider, where it becomes the detail of an event.
fn bad_provider() {
    struct Leaky;
    impl BeforeConnect for Leaky {
        fn before_connect(
            &self,
            request: ConnectRequest,
        ) -> Result<ConnectDecision, ListenerError> {
            Ok(ConnectDecision::Change {
                url: (request.attempt == 0).then(|| "ws://host:x/?token=s3cret-query".to_owned()),
                header: Some(vec![Header::new("Authorization", "s3cret-header\n")]),
                protocols: None,
            })
        }

        fn withdraw(&self, _: i64) -> Result<(), ListenerError> {
            Ok(())
        }
    }
    let mut client = Client::asking(limited("ws://127.0.0.1:9/", 1), Arc::new(Leaky));
    clean(&client.lost(ErrorKind::BeforeConnect).detail);
    clean(&client.error().detail);
    client.end();
}
