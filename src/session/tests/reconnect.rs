//! Whether the machine comes back, and when.

use super::script::{Act, Connection, ms, refusal};
use super::sim::{Sim, fixed, plain, policy};
use crate::session::{
    Backoff, Config, ErrorKind, Failure, Input, Jitter, Output, ReconnectPolicy, Session,
};
use std::time::Duration;

const FULL_JITTER: Backoff = Backoff::FullJitter {
    first: ms(1_000),
    min: ms(1_000),
    max: ms(30_000),
    slow_after: ms(300_000),
    slow: ms(60_000),
};

fn under(reconnect: ReconnectPolicy) -> Config {
    Config { reconnect: Some(reconnect), ..plain() }
}

fn refused() -> Connection {
    Connection::fails(0, ErrorKind::Refused)
}

/// How long the machine waits after its first dial failed so.
fn wait_after(reconnect: ReconnectPolicy, jitter: f64, connection: Connection) -> Option<u64> {
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
    // The code that we close with counts too: the peer broke the protocol.
    let broken = Act::Break(Failure::new(ErrorKind::Protocol, ""));
    assert_eq!(wait_after(reconnect(), 0.5, Connection::opens(0).doing(50, broken)), None);
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

#[test]
fn retry_after_is_honoured_up_to_an_hour() {
    let wait = |asked: u64, honour: bool| {
        let reconnect = ReconnectPolicy {
            honour_retry_after: honour,
            ..policy(Backoff::Fixed(ms(2_000)), None)
        };
        let failure = refusal(429, true, Some(Duration::from_secs(asked)));
        wait_after(reconnect, 0.5, Connection::fails_with(0, failure)).expect("it comes back")
    };
    // The random part is half of its bound here: a quarter, but at least 5 s and at most 60 s.
    assert_eq!(wait(40, true), 40_000 + 5_000);
    assert_eq!(wait(4, true), 4_000 + 2_500);
    assert_eq!(wait(3_600, true), 3_600_000 + 30_000);
    // Not silenced for days; and not hurried either.
    assert_eq!(wait(7 * 24 * 3_600, true), 3_600_000 + 30_000);
    assert_eq!(wait(0, true), 2_000);
    assert_eq!(wait(30, false), 2_000);
    let long =
        ReconnectPolicy { honour_retry_after: true, ..policy(Backoff::Fixed(ms(9_000)), None) };
    let failure = refusal(429, true, Some(Duration::from_secs(1)));
    assert_eq!(wait_after(long, 0.5, Connection::fails_with(0, failure)), Some(9_000));
}

/// A captive portal's answer is not the server's. Nor is one that nobody vouches for.
#[test]
fn retry_after_without_tls_is_honoured_up_to_a_minute() {
    let wait = |failure| {
        let reconnect = policy(Backoff::Fixed(ms(2_000)), None);
        wait_after(reconnect, 0.0, Connection::fails_with(0, failure)).expect("it comes back")
    };
    let asked = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(wait(refusal(503, false, asked(3_600))), 60_000);
    assert_eq!(wait(refusal(503, false, asked(59))), 59_000);
    assert_eq!(wait(refusal(503, true, asked(3_600))), 3_600_000);
    let unknown = Failure { refusal: None, ..refusal(503, true, asked(3_600)) };
    assert_eq!(wait(unknown), 60_000);
}

/// How many dials meet in the same 10 ms at most, when a server refuses so many clients at once.
fn worst_bucket(clients: u64, reconnect: &ReconnectPolicy, failure: &Failure) -> (u64, u64, usize) {
    let now = std::time::Instant::now();
    let mut buckets = std::collections::HashMap::<u128, usize>::new();
    let mut waits = Vec::new();
    for client in 0..clients {
        let mut state = client;
        // SplitMix64: the same numbers in every run.
        let random: Jitter = Box::new(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        });
        let mut machine = Session::new(under(reconnect.clone()), random);
        machine.handle(Input::Connect, now);
        machine.handle(Input::DialFailed { dial: 1, failure: failure.clone() }, now);
        let wait = machine.next_timeout().expect("it comes back") - now;
        *buckets.entry(wait.as_millis() / 10).or_default() += 1;
        waits.push(wait.as_millis() as u64);
    }
    let (least, most) = (waits.iter().min().copied(), waits.iter().max().copied());
    let worst = buckets.into_values().max();
    (least.unwrap_or(0), most.unwrap_or(0), worst.unwrap_or(0))
}

