//! What was handed out to a connection: what is known of a part of it, and what comes back.

use super::script::{ms, text};
use super::sim::{fixed, plain};
use crate::session::{
    Config, ErrorKind, Event, Failure, Heartbeat, HeartbeatPayload, Input, Output, QueueLimits,
    SendOutcome, SendRefused, Session, Transmit,
};
use std::time::Instant;

/// An open machine that has handed out these messages.
fn handed_out(config: Config, messages: &[&str]) -> (Session, Instant) {
    let now = Instant::now();
    let mut machine = Session::new(config, fixed(0.5));
    machine.handle(Input::Connect, now);
    machine.handle(Input::Opened { dial: 1 }, now);
    for message in messages {
        machine.send(text(message), now).expect("it is open");
        assert!(machine.poll_transmit().is_some());
    }
    (machine, now)
}

fn written(messages: usize, payload: usize) -> Input {
    Input::Written { epoch: 1, messages, payload, heartbeat: false }
}

#[test]
fn a_part_that_is_written_is_not_buffered() {
    let config = Config { max_buffered_bytes: 2 * 64 + 20, ..plain() };
    let (mut machine, now) = handed_out(config, &["0123456789", "0123456789"]);
    assert_eq!(machine.send(text(""), now), Err(SendRefused::QueueFull));
    machine.handle(written(0, 4), now);
    assert_eq!(machine.buffered_amount(), 16);
    assert_eq!(machine.send(text(""), now), Err(SendRefused::QueueFull), "it needs memory still");
    machine.handle(written(1, 8), now);
    assert_eq!(machine.buffered_amount(), 8);
    assert_eq!(machine.send(text(""), now), Ok(SendOutcome::Sent));
    let old = Input::Written { epoch: 0, messages: 1, payload: 8, heartbeat: true };
    machine.handle(old, now);
    assert_eq!(machine.buffered_amount(), 8);
}

/// It was handed out to a connection that never began it.
#[test]
fn what_comes_back_is_first_on_the_next_connection() {
    let (mut machine, now) = handed_out(plain(), &["written", "a", "bb"]);
    machine.send(text("waiting"), now).expect("it is open");
    machine.handle(written(1, 7), now);
    let failure = Failure::new(ErrorKind::ConnectionLost, "");
    assert!(machine.has(1));
    machine.handle(Input::Failed { epoch: 1, failure }, now);
    assert!(!machine.has(1));
    machine.give_back(vec![text("a"), text("bb")], now);
    assert_eq!(machine.buffered_amount(), 10);
    machine.send(text("later"), now).expect("the queue has room");
    machine.handle_timeout(now + ms(1_000));
    machine.handle(Input::Opened { dial: 2 }, now + ms(1_000));
    let next = std::iter::from_fn(|| machine.poll_transmit());
    let expected = ["a", "bb", "waiting", "later"].map(|word| Transmit::Message(text(word)));
    assert_eq!(next.collect::<Vec<_>>(), expected);
}

#[test]
fn what_comes_back_is_as_old_as_it_was() {
    let queue = QueueLimits { max_age: Some(ms(500)), ..plain().queue };
    let (mut machine, now) = handed_out(Config { queue, ..plain() }, &["old"]);
    machine.send(text("young"), now + ms(400)).expect("it is open");
    assert!(machine.poll_transmit().is_some());
    let failure = Failure::new(ErrorKind::ConnectionLost, "");
    machine.handle(Input::Failed { epoch: 1, failure }, now + ms(400));
    machine.give_back(vec![text("old"), text("young")], now + ms(400));
    machine.handle(Input::ReconnectNow, now + ms(600));
    machine.handle(Input::Opened { dial: 2 }, now + ms(600));
    let opened = machine.poll_all().into_iter().find_map(|output| match output {
        Output::Emit(Event::Open { epoch: 2, unsent, .. }) => Some(unsent),
        _ => None,
    });
    assert_eq!(opened, Some(vec![text("old")]));
    assert_eq!(machine.poll_transmit(), Some(Transmit::Message(text("young"))));
}

#[test]
fn what_comes_back_when_the_task_is_over_comes_with_the_final_close() {
    let (mut machine, now) = handed_out(plain(), &["handed out"]);
    machine.send(text("waiting"), now).expect("it is open");
    machine.handle(Input::Close { code: 1000, reason: String::new() }, now);
    machine.handle_timeout(now + ms(3_000));
    machine.give_back(vec![text("handed out")], now + ms(3_000));
    let unsent = machine.poll_all().into_iter().find_map(|output| match output {
        Output::Emit(Event::Close { retry: None, unsent, .. }) => Some(unsent),
        _ => None,
    });
    assert_eq!(unsent, Some(vec![text("handed out"), text("waiting")]));
    assert_eq!(machine.buffered_amount(), 0);
}

fn asking(payload: HeartbeatPayload) -> (Session, Instant) {
    let heartbeat = Heartbeat {
        payload,
        interval: ms(10_000),
        timeout: ms(4_000),
        reply: None,
        strict: false,
        deliver_reply: false,
        idle_driven: false,
    };
    let config = Config { heartbeat: Some(heartbeat), ..plain() };
    let (mut machine, now) = handed_out(config, &["large"]);
    machine.handle_timeout(now + ms(10_000));
    machine.send(text("behind it"), now).expect("it is open");
    (machine, now)
}

/// A large message is on its way: nothing but a control frame may go between its fragments.
#[test]
fn a_ping_does_not_wait_for_the_end_of_a_message() {
    let (mut machine, now) = asking(HeartbeatPayload::Ping);
    assert!(matches!(machine.poll_ping(), Some(Transmit::Ping(_))));
    assert_eq!(machine.poll_ping(), None);
    assert_eq!(machine.poll_transmit(), None, "it goes by itself");
    // The time for its answer begins when it is written, whatever else is not.
    let part = |heartbeat| Input::Written { epoch: 1, messages: 0, payload: 2, heartbeat };
    machine.handle(part(false), now + ms(11_000));
    assert_eq!(machine.next_timeout(), Some(now + ms(14_000)));
    machine.handle(part(true), now + ms(12_000));
    assert_eq!(machine.next_timeout(), Some(now + ms(16_000)));
    assert_eq!(machine.poll_transmit(), Some(Transmit::Message(text("behind it"))));
}

#[test]
fn a_heartbeat_that_is_a_message_waits_for_the_end_of_the_one_before() {
    let (mut machine, _) = asking(HeartbeatPayload::Text { text: "ping".to_owned() });
    assert_eq!(machine.poll_ping(), None);
    assert_eq!(machine.poll_transmit(), Some(Transmit::Own(text("ping"))));
}

#[test]
fn the_close_frame_waits_for_the_end_of_the_message() {
    let (mut machine, now) = asking(HeartbeatPayload::Ping);
    machine.handle(Input::Close { code: 1000, reason: String::new() }, now);
    assert_eq!(machine.poll_ping(), None);
}
