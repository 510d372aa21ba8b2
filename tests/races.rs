//! Two things at the same time, many times over: the result must be right in either order.

#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wxsocket::testing::SeenEnd;
use wxsocket::*;

/// With this many rounds the rare order of events occurs many times on an idle machine.
const ROUNDS: usize = 1_500;

/// Reacts to every event at once, while the run loop is still busy with it.
#[test]
fn a_close_on_the_heels_of_an_event_is_always_heard() {
    let server = echo();
    let mut client = Client::connect(fast(server.url()));
    for round in 0..ROUNDS {
        client.open();
        client.task().pause();
        client.close();
        if round % 2 == 0 {
            // The task is suspended. Its next connection follows.
            client.task().resume();
            continue;
        }
        client.task().close(3000, "quick".into()).unwrap();
        assert_eq!(client.end().code, 3000, "round {round}");
        client = Client::connect(fast(server.url()));
    }
    client.finish();
}

#[test]
fn a_close_while_the_dial_succeeds_leaves_no_connection() {
    let server = echo();
    for round in 0..ROUNDS / 3 {
        let mut client = Client::connect(fast(server.url()));
        // The close comes at times from before the connect to after the open.
        for _ in 0..round * 40 {
            std::hint::spin_loop();
        }
        client.task().close(3000, "changed my mind".into()).unwrap();
        let mut event = client.next();
        if let SocketEvent::Open { .. } = event {
            event = client.next();
        }
        let SocketEvent::Close { event } = event else { panic!("round {round}: {event:?}") };
        assert_eq!((event.code, event.retry), (3000, None), "round {round}");
    }
    until(&server, |seen| seen.ended == seen.accepted);
    for one in server.connections() {
        let end = one.ended.unwrap();
        // A connection that was open ended with a close frame, another one without.
        let left = matches!(
            end,
            SeenEnd::ClientClosed | SeenEnd::ClientEof | SeenEnd::ClientReset | SeenEnd::BadRequest
        );
        assert!(left, "{one:?}");
    }
}

#[test]
fn the_close_of_the_server_and_that_of_the_app_may_cross() {
    let server = serve(r#"[{"rules": [{"on": "open", "do": {"close": {"code": 4001}}}]}]"#);
    for round in 0..ROUNDS / 5 {
        let mut client = Client::connect(patient(server.url()));
        client.open();
        client.task().close(3000, "mine".into()).unwrap();
        let event = client.next();
        let SocketEvent::Close { event } = event else { panic!("round {round}: {event:?}") };
        // The app's own close is the last, alone or after the server's.
        if event.retry.is_some() {
            assert_eq!(event.code, 4001, "round {round}");
            assert_eq!(client.end().code, 3000, "round {round}");
        } else {
            assert_eq!((event.code, event.reason.as_str()), (3000, "mine"), "round {round}");
        }
    }
    until(&server, |seen| seen.ended == seen.accepted);
}

/// Many threads use one task: nothing is lost, nothing is sent twice, and there is one end.
#[test]
fn everybody_may_send_and_close_at_once() {
    let server = serve(r#"[{"echo": false}]"#);
    for round in 0..20 {
        let mut client = Client::connect(fast(server.url()));
        client.open();
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let task = client.task().clone();
                std::thread::spawn(move || {
                    let mut accepted = 0;
                    while accepted < 500 && task.send(format!("{sender} {accepted}")).is_ok() {
                        accepted += 1;
                    }
                    let _ = task.close(3000 + sender, String::new());
                    accepted
                })
            })
            .collect();
        let accepted: Vec<usize> = senders.into_iter().map(|one| one.join().unwrap()).collect();
        let end = client.end();
        assert!((3000..3004).contains(&end.code), "round {round}: {end:?}");
        assert!(end.was_clean && end.unsent.is_empty(), "round {round}: {end:?}");
        let texts = ended(&server, round + 1).texts();
        for (sender, count) in accepted.iter().enumerate() {
            let prefix = format!("{sender} ");
            let own = texts.iter().filter_map(|text| text.strip_prefix(&prefix));
            assert!(own.eq((0..*count).map(|n| n.to_string()).collect::<Vec<_>>()));
        }
    }
}

#[test]
fn messages_behind_a_ping_are_heard_though_the_pong_cannot_be_written() {
    let script = r#"[{"rules": [{"on": "open", "do": [
        {"send": "first"}, {"ping": "p"}, {"flood": {"count": 100, "bytes": 5}}, "drop"]}]}]"#;
    let server = serve(script);
    for round in 0..50 {
        let task = connect_socket(once(server.url()), None, None).unwrap();
        let is_message = |event: &SocketEvent| matches!(event, SocketEvent::Message { .. });
        let heard = (&*task.events()).filter(is_message).count();
        assert_eq!(heard, 101, "round {round}");
    }
}