/// Ten thousand clients that were told the same do not come back in the same moment, whatever
/// their own delay is, and none comes too early.
#[test]
fn a_fleet_does_not_come_back_in_step() {
    for seconds in [1, 60, 3_600] {
        for backoff in [Backoff::Fixed(ms(5_000)), FULL_JITTER] {
            let failure = refusal(503, true, Some(Duration::from_secs(seconds)));
            let reconnect = policy(backoff, None);
            let (least, most, worst) = worst_bucket(10_000, &reconnect, &failure);
            assert!(least >= seconds * 1_000, "{seconds} {backoff:?}: {least} is too early");
            assert!(most <= (seconds + 60) * 1_000 + 15_000, "{seconds} {backoff:?}: {most}");
            // A fixed delay longer than what was asked is what the app wants.
            if seconds > 1 {
                assert!(worst <= 50, "{seconds} {backoff:?}: {worst} in the same 10 ms");
            }
        }
    }
}

/// A server that says "later" all day is dialled as seldom as one that fails in another way.
#[test]
fn a_day_of_503_costs_no_more_dials_than_a_day_of_500() {
    let dials = |connection: Connection| {
        let mut sim = Sim::with_jitter(under(policy(FULL_JITTER, None)), fixed(0.5))
            .always(connection)
            .connected();
        sim.run_for(24 * 60 * 60 * 1_000);
        sim.times("dial").len()
    };
    let plain = dials(Connection::fails_with(0, refusal(500, true, None)));
    assert!((1_400..1_500).contains(&plain), "{plain}");
    for herd in [
        Connection::fails_with(0, refusal(503, true, None)),
        Connection::fails_with(0, refusal(503, true, Some(Duration::from_secs(1)))),
        Connection::opens(0).closing(0, 1012),
        Connection::opens(0).closing(0, 1013),
    ] {
        let herd = dials(herd);
        assert!(herd <= plain + 50, "{herd}, not about {plain}");
    }
    // A slow pace that is faster than what a restart needs does not hurry anybody.
    let hasty = Backoff::FullJitter {
        first: ms(0),
        min: ms(1),
        max: ms(1),
        slow_after: ms(0),
        slow: ms(1),
    };
    let herd = Connection::fails_with(0, refusal(503, true, None));
    assert_eq!(wait_after(policy(hasty, None), 0.5, herd), Some(5_000));
}

fn stopping_on(statuses: &[u16], backoff: Backoff) -> ReconnectPolicy {
    ReconnectPolicy { stop_statuses: statuses.to_vec(), ..policy(backoff, None) }
}

/// A token that has expired is what `beforeConnect` is there for.
#[test]
fn a_refused_token_leads_to_one_more_dial() {
    let delays =
        [(Backoff::Fixed(ms(30)), 30), (Backoff::Fixed(ms(5_000)), 500), (FULL_JITTER, 500)];
    for status in [401, 403] {
        for (backoff, wait) in delays {
            let reconnect = stopping_on(&[status], backoff);
            let config = Config { can_refresh: true, ..under(reconnect) };
            let refused = || Connection::fails_with(0, refusal(status, true, None));
            let mut sim = Sim::new(config).always(refused()).connected();
            sim.run_until(60_000);
            assert_eq!(sim.times("dial"), [0, wait], "{status} {backoff:?}");
            assert_eq!(sim.times("error 2 HttpStatus"), [wait]);
            assert!(sim.only(&["close 2"])[0].ends_with("final"));
        }
    }
}

#[test]
fn only_a_refused_token_that_can_be_replaced_leads_to_one_more_dial() {
    for (status, can_refresh) in [(401, false), (404, true)] {
        let reconnect = stopping_on(&[401, 404], Backoff::Fixed(ms(30)));
        let config = Config { can_refresh, ..under(reconnect) };
        let refused = Connection::fails_with(0, refusal(status, true, None));
        let mut sim = Sim::new(config).always(refused).connected();
        sim.run_until(60_000);
        assert_eq!(sim.times("dial"), [0], "{status} {can_refresh}");
    }
    // It is an attempt like others: beyond the limit there is none, and the error says why.
    let reconnect =
        ReconnectPolicy { max_attempts: Some(0), ..stopping_on(&[401], Backoff::Fixed(ms(30))) };
    let config = Config { can_refresh: true, ..under(reconnect) };
    let refused = Connection::fails_with(0, refusal(401, true, None));
    let mut sim = Sim::new(config).always(refused).connected();
    sim.run_until(60_000);
    assert_eq!(sim.only(&["dial", "error"]), ["0 dial 1 attempt 0", "0 error 1 HttpStatus"]);
}

