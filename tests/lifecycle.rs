//! The life of a task: order of events, and closing in every state.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use support::*;
use wxsocket::testing::{SeenEnd, SeenFrameKind};
use wxsocket::*;

#[test]
fn every_connection_has_its_events_in_order_and_one_close() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [{"send": "a"}, {"send": "b"}, "drop"]}]},
            {"handshake": "refuse"},
            {"handshake": {"status": 503}},
            {"rules": [{"on": "open", "do": [{"send": "c"}, "eof"]}]},
            {"rules": [{"on": "open", "do": {"close": {"code": 4001, "reason": "x"}}}]},
            {}]"#,
    );
    let mut client = Client::connect(fast(server.url()));
    assert_eq!(client.open().epoch, 1);
    assert_eq!((client.text(), client.text()), ("a".into(), "b".into()));
    client.lost(ErrorKind::ConnectionLost);
    // Never open: an error and a close all the same.
    let refused = client.error();
    assert!(matches!(refused.kind, ErrorKind::Network | ErrorKind::BadUpgrade), "{refused:?}");
    assert_eq!((refused.epoch, client.close().epoch), (2, 2));
    assert_eq!(client.lost(ErrorKind::HttpStatus).epoch, 3);
    assert_eq!(client.open().epoch, 4);
    assert_eq!(client.text(), "c");
    client.lost(ErrorKind::ConnectionLost);
    client.open();
    assert_eq!(client.close().code, 4001);
    assert_eq!(client.open().epoch, 6);
    client.finish();
}

#[test]
fn a_connection_that_never_opens_ends_in_error_and_close() {
    let server = echo();
    server.stop_listening().unwrap();
    let mut client = Client::connect(once(server.url()));
    let error = client.error();
    assert_eq!((error.kind, error.err_code), (ErrorKind::Refused, 690_002));
    assert_eq!(error.err_msg, "connectSocket:fail connection refused");
    let end = client.end();
    assert_eq!((end.epoch, end.code, end.was_clean), (1, 1006, false));
}

#[test]
fn a_send_inside_on_open_works() {
    let server = echo();
    let mut client = Client::hooked(fast(server.url()), |task, event| {
        if let SocketEvent::Open { .. } = event {
            assert_eq!(task.send("from inside").unwrap(), SendOutcome::Sent);
        }
    });
    client.open();
    assert_eq!(client.text(), "from inside");
    assert_eq!(client.task().stats().listener_failures, 0);
    client.finish();
}

