//! What a server is spared: clients in step, dials without end, and tokens that it refused.

use super::reconnect::{FULL_JITTER, under, wait_after};
use super::script::{Connection, ms, refusal};
use super::sim::{Sim, fixed, policy};
use crate::session::{
    Backoff, Config, ErrorKind, Failure, Input, Jitter, ReconnectPolicy, Session,
};
use std::time::Duration;

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
