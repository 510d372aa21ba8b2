//! The heartbeat: what goes out, what counts as life, and what happens without it.
//!
//! Where the server is alive the answer may take as long as a loaded machine needs; only where
//! it is dead is the timeout short.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use support::*;
use wxsocket::testing::{SeenEnd, SeenFrame, SeenFrameKind};
use wxsocket::*;

/// Beats every 30 ms, and is patient.
fn beating(url: String) -> ConnectOptions {
    let mut options = fast(url);
    options.heartbeat = HeartbeatOptions {
        enabled: Some(true),
        interval: Some(Millis(30)),
        timeout: Some(NEVER),
        ..Default::default()
    };
    options
}

/// Beats every 30 ms, and gives up after 400 ms.
fn nervous(url: String) -> ConnectOptions {
    let mut options = beating(url);
    options.heartbeat.timeout = Some(Millis(400));
    options
}

fn text(text: &str) -> Option<HeartbeatPayload> {
    Some(HeartbeatPayload::Text { text: text.into() })
}

fn frames(server: &testing::ScriptedServer, kind: SeenFrameKind) -> Vec<SeenFrame> {
    let frames = server.connection(1).unwrap().frames;
    frames.into_iter().filter(|frame| frame.kind == kind).collect()
}

/// The error and the close of a connection whose heartbeat was not answered.
#[track_caller]
fn found_dead(client: &mut Client) -> ErrorEvent {
    let error = client.error();
    assert_eq!((error.kind, error.err_code), (ErrorKind::HeartbeatTimeout, 690_040), "{error:?}");
    assert_eq!(error.err_msg, "connectSocket:fail heartbeat timeout");
    let close = client.close();
    assert_eq!((close.code, close.reason.as_str()), (1006, "heartbeat timeout"));
    assert!(!close.was_clean);
    error
}

#[test]
fn ping_and_pong_are_hidden_from_the_app_and_measure_the_round_trip() {
    let server = echo();
    let mut client = Client::connect(beating(server.url()));
    client.open();
    assert_eq!(client.task().stats().last_rtt_ms, None);
    until(&server, |seen| seen.connections[0].heartbeats_received >= 5);
    client.send("mark");
    // The fifth heartbeat went out, so four pongs came in: none was told.
    assert_eq!(client.text(), "mark");
    let stats = client.task().stats();
    let (last, smoothed) = (stats.last_rtt_ms.unwrap(), stats.smoothed_rtt_ms.unwrap());
    for rtt in [last, smoothed] {
        assert!(rtt > 0.0 && rtt < PATIENCE.as_secs_f64() * 1_000.0, "{stats:?}");
    }
    // What the heartbeat sends is not the app's.
    assert_eq!((stats.messages_out, stats.bytes_out), (1, 4));
    client.finish();
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn the_reply_is_delivered_when_asked_for() {
    let server = echo();
    let mut options = beating(server.url());
    options.heartbeat.deliver_reply = Some(true);
    let mut client = Client::connect(options);
    client.open();
    assert_eq!((client.text(), client.text()), ("pong".into(), "pong".into()));
    client.finish();
}

#[test]
fn any_frame_is_life_unless_strict() {
    // The server chatters, in a rhythm of its own, and never says pong.
    let script = r#"[{"answerHeartbeats": false, "echo": false, "rules":
        [{"on": {"heartbeats": 1}, "do": {"send": "chatter"}},
         {"on": {"heartbeats": 2}, "do": {"ping": "control"}},
         {"on": {"heartbeats": 3}, "do": {"send": "chatter"}}]}]"#;
    let server = serve(script);
    let mut client = Client::connect(beating(server.url()));
    client.open();
    // Each is a reason to go on; with none of them there would be no next heartbeat.
    until(&server, |seen| seen.connections[0].heartbeats_received >= 4);
    assert_eq!((client.text(), client.text()), ("chatter".into(), "chatter".into()));
    assert_eq!(client.task().stats().last_rtt_ms, None, "chatter is no answer to measure by");
    client.finish();

    let server = serve(script);
    let mut options = nervous(server.url());
    options.heartbeat.strict = Some(true);
    let mut client = Client::connect(options);
    client.open();
    assert_eq!(client.text(), "chatter");
    found_dead(&mut client);
}

