//! The device sleeps: time passes, and nobody is awake to hear what the network says.

use super::heartbeat::{open, pinging};
use super::reconnect::{FULL_JITTER, refused, under};
use super::script::{Connection, ms, refusal};
use super::sim::{Sim, fixed, plain, policy};
use super::timeline::name;
use super::transitions::{State, in_state};
use crate::session::{Backoff, ErrorKind, Failure, Input};

/// The device sleeps, and the driver does what it does when it notices.
fn sleep_and_wake(sim: &mut Sim, millis: u64) {
    sim.sleep(millis);
    sim.input(Input::Woke { slept: ms(millis) });
    sim.timeout();
}

/// Waking up is no reason to try before the time that the backoff or the server has set.
#[test]
fn a_retry_that_is_not_due_after_a_sleep_waits_until_it_is() {
    let asked = Connection::fails_with(0, refusal(503, true, Some(ms(60_000))));
    let mut sim = Sim::new(under(policy(Backoff::Fixed(ms(5_000)), None))).always(asked);
    sim.input(Input::Connect);
    sim.run_until(10_000);
    let due = sim.next_timeout();
    assert!(due >= Some(ms(60_000)));
    for _ in 0..5 {
        sleep_and_wake(&mut sim, 4_000);
        sim.run_for(1_000);
    }
    assert_eq!(sim.times("dial"), [0]);
    assert_eq!(sim.next_timeout(), due);
    sleep_and_wake(&mut sim, 3_600_000);
    assert_eq!(sim.only(&["dial"])[1..], ["3635000 dial 2 attempt 1"]);
}

/// A server that is down for a day is left alone, however often the device takes a nap.
#[test]
fn many_short_sleeps_keep_the_slow_pace() {
    let dials = |naps: bool| {
        let down = Connection::fails_with(20, refusal(503, true, None));
        let config = under(policy(FULL_JITTER, None));
        let mut sim = Sim::with_jitter(config, fixed(0.5)).always(down).connected();
        for _ in 0..24 * 60 * 3 {
            sim.run_for(16_000);
            if naps {
                sleep_and_wake(&mut sim, 4_000);
            } else {
                sim.run_for(4_000);
            }
        }
        sim.times("dial").len()
    };
    let (awake, napping) = (dials(false), dials(true));
    assert!(awake.abs_diff(napping) <= awake / 50, "{napping} dials instead of {awake}");
}

/// A dial from before the sleep has lost its answers. What is left of it is not heard.
#[test]
fn a_dial_from_before_a_sleep_is_begun_again_as_the_same_attempt() {
    let mut sim = Sim::new(under(policy(Backoff::Fixed(ms(1_000)), Some(1))))
        .then(refused())
        .then(Connection::opens(3_601_000))
        .then(Connection::opens(500))
        .connected();
    sim.run_until(1_100);
    sim.sleep(3_600_000);
    sim.forget();
    for _ in 0..3 {
        sim.input(Input::Woke { slept: ms(0) });
    }
    sim.run_for(10_000);
    sim.expect(&[
        "3601100 abort 2",
        "3601100 dial 2 attempt 1",
        "3601100 abort 2",
        "3601100 dial 2 attempt 1",
        "3601100 abort 2",
        "3601100 dial 2 attempt 1",
    ]);
}

/// Who was away an hour did not fail for an hour: the slow pace is for servers that are down.
#[test]
fn a_sleep_does_not_count_as_failing() {
    let mut sim = Sim::with_jitter(under(policy(FULL_JITTER, None)), fixed(0.5))
        .always(refused())
        .connected();
    sim.run_until(1);
    sim.forget();
    sleep_and_wake(&mut sim, 3_600_000);
    sim.run_for(0);
    assert!(sim.only(&["close 2"])[0].ends_with("retry 2/- in 1500"), "{:?}", sim.timeline());
}

#[test]
fn a_retry_slept_through_is_one_dial() {
    let mut sim = Sim::new(plain()).then(refused()).connected();
    sim.run_until(1);
    sim.sleep(60 * 60 * 1_000);
    sim.timeout();
    assert_eq!(sim.times("dial"), [0, 3_600_001]);
    assert_eq!(sim.next_timeout(), None);
}

/// An hour late is one heartbeat and one deadline, not three hundred and sixty.
#[test]
fn an_interval_slept_through_is_one_question() {
    let mut sim = open(pinging(), Connection::opens(0));
    sim.forget();
    sim.sleep(60 * 60 * 1_000);
    sim.timeout();
    sim.timeout();
    sim.expect(&["3600000 write Ping 1"]);
    assert_eq!(sim.next_timeout(), Some(ms(3_604_000)));
    sim.run_for(4_000);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [3_604_000]);
}

