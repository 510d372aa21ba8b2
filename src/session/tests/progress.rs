//! Bytes on a slow line: when the time for an answer begins, and what counts as life meanwhile.

use super::script::{Connection, ms, text};
use super::sim::{Sim, plain};
use crate::session::{Config, Heartbeat, HeartbeatPayload, Input};

/// A Ping after 10 s, 4 s to answer.
fn pinging() -> Heartbeat {
    Heartbeat {
        payload: HeartbeatPayload::Ping,
        interval: ms(10_000),
        timeout: ms(4_000),
        reply: None,
        strict: false,
        deliver_reply: false,
        idle_driven: false,
    }
}

/// Connected since 0 ms to a server that says nothing by itself.
fn open(heartbeat: Heartbeat, server: Connection) -> Sim {
    let config = Config { heartbeat: Some(heartbeat), ..plain() };
    let mut sim = Sim::new(config).then(server).connected();
    sim.run_for(0);
    sim
}

/// As `open`, and the kernel takes nothing: a large message fills its buffer.
fn uploading(heartbeat: Heartbeat) -> Sim {
    let mut sim = open(heartbeat, Connection::opens(0).ponging(80));
    sim.set_writable(false);
    tell(&mut sim, 500_000, 100_000);
    sim
}

fn tell(sim: &mut Sim, written: u64, acknowledged: u64) {
    sim.input(Input::Progress { epoch: 1, written, acknowledged: Some(acknowledged) });
}

/// The error of the heartbeat, at this time and no other.
#[track_caller]
fn dies_at(mut sim: Sim, millis: u64) {
    sim.run_for(120_000);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [millis], "{}", sim.story());
}

/// The Ping cannot be written for a minute. It is asked once all the same.
#[test]
fn an_upload_that_makes_progress_is_life() {
    let mut sim = uploading(pinging());
    for second in 10..=60 {
        sim.run_until(second * 1_000);
        tell(&mut sim, 500_000 + second, 100_000 + second);
    }
    sim.never("error");
    sim.set_writable(true);
    sim.run_until(60_080);
    assert_eq!(sim.times("write Ping"), [60_000]);
    assert_eq!(sim.machine.counters().last_rtt, Some(ms(80)));
    sim.run_until(90_000);
    sim.never("error");
}

/// The line dies in the middle of an upload: within interval and timeout of the last progress.
#[test]
fn an_upload_without_progress_is_death() {
    dies_at(uploading(pinging()), 14_000);

    let mut sim = uploading(pinging());
    sim.run_until(10_000);
    tell(&mut sim, 500_000, 100_000);
    sim.run_until(12_000);
    tell(&mut sim, 500_000, 100_001);
    sim.run_until(13_000);
    // What our own kernel takes says nothing, and neither does the same again.
    tell(&mut sim, 600_000, 100_001);
    dies_at(sim, 16_000);
}

#[test]
fn strict_takes_no_progress_for_an_answer() {
    let mut sim = uploading(Heartbeat { strict: true, ..pinging() });
    for second in 10..14 {
        sim.run_until(second * 1_000);
        tell(&mut sim, 500_000, 100_000 + second);
    }
    dies_at(sim, 14_000);
}

#[test]
fn the_time_for_an_answer_begins_in_the_kernel() {
    for strict in [false, true] {
        let mut sim = open(Heartbeat { strict, ..pinging() }, Connection::opens(0));
        sim.set_writable(false);
        sim.run_until(13_000);
        sim.set_writable(true);
        assert_eq!(sim.next_timeout(), Some(ms(17_000)));
        dies_at(sim, 17_000);
    }
}

/// Nothing goes out behind the Ping before it is known to be in the kernel: it would be taken for
/// what lies ahead of it.
#[test]
fn a_heartbeat_is_flushed_by_itself() {
    let now = std::time::Instant::now();
    let config = Config { heartbeat: Some(pinging()), ..plain() };
    let mut machine = crate::session::Session::new(config, super::sim::fixed(0.5));
    machine.handle(Input::Connect, now);
    machine.handle(Input::Opened { dial: 1 }, now);
    machine.handle_timeout(now + ms(10_000));
    machine.send(text("a"), now).expect("it is open");
    assert!(machine.wants_transmit() && machine.poll_transmit().is_some());
    assert!(!machine.wants_transmit() && machine.poll_transmit().is_none());
    machine.handle(Input::Flushed, now + ms(11_000));
    assert_eq!(machine.next_timeout(), Some(now + ms(15_000)));
    assert!(machine.wants_transmit() && machine.poll_transmit().is_some());
    assert!(!machine.wants_transmit() && machine.poll_transmit().is_none());
}