#[test]
fn strict_is_content_with_the_right_answer() {
    let server = echo();
    let mut options = beating(server.url());
    options.heartbeat.strict = Some(true);
    let client = Client::connect(options);
    until(&server, |seen| seen.connections.iter().any(|one| one.heartbeats_received >= 4));
    client.finish();
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn a_protocol_ping_is_a_heartbeat_too() {
    for preset in [Preset::Wx, Preset::Resilient] {
        let server = echo();
        let mut options = beating(server.url());
        options.preset = Some(preset);
        if preset == Preset::Wx {
            options.heartbeat.payload = Some(HeartbeatPayload::Ping);
        }
        options.heartbeat.strict = Some(true);
        let mut client = Client::connect(options);
        client.open();
        until(&server, |seen| {
            let pings = seen.connections[0].frames.iter();
            pings.filter(|frame| frame.kind == SeenFrameKind::Ping).count() >= 4
        });
        assert!(client.task().stats().last_rtt_ms.is_some());
        // Each has a payload of its own, so that a late Pong is not taken for the newest.
        let pings = frames(&server, SeenFrameKind::Ping);
        assert!(pings.windows(2).all(|pair| pair[0].bytes != pair[1].bytes), "{pings:?}");
        assert!(frames(&server, SeenFrameKind::Text).is_empty());
        client.finish();
    }
}

#[test]
fn payload_and_reply_may_be_bytes() {
    // What comes back is the payload itself: an echo server is enough.
    let server = echo();
    let bytes = Bytes::from_static(&[0xc0, 0, 0]);
    let mut options = beating(server.url());
    options.heartbeat.payload = Some(HeartbeatPayload::Binary { bytes: bytes.clone() });
    options.heartbeat.reply = Some(ReplyMatch::Binary { bytes: bytes.clone() });
    options.heartbeat.strict = Some(true);
    let mut client = Client::connect(options);
    client.open();
    assert!(server.wait_messages(4, PATIENCE));
    assert!(frames(&server, SeenFrameKind::Binary).iter().all(|frame| frame.bytes == bytes));
    // The same bytes as text are not the answer.
    client.send("\u{0}");
    assert_eq!(client.text(), "\u{0}");
    client.finish();
}

#[test]
fn a_reply_is_found_by_prefix_or_by_a_json_field() {
    let field = |name: &str, value: Option<&str>| ReplyMatch::JsonField {
        name: name.into(),
        value: value.map(Into::into),
    };
    for (reply, answer, near_miss) in [
        (ReplyMatch::Prefix { prefix: "pong".into() }, "pong 17:03", "no pong"),
        (field("type", Some("pong")), r#"{"a": [1], "type": "pong"}"#, r#"{"type": "news"}"#),
        (field("heart", Some("1")), r#"{"heart": 1}"#, r#"{"nested": {"heart": 1}}"#),
        (field("heart", None), r#"{"heart": null}"#, "heart"),
    ] {
        // Whatever is near the answer first, then the answer.
        let json = |text: &str| format!("{text:?}");
        let server = serve(&format!(
            r#"[{{"heartbeats": [["are you there", {}]], "rules":
                [{{"on": {{"heartbeats": 1}}, "do": {{"send": {}}}}}]}}]"#,
            json(answer),
            json(near_miss)
        ));
        let mut options = beating(server.url());
        options.heartbeat.payload = text("are you there");
        options.heartbeat.reply = Some(reply.clone());
        options.heartbeat.strict = Some(true);
        let mut client = Client::connect(options);
        client.open();
        assert_eq!(client.text(), near_miss, "{reply:?}");
        until(&server, |seen| seen.connections[0].heartbeats_received >= 3);
        client.send("mark");
        assert_eq!(client.text(), "mark", "{reply:?}");
        client.finish();
    }
}

#[test]
fn a_black_hole_is_found_aborted_and_replaced() {
    let server = serve(r#"[{"rules": [{"on": {"messages": 1}, "do": "silence"}]}, {}]"#);
    let mut client = Client::connect(nervous(server.url()));
    client.open();
    client.send("last");
    assert_eq!(client.text(), "last");
    // TCP takes what is sent, and nobody is there.
    assert_eq!(client.send("into the void"), SendOutcome::Sent);
    assert_eq!(found_dead(&mut client).epoch, 1);
    // Aborted: a polite goodbye would wait for a peer that is gone.
    assert_eq!(ended(&server, 1).ended, Some(SeenEnd::ClientReset));
    while !matches!(client.next(), SocketEvent::Open { .. }) {}
    client.task().close(1000, String::new()).unwrap();
}

#[test]
fn a_handshake_that_never_gets_a_reply_to_the_heartbeat_is_found_too() {
    for payload in [text("ping"), Some(HeartbeatPayload::Ping)] {
        let server = serve(r#"[{"answerHeartbeats": false, "answerPings": false}]"#);
        let mut options = nervous(server.url());
        options.heartbeat.payload = payload;
        let mut client = Client::connect(options);
        client.open();
        found_dead(&mut client);
        client.task().close(1000, String::new()).unwrap();
    }
}

#[test]
fn what_the_app_sends_never_postpones_the_check() {
    // The server hears everything and says nothing.
    let server = serve(r#"[{"echo": false, "answerHeartbeats": false, "answerPings": false}]"#);
    let mut options = nervous(server.url());
    options.reconnect.enabled = Some(false);
    let (done, stop) = channel::<()>();
    let mut client = Client::connect(options);
    client.open();
    let task = client.task().clone();
    let chatter = std::thread::spawn(move || {
        let mut sent = 0;
        // Far more often than interval and timeout, until it is found out.
        while stop.recv_timeout(std::time::Duration::from_millis(5)).is_err()
            && task.send("are you listening").is_ok()
        {
            sent += 1;
            assert!(sent < 4_000, "20 s of talking to a server that is deaf");
        }
    });
    let error = client.error();
    assert_eq!(error.kind, ErrorKind::HeartbeatTimeout);
    client.end();
    let _ = done.send(());
    chatter.join().unwrap();
}

#[test]
fn a_listener_that_blocks_does_not_lose_the_connection_and_heartbeats_go_on() {
    let server = serve(
        r#"[{"rules": [{"on": {"text": "go"}, "do": {"flood": {"count": 3000, "bytes": 1000}}}]}]"#,
    );
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let mut client = Client::hooked(nervous_but_alive(server.url()), move |_, event| {
        if let SocketEvent::Message { .. } = event {
            // Blocks at the first message; goes through once the test has let go.
            let _ = held.lock().unwrap().recv();
        }
    });
    client.open();
    client.send("go");
    // Three megabytes are more than the engine keeps for a listener: reading has stopped, so
    // no answer can be heard. Many times interval and timeout pass meanwhile.
    until(&server, |seen| seen.connections[0].heartbeats_received >= 10);
    assert_eq!(client.task().ready_state(), ReadyState::Open);
    drop(release);
    for n in 0..3_000 {
        assert!(matches!(client.message(), Message::Text { text } if text.len() == 1_000), "{n}");
    }
    // The same connection, and it still beats.
    let before = server.connection(1).unwrap().heartbeats_received;
    until(&server, |seen| seen.connections[0].heartbeats_received >= before + 2);
    client.finish();
    assert_eq!(server.connections().len(), 1);
}

/// A timeout that ten heartbeats outlast, with room for a loaded machine once reading goes
/// on.
fn nervous_but_alive(url: String) -> ConnectOptions {
    let mut options = beating(url);
    options.heartbeat.interval = Some(Millis(10));
    options.heartbeat.timeout = Some(Millis(250));
    options
}

#[test]
fn an_idle_driven_heartbeat_waits_for_silence() {
    // A message every 10 ms for longer than the interval, then silence.
    let chatter = r#"{"send": "x"}, {"wait": {"ms": 10}}, "#.repeat(130);
    let script =
        format!(r#"[{{"rules": [{{"on": "open", "do": [{chatter}{{"send": "end"}}]}}]}}]"#);
    let server = serve(&script);
    let mut options = beating(server.url());
    options.heartbeat.interval = Some(Millis(1_000));
    options.heartbeat.idle_driven = Some(true);
    let mut client = Client::connect(options);
    client.open();
    while client.text() != "end" {}
    assert_eq!(server.connection(1).unwrap().heartbeats_received, 0);
    until(&server, |seen| seen.connections[0].heartbeats_received >= 1);
    client.finish();
}

#[test]
fn the_heartbeat_begins_anew_on_every_connection() {
    let server = serve(
        r#"[{"rules": [{"on": {"heartbeats": 2}, "do": "drop"}]},
            {"rules": [{"on": {"heartbeats": 2}, "do": "eof"}]}, {}]"#,
    );
    let mut client = Client::connect(beating(server.url()));
    for _ in 0..2 {
        client.open();
        client.lost(ErrorKind::ConnectionLost);
    }
    client.open();
    until(&server, |seen| seen.connections[2].heartbeats_received >= 2);
    client.finish();
}

/// A message that takes longer than the heartbeat's patience, on a link that is slow but alive:
/// its bytes are a sign of life before it is whole.
#[test]
fn half_a_message_is_life() {
    // The header of a binary message of 20 bytes, then one byte every 100 ms.
    let trickle = |_| r#"{"wait": {"ms": 100}}, {"garbage": "2a"}"#;
    let bytes = (0..20).map(trickle).collect::<Vec<_>>().join(", ");
    let rule = format!(r#"{{"on": "open", "do": [{{"garbage": "8214"}}, {bytes}]}}"#);
    let script = format!(r#"[{{"answerHeartbeats": false, "rules": [{rule}]}}]"#);
    let server = serve(&script);
    let mut client = Client::connect(nervous(server.url()));
    client.open();
    assert_eq!(client.message(), Message::binary(vec![0x2a; 20]));
}
