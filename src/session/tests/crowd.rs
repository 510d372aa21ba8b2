//! More waits for the app than a dial may add to.

use super::heartbeat::{open, pinging};
use super::reconnect::{refused, under};
use super::script::{Connection, ms};
use super::sim::{Sim, fixed, plain, policy};
use super::timeline::name;
use crate::session::{Backoff, ErrorKind, Input, Output, Session};
use std::time::Instant;

/// The retry keeps its time, as long as nobody hurries.
#[test]
fn a_retry_waits_for_room_and_for_its_time() {
    for (roomy, dialled) in [(400, 1_000), (1_000, 1_000), (5_000, 5_000)] {
        let mut sim =
            Sim::new(under(policy(Backoff::Fixed(ms(1_000)), Some(1)))).then(refused()).connected();
        sim.run_until(10);
        sim.input(Input::Crowded(true));
        assert_eq!(name(sim.machine.phase()), "Suspended");
        assert_eq!(sim.next_timeout(), None);
        sim.run_until(roomy);
        sim.input(Input::Crowded(false));
        sim.run_until(10_000);
        assert_eq!(sim.only(&["dial 2"]), [format!("{dialled} dial 2 attempt 1")]);
    }
}

/// What is under way goes on, and what ends says that no retry is due.
#[test]
fn a_dial_under_way_goes_on() {
    let mut sim = Sim::new(plain())
        .then(Connection::fails(300, ErrorKind::Refused))
        .always(Connection::opens(300).dropping(500))
        .connected();
    sim.input(Input::Crowded(true));
    sim.run_until(2_000);
    sim.expect(&[
        "0 dial 1 attempt 0",
        "300 error 1 Refused",
        r#"300 close 1 1006 "" retry 1/- held"#,
    ]);
    sim.input(Input::Crowded(false));
    sim.run_for(100);
    sim.input(Input::Crowded(true));
    sim.run_until(60_000);
    assert_eq!(sim.times("open 2"), [2_300]);
    assert!(sim.only(&["close 2"])[0].ends_with("held"), "{:?}", sim.timeline());
    assert_eq!(sim.times("dial"), [0, 2_000]);
}

/// An open connection is asked for a sign of life as ever.
#[test]
fn an_open_connection_is_still_probed() {
    let mut sim = open(pinging(), Connection::opens(0).ponging(50));
    sim.run_until(3_000);
    sim.input(Input::Crowded(true));
    sim.input(Input::Network(true.into()));
    assert_eq!(sim.times("write Ping"), [3_000]);
}

#[test]
fn nothing_that_the_app_reports_adds_an_event() {
    let mut sim = Sim::new(plain()).always(refused()).connected();
    sim.run_until(10);
    sim.input(Input::Crowded(true));
    sim.forget();
    for _ in 0..1_000 {
        sim.input(Input::Network(false.into()));
        sim.input(Input::Network(true.into()));
        sim.input(Input::ReconnectNow);
        sim.input(Input::Pause);
        sim.input(Input::Resume);
    }
    sim.run_until(60_000);
    sim.expect(&[]);
    // It was asked to hurry, so it does not wait for the time of the retry.
    sim.input(Input::Crowded(false));
    sim.run_for(0);
    assert_eq!(sim.times("dial 2 attempt 0"), [60_000]);
}

/// Other holds count as long as they last.
#[test]
fn room_alone_is_not_enough_while_the_network_is_gone() {
    let mut sim = Sim::new(plain()).then(refused()).connected();
    sim.run_until(10);
    sim.input(Input::Crowded(true));
    sim.input(Input::Network(false.into()));
    sim.input(Input::Crowded(false));
    sim.run_until(60_000);
    assert_eq!(sim.times("dial"), [0]);
    sim.input(Input::Network(true.into()));
    assert_eq!(sim.times("dial"), [0, 60_000]);
}

/// The app may be faster than the driver.
#[test]
fn reports_that_come_before_the_outputs_are_taken_do_not_pile_up() {
    let now = Instant::now();
    let mut machine = Session::new(plain(), fixed(0.5));
    machine.handle(Input::Connect, now);
    for _ in 0..10_000 {
        machine.handle(Input::Network(false.into()), now);
        machine.handle(Input::Network(true.into()), now);
    }
    let count = machine.poll_all().len();
    assert!(count < 100, "{count}");
    // Nothing is lost: the dial begins as soon as somebody looks at what is due.
    assert_eq!(machine.next_timeout(), Some(now));
    machine.handle_timeout(now);
    assert!(matches!(machine.poll_all().front(), Some(Output::Dial { attempt: 0, .. })));
}
