//! Coming back: after what, how often, and what holds it up or hurries it.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;
use support::*;
use wxsocket::*;

const DROP_ON_DEMAND: &str = r#"{"rules": [{"on": {"text": "drop"}, "do": "drop"}]}"#;

/// The error and the close at the end of a task whose attempts are used up.
#[track_caller]
fn exhausted(client: &mut Client) -> (ErrorEvent, CloseEvent) {
    let error = client.error();
    assert_eq!((error.kind, error.err_code), (ErrorKind::ReconnectLimit, 690_050), "{error:?}");
    assert_eq!(error.err_msg, "connectSocket:fail reconnect limit reached");
    (error, client.end())
}

#[test]
fn it_comes_back_whatever_ended_the_connection() {
    for (action, code, clean) in [
        (r#""drop""#, 1006, false),
        (r#""eof""#, 1006, false),
        (r#"{"close": {"code": 1000}}"#, 1000, true),
        (r#"{"close": {"code": 1011, "reason": "bug"}}"#, 1011, true),
        (r#"{"close": {}}"#, 1005, true),
        (r#"{"garbage": "f1 00"}"#, 1002, false),
    ] {
        let server = serve(&format!(r#"[{{"rules": [{{"on": "open", "do": {action}}}]}}, {{}}]"#));
        let mut client = Client::connect(fast(server.url()));
        assert_eq!(client.open().attempt, 0);
        if !clean {
            client.error();
        }
        let close = client.close();
        assert_eq!((close.epoch, close.code, close.was_clean), (1, code, clean), "{action}");
        let retry = RetryInfo { attempt: 1, max: None, delay: Some(Millis(30)) };
        assert_eq!(close.retry, Some(retry), "{action}");
        let open = client.open();
        assert_eq!((open.epoch, open.attempt), (2, 1), "{action}");
        client.send("back");
        assert_eq!(client.text(), "back");
        client.finish();
    }
}

#[test]
fn it_survives_a_restart_of_the_server() {
    let server = echo();
    let mut client = Client::connect(fast(server.url()));
    client.open();
    server.stop_listening().unwrap();
    client.lost(ErrorKind::ConnectionLost);
    // Refused as long as the server is down, each time with the next number.
    for attempt in 2..=4 {
        let error = client.error();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(client.close().retry.unwrap().attempt, attempt);
    }
    server.resume_listening().unwrap();
    let open = loop {
        match client.next() {
            SocketEvent::Open { event } => break event,
            SocketEvent::Error { event } => assert_eq!(event.kind, ErrorKind::Refused),
            SocketEvent::Close { event } => assert!(event.retry.is_some()),
            SocketEvent::Message { .. } => unreachable!(),
        }
    };
    assert!(open.attempt >= 4 && i64::from(open.attempt) == open.epoch - 1, "{open:?}");
    assert_eq!(client.task().stats().opens, 2);
    client.finish();
}

#[test]
fn the_limit_ends_the_task_with_an_error_and_the_final_close() {
    let server = echo();
    server.stop_listening().unwrap();
    let mut client = Client::connect(limited(server.url(), 3));
    for attempt in 1..=3 {
        assert_eq!(client.error().kind, ErrorKind::Refused);
        let retry = client.close().retry.unwrap();
        assert_eq!((retry.attempt, retry.max), (attempt, Some(3)));
    }
    let (error, end) = exhausted(&mut client);
    assert!(error.detail.contains("refused"), "says what the last one died of: {error:?}");
    assert_eq!((error.epoch, end.epoch, end.code), (4, 4, 1006));
    assert_eq!(client.task().ready_state(), ReadyState::Closed);
    // Over is over.
    client.task().reconnect_now();
    assert_eq!(client.task().ready_state(), ReadyState::Closed);
    assert!(client.task().send("x").is_err());
}

#[test]
fn a_server_that_accepts_and_drops_exhausts_the_limit() {
    let server = serve(r#"[{"rules": [{"on": "open", "do": "drop"}]}]"#);
    let mut options = limited(server.url(), 100);
    options.reconnect.delay = Some(ReconnectDelay::Fixed { delay: Millis(0) });
    options.reconnect.stable_after = Some(NEVER);
    let mut client = Client::connect(options);
    for attempt in 0..100 {
        assert_eq!(client.open().attempt, attempt);
        client.lost(ErrorKind::ConnectionLost);
    }
    assert_eq!(client.open().attempt, 100);
    exhausted(&mut client);
    assert_eq!(server.connections().len(), 101);
}

#[test]
fn a_connection_that_proved_stable_sets_the_counter_back() {
    let server = serve(&format!("[{DROP_ON_DEMAND}]"));
    let mut options = limited(server.url(), 1);
    options.reconnect.stable_after = Some(Millis(30));
    let mut client = Client::connect(options);
    // The limit is one, and yet it comes back as often as it takes.
    for round in 0..4 {
        assert_eq!(client.open().attempt, i32::from(round > 0));
        // Not a guess: from the open event on, it has been open at least this long.
        std::thread::sleep(Duration::from_millis(40));
        client.send("drop");
        client.error();
        assert_eq!(client.close().retry.unwrap().attempt, 1);
    }
    client.open();
    client.finish();

    let mut options = limited(server.url(), 1);
    options.reconnect.stable_after = Some(NEVER);
    let mut client = Client::connect(options);
    client.open();
    client.send("drop");
    client.lost(ErrorKind::ConnectionLost);
    client.open();
    client.send("drop");
    exhausted(&mut client);
}

#[test]
fn a_close_code_on_the_stop_list_ends_the_task() {
    let close = |code| {
        format!(
            r#"{{"rules": [{{"on": "open", "do": {{"close": {{"code": {code}, "reason": "why"}}}}}}]}}"#
        )
    };
    let server = serve(&format!("[{}, {}]", close(4100), close(4101)));
    let mut options = fast(server.url());
    options.reconnect.stop_codes = Some(vec![4101, 1000]);
    let mut client = Client::connect(options);
    client.open();
    assert_eq!(client.close().code, 4100);
    client.open();
    let end = client.end();
    assert_eq!((end.code, end.reason.as_str(), end.was_clean), (4101, "why", true));
    assert_eq!(server.connections().len(), 2);

    // The preset that stops on 1000, as its original does.
    let server = serve(&format!("[{}]", close(1000)));
    let options =
        ConnectOptions { preset: Some(Preset::UseWs), ..ConnectOptions::new(server.url()) };
    let mut client = Client::connect(options);
    client.open();
    assert_eq!(client.end().code, 1000);
}

#[test]
fn an_http_status_on_the_stop_list_ends_the_task() {
    let server = serve(
        r#"[{"handshake": {"status": 503}}, {"handshake": {"status": 401, "body": "who?"}}, {}]"#,
    );
    let mut options = fast(server.url());
    options.reconnect.stop_statuses = Some(vec![401, 403]);
    let mut client = Client::connect(options);
    assert_eq!(client.lost(ErrorKind::HttpStatus).http_status, Some(503));
    let error = client.error();
    assert_eq!((error.http_status, &error.http_body[..]), (Some(401), &b"who?"[..]));
    assert_eq!(client.end().code, 1006);
    assert_eq!(server.connections().len(), 2);
}

#[test]
fn a_captive_portal_does_not_end_a_resilient_session() {
    let server = serve(r#"[{"handshake": {"status": 403}}]"#);
    let mut options = ConnectOptions::new(server.url());
    options.preset = Some(Preset::Resilient);
    let mut client = Client::connect(options);
    assert_eq!(client.lost(ErrorKind::HttpStatus).http_status, Some(403));
    client.task().close(1000, String::new()).unwrap();
}

#[test]
fn retry_after_is_honoured_unless_told_otherwise() {
    let script = r#"[{"handshake": {"status": 503, "headers": [["Retry-After", "7"]]}}]"#;
    // Up to 5 s more keep the clients of a server apart.
    for (honour, delays_ms) in
        [(None, 7_000..=12_000), (Some(true), 7_000..=12_000), (Some(false), 30..=30)]
    {
        let server = serve(script);
        let mut options = fast(server.url());
        options.reconnect.honour_retry_after = honour;
        let mut client = Client::connect(options);
        assert_eq!(client.error().http_status, Some(503));
        let delay_ms = client.close().retry.unwrap().delay.unwrap().0;
        assert!(delays_ms.contains(&delay_ms), "{honour:?}: {delay_ms}");
        client.task().close(1000, String::new()).unwrap();
    }
}

/// Plain HTTP is whatever the network makes of it.
#[test]
fn retry_after_without_tls_does_not_silence_an_app_for_an_hour() {
    let server = serve(r#"[{"handshake": {"status": 503, "headers": [["Retry-After", "3600"]]}}]"#);
    let mut client = Client::connect(fast(server.url()));
    assert_eq!(client.error().http_status, Some(503));
    let delay_ms = client.close().retry.unwrap().delay.unwrap().0;
    assert!((60_000..=75_000).contains(&delay_ms), "{delay_ms}");
    client.task().close(1000, String::new()).unwrap();
}

#[test]
fn a_dial_that_hangs_is_given_up_and_tried_again() {
    let server = serve(r#"[{"handshake": "hang"}, {}]"#);
    let mut options = fast(server.url());
    options.timeout = Some(Millis(200));
    let mut client = Client::connect(options);
    let error = client.error();
    assert_eq!((error.kind, error.err_code), (ErrorKind::Timeout, 690_004));
    client.close();
    ended(&server, 1);
    // On a loaded machine the second may take longer than its time, too.
    while !matches!(client.next(), SocketEvent::Open { .. }) {}
    client.finish();
}
