//! What must not cost a healthy connection its life, and what must not pile up.

use super::script::{Connection, ms, text};
use super::sim::{Sim, fixed, plain};
use crate::session::{Config, Heartbeat, HeartbeatPayload, Input, Session};

fn beating(reply_needed: bool) -> Config {
    let heartbeat = Heartbeat {
        payload: HeartbeatPayload::Text { text: "ping".to_owned() },
        interval: ms(10_000),
        timeout: ms(4_000),
        reply: reply_needed.then(|| crate::session::ReplyMatch::Text { text: "pong".to_owned() }),
        strict: false,
        deliver_reply: false,
        idle_driven: false,
    };
    Config { heartbeat: Some(heartbeat), ..plain() }
}

fn open(config: Config) -> Sim {
    let mut sim = Sim::new(config).then(Connection::opens(0)).connected();
    sim.run_for(0);
    sim
}

/// The answer may lie unread in the kernel when a slow listener is done at last.
#[test]
fn who_has_just_begun_to_listen_listens_for_a_while() {
    let mut sim = open(beating(true));
    sim.run_until(13_000);
    sim.input(Input::ReadPaused(true));
    sim.run_until(13_999);
    sim.input(Input::ReadPaused(false));
    assert_eq!(sim.next_timeout(), Some(ms(13_999 + 2_500)));
    sim.run_until(16_000);
    assert!(sim.only(&["error"]).is_empty(), "given up too soon");
    sim.run_until(17_000);
    assert_eq!(sim.only(&["error"]).len(), 1, "dead all the same");
}

/// Only someone who did not listen needs time to catch up.
#[test]
fn who_goes_on_listening_or_stops_gets_no_more_time() {
    for paused in [false, true] {
        let mut sim = open(beating(true));
        sim.run_until(13_000);
        sim.input(Input::ReadPaused(paused));
        assert_eq!(sim.next_timeout(), Some(ms(14_000)), "{paused}");
    }
}

#[test]
fn resuming_what_is_not_paused_changes_nothing() {
    let mut sim = open(beating(true));
    sim.input(Input::Resume);
    assert!(sim.only(&["write"]).is_empty(), "nobody asked");
    let mut sim = Sim::new(plain()).always(Connection::hangs()).connected();
    sim.input(Input::DialFailed {
        dial: 1,
        failure: crate::session::Failure::new(crate::session::ErrorKind::Refused, ""),
    });
    sim.input(Input::Resume);
    assert_eq!(sim.only(&["dial"]).len(), 1, "the retry is not due yet");
}

/// An operating system that cannot stop talking about the network.
#[test]
fn questions_that_cannot_be_written_do_not_pile_up() {
    let mut sim = open(beating(true));
    sim.set_writable(false);
    for _ in 0..100 {
        sim.input(Input::Network(true.into()));
    }
    sim.set_writable(true);
    assert_eq!(sim.only(&["write"]).len(), 1);
}

/// A peer that talks and does not read: every word is life, so the next heartbeat is always due.
#[test]
fn heartbeats_that_cannot_be_written_do_not_pile_up() {
    for handed_out in [false, true] {
        let now = std::time::Instant::now();
        let mut machine = Session::new(beating(true), fixed(0.5));
        machine.handle(Input::Connect, now);
        machine.handle(Input::Opened { dial: 1 }, now);
        let mut asked = 0;
        for beat in 1..=3_600 {
            machine.handle_timeout(now + ms(beat * 10_000));
            let heard = Input::Received { epoch: 1, message: text("news") };
            machine.handle(heard, now + ms(beat * 10_000 + 1));
            // Into a buffer of the transport that is never written.
            if handed_out {
                asked += std::iter::from_fn(|| machine.poll_transmit()).count();
            }
        }
        asked += std::iter::from_fn(|| machine.poll_transmit()).count();
        assert_eq!(asked, 1, "{handed_out}");
        // Once it is written the next one may be asked.
        machine.handle(Input::Flushed, now + ms(36_001_000));
        machine.handle_timeout(now + ms(36_010_000));
        assert!(machine.poll_transmit().is_some());
        assert!(machine.poll_transmit().is_none());
    }
}

/// The answer proves that the question was written, whatever else still waits.
#[test]
fn after_the_answer_the_next_heartbeat_asks_again() {
    let now = std::time::Instant::now();
    let mut machine = Session::new(beating(true), fixed(0.5));
    machine.handle(Input::Connect, now);
    machine.handle(Input::Opened { dial: 1 }, now);
    machine.handle_timeout(now + ms(10_000));
    assert!(machine.poll_transmit().is_some());
    machine.handle(Input::Received { epoch: 1, message: text("pong") }, now + ms(10_100));
    machine.handle_timeout(now + ms(20_100));
    assert!(machine.poll_transmit().is_some());
}

/// The greeting asks nothing.
#[test]
fn a_greeting_does_not_take_the_place_of_a_question() {
    let config = Config { greeting: Some(text("hello")), ..beating(true) };
    let mut sim = Sim::new(config).then(Connection::opens(10)).connected();
    sim.set_writable(false);
    sim.run_until(10);
    sim.input(Input::Network(true.into()));
    sim.set_writable(true);
    assert_eq!(sim.only(&["write"]), ["10 write hello", "10 write ping"]);
}

/// Where any message is an answer, the first one after the question measures the round trip.
#[test]
fn any_message_measures_where_any_message_answers() {
    let mut sim = open(beating(false));
    sim.run_until(10_300);
    sim.input(Input::Received { epoch: 1, message: text("news") });
    sim.input(Input::Received { epoch: 1, message: text("more") });
    assert_eq!(sim.machine.counters().last_rtt, Some(ms(300)));
}
