//! How events reach the app: in order, at its pace, and without anybody else noticing.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use support::gate::*;
use support::*;
use wxsocket::*;

#[test]
fn a_blocked_listener_slows_the_server_down_and_still_gets_everything_in_order() {
    const FLOOD: i64 = 40_000;
    let server = serve(&format!(
        r#"[{{"rules": [{{"on": {{"text": "go"}},
            "do": [{{"send": "first"}}, {{"flood": {{"count": {FLOOD}, "bytes": 1000}}}}, {{"send": "last"}}]}}]}}]"#
    ));
    let mut options = fast(server.url());
    // Beats all the time, to have something to wait for.
    options.heartbeat = HeartbeatOptions {
        enabled: Some(true),
        interval: Some(Millis(10)),
        timeout: Some(Millis(100)),
        ..Default::default()
    };
    let gate = Arc::new(Gate::default());
    let _opened = Opened(gate.clone());
    let inside = gate.clone();
    let mut client = Client::hooked(options, move |_, event| {
        if let SocketEvent::Message { .. } = event {
            inside.pass();
        }
    });
    client.open();
    client.send("go");
    gate.wait_for(1);
    let taken = || client.task().stats().messages_in;
    eventually("the mailbox is full", || taken() >= 1_000);
    // Ten more heartbeats: all the time in the world to take more, and it does not.
    let beats = server.connection(1).unwrap().heartbeats_received;
    until(&server, |seen| seen.connections[0].heartbeats_received >= beats + 10);
    // 1024 in the mailbox, a turn of 64 in the hands of the listener, and the pongs before that.
    assert!(taken() <= 2_000, "{} messages were read for nobody", taken());
    gate.open();
    assert_eq!(client.text(), "first");
    for n in 0..FLOOD {
        assert_eq!(client.message().len(), 1_000, "{n}");
    }
    assert_eq!(client.text(), "last");
    client.finish();
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn large_messages_count_by_their_bytes() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": {"flood": {"count": 64, "bytes": 1048576, "binary": true}}}]}]"#,
    );
    let gate = Arc::new(Gate::default());
    let _opened = Opened(gate.clone());
    let inside = gate.clone();
    let mut options = fast(server.url());
    options.heartbeat = HeartbeatOptions {
        enabled: Some(true),
        interval: Some(Millis(10)),
        timeout: Some(Millis(1_000)),
        ..Default::default()
    };
    let mut client = Client::hooked(options, move |_, event| {
        if let SocketEvent::Message { .. } = event {
            inside.pass();
        }
    });
    client.open();
    gate.wait_for(1);
    until(&server, |seen| seen.connections[0].heartbeats_received >= 2);
    // A mebibyte in the mailbox is enough; a few more were read before anybody looked.
    let read = client.task().stats().bytes_in;
    assert!(read <= 8 << 20, "{read} bytes were read for nobody");
    gate.open();
    for _ in 0..64 {
        assert_eq!(client.message().len(), 1 << 20);
    }
    client.finish();
}

#[test]
fn ten_blocked_listeners_stall_nobody_else_and_not_their_own_sending() {
    let server = echo();
    let gate = Arc::new(Gate::default());
    let _opened = Opened(gate.clone());
    let mut blocked: Vec<_> = (0..10)
        .map(|_| {
            let inside = gate.clone();
            Client::hooked(fast(server.url()), move |_, event| {
                if let SocketEvent::Open { .. } = event {
                    inside.pass();
                }
            })
        })
        .collect();
    gate.wait_for(10);
    // Whoever comes now is served as if nothing were the matter.
    for _ in 0..5 {
        let mut client = Client::connect(fast(server.url()));
        client.open();
        client.send("x");
        assert_eq!(client.text(), "x");
        client.finish();
    }
    // A blocked listener is no reason not to send, either.
    for client in &blocked {
        assert_eq!(client.send("from outside"), SendOutcome::Sent);
    }
    assert!(server.wait_messages(15, PATIENCE));
    gate.open();
    for client in &mut blocked {
        client.open();
        assert_eq!(client.text(), "from outside");
    }
    blocked.into_iter().for_each(|client| drop(client.finish()));
}

