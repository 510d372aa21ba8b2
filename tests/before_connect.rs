//! `before_connect`: the app is asked before every dial.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use support::*;
use wxsocket::*;

/// A `BeforeConnect` made of one function.
struct Ask<F>(F);

impl<F> BeforeConnect for Ask<F>
where
    F: Fn(i32, Option<ErrorEvent>) -> Result<ConnectDecision, ListenerError> + Send + Sync,
{
    fn before_connect(&self, request: ConnectRequest) -> Result<ConnectDecision, ListenerError> {
        (self.0)(request.attempt, request.last_error)
    }

    fn withdraw(&self, _: i64) -> Result<(), ListenerError> {
        Ok(())
    }
}

fn ask<F>(provider: F) -> Arc<dyn BeforeConnect>
where
    F: Fn(i32, Option<ErrorEvent>) -> Result<ConnectDecision, ListenerError>
        + Send
        + Sync
        + 'static,
{
    Arc::new(Ask(provider))
}

const DROP_ON_OPEN: &str = r#"{"rules": [{"on": "open", "do": "drop"}]}"#;

#[test]
fn each_attempt_may_have_its_own_url_headers_and_protocols() {
    let server = serve(&format!("[{DROP_ON_OPEN}, {DROP_ON_OPEN}, {{}}]"));
    let url = server.url();
    let mut options = fast(format!("{url}/options"));
    options.header = vec![Header::new("X-From", "options")];
    options.protocols = vec!["options".into()];
    let provider = ask(move |attempt, _| {
        Ok(match attempt {
            0 => ConnectDecision::Proceed,
            1 => ConnectDecision::Change {
                url: Some(format!("{url}/second?token=2")),
                header: Some(vec![Header::new("Authorization", "Bearer 2")]),
                protocols: Some(vec!["v2".into()]),
            },
            // An absent value is that of the options, not of the attempt before.
            _ => ConnectDecision::Change { url: None, header: Some(vec![]), protocols: None },
        })
    });
    let mut client = Client::asking(options, provider);
    for protocol in ["options", "v2"] {
        assert_eq!(client.open().protocol.as_deref(), Some(protocol));
        client.lost(ErrorKind::ConnectionLost);
    }
    assert_eq!(client.open().protocol.as_deref(), Some("options"));
    client.finish();
    let seen: Vec<_> = server
        .connections()
        .into_iter()
        .map(|one| {
            let path = one.request_path.clone().unwrap();
            (path, one.header("X-From"), one.header("Authorization"))
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        [
            ("/options".into(), some("options"), None),
            ("/second?token=2".into(), None, some("Bearer 2")),
            ("/options".into(), None, None),
        ]
    );
}

#[test]
fn it_hears_the_attempt_and_what_ended_the_connection_before() {
    let close = r#"{"rules": [{"on": "open", "do": {"close": {"code": 4001}}}]}"#;
    let server = serve(&format!(
        r#"[{{"handshake": {{"status": 401, "body": "expired"}}}}, {DROP_ON_OPEN}, {close}, {{}}]"#
    ));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let list = asked.clone();
    let provider = ask(move |attempt, last| {
        list.lock().unwrap().push((attempt, last));
        Ok(ConnectDecision::Proceed)
    });
    let mut client = Client::asking(fast(server.url()), provider);
    client.lost(ErrorKind::HttpStatus);
    client.open();
    client.lost(ErrorKind::ConnectionLost);
    client.open();
    assert_eq!(client.close().code, 4001);
    client.open();
    client.finish();
    let asked: Vec<_> = asked.lock().unwrap().clone();
    let attempts: Vec<_> = asked.iter().map(|(attempt, _)| *attempt).collect();
    assert_eq!(attempts, [0, 1, 2, 3]);
    assert_eq!(asked[0].1, None);
    let refused = asked[1].1.clone().unwrap();
    assert_eq!((refused.epoch, refused.kind), (1, ErrorKind::HttpStatus));
    assert_eq!((refused.http_status, &refused.http_body[..]), (Some(401), &b"expired"[..]));
    let lost = asked[2].1.clone().unwrap();
    assert_eq!((lost.epoch, lost.kind), (2, ErrorKind::ConnectionLost));
    // The connection before was closed by the server and did not fail.
    assert_eq!(asked[3].1, None);
}

#[test]
fn the_last_error_of_the_stats_names_its_own_connection() {
    let server = serve(&format!("[{DROP_ON_OPEN}, {{}}]"));
    let mut client = Client::connect(fast(server.url()));
    client.open();
    let lost = client.lost(ErrorKind::ConnectionLost);
    client.open();
    // The task has a new connection since then. The error still has the epoch of its own.
    assert_eq!(client.task().stats().last_error, Some(lost));
    client.finish();
}

#[test]
fn stop_ends_the_task() {
    let server = serve(&format!("[{DROP_ON_OPEN}]"));
    let provider = ask(|attempt, _| {
        Ok(match attempt {
            0 => ConnectDecision::Proceed,
            _ => ConnectDecision::Stop { reason: "logged out".into() },
        })
    });
    let mut client = Client::asking(fast(server.url()), provider);
    client.open();
    client.lost(ErrorKind::ConnectionLost);
    let error = client.error();
    assert_eq!((error.kind, error.err_code), (ErrorKind::Stopped, 690_051));
    assert_eq!((error.detail.as_str(), error.epoch), ("logged out", 2));
    let end = client.end();
    assert_eq!((end.epoch, end.code), (2, 1006));
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn a_refused_token_is_asked_for_once_more() {
    // The 403 comes after an open, so the app is asked once more; the 401 after it is final.
    let server = serve(&format!(
        r#"[{{"handshake": {{"status": 401}}}}, {DROP_ON_OPEN}, {{"handshake": {{"status": 403}}}},
            {{"handshake": {{"status": 401}}}}]"#
    ));
    let mut options = fast(server.url());
    options.reconnect.stop_statuses = Some(vec![401, 403]);
    let provider = ask(|attempt, last| {
        let refused = last.and_then(|last| last.http_status).unwrap_or(0);
        let token = format!("{attempt} after {refused}");
        let header = Some(vec![Header::new("Authorization", token)]);
        Ok(ConnectDecision::Change { url: None, header, protocols: None })
    });
    let mut client = Client::asking(options, provider);
    assert_eq!(client.lost(ErrorKind::HttpStatus).http_status, Some(401));
    assert_eq!(client.open().attempt, 1);
    client.lost(ErrorKind::ConnectionLost);
    assert_eq!(client.lost(ErrorKind::HttpStatus).http_status, Some(403));
    assert_eq!(client.error().http_status, Some(401));
    assert_eq!(client.end().code, 1006);
    let tokens: Vec<_> = server
        .connections()
        .iter()
        .map(|one| one.header("Authorization").unwrap_or_default())
        .collect();
    assert_eq!(tokens, ["0 after 0", "1 after 401", "2 after 0", "3 after 403"]);
}

#[test]
fn it_is_asked_again_when_a_new_network_begins_a_dial_again() {
    let server = serve(r#"[{"handshake": {"delayMs": 600000}}, {}]"#);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let list = asked.clone();
    let provider = ask(move |attempt, last| {
        list.lock().unwrap().push((attempt, last));
        let token = format!("{}", list.lock().unwrap().len());
        let header = Some(vec![Header::new("Authorization", token)]);
        Ok(ConnectDecision::Change { url: None, header, protocols: None })
    });
    let mut options = patient(server.url());
    options.timeout = Some(NEVER);
    let mut client = Client::asking(options, provider);
    // The app has answered by the time that the server has the request.
    until(&server, |seen| seen.connections.first().is_some_and(|first| !first.headers.is_empty()));
    client.task().set_network(true.into());
    assert_eq!(client.open().epoch, 1);
    assert_eq!(*asked.lock().unwrap(), [(0, None), (0, None)]);
    assert_eq!(server.connection(2).unwrap().header("Authorization").as_deref(), Some("2"));
    client.finish();
}

/// Nothing is dialled while the app is asked, not even when a call demands a dial at once.
#[test]
fn it_is_not_asked_again_while_it_is_asked() {
    let server = echo();
    let (entered, asked) = channel();
    let (answer, held) = channel::<()>();
    let held = Mutex::new(held);
    let provider = ask(move |attempt, last| {
        entered.send((attempt, last)).unwrap();
        let _ = held.lock().unwrap().recv();
        Ok(ConnectDecision::Proceed)
    });
    let mut options = limited(server.url(), 1);
    options.timeout = Some(NEVER);
    let mut client = Client::asking(options, provider);
    assert_eq!(asked.recv_timeout(PATIENCE), Ok((0, None)));
    for _ in 0..20 {
        client.task().set_network(true.into());
        client.task().reconnect_now();
        client.task().set_foreground(true);
        client.task().resume();
    }
    answer.send(()).unwrap();
    let open = client.open();
    assert_eq!((open.epoch, open.attempt), (1, 0));
    assert!(asked.try_recv().is_err(), "asked once");
    client.finish();
}

/// Each change of the network gives up a dial and begins another one, while the app has not
/// answered for the first.
#[test]
fn flips_of_the_network_do_not_ask_in_parallel() {
    let server = echo();
    let (door, calls) = (Arc::new(Door::default()), Arc::new(Mutex::new(0)));
    let provider = ask({
        let (door, calls) = (door.clone(), calls.clone());
        move |_, _| {
            *calls.lock().unwrap() += 1;
            door.pass();
            Ok(ConnectDecision::Proceed)
        }
    });
    let mut other = Client::connect(fast(server.url()));
    other.open();
    let begun = Instant::now();
    let mut client = Client::asking(fast(server.url()), provider);
    for _ in 0..20 {
        // After a round trip on the only I/O thread the dial has asked the app.
        other.send("x");
        assert_eq!(other.text(), "x");
        client.task().set_network(false.into());
        client.lost(ErrorKind::Interrupted);
        client.task().set_network(true.into());
    }
    // A call that has lasted for two seconds does not hold up the next one any more.
    let slow = begun.elapsed().as_secs() / 2;
    door.open();
    assert_eq!(client.open().epoch, 21);
    let calls = *calls.lock().unwrap();
    assert!((2..=2 + slow).contains(&calls), "{calls} calls");
    client.finish();
    other.finish();
}

#[test]
fn a_call_that_hangs_does_not_hold_up_the_dial_on_the_next_network() {
    let server = echo();
    let door = Arc::new(Door::default());
    let (told, asked) = channel();
    let provider = ask({
        let door = door.clone();
        move |_, last| {
            let is_first = last.is_none();
            told.send(()).unwrap();
            if is_first {
                door.pass();
            }
            Ok(ConnectDecision::Proceed)
        }
    });
    let options = ConnectOptions { timeout: Some(NEVER), ..fast(server.url()) };
    let mut client = Client::asking(options, provider);
    asked.recv_timeout(PATIENCE).unwrap();
    client.task().set_network(false.into());
    client.lost(ErrorKind::Interrupted);
    client.task().set_network(true.into());
    // The first call has not returned.
    assert_eq!(client.open().epoch, 2);
    client.finish();
    door.open();
}

#[test]
fn an_error_a_panic_and_a_bad_answer_are_failed_attempts() {
    let server = echo();
    let provider = ask(|attempt, _| match attempt {
        0 => Err(ListenerError::Failed { reason: "no token yet".into() }),
        1 => panic!("on purpose"),
        2 => Ok(ConnectDecision::Change {
            url: Some("http://no.socket".into()),
            header: None,
            protocols: None,
        }),
        3 => Ok(ConnectDecision::Change {
            url: None,
            header: Some(vec![Header::new("Host", "x")]),
            protocols: None,
        }),
        4 => Ok(ConnectDecision::Change {
            url: None,
            header: None,
            protocols: Some(vec!["twice".into(), "twice".into()]),
        }),
        _ => Ok(ConnectDecision::Proceed),
    });
    let mut client = Client::asking(fast(server.url()), provider);
    for (attempt, said) in (1..).zip([
        "no token yet",
        "panicked",
        "invalid url",
        "invalid header",
        "invalid protocols",
    ]) {
        let error = client.error();
        assert_eq!((error.kind, error.err_code), (ErrorKind::BeforeConnect, 690_052));
        assert!(error.detail.contains(said), "{error:?}");
        let close = client.close();
        assert_eq!((close.code, close.retry.unwrap().attempt), (1006, attempt));
    }
    assert_eq!(client.open().attempt, 5);
    client.finish();
    assert_eq!(server.connections().len(), 1, "nothing was dialled without an answer");
}

#[test]
fn its_failures_count_towards_the_limit() {
    let server = echo();
    let provider = ask(|_, _| Err(ListenerError::Failed { reason: "never".into() }));
    let mut client = Client::asking(limited(server.url(), 2), provider);
    for _ in 0..2 {
        client.lost(ErrorKind::BeforeConnect);
    }
    assert_eq!(client.error().kind, ErrorKind::ReconnectLimit);
    client.end();
    assert!(server.connections().is_empty());
}

#[test]
fn one_that_takes_too_long_is_a_failed_attempt_and_delays_nobody_else() {
    let server = echo();
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let provider = ask(move |attempt, _| {
        if attempt == 0 {
            // Blocks until the test goes on.
            let _ = held.lock().unwrap().recv();
        }
        Ok(ConnectDecision::Proceed)
    });
    let mut options = patient(server.url());
    options.timeout = Some(Millis(300));
    let mut slow = Client::asking(options, provider);
    // Meanwhile another task dials, opens and gets an echo.
    let mut other = Client::connect(fast(server.url()));
    other.open();
    other.send("x");
    assert_eq!(other.text(), "x");
    other.finish();
    let error = slow.error();
    assert_eq!(error.kind, ErrorKind::BeforeConnect, "{error:?}");
    slow.close();
    drop(release);
    assert_eq!(server.connections().len(), 1, "the late answer is not used");
    slow.task().close(1000, String::new()).unwrap();
    slow.end();
}

#[test]
fn closing_while_it_thinks_ends_the_task_at_once() {
    let server = echo();
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let (entered, inside): (Sender<()>, _) = channel();
    let provider = ask(move |_, _| {
        entered.send(()).unwrap();
        let _ = held.lock().unwrap().recv();
        Ok(ConnectDecision::Proceed)
    });
    let mut client = Client::asking(fast(server.url()), provider);
    inside.recv_timeout(PATIENCE).unwrap();
    client.task().close(1000, "impatient".into()).unwrap();
    assert_eq!(client.end().reason, "impatient");
    drop(release);
    assert!(server.connections().is_empty());
}

/// Blocks the threads that pass until it is opened.
#[derive(Default)]
struct Door(Mutex<bool>, std::sync::Condvar);

impl Door {
    fn pass(&self) {
        let _open = self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap();
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

#[test]
fn a_call_that_hangs_is_not_the_end() {
    let server = echo();
    let door = Arc::new(Door::default());
    let provider = ask({
        let door = door.clone();
        move |attempt, _| {
            if attempt == 0 {
                door.pass();
            }
            Ok(ConnectDecision::Proceed)
        }
    });
    let options = ConnectOptions { timeout: Some(Millis(1_000)), ..fast(server.url()) };
    let mut client = Client::asking(options, provider);
    client.lost(ErrorKind::BeforeConnect);
    client.open();
    client.finish();
    door.open();
}

#[test]
fn calls_that_never_return_do_not_pile_up() {
    let server = echo();
    let (door, calls) = (Arc::new(Door::default()), Arc::new(Mutex::new(0)));
    let provider = ask({
        let (door, calls) = (door.clone(), calls.clone());
        move |_, _| {
            *calls.lock().unwrap() += 1;
            door.pass();
            Ok(ConnectDecision::Proceed)
        }
    });
    let options = ConnectOptions { timeout: Some(Millis(20)), ..fast(server.url()) };
    let mut client = Client::asking(options, provider);
    while client.lost(ErrorKind::BeforeConnect).detail != "earlier calls have not returned" {}
    assert_eq!(*calls.lock().unwrap(), 4);
    // After they have returned, the app is asked again.
    door.open();
    while !matches!(client.next(), SocketEvent::Open { .. }) {}
    client.finish();
}

#[test]
fn apps_that_do_not_answer_keep_nobody_elses_lookups_waiting() {
    let server = echo();
    let door = Arc::new(Door::default());
    let (told, asked) = channel();
    let mut stuck = Vec::new();
    // Many calls that do not return. They must not use up the threads of lookups.
    for _ in 0..40 {
        let (door, told) = (door.clone(), told.clone());
        let provider = ask(move |_, _| {
            told.send(()).unwrap();
            door.pass();
            Ok(ConnectDecision::Proceed)
        });
        stuck.push(Client::asking(fast(server.url()), provider));
    }
    for _ in 0..stuck.len() {
        asked.recv_timeout(PATIENCE).unwrap();
    }
    let mut client = Client::connect(fast(server.url().replace("127.0.0.1", "localhost")));
    client.open();
    client.finish();
    door.open();
    for mut client in stuck {
        client.open();
        client.finish();
    }
}
