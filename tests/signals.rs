//! What the app and the operating system say while a task lives: hurry, no network, another
//! network, the background, a pause.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;
use support::*;
use wxsocket::testing::{SeenEnd, SeenFrameKind};
use wxsocket::*;

const DROP_ON_DEMAND: &str = r#"{"rules": [{"on": {"text": "drop"}, "do": "drop"}]}"#;

#[test]
fn reconnect_now_ends_a_wait_with_a_fresh_counter() {
    let server = echo();
    server.stop_listening().unwrap();
    let mut options = patient(server.url());
    options.reconnect.max_attempts = Some(AttemptLimit::Attempts { count: 1 });
    let mut client = Client::connect(options);
    // More often than the limit allows without it.
    for _ in 0..4 {
        client.error();
        assert_eq!(client.close().retry.unwrap().attempt, 1);
        client.task().reconnect_now();
    }
    client.error();
    client.close();
    server.resume_listening().unwrap();
    client.task().reconnect_now();
    assert_eq!(client.open().attempt, 0);
    client.finish();
}

#[test]
fn reconnect_now_leaves_a_dial_under_way_and_a_live_connection_alone() {
    let server = serve(r#"[{"handshake": {"delayMs": 200}}]"#);
    let mut client = Client::connect(patient(server.url()));
    assert!(server.wait_connections(1, PATIENCE));
    client.task().reconnect_now();
    client.open();
    client.task().reconnect_now();
    // The open connection is asked for a sign of life, and gives it.
    until(&server, |seen| {
        seen.connections[0].frames.iter().any(|frame| frame.kind == SeenFrameKind::Ping)
    });
    client.send("same one");
    assert_eq!(client.text(), "same one");
    client.finish();
    assert_eq!(server.connections().len(), 1);
}

/// A dial that hangs on the old network would hang for a minute. Nothing has ended, so nothing
/// is told, and no attempt is used up.
#[test]
fn a_new_network_begins_a_dial_again_that_hangs() {
    let server = serve(r#"[{"handshake": "hang"}, {"handshake": "hang"}, {}]"#);
    let mut options = patient(server.url());
    options.reconnect.max_attempts = Some(AttemptLimit::Attempts { count: 1 });
    options.timeout = Some(NEVER);
    let mut client = Client::connect(options);
    for dial in 1..=2 {
        assert!(server.wait_connections(dial, PATIENCE));
        client.task().set_network(true.into());
        ended(&server, dial);
    }
    let open = client.open();
    assert_eq!((open.epoch, open.attempt), (1, 0));
    client.send("back");
    assert_eq!(client.text(), "back");
    client.finish();
    assert_eq!(server.connections().len(), 3);
}

#[test]
fn the_impatient_begin_a_dial_again_that_hangs() {
    let hurries: [fn(&SocketTask); 2] =
        [SocketTask::reconnect_now, |task| task.set_foreground(true)];
    for hurry in hurries {
        let server = serve(r#"[{"handshake": "hang"}, {}]"#);
        let mut options = patient(server.url());
        options.timeout = Some(NEVER);
        let began = std::time::Instant::now();
        let mut client = Client::connect(options);
        assert!(server.wait_connections(1, PATIENCE));
        // Not before two seconds without progress.
        eventually("the dial is begun again", || {
            hurry(client.task());
            server.connection(1).unwrap().ended.is_some()
        });
        assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
        let open = client.open();
        assert_eq!((open.epoch, open.attempt), (1, 0));
        client.finish();
        assert_eq!(server.connections().len(), 2);
    }
}

#[test]
fn a_new_network_finds_out_at_once_that_the_old_connection_is_dead() {
    let server = serve(r#"[{"rules": [{"on": "open", "do": [{"send": "hi"}, "silence"]}]}, {}]"#);
    // Its delay is ten minutes: the failed probe is what makes it dial.
    let mut options = patient(server.url());
    // The next heartbeat is far away, but its timeout bounds how long a probe waits.
    options.heartbeat = HeartbeatOptions {
        enabled: Some(true),
        interval: Some(NEVER),
        timeout: Some(Millis(100)),
        ..Default::default()
    };
    let mut client = Client::connect(options);
    client.open();
    client.text();
    client.task().set_network(true.into());
    let error = client.error();
    assert_eq!((error.kind, error.err_code), (ErrorKind::HeartbeatTimeout, 690_040));
    let close = client.close();
    assert_eq!(close.reason, "heartbeat timeout");
    assert_eq!(close.retry, Some(RetryInfo { attempt: 1, max: None, delay: Some(Millis(0)) }));
    assert_eq!(client.open().epoch, 2);
    client.finish();
}

#[test]
fn offline_uses_no_attempt_and_online_dials_at_once() {
    let server =
        serve(r#"[{"handshake": "hang"}, {"handshake": "hang"}, {"handshake": "hang"}, {}]"#);
    let mut options = patient(server.url());
    options.reconnect.max_attempts = Some(AttemptLimit::Attempts { count: 1 });
    let mut client = Client::connect(options);
    for dial in 1..=3 {
        assert!(server.wait_connections(dial, PATIENCE));
        // The radio goes in the middle of a dial, which cannot succeed any more.
        client.task().set_network(false.into());
        assert_eq!(client.error().kind, ErrorKind::Interrupted);
        let close = client.close();
        assert_eq!((close.code, close.reason.as_str()), (1006, "interrupted"));
        let retry = close.retry.unwrap();
        assert_eq!((retry.attempt, retry.delay), (0, None));
        assert_eq!(client.task().ready_state(), ReadyState::Connecting);
        // The dial is gone at the server as well.
        ended(&server, dial);
        client.task().set_network(true.into());
    }
    assert_eq!(client.open().attempt, 0);
    client.finish();
    assert_eq!(server.connections().len(), 4);
}

#[test]
fn a_drop_while_offline_waits_for_the_network() {
    let server = serve(&format!("[{DROP_ON_DEMAND}, {{}}]"));
    let mut client = Client::connect(fast(server.url()));
    client.open();
    // A short gap need not kill an open connection.
    client.task().set_network(false.into());
    client.send("drop");
    client.error();
    let close = client.close();
    assert_eq!(close.retry.unwrap().delay, None, "suspended: no attempt is due");
    // Other good news does not help.
    client.task().set_foreground(true);
    client.task().resume();
    assert_eq!(client.send("kept"), SendOutcome::Queued { dropped: vec![] });
    client.task().set_network(true.into());
    assert_eq!(client.open().epoch, 2);
    assert_eq!(client.text(), "kept");
    client.finish();
    assert_eq!(server.connections().len(), 2);
}

#[test]
fn going_offline_cancels_a_retry_that_was_due() {
    let server = serve(&format!("[{DROP_ON_DEMAND}, {{}}]"));
    let mut client = Client::connect(patient(server.url()));
    client.open();
    client.send("drop");
    client.lost(ErrorKind::ConnectionLost);
    client.task().set_network(false.into());
    client.task().set_network(true.into());
    // The delay was ten minutes: the network is what made it dial.
    assert_eq!(client.open().attempt, 0);
    client.finish();
}

#[test]
fn the_background_interrupts_an_open_connection_after_its_grace() {
    let server = echo();
    let mut options = patient(server.url());
    options.background = Some(BackgroundPolicy::Interrupt { grace: Millis(40) });
    let mut client = Client::connect(options);
    client.open();
    client.task().set_foreground(false);
    // Open: a close without an error.
    let close = client.close();
    assert_eq!((close.code, close.reason.as_str(), close.was_clean), (1006, "interrupted", false));
    assert_eq!(close.retry, Some(RetryInfo { attempt: 0, max: None, delay: None }));
    // The server is told that the app is going away.
    let seen = ended(&server, 1);
    assert_eq!(seen.ended, Some(SeenEnd::ClientClosed));
    assert_eq!(seen.frames.last().unwrap().close_code, Some(1001));
    client.task().set_network(true.into());
    client.task().set_foreground(true);
    assert_eq!(client.open().epoch, 2, "back at once, and the network alone did not do it");
    client.finish();
}

#[test]
fn an_app_that_is_about_to_be_suspended_hangs_up_before_its_grace() {
    let server = echo();
    let mut options = patient(server.url());
    options.background = Some(BackgroundPolicy::Interrupt { grace: NEVER });
    let mut client = Client::connect(options);
    client.open();
    assert_eq!(client.task().background_grace(), Some(NEVER));
    // In the foreground it changes nothing.
    client.task().end_background_grace();
    client.send("still here");
    assert_eq!(client.text(), "still here");
    client.task().set_foreground(false);
    client.task().end_background_grace();
    let close = client.close();
    assert_eq!((close.code, close.reason.as_str()), (1006, "interrupted"));
    assert_eq!(ended(&server, 1).frames.last().unwrap().close_code, Some(1001));
    client.task().set_foreground(true);
    assert_eq!(client.open().epoch, 2);
    client.finish();
}

#[test]
fn a_task_that_keeps_its_connection_has_no_grace() {
    let server = echo();
    let mut options = patient(server.url());
    options.background = Some(BackgroundPolicy::Keep);
    let mut client = Client::connect(options);
    client.open();
    assert_eq!(client.task().background_grace(), None);
    client.task().set_foreground(false);
    client.task().end_background_grace();
    client.send("still here");
    assert_eq!(client.text(), "still here");
    client.finish();
}

#[test]
fn the_background_interrupts_a_dial_with_an_error() {
    let server = serve(r#"[{"handshake": "hang"}, {}]"#);
    let mut options = patient(server.url());
    options.background = Some(BackgroundPolicy::Interrupt { grace: Millis(20) });
    let mut client = Client::connect(options);
    assert!(server.wait_connections(1, PATIENCE));
    client.task().set_foreground(false);
    let error = client.error();
    assert_eq!((error.kind, error.err_code), (ErrorKind::Interrupted, 690_041));
    let close = client.close();
    assert_eq!((close.code, close.reason.as_str()), (1006, "interrupted"));
    ended(&server, 1);
    client.task().set_foreground(true);
    assert_eq!(client.open().attempt, 0);
    client.finish();
}

#[test]
fn a_short_visit_to_the_background_changes_nothing() {
    let server = echo();
    let mut options = patient(server.url());
    options.background = Some(BackgroundPolicy::Interrupt { grace: NEVER });
    let mut client = Client::connect(options);
    client.open();
    client.task().set_foreground(false);
    client.task().set_foreground(true);
    client.send("still here");
    assert_eq!(client.text(), "still here");
    client.finish();
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn pause_hangs_up_until_resume_and_keeps_what_is_queued() {
    let server = echo();
    let mut client = Client::connect(fast(server.url()));
    client.open();
    client.task().pause();
    let close = client.close();
    assert_eq!((close.code, close.reason.as_str()), (1006, "paused"));
    assert_eq!(close.retry.unwrap().delay, None);
    assert_eq!(ended(&server, 1).frames.last().unwrap().close_code, Some(1001));
    assert_eq!(client.send("for later"), SendOutcome::Queued { dropped: vec![] });
    client.task().set_network(true.into());
    client.task().set_foreground(true);
    client.task().resume();
    assert_eq!(client.open().epoch, 2);
    assert_eq!(client.text(), "for later");
    client.finish();
    assert_eq!(server.connections().len(), 2);
}

#[test]
fn pause_interrupts_a_dial_and_a_wait() {
    let server = serve(r#"[{"handshake": "hang"}, {"handshake": {"status": 500}}, {}]"#);
    let mut client = Client::connect(patient(server.url()));
    assert!(server.wait_connections(1, PATIENCE));
    client.task().pause();
    client.lost(ErrorKind::Interrupted);
    client.task().resume();
    client.lost(ErrorKind::HttpStatus);
    client.task().pause();
    client.task().set_network(true.into());
    client.task().resume();
    assert_eq!(client.open().epoch, 3);
    client.finish();
}

/// Each change of the network interrupts a dial or begins one, but not when nobody has heard of
/// the ones before.
#[test]
fn changes_of_the_network_that_nobody_hears_of_do_not_pile_up() {
    let server = serve(r#"[{"handshake": "hang"}]"#);
    let mut options = patient(server.url());
    options.timeout = Some(NEVER);
    let task = connect_socket(options, None, None).unwrap();
    let flip = |times: usize| {
        for _ in 0..times {
            task.set_network(false.into());
            task.set_network(true.into());
        }
    };
    eventually("it dials no more", || {
        flip(100);
        task.state() == SocketState::Suspended
    });
    let epoch = task.stats().epoch;
    flip(10_000);
    task.reconnect_now();
    assert_eq!((task.state(), task.stats().epoch), (SocketState::Suspended, epoch));
    task.close(1000, String::new()).unwrap();
    let told = (&*task.events()).count();
    assert!(told < 1_000, "{told} events wait in memory");
}
