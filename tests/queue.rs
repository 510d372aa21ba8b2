//! The queue: what is kept while the connection is not open, and what happens to it.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;
use tokio_tungstenite::tungstenite;
use wxsocket::testing::ScriptedServer;
use wxsocket::*;

/// Returns a client that is paused before its first open, and the server that waits for it.
fn paused(change: impl FnOnce(&mut ConnectOptions)) -> (Arc<ScriptedServer>, Client) {
    let server = serve(r#"[{"handshake": "hang"}, {"echo": false}]"#);
    let mut options = fast(server.url());
    change(&mut options);
    let mut client = Client::connect(options);
    assert!(server.wait_connections(1, PATIENCE));
    client.task().pause();
    client.lost(ErrorKind::Interrupted);
    (server, client)
}

/// Blocks until the server has received this many messages, and returns the texts of its second
/// connection.
#[track_caller]
fn received(server: &ScriptedServer, n: u64) -> Vec<String> {
    until(server, |seen| seen.messages >= n);
    server.connection(2).unwrap().texts()
}

const QUEUED: Result<SendOutcome, WxError> = Ok(SendOutcome::Queued { dropped: vec![] });

#[test]
fn the_greeting_is_first_then_the_queue_in_order_then_the_rest() {
    let (server, mut client) = paused(|options| {
        options.greeting = Some(Message::text("hello"));
    });
    for n in 0..200 {
        assert_eq!(client.task().send(format!("{n}")), QUEUED);
    }
    client.task().resume();
    client.open();
    assert_eq!(client.send("200"), SendOutcome::Sent);
    let expected = std::iter::once("hello".to_owned()).chain((0..=200).map(|n| n.to_string()));
    assert_eq!(received(&server, 202), expected.collect::<Vec<_>>());
    client.finish();
}

#[test]
fn a_send_inside_on_open_comes_after_the_queue() {
    let server = serve(r#"[{"handshake": "hang"}, {}]"#);
    let mut client = Client::hooked(fast(server.url()), |task, event| {
        if let SocketEvent::Open { .. } = event {
            task.send("from on_open").unwrap();
        }
    });
    assert!(server.wait_connections(1, PATIENCE));
    client.task().pause();
    client.lost(ErrorKind::Interrupted);
    client.send("queued");
    client.task().resume();
    client.open();
    assert_eq!((client.text(), client.text()), ("queued".into(), "from on_open".into()));
    client.finish();
}

#[test]
fn the_greeting_is_said_on_every_connection() {
    let server = serve(r#"[{"rules": [{"on": {"messages": 1}, "do": "drop"}]}, {}]"#);
    let mut options = fast(server.url());
    options.greeting = Some(Message::binary(vec![1, 2]));
    let mut client = Client::connect(options);
    for _ in 0..2 {
        client.open();
        assert_eq!(client.message(), Message::binary(vec![1, 2]));
        if server.connections().len() == 1 {
            client.lost(ErrorKind::ConnectionLost);
        }
    }
    client.finish();
}

#[test]
fn a_full_queue_refuses_the_newcomer() {
    let (server, mut client) = paused(|options| options.queue.messages = Some(2));
    assert_eq!(client.task().send("1"), QUEUED);
    assert_eq!(client.task().send("2"), QUEUED);
    let refused = client.task().send("3").unwrap_err();
    assert!(matches!(refused, WxError::QueueFull { err_code: 10_001, .. }), "{refused:?}");
    assert_eq!(refused.to_string(), "SocketTask.send:fail the queue is full");
    client.task().resume();
    client.open();
    client.send("4");
    assert_eq!(received(&server, 3), ["1", "2", "4"]);
    client.finish();
}

#[test]
fn the_bound_in_bytes_counts_payload() {
    let (server, mut client) = paused(|options| options.queue.bytes = Some(6));
    // An "é" is two bytes.
    assert_eq!(client.task().send("éé"), QUEUED);
    assert!(matches!(client.task().send("éx"), Err(WxError::QueueFull { .. })));
    assert_eq!(client.task().send("é"), QUEUED);
    assert_eq!(client.task().buffered_amount(), 6);
    // The limit of bytes is reached, but an empty message still fits.
    assert_eq!(client.task().send(""), QUEUED);
    client.task().resume();
    client.open();
    assert_eq!(received(&server, 3), ["éé", "é", ""]);
    client.finish();
}

#[test]
fn drop_oldest_hands_back_what_gave_way() {
    let (server, mut client) = paused(|options| {
        options.queue.messages = Some(3);
        options.queue.bytes = Some(10);
        options.queue.overflow = Some(OverflowPolicy::DropOldest);
    });
    let dropped = |texts: &[&str]| {
        let dropped = texts.iter().map(|text| Message::text(*text)).collect();
        Ok::<_, WxError>(SendOutcome::Queued { dropped })
    };
    for text in ["a", "b", "c"] {
        assert_eq!(client.task().send(text), QUEUED);
    }
    assert_eq!(client.task().send("d"), dropped(&["a"]), "one too many");
    assert_eq!(client.task().send("12345678"), dropped(&["b"]), "and the bytes just fit");
    assert_eq!(client.task().send("123"), dropped(&["c", "d", "12345678"]));
    // A message that does not fit into the empty queue drops no others.
    assert!(matches!(client.task().send("12345678901"), Err(WxError::QueueFull { .. })));
    client.task().resume();
    client.open();
    assert_eq!(received(&server, 1), ["123"]);
    client.finish();
}

#[test]
fn drop_newest_says_so() {
    let (server, mut client) = paused(|options| {
        options.queue.messages = Some(1);
        options.queue.overflow = Some(OverflowPolicy::DropNewest);
    });
    assert_eq!(client.task().send("kept"), QUEUED);
    assert_eq!(client.task().send("gone"), Ok(SendOutcome::Dropped));
    assert_eq!(client.task().buffered_amount(), 4);
    client.task().resume();
    client.open();
    client.send("later");
    assert_eq!(received(&server, 2), ["kept", "later"]);
    client.finish();
}

#[test]
fn what_grew_too_old_is_handed_back_in_on_open() {
    let (server, mut client) = paused(|options| options.queue.max_age = Some(Millis(1_000)));
    client.send("old");
    client.send("also old");
    // After this they are at least this old.
    std::thread::sleep(Duration::from_millis(1_050));
    // The next send finds them too old, removes them and returns them.
    let outcome = client.send("young");
    let gone = vec![Message::text("old"), Message::text("also old")];
    assert_eq!(outcome, SendOutcome::Queued { dropped: gone });
    client.task().resume();
    assert_eq!(client.open().unsent, []);
    assert_eq!(received(&server, 1), ["young"]);
    client.finish();

    let (server, mut client) = paused(|options| options.queue.max_age = Some(Millis(30)));
    client.send("old");
    std::thread::sleep(Duration::from_millis(40));
    client.task().resume();
    assert_eq!(client.open().unsent, [Message::text("old")]);
    client.send("mark");
    assert_eq!(received(&server, 1), ["mark"]);
    client.finish();
}

#[test]
fn what_was_never_sent_is_handed_back_with_the_final_close() {
    let (server, mut client) = paused(|_| {});
    client.send("first");
    client.send(vec![1, 2, 3]);
    client.task().close(1000, String::new()).unwrap();
    let unsent = [Message::text("first"), Message::binary(vec![1, 2, 3])];
    assert_eq!(client.end().unsent, unsent);
    assert_eq!(client.task().buffered_amount(), 0);
    assert_eq!(server.connections().len(), 1);

    // The same when the limit of attempts ends the task.
    let server = echo();
    server.stop_listening().unwrap();
    let mut client = Client::hooked(limited(server.url(), 1), |task, event| {
        if let SocketEvent::Close { event } = event
            && event.retry.is_some()
        {
            task.send("in vain").unwrap();
        }
    });
    client.lost(ErrorKind::Refused);
    assert_eq!(client.error().kind, ErrorKind::ReconnectLimit);
    // The message was sent before the last attempt began or after it failed.
    let end = client.end();
    assert!(end.unsent == [Message::text("in vain")] || end.unsent.is_empty(), "{end:?}");
    assert_eq!(client.task().buffered_amount(), 0);
}

#[test]
fn without_a_queue_only_an_open_connection_takes_messages() {
    let (server, mut client) = paused(|options| options.queue.enabled = Some(false));
    let refused = client.task().send("x").unwrap_err();
    assert!(matches!(refused, WxError::NotConnected { err_code: 10_002, .. }), "{refused:?}");
    assert_eq!(refused.to_string(), "SocketTask.send:fail WebSocket is not connected");
    client.task().resume();
    client.open();
    assert_eq!(client.send("y"), SendOutcome::Sent);
    assert_eq!(received(&server, 1), ["y"]);
    client.finish();
}

#[test]
fn the_buffered_amount_rises_while_not_open_and_falls_to_zero_after() {
    let (server, mut client) = paused(|_| {});
    assert_eq!(client.task().buffered_amount(), 0);
    client.send("12345");
    client.send(vec![0; 1_000]);
    assert_eq!(client.task().buffered_amount(), 1_005);
    client.task().resume();
    client.open();
    assert!(server.wait_messages(2, PATIENCE));
    eventually("nothing is buffered", || client.task().buffered_amount() == 0);
    client.finish();
}

#[test]
fn an_open_connection_whose_peer_does_not_read_fills_up_and_says_so() {
    let server = serve(r#"[{"rules": [{"on": "open", "do": [{"send": "hi"}, "silence"]}]}]"#);
    let mut options = once(server.url());
    options.max_buffered_bytes = Some(1 << 20);
    options.close_timeout = Some(Millis(50));
    let mut client = Client::connect(options);
    client.open();
    client.text();
    let chunk = vec![0; 64 << 10];
    let (mut sent, mut refused) = (0, 0);
    // The buffers of the kernel take some megabytes first. When there is no room for half a second,
    // everything is full.
    while refused < 100 {
        match client.task().send(chunk.clone()) {
            Ok(outcome) => {
                assert_eq!(outcome, SendOutcome::Sent);
                refused = 0;
                sent += chunk.len();
                assert!(sent < 256 << 20, "it takes everything");
            }
            Err(full) => {
                assert!(matches!(full, WxError::QueueFull { .. }), "{full:?}");
                refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        assert!(client.task().buffered_amount() <= 1 << 20);
    }
    client.task().close(1000, String::new()).unwrap();
    // A part of it was never handed to the socket, and is returned.
    let end = client.end();
    assert!(!end.unsent.is_empty() && !end.was_clean, "{} unsent", end.unsent.len());
    assert!(end.unsent.iter().all(|message| message.len() == chunk.len()));
}

/// Everything that an open connection accepted and did not write is sent on the next one. Until
/// then the queue is full, because its limits are smaller than that.
#[test]
fn what_an_open_connection_did_not_write_goes_out_on_the_next_one() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [{"send": "hi"}, "silence"]}]}, {"echo": false}]"#,
    );
    let mut options = patient(server.url());
    options.max_buffered_bytes = Some(1 << 20);
    options.queue.messages = Some(4);
    let mut client = Client::connect(options);
    client.open();
    client.text();
    let numbered = |number: usize| format!("{number:032000}");
    let (mut sent, mut refused) = (0, 0);
    // The buffers of the kernel take some megabytes first. When there is no room for half a second,
    // everything is full.
    while refused < 100 {
        match client.task().send(numbered(sent)) {
            Ok(outcome) => {
                assert_eq!(outcome, SendOutcome::Sent);
                (sent, refused) = (sent + 1, 0);
            }
            Err(full) => {
                assert!(matches!(full, WxError::QueueFull { err_code: 10_001, .. }), "{full:?}");
                refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        assert!(client.task().buffered_amount() < 1 << 20);
        assert!(sent < 4_000, "it takes everything");
    }
    client.task().pause();
    client.close();
    let waiting = client.task().buffered_amount() / 32_000;
    assert!(waiting > 4, "{waiting} messages wait");
    let full = client.task().send("one more").unwrap_err();
    assert!(matches!(full, WxError::QueueFull { err_code: 10_001, .. }), "{full:?}");

    client.task().resume();
    client.open();
    let waiting = usize::try_from(waiting).unwrap();
    let heads = received(&server, waiting as u64).into_iter().map(|text| text.parse().unwrap());
    assert_eq!(heads.collect::<Vec<usize>>(), (sent - waiting..sent).collect::<Vec<_>>());
    assert_eq!(client.send("later"), SendOutcome::Sent);
    client.finish();
}

/// The server says goodbye while thousands of messages wait: some for a connection, some in it.
/// The server reads on until its goodbye is answered, and so hears each of them once.
#[test]
fn a_goodbye_in_the_middle_of_a_burst_loses_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // A small window, so that most of it waits at the client.
    socket2::SockRef::from(&listener).set_recv_buffer_size(16 << 10).unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (speak, spoken) = std::sync::mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        let mut all = Vec::new();
        for round in 0..2 {
            let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
            if round == 0 {
                spoken.recv().unwrap();
                socket.close(None).unwrap();
            }
            while let Ok(frame) = socket.read() {
                if let tungstenite::Message::Text(text) = frame {
                    all.push((round, text[..8].parse::<usize>().unwrap()));
                }
            }
        }
        all
    });
    let mut options = fast(url);
    options.reconnect.delay = Some(ReconnectDelay::Fixed { delay: Millis(1) });
    let mut client = Client::connect(options);
    client.open();
    let count = 6_000;
    for number in 0..count {
        assert_eq!(client.send(format!("{number:08}{:992}", "")), SendOutcome::Sent);
    }
    // Until the kernels are full, whatever they hold.
    let mut before = client.task().buffered_amount();
    eventually("no more is written", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = client.task().buffered_amount();
        std::mem::replace(&mut before, now) == now
    });
    assert!(before > 1_000_000, "{before} bytes wait");
    speak.send(()).unwrap();
    client.close();
    client.open();
    eventually("everything is written", || client.task().buffered_amount() == 0);
    client.task().close(1000, String::new()).unwrap();
    let all = server.join().unwrap();
    assert!(all.iter().map(|(_, number)| *number).eq(0..count), "{} of them", all.len());
    assert!(all.iter().filter(|(round, _)| *round == 0).count() < count, "all in one connection");
}

