//! Whether the machine comes back, and when.

use super::script::{Act, Connection, ms, refusal};
use super::sim::{Sim, fixed, plain, policy};
use crate::session::{Backoff, Config, ErrorKind, Failure, Input, Jitter, Output, ReconnectPolicy};
use std::time::Duration;

pub(super) const FULL_JITTER: Backoff = Backoff::FullJitter {
    first: ms(1_000),
    min: ms(1_000),
    max: ms(30_000),
    slow_after: ms(300_000),
    slow: ms(60_000),
};

pub(super) fn under(reconnect: ReconnectPolicy) -> Config {
    Config { reconnect: Some(reconnect), ..plain() }
}

pub(super) fn refused() -> Connection {
    Connection::fails(0, ErrorKind::Refused)
}

/// How long the machine waits after its first dial failed so.
pub(super) fn wait_after(
    reconnect: ReconnectPolicy,
    jitter: f64,
    connection: Connection,
) -> Option<u64> {
    let mut sim = Sim::with_jitter(under(reconnect), fixed(jitter)).then(connection).connected();
    sim.run_for(24 * 60 * 60 * 1_000);
    let dialled = *sim.times("dial").get(1)?;
    Some(dialled - sim.times("close")[0])
}

#[test]
fn a_fixed_delay_is_counted_from_the_end() {
    let mut sim = Sim::new(plain())
        .then(Connection::fails(250, ErrorKind::Dns))
        .then(Connection::opens(10).dropping(7_000))
        .connected();
    sim.run_until(10_000);
    sim.expect(&[
        "0 dial 1 attempt 0",
        "250 error 1 Dns",
        r#"250 close 1 1006 "" retry 1/- in 1000"#,
        "1250 dial 2 attempt 1",
        "1260 open 2 attempt 1",
        "8260 abort 2",
        "8260 error 2 ConnectionLost",
        r#"8260 close 2 1006 "" retry 1/- in 1000"#,
        "9260 dial 3 attempt 1",
    ]);
}

#[test]
fn without_a_policy_the_first_end_is_the_last() {
    for connection in [refused(), Connection::opens(0).dropping(9_000)] {
        let config = Config { reconnect: None, ..plain() };
        let mut sim = Sim::new(config).then(connection).connected();
        sim.run_for(60_000);
        assert_eq!(sim.times("dial"), [0]);
        assert!(sim.only(&["close"])[0].ends_with("final"));
    }
}

/// Attempt 1 is anywhere in 0 to `first`, attempt n in `min` to min(`max`, `min` × 2ⁿ⁻¹).
#[test]
fn full_jitter_follows_its_formula() {
    let numbers = [0.0, 0.25, 0.5, 0.75, 0.999, 0.125, 0.625, 0.0, 0.9];
    let mut upcoming = numbers.into_iter();
    let jitter: Jitter = Box::new(move || upcoming.next().unwrap_or(0.5));
    let mut sim =
        Sim::with_jitter(under(policy(FULL_JITTER, None)), jitter).always(refused()).connected();
    sim.run_for(120_000);
    let times = sim.times("dial");
    for (index, number) in numbers.into_iter().enumerate() {
        let attempt = index as u32 + 1;
        let (low, high) = match attempt {
            1 => (0.0, 1_000.0),
            _ => (1_000.0, f64::min(30_000.0, 1_000.0 * f64::from(2_u32.pow(attempt - 1)))),
        };
        let expected = low + (high - low) * number;
        let waited = (times[index + 1] - times[index]) as f64;
        // Both ends of the wait are recorded in whole milliseconds.
        assert!((waited - expected).abs() <= 1.0, "attempt {attempt}: {waited}, not {expected}");
        assert!((low - 1.0..high + 1.0).contains(&waited), "attempt {attempt}: {waited}");
    }
}

#[test]
fn a_hundred_attempts_do_not_overflow() {
    let never_slow = Backoff::FullJitter {
        first: ms(1),
        min: ms(1),
        max: ms(2),
        slow_after: Duration::MAX,
        slow: ms(0),
    };
    let mut sim = Sim::with_jitter(under(policy(never_slow, None)), fixed(0.999))
        .always(refused())
        .connected();
    sim.run_for(1_000);
    assert!(sim.times("dial").len() > 400);
}