#[test]
fn a_listener_that_panics_or_fails_is_counted_and_hears_everything() {
    let server = echo();
    let (listener, events) = telling(|event| match event {
        SocketEvent::Open { .. } => panic!("on purpose, in on_open"),
        SocketEvent::Message { .. } if text_of(event) == "panic" => panic!("on purpose"),
        SocketEvent::Message { .. } if text_of(event) == "fail" => {
            Err(ListenerError::Failed { reason: "on purpose".into() })
        }
        SocketEvent::Close { .. } => panic!("on purpose, in on_close"),
        _ => Ok(()),
    });
    let task = connect_socket(fast(server.url()), Some(listener), None).unwrap();
    let mut heard = vec![events.recv_timeout(PATIENCE).unwrap()];
    for text in ["panic", "fail", "well", "panic"] {
        task.send(text).unwrap();
        heard.push(events.recv_timeout(PATIENCE).unwrap());
        assert_eq!(text_of(heard.last().unwrap()), text);
    }
    assert_eq!(task.ready_state(), ReadyState::Open);
    task.close(1000, String::new()).unwrap();
    heard.push(events.recv_timeout(PATIENCE).unwrap());
    assert_rules(&heard);
    assert!(events.recv().is_err(), "the listener is let go at the end all the same");
    eventually("five failures are counted", || task.stats().listener_failures == 5);
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn a_late_listener_hears_everything_from_the_start() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [{"send": "a"}, "drop"]}]},
            {"rules": [{"on": "open", "do": [{"send": "b"}]}]}]"#,
    );
    let task = connect_socket(fast(server.url()), None, None).unwrap();
    eventually("both were read", || task.stats().messages_in == 2);
    let (listener, events) = telling(|_| Ok(()));
    task.set_listener(listener);
    let heard: Vec<_> = (0..6).map(|_| events.recv_timeout(PATIENCE).unwrap()).collect();
    let kinds: Vec<_> = heard
        .iter()
        .map(|event| match event {
            SocketEvent::Open { .. } => "open",
            SocketEvent::Message { .. } => text_of(event),
            SocketEvent::Error { .. } => "error",
            SocketEvent::Close { .. } => "close",
        })
        .collect();
    assert_eq!(kinds, ["open", "a", "error", "close", "open", "b"]);

    // Another one takes over: it hears that the connection is open, and nothing older.
    let (second, its_events) = telling(|_| Ok(()));
    task.set_listener(second);
    let present = its_events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&present, SocketEvent::Open { event } if event.epoch == 2), "{present:?}");
    task.send("c").unwrap();
    assert_eq!(text_of(&its_events.recv_timeout(PATIENCE).unwrap()), "c");
    assert!(events.recv().is_err(), "the first one is let go");
    task.close(1000, String::new()).unwrap();
    assert!(its_events.recv_timeout(PATIENCE).unwrap().is_final());
}

#[test]
fn a_listener_set_after_the_end_hears_the_whole_story() {
    let server = echo();
    let task = connect_socket(once(server.url()), None, None).unwrap();
    eventually("it is open", || task.ready_state() == ReadyState::Open);
    task.close(4000, "early".into()).unwrap();
    eventually("it is over", || task.ready_state() == ReadyState::Closed);
    let (listener, events) = telling(|_| Ok(()));
    task.set_listener(listener);
    assert!(matches!(events.recv_timeout(PATIENCE).unwrap(), SocketEvent::Open { .. }));
    assert!(events.recv_timeout(PATIENCE).unwrap().is_final());
    assert!(events.recv().is_err());
}

#[test]
fn a_listener_may_do_anything_to_its_own_task() {
    let server = echo();
    let (replacement, events) = telling(|_| Ok(()));
    let replacement = Mutex::new(Some(replacement));
    let mut client = Client::hooked(patient(server.url()), move |task, event| {
        if let SocketEvent::Open { event } = event
            && event.epoch == 1
        {
            task.send("heard by the first").unwrap();
            task.reconnect_now();
            task.set_network(true.into());
            task.set_foreground(true);
            assert!(task.buffered_amount() >= 0);
            assert_eq!(task.stats().opens, 1);
            task.pause();
            task.resume();
        } else if let SocketEvent::Open { .. } = event {
            task.send("heard by the second").unwrap();
            // From inside a callback of the one that is replaced.
            task.set_listener(replacement.lock().unwrap().take().unwrap());
        }
    });
    client.open();
    let mut next = client.next();
    // The pause came before the message had left, or after.
    if let SocketEvent::Message { .. } = next {
        next = client.next();
    }
    assert!(matches!(&next, SocketEvent::Close { event } if event.reason == "paused"), "{next:?}");
    assert_eq!(client.open().epoch, 2);
    let present = events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&present, SocketEvent::Open { event } if event.epoch == 2), "{present:?}");
    loop {
        let event = events.recv_timeout(PATIENCE).unwrap();
        if text_of(&event) == "heard by the second" {
            break;
        }
        // Kept over the pause.
        assert_eq!(text_of(&event), "heard by the first");
    }
    assert_eq!(client.task().stats().listener_failures, 0);
    client.task().close(1000, String::new()).unwrap();
    assert!(events.recv_timeout(PATIENCE).unwrap().is_final());
}