#[test]
fn the_state_changes_before_the_event_is_told() {
    let server = serve(r#"[{"rules": [{"on": {"text": "drop"}, "do": "drop"}]}, {}]"#);
    let states = Arc::new(Mutex::new(Vec::new()));
    let seen = states.clone();
    let mut client = Client::hooked(patient(server.url()), move |task, event| {
        let name = match event {
            SocketEvent::Open { .. } => "open",
            SocketEvent::Message { .. } => "message",
            SocketEvent::Error { .. } => "error",
            SocketEvent::Close { event } if event.retry.is_some() => "close",
            SocketEvent::Close { .. } => "end",
        };
        seen.lock().unwrap().push((name, task.ready_state()));
    });
    client.open();
    client.send("hello");
    client.text();
    client.send("drop");
    client.lost(ErrorKind::ConnectionLost);
    client.finish();
    let expected = [
        ("open", ReadyState::Open),
        ("message", ReadyState::Open),
        // Between two connections it is not closed: whoever sees 3 opens a second socket.
        ("error", ReadyState::Connecting),
        ("close", ReadyState::Connecting),
        ("end", ReadyState::Closed),
    ];
    assert_eq!(*states.lock().unwrap(), expected);
}

#[test]
fn ready_state_is_connecting_from_the_start_and_closing_while_the_server_thinks() {
    let server = serve(r#"[{"answerClose": false}]"#);
    let mut options = fast(server.url());
    options.close_timeout = Some(NEVER);
    let mut client = Client::connect(options);
    // Never 3 before the end.
    assert_ne!(client.task().ready_state(), ReadyState::Closed);
    client.open();
    assert_eq!(client.task().ready_state(), ReadyState::Open);
    client.task().close(1000, String::new()).unwrap();
    assert_eq!(client.task().ready_state(), ReadyState::Closing);
    assert!(matches!(
        client.task().send("late"),
        Err(WxError::NotConnected { err_code: 10_002, .. })
    ));
    until(&server, |seen| !seen.connections[0].frames.is_empty());
    server.drop_all();
    assert_eq!(client.end().code, 1000);
}

#[test]
fn a_close_is_clean_says_what_the_app_said_and_is_idempotent() {
    let server = echo();
    let mut client = Client::connect(fast(server.url()));
    client.open();
    client.task().close(4321, "first".into()).unwrap();
    client.task().close(3000, "second".into()).unwrap();
    let end = client.end();
    assert_eq!((end.code, end.reason.as_str(), end.was_clean), (4321, "first", true));
    // Closed already: legal, and nothing happens.
    client.task().close(1000, "third".into()).unwrap();
    let seen = ended(&server, 1);
    assert_eq!(seen.ended, Some(SeenEnd::ClientClosed));
    let closes: Vec<_> =
        seen.frames.iter().filter(|frame| frame.kind == SeenFrameKind::Close).collect();
    assert_eq!(closes.len(), 1);
    assert_eq!((closes[0].close_code, &*closes[0].close_reason), (Some(4321), "first"));
}

#[test]
fn the_bounds_of_code_and_reason_are_bytes_and_a_refused_close_changes_nothing() {
    let server = serve(r#"[{}]"#);
    let mut client = Client::connect(fast(server.url()));
    client.open();
    let field = |result: Result<(), WxError>| match result {
        Err(WxError::InvalidArgument { field, err_code: 600_008, .. }) => field,
        other => panic!("{other:?}"),
    };
    for code in [i32::MIN, -1, 0, 999, 1001, 1005, 1006, 2999, 5000, 65_536 + 1000] {
        assert_eq!(field(client.task().close(code, String::new())), "code", "{code}");
    }
    // 62 characters of two bytes are 124.
    for reason in ["x".repeat(124), "é".repeat(62), "é".repeat(61) + "xx"] {
        assert_eq!(field(client.task().close(1000, reason)), "reason");
    }
    assert_eq!(client.task().ready_state(), ReadyState::Open);
    client.send("still there");
    assert_eq!(client.text(), "still there");
    let longest = "é".repeat(61) + "x";
    assert_eq!(longest.len(), 123);
    client.task().close(4999, longest.clone()).unwrap();
    let end = client.end();
    assert_eq!((end.code, end.reason.as_str(), end.was_clean), (4999, longest.as_str(), true));
    let seen = ended(&server, 1);
    assert_eq!(seen.frames.last().unwrap().close_reason, longest);
    assert!(seen.violations.is_empty());
}

#[test]
fn a_close_during_a_dial_leaves_nothing_behind() {
    for handshake in [
        r#""hang""#,
        // Answers long after the close.
        r#"{"delayMs": 300}"#,
        r#"{"status": 503, "delayMs": 300}"#,
    ] {
        let server = serve(&format!(r#"[{{"handshake": {handshake}}}, {{}}]"#));
        let mut client = Client::connect(fast(server.url()));
        assert!(server.wait_connections(1, PATIENCE));
        client.task().close(3001, "changed my mind".into()).unwrap();
        assert_eq!(client.task().ready_state(), ReadyState::Closed);
        // No open before it and nothing after it.
        let end = client.end();
        assert_eq!((end.epoch, end.code, end.reason.as_str()), (1, 3001, "changed my mind"));
        ended(&server, 1);
        assert_eq!(server.open_connections(), 0);
        assert_eq!(server.connections().len(), 1, "{handshake}");
    }
}

#[test]
fn a_close_while_waiting_cancels_the_retry() {
    let server = serve(r#"[{"rules": [{"on": "open", "do": "drop"}]}, {}]"#);
    let mut client = Client::connect(patient(server.url()));
    client.open();
    client.lost(ErrorKind::ConnectionLost);
    client.task().close(1000, "enough".into()).unwrap();
    let end = client.end();
    assert_eq!((end.epoch, end.code, end.reason.as_str()), (2, 1000, "enough"));
    // Whatever would wake a task that waits.
    client.task().reconnect_now();
    client.task().set_network(true.into());
    client.task().set_foreground(true);
    client.task().resume();
    assert_eq!(client.task().ready_state(), ReadyState::Closed);
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn a_close_while_suspended_ends_the_task() {
    let server = serve(r#"[{"rules": [{"on": "open", "do": [{"wait": {"ms": 1}}]}]}, {}]"#);
    let mut client = Client::connect(fast(server.url()));
    client.open();
    client.task().pause();
    assert_eq!(client.close().retry.unwrap().delay, None);
    client.task().close(3333, "away".into()).unwrap();
    let end = client.end();
    assert_eq!((end.code, end.reason.as_str()), (3333, "away"));
    client.task().resume();
    assert_eq!(client.task().ready_state(), ReadyState::Closed);
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn close_works_inside_every_callback() {
    type Wanted = fn(&SocketEvent) -> bool;
    let cases: [(&str, Wanted); 5] = [
        ("open", |event| matches!(event, SocketEvent::Open { .. })),
        ("message", |event| matches!(event, SocketEvent::Message { .. })),
        ("error", |event| matches!(event, SocketEvent::Error { .. })),
        ("close", |event| matches!(event, SocketEvent::Close { .. }) && !event.is_final()),
        ("end", SocketEvent::is_final),
    ];
    for (name, wanted) in cases {
        let server = serve(
            r#"[{"rules": [{"on": "open", "do": [{"send": "m"}]},
                           {"on": {"text": "drop"}, "do": "drop"}]}, {}]"#,
        );
        let mut client = Client::hooked(patient(server.url()), move |task, event| {
            if wanted(event) {
                task.close(4005, "inside".into()).unwrap();
            } else if let SocketEvent::Message { .. } = event {
                // Refused where the task is closing already.
                let _ = task.send("drop");
            } else if let SocketEvent::Close { .. } = event {
                task.close(4006, "for the last case".into()).unwrap();
            }
        });
        let mut heard = vec![client.next()];
        while !heard.last().unwrap().is_final() {
            heard.push(client.next());
        }
        assert_rules(&heard);
        let Some(SocketEvent::Close { event }) = heard.last() else { unreachable!() };
        let code = if name == "end" { 4006 } else { 4005 };
        assert_eq!(event.code, code, "close inside on_{name}");
        assert_eq!(client.task().stats().listener_failures, 0, "close inside on_{name}");
        assert!(server.wait_for(|seen| seen.open == 0, PATIENCE), "close inside on_{name}");
    }
}

#[test]
fn what_the_server_says_when_it_closes_is_told_word_for_word() {
    let longest = "é".repeat(61) + "x";
    for (action, code, reason) in [
        (r#"{"close": {"code": 4001, "reason": "kicked, 再见"}}"#.to_owned(), 4001, "kicked, 再见"),
        (r#"{"close": {"code": 1000}}"#.to_owned(), 1000, ""),
        (r#"{"close": {"code": 1001, "reason": "restart"}}"#.to_owned(), 1001, "restart"),
        // A close frame without a code is not the same as one with 1000.
        (r#"{"close": {}}"#.to_owned(), 1005, ""),
        (format!(r#"{{"close": {{"code": 3000, "reason": "{longest}"}}}}"#), 3000, &longest),
    ] {
        let server = serve(&format!(r#"[{{"rules": [{{"on": "open", "do": {action}}}]}}]"#));
        let mut client = Client::connect(patient(server.url()));
        client.open();
        let close = client.close();
        assert_eq!((close.code, close.reason.as_str(), close.was_clean), (code, reason, true));
        assert_eq!(close.retry.unwrap().attempt, 1);
        // The closing handshake is answered, with the same code.
        let seen = ended(&server, 1);
        assert_eq!(seen.ended, Some(SeenEnd::ServerClosed), "{action}");
        let answer = seen.frames.last().unwrap();
        assert_eq!(answer.close_code.map_or(1005, i32::from), code);
        client.finish();
    }
}

#[test]
fn an_end_without_a_close_frame_is_1006_and_never_1000() {
    for action in [r#""eof""#, r#""drop""#] {
        let server = serve(&format!(
            r#"[{{"rules": [{{"on": "open", "do": [{{"send": "last"}}, {action}]}}]}}]"#
        ));
        let mut client = Client::connect(once(server.url()));
        client.open();
        // What was said before the end is heard.
        assert_eq!(client.text(), "last", "{action}");
        let error = client.error();
        assert_eq!(error.kind, ErrorKind::ConnectionLost);
        assert_eq!(error.err_msg, "connectSocket:fail connection lost");
        let end = client.end();
        assert_eq!((end.code, end.reason.as_str(), end.was_clean), (1006, "", false), "{action}");
    }
}

#[test]
fn a_server_that_never_answers_the_close_is_left_after_the_timeout() {
    for script in [
        r#"[{"answerClose": false}]"#,
        r#"[{"rules": [{"on": "open", "do": [{"send": "hello"}, "silence"]}]}]"#,
    ] {
        let server = serve(script);
        let mut options = fast(server.url());
        options.close_timeout = Some(Millis(150));
        let mut client = Client::connect(options);
        client.open();
        client.task().close(3210, "bye".into()).unwrap();
        if script.contains("silence") {
            // Said before the close was asked for, heard during it.
            assert_eq!(client.text(), "hello");
        }
        let end = client.end();
        assert_eq!((end.code, end.reason.as_str(), end.was_clean), (3210, "bye", false));
        // Aborted: nothing lingers in the kernel for a peer that is gone.
        assert_eq!(ended(&server, 1).ended, Some(SeenEnd::ClientReset), "{script}");
    }
}

#[test]
fn everything_accepted_is_sent_before_the_close_frame() {
    let server = serve(r#"[{"echo": false}]"#);
    let mut client = Client::connect(fast(server.url()));
    client.open();
    for n in 0..1_000 {
        assert_eq!(client.send(format!("{n}: {}", "x".repeat(200))), SendOutcome::Sent);
    }
    client.task().close(1000, "done".into()).unwrap();
    let end = client.end();
    assert!(end.was_clean && end.unsent.is_empty(), "{end:?}");
    let seen = ended(&server, 1);
    assert_eq!((seen.messages_received, seen.ended), (1_000, Some(SeenEnd::ClientClosed)));
    let numbers = seen.texts().into_iter().map(|text| text.split(':').next().unwrap().to_owned());
    assert!(numbers.eq((0..1_000).map(|n| n.to_string())), "in order");
    assert_eq!(seen.frames.last().unwrap().close_reason, "done");
}

#[test]
fn a_task_may_be_made_inside_the_on_close_of_another() {
    let server = echo();
    let url = server.url();
    let (sender, made) = channel();
    let mut first = Client::hooked(fast(server.url()), move |_, event| {
        if event.is_final() {
            sender.send(Client::connect(fast(url.clone()))).unwrap();
        }
    });
    first.open();
    first.task().close(1000, String::new()).unwrap();
    first.end();
    let mut second = made.recv().unwrap();
    second.open();
    second.send("alive");
    assert_eq!(second.text(), "alive");
    second.finish();
}

#[test]
fn reconnect_now_inside_on_close_dials_at_once() {
    let server = serve(r#"[{"rules": [{"on": "open", "do": "drop"}]}, {}]"#);
    let mut client = Client::hooked(patient(server.url()), |task, event| {
        // In the final one it has nothing to do.
        if let SocketEvent::Close { .. } = event {
            task.reconnect_now();
        }
    });
    client.open();
    let retry = {
        client.error();
        client.close().retry.unwrap()
    };
    assert_eq!(retry.delay, Some(NEVER));
    assert_eq!(client.open().epoch, 2);
    client.finish();
    assert_eq!(server.connections().len(), 2);
}

#[test]
fn dropping_the_last_handle_closes_and_the_end_is_told() {
    let server = echo();
    let mut client = Client::connect(fast(server.url()));
    client.open();
    client.send("last words");
    drop(client.release());
    // Flushed before it goes; whether the echo is still heard depends on who is faster.
    let mut end = client.next();
    if let SocketEvent::Message { .. } = end {
        end = client.next();
    }
    let SocketEvent::Close { event } = end else { panic!("{end:?}") };
    assert_eq!((event.code, event.was_clean, event.retry), (1000, true, None));
    let seen = ended(&server, 1);
    assert_eq!(
        (seen.texts(), seen.ended),
        (vec!["last words".into()], Some(SeenEnd::ClientClosed))
    );
}

#[test]
fn dropping_the_last_handle_inside_a_callback_closes_and_the_end_is_told() {
    let server = echo();
    let handle = Arc::new(Mutex::new(None));
    let inside = handle.clone();
    let mut client = Client::hooked(fast(server.url()), move |_, event| {
        if let SocketEvent::Message { .. } = event {
            drop(inside.lock().unwrap().take());
        }
    });
    client.open();
    {
        // Locked until it is the only one.
        let mut handle = handle.lock().unwrap();
        handle.insert(client.release()).send("x").unwrap();
    }
    client.text();
    let end = client.end();
    assert_eq!((end.code, end.retry), (1000, None));
    assert_eq!(ended(&server, 1).ended, Some(SeenEnd::ClientClosed));
}

#[test]
fn dropping_the_last_handle_cancels_a_dial_and_a_retry() {
    let server = serve(r#"[{"handshake": "hang"}]"#);
    let mut client = Client::connect(fast(server.url()));
    assert!(server.wait_connections(1, PATIENCE));
    drop(client.release());
    assert_eq!(client.end().code, 1000);
    ended(&server, 1);

    let server = serve(r#"[{"rules": [{"on": "open", "do": "eof"}]}]"#);
    let mut client = Client::connect(patient(server.url()));
    client.open();
    client.lost(ErrorKind::ConnectionLost);
    drop(client.release());
    assert_eq!(client.end().code, 1000);
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn nothing_of_an_old_connection_is_heard_after_a_new_one_began() {
    // Each connection says its number many times and goes away in the middle of it.
    let one = |n: u32, end: &str| {
        format!(
            r#"{{"rules": [{{"on": "open", "do": [{{"send": "{n}"}}, {{"send": "{n}"}}, {{"send": "{n}"}}, {end}]}}]}}"#
        )
    };
    let ends = [r#""drop""#, r#""eof""#, r#"{"close": {"code": 4000}}"#, r#""silence""#];
    let script: Vec<_> = (1..=12).map(|n| one(n, ends[n as usize % 4])).collect();
    let server = serve(&format!("[{}, {{}}]", script.join(", ")));
    let mut options = fast(server.url());
    options.heartbeat = HeartbeatOptions {
        enabled: Some(true),
        interval: Some(Millis(40)),
        timeout: Some(Millis(40)),
        ..Default::default()
    };
    let mut client = Client::connect(options);
    let mut messages = Vec::new();
    while server.connections().len() < 13 {
        if let SocketEvent::Message { event } = client.next() {
            messages.push((event.epoch, event.data));
        }
    }
    let heard = client.finish();
    assert_rules(&heard);
    for (epoch, data) in messages {
        assert_eq!(data, Message::text(epoch.to_string()));
    }
}
