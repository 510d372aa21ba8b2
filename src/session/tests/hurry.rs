//! A wait that is cut short, and a dial that is begun again.

use super::reconnect::{refused, under};
use super::script::{Connection, ms};
use super::sim::{Sim, plain, policy};
use crate::session::{Backoff, Config, ErrorKind, Input, NetworkStatus};

#[test]
fn asking_to_hurry_dials_at_once_with_a_fresh_counter() {
    for hurry in [Input::ReconnectNow, Input::Network(true.into()), Input::Foreground(true)] {
        let mut sim = Sim::new(under(policy(Backoff::Fixed(ms(1_000)), Some(2))))
            .always(refused())
            .connected();
        sim.run_until(1_400);
        sim.input(hurry);
        sim.run_until(60_000);
        assert_eq!(
            sim.only(&["dial"]),
            [
                "0 dial 1 attempt 0",
                "1000 dial 2 attempt 1",
                "1400 dial 3 attempt 0",
                "2400 dial 4 attempt 1",
                "3400 dial 5 attempt 2",
            ]
        );
        assert_eq!(sim.times("error 5 ReconnectLimit"), [3_400]);
    }
}

/// A dial that gets on is not disturbed, but the counter starts afresh.
#[test]
fn asking_to_hurry_a_dial_that_gets_on_starts_no_second_one() {
    for hurry in [Input::ReconnectNow, Input::Foreground(true)] {
        let mut sim = Sim::new(under(policy(Backoff::Fixed(ms(1_000)), Some(1))))
            .always(Connection::fails(500, ErrorKind::Timeout))
            .connected();
        sim.run_until(1_700);
        sim.input(hurry);
        sim.run_until(60_000);
        assert_eq!(sim.times("dial"), [0, 1_500, 3_000]);
        assert_eq!(sim.times("error 3 ReconnectLimit"), [3_500]);
    }
}

/// A dial on a network that is gone hangs until its time is over.
#[test]
fn another_network_begins_the_dial_again() {
    let mut sim = Sim::new(under(policy(Backoff::Fixed(ms(1_000)), Some(1))))
        .then(Connection::fails(0, ErrorKind::Refused))
        .then(Connection::opens(5_000))
        .then(Connection::opens(20))
        .connected();
    sim.run_until(1_300);
    sim.input(Input::Network(true.into()));
    // What becomes of the dial that was given up is not heard.
    sim.run_until(20_000);
    sim.expect(&[
        "0 dial 1 attempt 0",
        "0 error 1 Refused",
        r#"0 close 1 1006 "" retry 1/1 in 1000"#,
        "1000 dial 2 attempt 1",
        "1300 abort 2",
        "1300 dial 2 attempt 0",
        "1320 open 2 attempt 0",
    ]);
    assert_eq!(sim.dial, 3);
}

/// A network that is told at the moment of the dial is the one that it uses.
#[test]
fn a_dial_that_began_with_the_network_is_not_begun_again() {
    let mut sim = Sim::new(plain()).always(Connection::hangs());
    sim.input(Input::Network(false.into()));
    sim.input(Input::Connect);
    sim.input(Input::Network(true.into()));
    sim.input(Input::Network(true.into()));
    sim.expect(&["0 dial 1 attempt 0"]);
}

#[test]
fn the_impatient_begin_a_dial_again_that_has_not_moved_for_two_seconds() {
    for hurry in [Input::ReconnectNow, Input::Foreground(true)] {
        let mut sim = Sim::new(plain()).always(Connection::hangs()).connected();
        sim.run_until(1_999);
        sim.input(hurry.clone());
        assert_eq!(sim.times("dial"), [0], "{hurry:?}");
        sim.run_until(2_000);
        sim.input(hurry.clone());
        sim.run_until(3_999);
        sim.input(hurry.clone());
        assert_eq!(
            sim.timeline(),
            ["0 dial 1 attempt 0", "2000 abort 1", "2000 dial 1 attempt 0"],
            "{hurry:?}"
        );
        // Each step that it passes gives it time; a step of the dial before does not.
        sim.input(Input::DialProgress { dial: 2 });
        sim.run_until(5_900);
        sim.input(Input::DialProgress { dial: 1 });
        sim.input(hurry.clone());
        assert_eq!(sim.times("dial"), [0, 2_000], "{hurry:?}");
        sim.run_until(5_999);
        sim.input(hurry.clone());
        assert_eq!(sim.times("dial"), [0, 2_000, 5_999], "{hurry:?}");
    }
}

/// While the app is asked nothing is dialled, so there is nothing to begin again. From the answer
/// on there is.
#[test]
fn a_dial_whose_app_has_not_answered_is_not_begun_again() {
    for hurry in [
        Input::Network(true.into()),
        Input::ReconnectNow,
        Input::Foreground(true),
        Input::Woke { slept: ms(4_000) },
    ] {
        let config = Config { can_refresh: true, ..plain() };
        let mut sim = Sim::new(config).always(Connection::hangs()).connected();
        for _ in 0..8 {
            sim.run_for(3_000);
            sim.input(hurry.clone());
        }
        assert_eq!(sim.timeline(), ["0 dial 1 attempt 0"], "{hurry:?}");
        sim.input(Input::DialProgress { dial: 1 });
        // The dial begins with the network of this moment.
        sim.input(Input::Network(true.into()));
        assert_eq!(sim.times("dial"), [0], "{hurry:?}");
        sim.run_for(3_000);
        sim.input(hurry.clone());
        sim.input(hurry.clone());
        // The next one asks, too.
        assert_eq!(sim.times("dial"), [0, 27_000], "{hurry:?}");
    }
}

/// What is told of the network cannot keep a dial from ever succeeding.
#[test]
fn a_system_that_never_stops_reporting_networks_lets_a_dial_succeed() {
    let mut sim = Sim::new(plain()).always(Connection::opens(700).dropping(2_000)).connected();
    for _ in 0..8 {
        sim.run_for(300);
        sim.input(Input::Network(true.into()));
    }
    assert_eq!(sim.times("dial"), [0, 300, 600, 900, 1_200, 1_500]);
    assert_eq!(sim.times("open"), [2_200]);
    // The next connection has the same right again.
    sim.run_until(4_300);
    sim.forget();
    sim.input(Input::Network(true.into()));
    sim.expect(&["4300 abort 2", "4300 dial 2 attempt 0"]);
}

#[test]
fn the_same_network_again_is_no_change_and_another_one_is() {
    let network = |id: &str, metered| {
        let status = NetworkStatus { id: Some(id.to_owned()), metered, ..true.into() };
        Input::Network(status)
    };
    let mut sim =
        Sim::new(under(policy(Backoff::Fixed(ms(60_000)), None))).always(refused()).connected();
    sim.run_until(1);
    let mut dials = 1;
    for (input, is_news) in [
        (network("wifi 1", false), true),
        (network("wifi 1", false), false),
        (network("wifi 1", true), false),
        (network("cell 2", true), true),
        (Input::Network(false.into()), false),
        (network("cell 2", true), true),
        (Input::Network(true.into()), true),
        (Input::Network(true.into()), true),
    ] {
        sim.input(input.clone());
        sim.run_for(1_000);
        dials += usize::from(is_news);
        assert_eq!(sim.only(&["dial"]).len(), dials, "{input:?}");
    }
}