/// It could never be sent otherwise: the bound is smaller.
#[test]
fn a_message_larger_than_the_bound_is_sent_when_nothing_is_buffered() {
    let server = echo();
    let mut options = once(server.url());
    options.max_buffered_bytes = Some(1);
    let mut client = Client::connect(options);
    client.open();
    for _ in 0..3 {
        assert_eq!(client.send(vec![7; 100_000]), SendOutcome::Sent);
        assert_eq!(client.message(), Message::binary(vec![7; 100_000]));
        eventually("nothing is buffered", || client.task().buffered_amount() == 0);
    }
    client.finish();
}

#[test]
fn nothing_is_sent_twice_or_out_of_order_across_fifty_drops() {
    // Each connection is cut at another place, by reset or by end of stream.
    let script: Vec<_> = (0..50)
        .map(|n| {
            let (messages, end) = (1 + n * 7 % 23, ["drop", "eof"][n % 2]);
            format!(r#"{{"echo": false, "rules": [{{"on": {{"messages": {messages}}}, "do": "{end}"}}]}}"#)
        })
        .collect();
    let server = serve(&format!(r#"[{}, {{"echo": false}}]"#, script.join(", ")));
    let mut options = fast(server.url());
    options.reconnect.delay = Some(ReconnectDelay::Fixed { delay: Millis(1) });
    let mut client = Client::connect(options);
    let mut next = 0;
    while server.connections().len() < 51 {
        match client.task().send(format!("{next}")) {
            Ok(_) => next += 1,
            // The task is between two connections; wait for the next one.
            Err(WxError::QueueFull { .. }) => std::thread::sleep(Duration::from_millis(1)),
            Err(other) => panic!("{other:?}"),
        }
        if next % 50 == 0 {
            std::thread::yield_now();
        }
    }
    while client.task().send(format!("{next}")).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let last = next.to_string();
    until(&server, |seen| {
        seen.connections[50].frames.last().is_some_and(|frame| frame.text == last)
    });
    let mut all = Vec::new();
    for connection in server.connections() {
        assert!(connection.violations.is_empty());
        all.extend(connection.texts().iter().map(|text| text.parse::<u64>().unwrap()));
    }
    let twisted = all.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!(twisted, None, "each at most once, and in order");
    // The last connection was never cut: from its first message on, none is missing.
    let connection = server.connection(51).unwrap();
    assert_eq!(connection.messages_received as usize, connection.texts().len());
    let tail: Vec<u64> = connection.texts().iter().map(|text| text.parse().unwrap()).collect();
    assert!(tail.windows(2).all(|pair| pair[1] == pair[0] + 1), "{tail:?}");
    client.task().close(1000, String::new()).unwrap();
    while !client.next().is_final() {}
}

/// The stream has ended, and the app does not know yet, because it has not taken what came before.
#[test]
fn what_is_sent_after_the_end_of_the_stream_waits_for_the_next_connection() {
    let server = serve(
        r#"[{"rules": [{"on": "open", "do": [{"flood": {"count": 1500, "bytes": 3}}, "eof"]}]}, {}]"#,
    );
    let task = connect_socket(fast(server.url()), None, None).unwrap();
    // What is sent before the end was read is written, and lost.
    let is_kept = || {
        task.send("early").unwrap();
        let until = Instant::now() + Duration::from_millis(200);
        while task.buffered_amount() > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        task.buffered_amount() > 0
    };
    let until_kept = Instant::now() + PATIENCE;
    while task.stats().opens == 0 || !is_kept() {
        assert!(Instant::now() < until_kept, "the end is not read");
    }
    for number in 0..10 {
        task.send(format!("{number}")).unwrap();
    }
    for event in &*task.events() {
        if matches!(&event, SocketEvent::Open { event } if event.epoch == 2) {
            break;
        }
    }
    assert!(server.wait_for(
        |seen| {
            let second = seen.connections.get(1).map(|second| second.texts()).unwrap_or_default();
            second.iter().filter(|text| *text != "early").count() == 10
        },
        PATIENCE,
    ));
    let texts = server.connection(2).unwrap().texts();
    let kept: Vec<_> = texts.iter().filter(|text| *text != "early").cloned().collect();
    assert_eq!(kept, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    task.close(1000, String::new()).unwrap();
}
