//! Bad input: a typed error that names the field, and nothing sent, lost or changed.

#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wxsocket::*;

type Change = Box<dyn Fn(&mut ConnectOptions)>;

/// The field that the error names. Each option is tried on a server that must not hear of it.
#[track_caller]
fn refused(change: &dyn Fn(&mut ConnectOptions)) -> (String, i32) {
    let server = echo();
    let mut options = ConnectOptions::new(server.url());
    change(&mut options);
    let refused = match connect_socket(options.clone(), None, None) {
        Err(error) => error,
        Ok(_) => panic!("accepted: {options:?}"),
    };
    let WxError::InvalidArgument { field, reason, err_code, err_msg } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(err_msg, format!("connectSocket:fail invalid {field}: {reason}"));
    assert!(!reason.is_empty());
    // Nothing is made that could dial later: a good task, made afterwards, is the first.
    let mut client = Client::connect(fast(format!("{}/good", server.url())));
    client.open();
    client.finish();
    assert_eq!(server.connections().len(), 1, "{field}");
    (field, err_code)
}

#[test]
fn a_bad_url_is_refused() {
    for url in [
        "",
        "example.com",
        "//example.com",
        "http://example.com",
        "https://example.com",
        "file:///etc",
        "ws:example.com",
        "ws://",
        "ws:///path",
        "ws://?query",
        "ws://:80",
        "ws://host:0",
        "ws://host:65536",
        "ws://host:port",
        "ws://host:-1",
        "ws://host/#fragment",
        "ws://host/#",
        "ws://host#",
        "ws://user:secret@host",
        "ws://[::1",
        "ws://[nonsense]",
        "ws://bücher.example",
        "ws://two words/",
        "ws://host/\r\nX-Evil: 1",
        "ws://host/\n",
        "ws://host/\u{0}",
        " ws://host/",
    ] {
        let error = refused(&|options| options.url = url.into());
        assert_eq!(error, ("url".into(), 600_009), "{url:?}");
    }
}

