//! A question out of turn, and which answer counts.

use super::heartbeat::{open, pinging};
use super::script::{Connection, ms};
use super::sim::{Sim, fixed, plain};
use crate::session::{Config, Heartbeat, Input, Phase, Session};

/// The answer that was on its way when a probe was put in line is an answer, and in time.
#[test]
fn a_pong_in_time_counts_although_a_probe_was_asked_meanwhile() {
    for strict in [false, true] {
        let heartbeat = Heartbeat { strict, ..pinging() };
        let timeout = heartbeat.timeout.as_millis() as u64;
        let mut sim = open(heartbeat, Connection::opens(0));
        sim.run_until(10_000);
        sim.run_for(timeout - 100);
        sim.input(Input::Network(true.into()));
        assert_eq!(sim.times("write Ping").len(), 2);
        assert_eq!(sim.next_timeout(), Some(ms(10_000 + timeout)), "it puts nothing off");
        sim.run_for(50);
        let pong = |number: u8| Input::Ponged { epoch: 1, payload: vec![0, 0, 0, number].into() };
        sim.input(pong(1));
        sim.run_for(5_000);
        sim.never("error");
        // The round trip is that of the newest.
        assert_eq!(sim.machine.counters().last_rtt, None);
        sim.input(pong(2));
        assert_eq!(sim.machine.counters().last_rtt, Some(ms(5_050)));
        // Each counts once, and only of this connection.
        let due = sim.next_timeout();
        sim.run_for(100);
        for number in [0, 1, 2, 3] {
            sim.input(pong(number));
        }
        if strict {
            assert_eq!(sim.next_timeout(), due);
        }
    }
}

/// What was asked before a sleep may have been answered before it.
#[test]
fn a_pong_from_before_a_sleep_is_no_sign_of_life() {
    let mut sim = open(Heartbeat { strict: true, ..pinging() }, Connection::opens(0));
    sim.run_until(10_000);
    sim.sleep(60_000);
    sim.input(Input::Woke { slept: ms(60_000) });
    sim.input(Input::Ponged { epoch: 1, payload: vec![0, 0, 0, 1].into() });
    sim.run_for(2_500);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [72_500]);
}

/// A question that waits to be written has the whole time of a probe once it is.
#[test]
fn a_probe_leaves_a_question_in_line_time_for_its_answer() {
    for strict in [false, true] {
        let heartbeat = Heartbeat { strict, ..pinging() };
        let timeout = heartbeat.timeout.as_millis() as u64;
        let mut sim = open(heartbeat, Connection::opens(0).ponging(200));
        sim.run_until(9_000);
        sim.set_writable(false);
        sim.run_until(10_000 + timeout - 10);
        sim.input(Input::Network(true.into()));
        sim.run_for(5);
        sim.set_writable(true);
        sim.run_for(1_000);
        sim.never("error");
        assert_eq!(sim.times("write Ping").len(), 1);
    }
}

/// Nobody listened when the time for the answer was over, so the question is asked again.
#[test]
fn a_probe_that_was_excused_is_asked_again_when_reading_goes_on() {
    for answered in [false, true] {
        let server = Connection::opens(0);
        let server = if answered { server.ponging(4_000) } else { server };
        let mut sim = Sim::new(plain()).then(server).connected();
        sim.run_until(1_000);
        sim.input(Input::ReadPaused(true));
        sim.input(Input::Network(true.into()));
        if answered {
            // What is heard after all is an answer.
            sim.run_until(5_000);
        }
        sim.run_until(20_000);
        sim.never("error");
        sim.input(Input::ReadPaused(false));
        sim.run_until(60_000);
        if answered {
            assert_eq!(sim.times("write Ping"), [1_000]);
            sim.never("error");
        } else {
            assert_eq!(sim.times("write Ping"), [1_000, 20_000]);
            assert_eq!(sim.times("error 1 HeartbeatTimeout"), [22_500]);
        }
    }
}

/// The network changes at the very moment at which an answer was due: the probe is what counts.
#[test]
fn a_deadline_that_is_over_does_not_bound_a_probe() {
    let now = std::time::Instant::now();
    let config = Config { heartbeat: Some(pinging()), ..plain() };
    let mut machine = Session::new(config, fixed(0.5));
    machine.handle(Input::Connect, now);
    machine.handle(Input::Opened { dial: 1 }, now);
    let beat = machine.next_timeout().expect("a heartbeat");
    machine.handle_timeout(beat);
    let due = machine.next_timeout().expect("an answer is awaited");
    machine.handle(Input::Network(true.into()), due);
    assert!(machine.next_timeout() > Some(due), "the probe has time of its own");
    machine.handle_timeout(due);
    assert!(matches!(machine.phase(), Phase::Open { .. }));
}