/// Nobody was awake to hear the answer: ask once more, briefly. A second miss is death.
#[test]
fn a_deadline_slept_through_is_one_more_question() {
    let mut sim = open(pinging(), Connection::opens(0));
    sim.run_until(10_000);
    sim.forget();
    sim.sleep(60 * 60 * 1_000);
    sim.timeout();
    sim.timeout();
    sim.expect(&["3610000 write Ping 2"]);
    assert_eq!(sim.next_timeout(), Some(ms(3_612_500)));
    sim.run_for(60_000);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [3_612_500]);
}

/// The driver says so before it handles any deadline: one question, with the whole time of a
/// probe, however little was left of the time for the older one.
#[test]
fn a_sleep_with_a_question_under_way_is_one_more_question() {
    for asleep in [3_900, 4_000, 3_600_000] {
        let mut sim = open(pinging(), Connection::opens(0));
        sim.run_until(10_000);
        sim.forget();
        sim.sleep(asleep);
        sim.input(Input::Woke { slept: ms(0) });
        sim.timeout();
        let woke = 10_000 + asleep;
        sim.expect(&[&format!("{woke} write Ping 2")]);
        sim.run_for(60_000);
        assert_eq!(sim.times("error 1 HeartbeatTimeout"), [woke + 2_500]);
        assert_eq!(sim.times("dial 2"), [woke + 2_500]);
    }
}

#[test]
fn a_sleep_without_a_heartbeat_is_a_question_too() {
    let mut sim = Sim::new(plain()).then(Connection::opens(0).ponging(50)).connected();
    sim.run_until(1_000);
    sim.sleep(3_600_000);
    sim.input(Input::Woke { slept: ms(0) });
    sim.run_for(60_000);
    assert_eq!(sim.times("write Ping 1"), [3_601_000]);
    sim.never("error");
}

#[test]
fn a_second_deadline_slept_through_is_death() {
    let mut sim = open(pinging(), Connection::opens(0));
    sim.run_until(10_000);
    sim.sleep(60_000);
    sim.timeout();
    sim.never("error");
    sim.sleep(60_000);
    sim.timeout();
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [130_000]);
}

/// Whoever was heard in between has the same grace again.
#[test]
fn life_after_a_deadline_slept_through_is_a_fresh_start() {
    let mut sim = open(pinging(), Connection::opens(0).ponging(50));
    for _ in 0..5 {
        // Asleep between the Ping and the answer, which is lost.
        let due = sim.next_timeout().expect("the next Ping");
        sim.run_for((due - sim.now()).as_millis() as u64);
        sim.sleep(30_000);
        sim.timeout();
        sim.run_for(50);
    }
    sim.never("error");
    assert_eq!(sim.times("write Ping").len(), 10);
}

/// A timer that is a little late is no sleep.
#[test]
fn a_deadline_missed_by_less_than_two_seconds_is_death() {
    for (late, dead) in [(1_999, true), (2_000, false)] {
        let mut sim = open(pinging(), Connection::opens(0));
        sim.run_until(10_000);
        sim.sleep(4_000 + late);
        sim.timeout();
        assert_eq!(!sim.times("error").is_empty(), dead, "{late}");
    }
}

/// What was forgiven to one connection is not held against the next.
#[test]
fn every_connection_is_forgiven_once() {
    let mut sim = open(pinging(), Connection::opens(0)).always(Connection::opens(0));
    for epoch in 1..=2 {
        sim.run_for(10_000);
        sim.sleep(60_000);
        sim.timeout();
        sim.never(&format!("error {epoch}"));
        sim.input(Input::Failed { epoch, failure: Failure::new(ErrorKind::ConnectionLost, "") });
        sim.run_for(1_000);
    }
}

/// Nothing is begun that would be interrupted at once.
#[test]
fn a_grace_that_ended_in_sleep_comes_first() {
    for (state, said) in [
        (State::Waiting, vec![]),
        (State::Connecting, vec!["abort 2", "error 2 Interrupted", "close 2 1006"]),
        (State::Open, vec!["hang up 2", "close 2 1006"]),
    ] {
        let mut sim = in_state(state);
        sim.input(Input::Foreground(false));
        sim.sleep(60_000);
        sim.input(Input::Woke { slept: ms(0) });
        sim.timeout();
        let lines = sim.timeline();
        assert_eq!(lines.len(), said.len(), "{state:?}: {lines:?}");
        for (line, said) in lines.iter().zip(said) {
            assert!(line.contains(said), "{state:?}: {lines:?}");
        }
        assert_eq!(name(sim.machine.phase()), "Suspended");
        assert_eq!(sim.next_timeout(), None);
    }
}

/// The time to close is over when the device wakes up.
#[test]
fn a_close_that_was_due_in_sleep_is_due_at_once() {
    let mut sim = in_state(State::Closing);
    sim.sleep(60_000);
    sim.input(Input::Woke { slept: ms(0) });
    sim.expect(&[]);
    sim.timeout();
    assert_eq!(sim.only(&["close"]), [r#"61000 close 2 3000 "first" final"#]);
}