#[test]
fn after_failing_for_long_it_slows_down_until_a_connection_is_stable() {
    let mut sim = Sim::with_jitter(under(policy(FULL_JITTER, None)), fixed(0.5))
        .always(refused())
        .connected();
    sim.run_for(400_000);
    let slow = r#" in 60000"#;
    assert!(sim.only(&["close"]).last().is_some_and(|line| line.ends_with(slow)));
    sim = sim.always(Connection::opens(0).dropping(5_000));
    sim.forget();
    sim.run_for(70_000);
    assert!(sim.only(&["close"])[0].ends_with("retry 1/- in 500"));
}

#[test]
fn the_limit_ends_the_task_with_an_error_and_a_close_of_the_same_epoch() {
    let mut sim =
        Sim::new(under(policy(Backoff::Fixed(ms(5_000)), Some(12)))).always(refused()).connected();
    sim.run_for(24 * 60 * 60 * 1_000);
    let times: Vec<u64> = (0..=12).map(|n| n * 5_000).collect();
    assert_eq!(sim.times("dial"), times);
    assert_eq!(sim.times("error").len(), 13);
    assert_eq!(sim.times("close").len(), 13);
    let lines = sim.timeline();
    assert_eq!(
        lines[lines.len() - 2..],
        ["60000 error 13 ReconnectLimit", r#"60000 close 13 1006 "" final"#]
    );
    let detail = &sim.machine.last_failure().expect("it failed").detail;
    assert!(detail.contains("12 attempts") && detail.contains("refused"), "{detail}");
}

#[test]
fn a_limit_of_zero_allows_the_first_dial_only() {
    let mut sim =
        Sim::new(under(policy(Backoff::Fixed(ms(5_000)), Some(0)))).always(refused()).connected();
    sim.run_for(60_000);
    assert_eq!(sim.times("dial"), [0]);
    assert_eq!(sim.times("error 1 ReconnectLimit"), [0]);
}

/// The rule that tells a server that accepts and drops from one that works.
#[test]
fn only_a_stable_connection_sets_the_counter_back() {
    let flapping = |open_for: u64| {
        let mut sim = Sim::new(under(policy(Backoff::Fixed(ms(100)), Some(3))))
            .always(Connection::opens(0).dropping(open_for))
            .connected();
        sim.run_for(60_000);
        sim.only(&["error"])
    };
    // A millisecond short of stable, it is a server that accepts and drops.
    let unstable = flapping(4_999);
    assert_eq!(unstable.len(), 4);
    assert!(unstable[3].ends_with("error 4 ReconnectLimit"), "{unstable:?}");
    let stable = flapping(5_000);
    assert_eq!(stable.len(), 11);
    assert!(stable.iter().all(|line| line.ends_with("ConnectionLost")), "{stable:?}");
}

#[test]
fn a_clean_close_that_uses_up_the_limit_is_an_error_too() {
    let mut sim = Sim::new(under(policy(Backoff::Fixed(ms(100)), Some(1))))
        .always(Connection::opens(0).closing(10, 1001))
        .connected();
    sim.run_for(60_000);
    assert_eq!(
        sim.only(&["error", "close"]),
        [
            r#"10 close 1 1001 "" clean retry 1/1 in 100"#,
            "120 error 2 ReconnectLimit",
            r#"120 close 2 1001 "" clean final"#,
        ]
    );
}

#[test]
fn stop_codes_end_the_task_and_others_do_not() {
    let reconnect = || ReconnectPolicy {
        stop_codes: vec![1000, 1002, 4001],
        ..policy(Backoff::Fixed(ms(100)), None)
    };
    for (code, wait) in
        [(1000, None), (4001, None), (1001, Some(100)), (4000, Some(100)), (4002, Some(100))]
    {
        let found = wait_after(reconnect(), 0.5, Connection::opens(0).closing(50, code));
        assert_eq!(found, wait, "{code}");
    }
    // The code with which we answer a peer that broke the protocol is ours, not the peer's.
    let broken = Act::Break(Failure::new(ErrorKind::Protocol, ""));
    assert_eq!(wait_after(reconnect(), 0.5, Connection::opens(0).doing(50, broken)), Some(100));
}

/// 1006 and 1002 of a dial that failed were never in a close frame.
#[test]
fn a_stop_code_needs_a_connection_that_was_open() {
    let reconnect = || ReconnectPolicy {
        stop_codes: vec![1002, 1006],
        ..policy(Backoff::Fixed(ms(100)), None)
    };
    let dial = Connection::fails(0, ErrorKind::Protocol);
    assert_eq!(wait_after(reconnect(), 0.5, dial), Some(100));
    assert_eq!(wait_after(reconnect(), 0.5, Connection::opens(0).dropping(10)), Some(100));
}

#[test]
fn stop_statuses_may_have_to_come_over_tls() {
    let reconnect = |need_tls| ReconnectPolicy {
        stop_statuses: vec![401, 403],
        stop_statuses_need_tls: need_tls,
        ..policy(Backoff::Fixed(ms(100)), None)
    };
    for (status, verified, need_tls, stops) in [
        (401, true, true, true),
        (401, false, true, false),
        (401, false, false, true),
        (403, true, false, true),
        (404, true, false, false),
        (503, true, true, false),
    ] {
        let connection = Connection::fails_with(0, refusal(status, verified, None));
        let found = wait_after(reconnect(need_tls), 0.5, connection);
        assert_eq!(found.is_none(), stops, "{status} {verified} {need_tls}");
    }
}

/// Hanging up on purpose costs no attempt, however often.
#[test]
fn interruptions_cost_no_attempt() {
    let mut sim = Sim::new(under(policy(Backoff::Fixed(ms(1_000)), Some(1))))
        .always(Connection::hangs())
        .connected();
    for _ in 0..20 {
        sim.input(Input::Pause);
        sim.run_for(1_000);
        sim.input(Input::Resume);
    }
    assert_eq!(sim.times("dial").len(), 21);
    assert_eq!(sim.times("error 20 Interrupted").len(), 1);
    sim.never("error 21");
}

/// `beforeConnect` says that it is pointless, be it at the first dial or a later one.
#[test]
fn giving_up_is_final() {
    let mut sim = Sim::new(plain()).then(refused()).then(Connection::gives_up(30)).connected();
    sim.run_until(60_000);
    assert_eq!(
        sim.only(&["dial 2", "dial 3", "error 2", "close 2"]),
        ["1000 dial 2 attempt 1", "1030 error 2 Stopped", r#"1030 close 2 1006 "" final"#,]
    );
    assert_eq!(sim.next_timeout(), None);
}

/// What `beforeConnect` is told: how often, and what went wrong.
#[test]
fn a_dial_knows_what_ended_the_connection_before() {
    let mut sim = Sim::new(plain())
        .then(Connection::fails_with(0, refusal(401, true, None)))
        .then(Connection::fails(0, ErrorKind::Timeout))
        .connected();
    sim.run_until(2_000);
    let outputs = sim.remembered().iter().flat_map(|step| &step.outputs);
    let known: Vec<_> = outputs
        .filter_map(|output| match output {
            Output::Dial { attempt, last_failure, .. } => {
                Some((*attempt, last_failure.as_ref().map(|failure| failure.kind)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(known, [(0, None), (1, Some(ErrorKind::HttpStatus)), (2, Some(ErrorKind::Timeout))]);
}

/// What the app reads later names the connection that failed, not the one that followed.
#[test]
fn the_last_failure_names_its_connection() {
    let mut sim = Sim::new(plain())
        .then(Connection::opens(0).closing(10, 1001))
        .then(Connection::fails(0, ErrorKind::Timeout))
        .always(Connection::opens(0))
        .connected();
    sim.run_until(500);
    assert_eq!((sim.machine.failed_epoch(), sim.machine.last_failure()), (0, None));
    sim.run_until(5_000);
    let kind = sim.machine.last_failure().map(|failure| failure.kind);
    assert_eq!((sim.machine.failed_epoch(), kind), (2, Some(ErrorKind::Timeout)));
    assert_eq!(sim.machine.epoch(), 3);
}