#[test]
fn a_bad_header_is_refused() {
    for (name, value) in [
        ("", "x"),
        ("X Y", "x"),
        ("X:", "x"),
        ("X\r\nEvil", "x"),
        ("Schlüssel", "x"),
        ("X", "a\r\nEvil: 1"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\u{0}b"),
        ("X", "\u{7f}"),
        ("X", "ü"),
        ("Referer", "https://example.com"),
        ("referer", ""),
        ("Host", "example.com"),
        ("Connection", "close"),
        ("Upgrade", "h2c"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Sec-WebSocket-Key", "x"),
        ("Sec-WebSocket-Accept", "x"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "chat"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ] {
        let good = Header::new("X-Good", "1");
        let error =
            refused(&|options| options.header = vec![good.clone(), Header::new(name, value)]);
        assert_eq!(error, ("header".into(), 600_008), "{name:?}: {value:?}");
    }
}

#[test]
fn bad_sub_protocols_are_refused() {
    for list in [&["a", "a"][..], &["a", "b", "a"], &[""], &["a b"], &["a,b"], &["é"], &["a\r\n"]]
    {
        let list: Vec<_> = list.iter().map(ToString::to_string).collect();
        let error = refused(&|options| options.protocols = list.clone());
        assert_eq!(error, ("protocols".into(), 600_008), "{list:?}");
    }
}

/// Each number has its bounds; whatever lies beyond is refused by name.
#[test]
fn numbers_out_of_bounds_are_refused() {
    fn time(set: fn(&mut ConnectOptions, i64)) -> Vec<Change> {
        let bad = [0, -1, i64::MIN, i64::from(i32::MAX) + 1, i64::MAX];
        bad.into_iter().map(|ms| Box::new(move |o: &mut ConnectOptions| set(o, ms)) as _).collect()
    }
    fn size(set: fn(&mut ConnectOptions, i64)) -> Vec<Change> {
        let bad = [0, -1, i64::MIN, (1 << 30) + 1, i64::MAX];
        bad.into_iter().map(|n| Box::new(move |o: &mut ConnectOptions| set(o, n)) as _).collect()
    }
    fn each<T: Copy + 'static>(bad: &[T], set: fn(&mut ConnectOptions, T)) -> Vec<Change> {
        let bad = bad.iter().copied();
        bad.map(|n| Box::new(move |o: &mut ConnectOptions| set(o, n)) as _).collect()
    }
    // min and the rest of a full jitter that is good but for one number.
    fn jitter(at: usize, ms: i64) -> Option<ReconnectDelay> {
        let mut good = [1, 1, 10, 1, 1];
        good[at] = ms;
        let [first, min, max, slow_after, slow] = good.map(Millis);
        Some(ReconnectDelay::FullJitter { first, min, max, slow_after, slow })
    }
    let too_long = i64::from(i32::MAX) + 1;
    let table: Vec<(&str, Vec<Change>)> = vec![
        ("timeout", time(|o, ms| o.timeout = Some(Millis(ms)))),
        ("close_timeout", time(|o, ms| o.close_timeout = Some(Millis(ms)))),
        ("max_message_bytes", size(|o, n| o.max_message_bytes = Some(n))),
        ("max_buffered_bytes", size(|o, n| o.max_buffered_bytes = Some(n))),
        (
            "background",
            time(|o, ms| o.background = Some(BackgroundPolicy::Interrupt { grace: Millis(ms) })),
        ),
        ("heartbeat.interval", time(|o, ms| o.heartbeat.interval = Some(Millis(ms)))),
        ("heartbeat.timeout", time(|o, ms| o.heartbeat.timeout = Some(Millis(ms)))),
        ("queue.messages", each(&[0, -1, too_long], |o, n| o.queue.messages = Some(n))),
        ("queue.bytes", size(|o, n| o.queue.bytes = Some(n))),
        ("queue.max_age", time(|o, ms| o.queue.max_age = Some(Millis(ms)))),
        ("reconnect.stable_after", time(|o, ms| o.reconnect.stable_after = Some(Millis(ms)))),
        (
            "reconnect.max_attempts",
            each(&[0, -1, i64::MIN, too_long, i64::MAX], |o, count| {
                o.reconnect.max_attempts = Some(AttemptLimit::Attempts { count });
            }),
        ),
        (
            // 0 is "at once".
            "reconnect.delay",
            each(&[-1, too_long], |o, ms| {
                o.reconnect.delay = Some(ReconnectDelay::Fixed { delay: Millis(ms) });
            }),
        ),
        ("reconnect.delay.first", each(&[-1, too_long], |o, ms| o.reconnect.delay = jitter(0, ms))),
        ("reconnect.delay.min", each(&[0, -1], |o, ms| o.reconnect.delay = jitter(1, ms))),
        // Less than min among them.
        (
            "reconnect.delay.max",
            each(&[0, -1, too_long], |o, ms| o.reconnect.delay = jitter(2, ms)),
        ),
        (
            "reconnect.delay.slow_after",
            each(&[0, -1, too_long], |o, ms| o.reconnect.delay = jitter(3, ms)),
        ),
        (
            "reconnect.delay.slow",
            each(&[0, -1, too_long], |o, ms| o.reconnect.delay = jitter(4, ms)),
        ),
        (
            "reconnect.stop_codes",
            each(&[0, 999, 5000, -1, i32::MAX], |o, code| {
                o.reconnect.stop_codes = Some(vec![1000, code]);
            }),
        ),
        (
            "reconnect.stop_statuses",
            each(&[0, 99, 600, -1], |o, status| {
                o.reconnect.stop_statuses = Some(vec![403, status]);
            }),
        ),
    ];
    for (field, changes) in table {
        for (at, change) in changes.iter().enumerate() {
            assert_eq!(refused(change), (field.into(), 600_008), "value {at} of {field}");
        }
    }
}

#[test]
fn a_heartbeat_that_cannot_work_is_refused() {
    let reply =
        |reply: ReplyMatch| move |o: &mut ConnectOptions| o.heartbeat.reply = Some(reply.clone());
    let field = ("heartbeat.reply".to_owned(), 600_008);
    assert_eq!(refused(&reply(ReplyMatch::Prefix { prefix: String::new() })), field);
    assert_eq!(refused(&reply(ReplyMatch::JsonField { name: String::new(), value: None })), field);
    // Strict without an answer to be strict about would find every peer dead.
    let strict = refused(&|options| {
        options.preset = Some(Preset::HeartCheck);
        options.heartbeat.strict = Some(true);
    });
    assert_eq!(strict, ("heartbeat.strict".into(), 600_008));
}

#[test]
fn an_authority_that_is_none_is_refused() {
    let bare = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\n", bare] {
        let error = refused(&|options| options.tls.ca_pem = Some(pem.into()));
        assert_eq!(error, ("tls.ca_pem".into(), 600_008), "{pem:?}");
    }
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let error = refused(&|options| options.tls.ca_pem = Some(key.clone()));
    assert_eq!(error.0, "tls.ca_pem", "a key is no certificate");
}

#[test]
fn a_rule_that_is_switched_off_is_checked_all_the_same() {
    let error = refused(&|options| {
        options.heartbeat.enabled = Some(false);
        options.heartbeat.interval = Some(Millis(0));
    });
    assert_eq!(error.0, "heartbeat.interval");
    let error = refused(&|options| {
        options.reconnect.enabled = Some(false);
        options.reconnect.max_attempts = Some(AttemptLimit::Attempts { count: 0 });
    });
    assert_eq!(error.0, "reconnect.max_attempts");
    let error = refused(&|options| {
        options.queue.enabled = Some(false);
        options.queue.bytes = Some(0);
    });
    assert_eq!(error.0, "queue.bytes");
}

#[test]
fn the_bounds_themselves_are_accepted() {
    let server = echo();
    let mut options = once(server.url());
    let longest = Some(i64::from(i32::MAX));
    let time = longest.map(Millis);
    options.timeout = time;
    options.close_timeout = time;
    options.max_message_bytes = Some(1 << 30);
    options.max_buffered_bytes = Some(1 << 30);
    options.heartbeat = HeartbeatOptions { interval: time, timeout: time, ..Default::default() };
    options.queue = QueueOptions {
        messages: longest,
        bytes: Some(1 << 30),
        max_age: time,
        ..Default::default()
    };
    options.reconnect.stable_after = time;
    options.reconnect.stop_codes = Some(vec![1000, 4999]);
    options.reconnect.stop_statuses = Some(vec![100, 599]);
    options.background = Some(BackgroundPolicy::Interrupt { grace: Millis(i64::from(i32::MAX)) });
    let mut client = Client::connect(options);
    client.open();
    client.send("x");
    assert_eq!(client.text(), "x");
    client.finish();
}

#[test]
fn a_bad_close_leaves_every_state_as_it_was() {
    let bad = |client: &Client| {
        for (code, reason, field) in
            [(1001, "", "code"), (2999, "", "code"), (1000, &*"é".repeat(62), "reason")]
        {
            let refused = client.task().close(code, reason.to_owned());
            let Err(WxError::InvalidArgument { field: named, err_msg, .. }) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(named, field);
            assert!(err_msg.starts_with("closeSocket:fail invalid "), "{err_msg}");
        }
    };
    let server = serve(
        r#"[{"handshake": {"delayMs": 100}, "rules": [{"on": {"text": "drop"}, "do": "drop"}]}, {}]"#,
    );
    let mut client = Client::connect(patient(server.url()));
    bad(&client);
    client.send("queued");
    bad(&client);
    client.open();
    assert_eq!(client.text(), "queued");
    bad(&client);
    client.send("drop");
    client.lost(ErrorKind::ConnectionLost);
    bad(&client);
    client.task().pause();
    bad(&client);
    client.task().resume();
    assert_eq!(client.open().epoch, 2);
    let task = client.task().clone();
    let heard = client.finish();
    assert!(heard.last().unwrap().is_final());
    assert!(task.close(1001, String::new()).is_err(), "a bad argument stays bad after the end");
}