/// A connection that opened proves that the token was good: the next refusal is news.
#[test]
fn after_an_open_a_token_may_be_replaced_again() {
    let reconnect = stopping_on(&[401], Backoff::Fixed(ms(100)));
    let config = Config { can_refresh: true, ..under(reconnect) };
    let refused = || Connection::fails_with(0, refusal(401, true, None));
    let mut sim = Sim::new(config)
        .then(refused())
        .then(Connection::opens(0).dropping(10))
        .then(refused())
        .then(Connection::fails(0, ErrorKind::Refused))
        .always(refused())
        .connected();
    sim.run_until(60_000);
    assert_eq!(sim.times("dial").len(), 5);
    assert_eq!(sim.times("error 5 HttpStatus").len(), 1);
}

/// A server that restarts has all its clients waiting: they come back 5 to 20 s later.
#[test]
fn a_herd_comes_back_slowly() {
    let herd = || {
        [
            Connection::opens(0).closing(10, 1012),
            Connection::opens(0).closing(10, 1013),
            Connection::fails_with(10, refusal(503, false, None)),
        ]
    };
    for (jitter, wait) in [(0.0, 5_000), (0.5, 12_500), (0.999, 19_985)] {
        for connection in herd() {
            assert_eq!(wait_after(policy(FULL_JITTER, None), jitter, connection), Some(wait));
        }
    }
    // Whoever asks for a fixed delay gets it.
    for connection in herd() {
        let fixed = policy(Backoff::Fixed(ms(700)), None);
        assert_eq!(wait_after(fixed, 0.5, connection), Some(700));
    }
    // Other reasons to go away are no herd's.
    let other = Connection::opens(0).closing(10, 1011);
    assert_eq!(wait_after(policy(FULL_JITTER, None), 0.5, other), Some(500));
}

#[test]
fn asking_to_hurry_dials_at_once_with_a_fresh_counter() {
    for hurry in [Input::ReconnectNow, Input::Network(true), Input::Foreground(true)] {
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
    sim.input(Input::Network(true));
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
    sim.input(Input::Network(false));
    sim.input(Input::Connect);
    sim.input(Input::Network(true));
    sim.input(Input::Network(true));
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

/// What is told of the network cannot keep a dial from ever succeeding.
#[test]
fn a_system_that_never_stops_reporting_networks_lets_a_dial_succeed() {
    let mut sim = Sim::new(plain()).always(Connection::opens(700).dropping(2_000)).connected();
    for _ in 0..8 {
        sim.run_for(300);
        sim.input(Input::Network(true));
    }
    assert_eq!(sim.times("dial"), [0, 300, 600, 900, 1_200, 1_500]);
    assert_eq!(sim.times("open"), [2_200]);
    // The next connection has the same right again.
    sim.run_until(4_300);
    sim.forget();
    sim.input(Input::Network(true));
    sim.expect(&["4300 abort 2", "4300 dial 2 attempt 0"]);
}

/// Waking up is no reason to try more often than the limit says.
#[test]
fn waking_hurries_but_does_not_set_the_counter_back() {
    let mut sim =
        Sim::new(under(policy(Backoff::Fixed(ms(60_000)), Some(2)))).always(refused()).connected();
    sim.run_until(10);
    sim.input(Input::Woke);
    sim.run_until(20);
    sim.input(Input::Woke);
    sim.run_until(30);
    sim.input(Input::Woke);
    assert_eq!(
        sim.only(&["dial"]),
        ["0 dial 1 attempt 0", "10 dial 2 attempt 1", "20 dial 3 attempt 2",]
    );
    assert_eq!(sim.times("error 3 ReconnectLimit"), [20]);
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
        sim.input(Input::Woke);
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
    sim.sleep(3_600_000);
    sim.forget();
    sim.input(Input::Woke);
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