/// What is in the kernel ahead of the Ping may be half a minute on a slow line.
#[test]
fn bytes_ahead_of_the_heartbeat_are_life_until_it_has_arrived() {
    let mut sim = open(pinging(), Connection::opens(0));
    sim.run_until(9_000);
    tell(&mut sim, 1_000_000, 500_000);
    sim.run_until(12_000);
    tell(&mut sim, 1_000_010, 700_000);
    assert_eq!(sim.next_timeout(), Some(ms(16_000)));
    sim.run_until(15_000);
    tell(&mut sim, 1_000_010, 900_000);
    assert_eq!(sim.next_timeout(), Some(ms(19_000)));
    // The Ping has arrived. From now on only its answer counts, whatever the app sends.
    sim.run_until(18_000);
    tell(&mut sim, 1_000_010, 1_000_010);
    for second in 19..22 {
        sim.run_until(second * 1_000);
        tell(&mut sim, 2_000_000, 1_000_010 + second * 1_000);
    }
    dies_at(sim, 22_000);
}

/// The kernel of a server that hangs acknowledges it too.
#[test]
fn that_the_heartbeat_has_arrived_is_no_answer() {
    for written in [0, 1_000] {
        let mut sim = open(pinging(), Connection::opens(0));
        sim.run_until(9_000);
        tell(&mut sim, written, written);
        sim.run_until(11_000);
        tell(&mut sim, written + 10, written + 10);
        dies_at(sim, 14_000);
    }
}

/// Where nobody can say what the peer has: bytes that the kernel takes although its buffer was
/// full. Once the heartbeat is in it, nothing more.
#[test]
fn without_acknowledgements_what_the_kernel_takes_is_progress() {
    let untold = |sim: &mut Sim, written| {
        sim.input(Input::Progress { epoch: 1, written, acknowledged: None })
    };
    let mut sim = open(pinging(), Connection::opens(0));
    sim.set_writable(false);
    for second in 10..=30 {
        sim.run_until(second * 1_000);
        untold(&mut sim, second * 100_000);
    }
    sim.set_writable(true);
    sim.run_until(32_000);
    untold(&mut sim, 9_000_000);
    dies_at(sim, 34_000);
}

/// Progress that is noticed late may be old: the wait is bounded by interval and timeout from the
/// last look, even where the timeout is the longer one.
#[test]
fn progress_that_is_noticed_late_buys_less_time() {
    let heartbeat = Heartbeat { interval: ms(1_000), timeout: ms(10_000), ..pinging() };
    let mut sim = uploading(heartbeat);
    sim.run_until(1_000);
    tell(&mut sim, 500_000, 100_001);
    assert_eq!(sim.next_timeout(), Some(ms(11_000)));
    sim.run_until(10_900);
    tell(&mut sim, 500_000, 200_000);
    assert_eq!(sim.next_timeout(), Some(ms(12_000)));
    sim.run_until(11_500);
    tell(&mut sim, 500_000, 300_000);
    dies_at(sim, 21_500);
}

/// A probe waits behind the same upload.
#[test]
fn a_probe_during_an_upload_has_more_time_too() {
    let mut sim = uploading(pinging());
    sim.run_until(3_000);
    sim.input(Input::Network(true.into()));
    assert_eq!(sim.next_timeout(), Some(ms(5_500)));
    sim.run_until(5_000);
    tell(&mut sim, 500_000, 200_000);
    dies_at(sim, 7_500);
}

#[test]
fn it_watches_only_while_an_answer_is_awaited() {
    let mut sim = open(pinging(), Connection::opens(0).ponging(80));
    assert!(!sim.machine.watches_progress());
    sim.run_until(10_000);
    assert!(sim.machine.watches_progress());
    sim.run_until(10_080);
    assert!(!sim.machine.watches_progress());
    let next = sim.next_timeout();
    tell(&mut sim, 1_000, 1_000);
    assert_eq!(sim.next_timeout(), next);
}

#[test]
fn the_progress_of_an_older_connection_is_no_life() {
    let mut sim =
        open(pinging(), Connection::opens(0).dropping(5_000)).always(Connection::opens(0));
    tell(&mut sim, 1_000_000, 900_000);
    // The second connection is open from 6 s on, and asks at 16 s.
    sim.run_until(6_000);
    sim.set_writable(false);
    sim.run_until(17_000);
    tell(&mut sim, 1_000_000, 950_000);
    sim.input(Input::Progress { epoch: 2, written: 600, acknowledged: Some(500) });
    assert_eq!(sim.next_timeout(), Some(ms(21_000)));
    sim.run_until(60_000);
    assert_eq!(sim.times("error 2 HeartbeatTimeout"), [21_000]);
}
