//! The device sleeps for an hour in each phase of a task's life, on a clock that pretends it.
//!
//! The tests of this file sleep for the whole process, so they run one after the other.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::*;
use wxsocket::testing::{ScriptedServer, SeenFrameKind, device_sleep};
use wxsocket::*;

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longer than anything that these tests wait for.
const HOUR: Duration = Duration::from_secs(3_600);

/// Something that makes the task look at the clock, and changes nothing else.
fn look(client: &Client) {
    client.task().resume();
}

fn beating(url: String) -> ConnectOptions {
    let mut options = patient(url);
    options.heartbeat = HeartbeatOptions {
        enabled: Some(true),
        interval: Some(NEVER),
        timeout: Some(NEVER),
        ..Default::default()
    };
    options
}

fn heartbeats(server: &Arc<ScriptedServer>, at_least: u64) {
    until(server, |seen| seen.connections[0].heartbeats_received >= at_least);
}

/// The connection is still the first one, and works.
#[track_caller]
fn lives_on(mut client: Client) {
    client.send("still here");
    assert_eq!(client.text(), "still here");
    client.finish();
}

#[test]
fn a_dial_from_before_the_sleep_is_begun_again() {
    let _alone = alone();
    let server = serve(r#"[{"handshake": {"status": 503}}, {"handshake": "hang"}, {}]"#);
    let mut options = limited(server.url(), 1);
    options.timeout = Some(NEVER);
    let mut client = Client::connect(options);
    client.lost(ErrorKind::HttpStatus);
    assert!(server.wait_connections(2, PATIENCE));
    device_sleep(HOUR);
    look(&client);
    // The same attempt, and nothing is told of the dial that was given up.
    let open = client.open();
    assert_eq!((open.epoch, open.attempt), (2, 1));
    ended(&server, 2);
    client.finish();
}

#[test]
fn a_retry_does_not_wait_for_the_rest_of_its_delay() {
    let _alone = alone();
    let server = serve(r#"[{"handshake": {"status": 503}}, {}]"#);
    let mut client = Client::connect(patient(server.url()));
    client.lost(ErrorKind::HttpStatus);
    device_sleep(HOUR);
    look(&client);
    // It is the retry that was due, not one more.
    assert_eq!(client.open().attempt, 1);
    client.finish();
}

/// Whoever notices the sleep tells those who have nothing to do.
#[test]
fn one_task_that_notices_wakes_the_others() {
    let _alone = alone();
    let servers = [(); 3].map(|()| serve(r#"[{"handshake": {"status": 503}}, {}]"#));
    let mut clients = servers.each_ref().map(|server| Client::connect(patient(server.url())));
    for client in &mut clients {
        client.lost(ErrorKind::HttpStatus);
    }
    device_sleep(HOUR);
    look(&clients[0]);
    for mut client in clients {
        assert_eq!(client.open().attempt, 1);
        client.finish();
    }
}

/// The timer by which the system tells of a resume. That it does cannot be tried here.
#[test]
#[cfg(target_os = "linux")]
fn the_process_listens_to_the_clock() {
    let client = Client::connect(patient(echo().url()));
    eventually("there is a timer", || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let mut names = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        names.any(|name| name.to_string_lossy() == "anon_inode:[timerfd]")
    });
    client.finish();
}

/// A nap is no reason to come before the time that the backoff or the server has set.
#[test]
fn a_retry_that_is_not_due_after_a_sleep_waits_on() {
    let _alone = alone();
    let server = serve(r#"[{"handshake": {"status": 503}}, {}]"#);
    let mut client = Client::connect(patient(server.url()));
    client.lost(ErrorKind::HttpStatus);
    for _ in 0..3 {
        device_sleep(Duration::from_secs(4));
        look(&client);
        let state = client.task().state();
        assert!(matches!(state, SocketState::Waiting { .. }), "{state:?}");
    }
    device_sleep(HOUR);
    look(&client);
    assert_eq!(client.open().attempt, 1);
    client.finish();
    assert_eq!(server.connections().len(), 2);
}

#[test]
fn what_is_suspended_stays_so_and_its_queue_grows_old() {
    let _alone = alone();
    let server = echo();
    let mut options = patient(server.url());
    options.queue.max_age = Some(NEVER);
    let mut client = Client::connect(options);
    client.open();
    client.task().pause();
    client.close();
    client.send("an hour old");
    device_sleep(HOUR);
    client.send("new");
    assert_eq!(client.task().state(), SocketState::Suspended);
    client.task().resume();
    client.open();
    assert_eq!(client.text(), "new");
    client.finish();
    assert_eq!(server.connections().len(), 2);
}

#[test]
fn an_open_connection_is_asked_for_a_sign_of_life() {
    let _alone = alone();
    let server = echo();
    let mut client = Client::connect(beating(server.url()));
    client.open();
    device_sleep(HOUR);
    look(&client);
    heartbeats(&server, 1);
    lives_on(client);
}

#[test]
fn an_open_connection_without_a_heartbeat_is_asked_too() {
    let _alone = alone();
    let server = echo();
    let options =
        ConnectOptions { preset: Some(Preset::Browser), ..ConnectOptions::new(server.url()) };
    let mut client = Client::connect(options);
    client.open();
    device_sleep(HOUR);
    // Any call is a look at the clock.
    client.send("good morning");
    let is_ping = |kind: &SeenFrameKind| *kind == SeenFrameKind::Ping;
    until(&server, |seen| seen.connections[0].frames.iter().any(|frame| is_ping(&frame.kind)));
    assert_eq!(client.text(), "good morning");
    lives_on(client);
}

/// The run loop notices by itself when the network has something.
#[test]
fn a_message_is_a_look_at_the_clock_too() {
    let _alone = alone();
    let server = echo();
    let mut client = Client::connect(beating(server.url()));
    client.open();
    assert!(server.wait_open(1, PATIENCE));
    device_sleep(HOUR);
    server.send_text_all("news");
    assert_eq!(client.text(), "news");
    heartbeats(&server, 1);
    lives_on(client);
}

/// The time for the answer is over, but nobody was awake to hear one.
#[test]
fn a_ping_from_before_the_sleep_leads_to_a_question_and_not_to_a_verdict() {
    let _alone = alone();
    let server = serve(
        r#"[{"answerHeartbeats": false, "rules": [{"on": {"heartbeats": 2}, "do": {"send": "pong"}}]}]"#,
    );
    let mut options = beating(server.url());
    options.heartbeat.interval = Some(Millis(10));
    let mut client = Client::connect(options);
    client.open();
    heartbeats(&server, 1);
    // The engine learns a moment after the server that the question is written, and nothing tells
    // when; until then it has no reason to ask again.
    std::thread::sleep(Duration::from_millis(100));
    device_sleep(HOUR);
    look(&client);
    heartbeats(&server, 2);
    lives_on(client);
}

/// And when there is no answer, the next dial does not wait.
#[test]
fn a_connection_that_did_not_survive_the_sleep_is_replaced_at_once() {
    let _alone = alone();
    let server = serve(r#"[{"rules": [{"on": "open", "do": [{"send": "hi"}, "silence"]}]}, {}]"#);
    let mut options = beating(server.url());
    options.heartbeat.timeout = Some(Millis(100));
    let mut client = Client::connect(options);
    client.open();
    client.text();
    device_sleep(HOUR);
    look(&client);
    client.lost(ErrorKind::HeartbeatTimeout);
    assert_eq!(client.open().epoch, 2);
    client.finish();
}

#[test]
fn a_close_does_not_wait_for_the_rest_of_its_time() {
    let _alone = alone();
    let server = serve(r#"[{"rules": [{"on": "open", "do": "silence"}]}]"#);
    let mut options = patient(server.url());
    options.close_timeout = Some(NEVER);
    let mut client = Client::connect(options);
    client.open();
    client.task().close(1000, "good night".into()).unwrap();
    device_sleep(HOUR);
    look(&client);
    let end = client.end();
    assert_eq!((end.reason.as_str(), end.was_clean), ("good night", false));
}

#[test]
fn the_grace_in_the_background_goes_on_in_sleep() {
    let _alone = alone();
    let server = echo();
    let mut options = patient(server.url());
    options.background = Some(BackgroundPolicy::Interrupt { grace: NEVER });
    let mut client = Client::connect(options);
    client.open();
    client.task().set_foreground(false);
    device_sleep(HOUR);
    look(&client);
    let close = client.close();
    assert_eq!((close.code, close.reason.as_str()), (1006, "interrupted"));
    client.task().set_foreground(true);
    assert_eq!(client.open().epoch, 2);
    client.finish();
}
