//! How the peer's end of a connection is told: legal close codes unchanged, illegal ones as a
//! protocol error, and the end of a stream differently from a reset.

#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wxsocket::testing::{SeenEnd, SeenFrameKind};
use wxsocket::*;

fn closing_with(code: u16, reason: &str) -> std::sync::Arc<testing::ScriptedServer> {
    serve(&format!(
        r#"[{{"rules": [{{"on": "open", "do": {{"close": {{"code": {code}, "reason": "{reason}"}}}}}}]}}]"#
    ))
}

#[test]
fn a_close_code_that_nobody_may_send_is_a_breach_of_the_protocol() {
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535] {
        let server = closing_with(code, "words of the server");
        let mut client = Client::connect(once(server.url()));
        client.open();
        let error = client.error();
        assert_eq!((error.kind, error.err_code), (ErrorKind::Protocol, 690_030), "{code}");
        assert!(error.detail.contains(&format!("close code {code}")), "{code}: {error:?}");
        let close = client.end();
        assert_eq!((close.code, &*close.reason), (1002, "protocol error"), "{code}");
        assert!(!close.was_clean, "{code}");
        let seen = ended(&server, 1);
        let said = seen.frames.iter().find(|frame| frame.kind == SeenFrameKind::Close);
        assert_eq!(said.and_then(|frame| frame.close_code), Some(1002), "{code}");
    }
}

#[test]
fn every_other_close_code_is_told_as_it_is() {
    let ours = "Protocol violation";
    for (code, reason) in
        [(1000, ""), (1001, "x"), (1002, ""), (1002, ours), (1003, ours), (1011, ours), (1012, "x")]
    {
        told_as_it_is(code, reason);
    }
    for code in [1013, 1014, 3000, 4999] {
        told_as_it_is(code, "\u{4e2d}");
    }
    told_as_it_is(1014, &"x".repeat(123));
}

fn told_as_it_is(code: u16, reason: &str) {
    let server = closing_with(code, reason);
    let mut client = Client::connect(once(server.url()));
    client.open();
    let close = client.end();
    assert_eq!((close.code, &*close.reason), (i32::from(code), reason));
    assert!(close.was_clean, "{code} {reason}");
    // It is said back as it came.
    let seen = ended(&server, 1);
    let said = seen.frames.iter().find(|frame| frame.kind == SeenFrameKind::Close).unwrap();
    assert_eq!((said.close_code, &*said.close_reason), (Some(code), reason));
}

#[test]
fn an_illegal_answer_to_our_close_is_not_clean() {
    let server = serve(r#"[{"answerClose": false}]"#);
    let mut client = Client::connect(patient(server.url()));
    client.open();
    client.task().close(4000, "ours".into()).unwrap();
    until(&server, |seen| {
        let mut frames = seen.connections.iter().flat_map(|connection| &connection.frames);
        frames.any(|frame| frame.kind == SeenFrameKind::Close)
    });
    server.close_all(Some(1005), "");
    let close = client.end();
    assert_eq!((close.code, &*close.reason, close.was_clean), (4000, "ours", false));
}

#[test]
fn the_end_of_the_stream_and_a_reset_are_told_apart() {
    let server = serve(r#"[{"rules": [{"on": "open", "do": "eof"}]}]"#);
    let mut client = Client::connect(once(server.url()));
    client.open();
    let error = lost(&mut client);
    assert_eq!(error.detail, "the stream ended without a close frame");
    assert_eq!(ended(&server, 1).ended, Some(SeenEnd::ServerEof));

    let server = echo();
    let mut client = Client::connect(once(server.url()));
    client.open();
    server.drop_all();
    let error = lost(&mut client);
    assert!(error.detail.contains("reset"), "{error:?}");
    assert!(!error.detail.contains("ended"), "{error:?}");
}

fn lost(client: &mut Client) -> ErrorEvent {
    let error = client.error();
    assert_eq!(error.kind, ErrorKind::ConnectionLost, "{error:?}");
    assert_eq!(client.end().code, 1006);
    error
}
