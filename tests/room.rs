//! Bounds: events that wait for the app, dials while such events wait, and connections that are
//! closing.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use support::gate::*;
use support::*;
use wxsocket::testing::SeenFrameKind;
use wxsocket::*;

#[test]
fn close_behind_a_full_mailbox_is_answered_at_once_and_clean() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [{"flood": {"count": 20000, "bytes": 1000}}]}]}]"#,
    );
    let gate = Arc::new(Gate::default());
    let _opened = Opened(gate.clone());
    let inside = gate.clone();
    let (listener, events) = telling(move |event| {
        if let SocketEvent::Message { .. } = event {
            inside.pass();
        }
        Ok(())
    });
    let mut options = once(server.url());
    // Longer than the test waits: only the server's answer ends the close.
    options.close_timeout = Some(NEVER);
    let task = connect_socket(options, Some(listener), None).unwrap();
    gate.wait_for(1);
    eventually("the mailbox is full", || task.stats().messages_in >= 1_000);
    task.close(4000, "enough".into()).unwrap();
    eventually("the server has answered", || task.ready_state() == ReadyState::Closed);
    let stats = task.stats();
    assert!(stats.messages_discarded > 0, "{stats:?}");
    gate.open();
    let heard: Vec<_> = events.iter().collect();
    assert_rules(&heard);
    let messages = heard.iter().filter(|event| matches!(event, SocketEvent::Message { .. }));
    assert_eq!(messages.count() as i64 + stats.messages_discarded, stats.messages_in);
    let Some(SocketEvent::Close { event }) = heard.last() else { panic!("{heard:?}") };
    assert_eq!((event.code, event.was_clean), (4000, true));
}

#[test]
fn refusals_that_nobody_hears_do_not_pile_up() {
    // Each refusal has 12 KB of headers.
    let long = "x".repeat(4_000);
    let server = serve(&format!(
        r#"[{{"handshake": {{"status": 503, "headers": [["A", "{long}"], ["B", "{long}"], ["C", "{long}"]]}}}}]"#
    ));
    let mut options = fast(server.url());
    options.reconnect.delay = Some(ReconnectDelay::Fixed { delay: Millis(0) });
    let task = connect_socket(options, None, None).unwrap();
    let dials = || task.stats().epoch;
    eventually("it dials no more", || {
        let before = dials();
        std::thread::sleep(std::time::Duration::from_millis(200));
        before > 10 && dials() == before
    });
    let held = dials();
    assert!(held < 100, "{held} refusals of 12 KB wait in memory");
    assert_eq!(task.state(), SocketState::Suspended);
    // The task dials again when it has a listener.
    let (listener, events) = telling(|_| Ok(()));
    task.set_listener(listener);
    eventually("it dials again", || task.stats().epoch > held + 10);
    task.close(1000, String::new()).unwrap();
    assert_rules(&events.iter().collect::<Vec<_>>());
}

#[test]
fn a_listener_that_is_not_blocked_hears_everything_before_the_close() {
    const FLOOD: usize = 20_000;
    let server = serve(&format!(
        r#"[{{"echo": false, "answerClose": false, "rules": [{{"on": {{"text": "go"}},
            "do": [{{"flood": {{"count": {FLOOD}, "bytes": 1000}}}}, {{"close": {{"code": 4001}}}}]}}]}}]"#
    ));
    let (listener, events) = telling(|_| Ok(()));
    let task = connect_socket(once(server.url()), Some(listener), None).unwrap();
    let open = events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(open, SocketEvent::Open { .. }), "{open:?}");
    task.send("go").unwrap();
    task.close(1000, String::new()).unwrap();
    let heard: Vec<_> = events.iter().collect();
    let messages = heard.iter().filter(|event| matches!(event, SocketEvent::Message { .. }));
    let stats = task.stats();
    assert_eq!((messages.count(), stats.messages_discarded), (FLOOD, 0), "{stats:?}");
}

#[test]
fn connections_that_the_server_keeps_do_not_pile_up() {
    // The server sends a close frame, but does not end the stream.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = kept.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut socket) = tokio_tungstenite::tungstenite::accept(stream.unwrap()) else {
                continue;
            };
            let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
                code: 4001.into(),
                reason: "".into(),
            };
            let _ = socket.close(Some(frame));
            let _ = socket.flush();
            keeper.lock().unwrap().push(socket);
        }
    });
    let mut options = fast(url);
    options.reconnect.delay = Some(ReconnectDelay::Fixed { delay: Millis(0) });
    let (ears, _events) = telling(|_| Ok(()));
    let task = connect_socket(options, Some(ears), None).unwrap();
    eventually("it came back many times", || task.stats().opens >= 60);
    // Reading fails on connections that were aborted; the others are still closing.
    let mut open = 0;
    for socket in kept.lock().unwrap().iter_mut() {
        let stream = socket.get_mut();
        stream.set_nonblocking(true).unwrap();
        let mut byte = [0; 256];
        loop {
            match std::io::Read::read(stream, &mut byte) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break open += 1,
                Err(_) => break,
            }
        }
    }
    assert!(open <= 16, "{open} connections are open at once");
    task.close(1000, String::new()).unwrap();
}

/// The listener has no room, and the server asks whether anybody is there. Behind the Ping there
/// is more than the engine reads ahead.
#[test]
fn a_ping_is_answered_while_the_listener_has_no_room() {
    let server = serve(
        r#"[{"echo": false, "rules": [
            {"on": "open", "do": [{"flood": {"count": 2000, "bytes": 10}}]},
            {"on": {"text": "now"}, "do": [
                {"flood": {"count": 500, "bytes": 10}}, {"ping": "there?"},
                {"flood": {"count": 500, "bytes": 1000}}]}
        ]}]"#,
    );
    let gate = Arc::new(Gate::default());
    let _opened = Opened(gate.clone());
    let inside = gate.clone();
    let (listener, events) = telling(move |event| {
        if let SocketEvent::Message { .. } = event {
            inside.pass();
        }
        Ok(())
    });
    let task = connect_socket(once(server.url()), Some(listener), None).unwrap();
    gate.wait_for(1);
    eventually("the mailbox is full", || task.stats().messages_in >= 1_000);
    task.send("now").unwrap();
    until(&server, |seen| {
        let mut frames = seen.connections.iter().flat_map(|connection| &connection.frames);
        frames.any(|frame| frame.kind == SeenFrameKind::Pong && frame.bytes == b"there?")
    });
    // What is read ahead is not told.
    assert!(task.stats().messages_in < 2_000);
    gate.open();
    eventually("everything is told", || task.stats().messages_in == 3_000);
    task.close(1000, String::new()).unwrap();
    let heard: Vec<_> = events.iter().collect();
    assert_rules(&heard);
    let messages = heard.iter().filter(|event| matches!(event, SocketEvent::Message { .. }));
    assert_eq!(messages.count(), 3_000);
}