#[test]
fn events_may_be_pulled_instead() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [{"send": "1"}, {"send": "2"}, {"send": "3"}, {"send": "4"}]}]}]"#,
    );
    let task = connect_socket(fast(server.url()), None, None).unwrap();
    let (one, other) = (task.events(), task.events());
    let first = one.next_event().unwrap();
    assert!(matches!(first, SocketEvent::Open { .. }));
    eventually("all were read", || task.stats().messages_in == 4);
    // Two streams share what there is: each event is taken once, in order.
    let pair = other.next_events(2);
    assert_eq!(pair.iter().map(text_of).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(text_of(&one.next_event().unwrap()), "3");
    // 0 would mean to wait for nothing; it is taken for 1.
    assert_eq!(one.next_events(0).iter().map(text_of).collect::<Vec<_>>(), ["4"]);
    // A stream does not keep the task alive.
    drop(task);
    let rest: Vec<_> = (&*other).collect();
    assert_eq!(rest.len(), 1);
    assert!(rest[0].is_final());
    // Over and over.
    assert_eq!((one.next_events(10), other.next_event()), (vec![], None));
}

#[test]
fn two_threads_that_pull_get_each_event_once() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [{"flood": {"count": 5000, "bytes": 10}}, {"close": {"code": 4000}}]}]}]"#,
    );
    let task = connect_socket(once(server.url()), None, None).unwrap();
    let total = Arc::new(AtomicUsize::new(0));
    let pullers: Vec<_> = (0..2)
        .map(|_| {
            let (stream, total) = (task.events(), total.clone());
            std::thread::spawn(move || {
                loop {
                    let events = stream.next_events(7);
                    if events.is_empty() {
                        break;
                    }
                    assert!(events.len() <= 7);
                    total.fetch_add(events.len(), Ordering::Relaxed);
                }
            })
        })
        .collect();
    pullers.into_iter().for_each(|puller| puller.join().unwrap());
    // The open, the messages, the close.
    assert_eq!(total.load(Ordering::Relaxed), 5_002);
}

#[test]
fn a_pull_ends_when_a_listener_takes_over() {
    let server = echo();
    let task = connect_socket(fast(server.url()), None, None).unwrap();
    let stream = task.events();
    assert!(matches!(stream.next_event().unwrap(), SocketEvent::Open { .. }));
    let (about_to, started) = channel();
    let (sender, result) = channel();
    std::thread::spawn(move || {
        about_to.send(()).unwrap();
        sender.send(stream.next_events(1)).unwrap();
    });
    started.recv().unwrap();
    // Nobody can see it wait. If it is not there yet the test is easier, not wrong.
    std::thread::sleep(std::time::Duration::from_millis(100));
    // Nothing happens on this connection: the listener itself has to end the wait.
    let (listener, events) = telling(|_| Ok(()));
    task.set_listener(listener);
    assert_eq!(result.recv_timeout(PATIENCE).unwrap(), vec![]);
    let present = events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(present, SocketEvent::Open { .. }), "{present:?}");
    task.send("x").unwrap();
    assert_eq!(text_of(&events.recv_timeout(PATIENCE).unwrap()), "x");
}

#[test]
fn a_listener_that_is_replaced_is_not_called_again() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [{"flood": {"count": 500, "bytes": 10}}, {"send": "end"}]}]}]"#,
    );
    let replaced = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let late_calls = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Gate::default());
    let _opened = Opened(gate.clone());
    let (inside, seen, count) = (gate.clone(), replaced.clone(), late_calls.clone());
    let (first, heard_first) = telling(move |event| {
        if let SocketEvent::Message { .. } = event {
            if seen.load(Ordering::SeqCst) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            inside.pass();
        }
        Ok(())
    });
    let task = connect_socket(fast(server.url()), Some(first), None).unwrap();
    // The first listener is in the middle of a run of messages.
    gate.wait_for(1);
    eventually("the rest has come", || task.stats().messages_in == 501);
    let (second, heard) = telling(|_| Ok(()));
    task.set_listener(second);
    replaced.store(true, Ordering::SeqCst);
    gate.open();
    let present = heard.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(present, SocketEvent::Open { .. }), "{present:?}");
    for _ in 1..500 {
        assert_eq!(text_of(&heard.recv_timeout(PATIENCE).unwrap()).len(), 10);
    }
    assert_eq!(text_of(&heard.recv_timeout(PATIENCE).unwrap()), "end");
    assert_eq!(late_calls.load(Ordering::SeqCst), 0);
    // The open and the one message that was under way.
    assert_eq!(heard_first.iter().count(), 2);
}
