use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Far more than anything here takes; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

type Answer = io::Result<Vec<SocketAddr>>;

/// A resolver that says which host it was asked for and blocks until the test has answered.
fn blocking(most_threads: usize) -> (&'static Lookups, Receiver<(String, Sender<Answer>)>) {
    blocking_for(most_threads, Duration::MAX)
}

/// The same, with lookups that are not joined any more after `long`.
fn blocking_for(
    most_threads: usize,
    long: Duration,
) -> (&'static Lookups, Receiver<(String, Sender<Answer>)>) {
    let (asked, asks) = channel();
    let resolve = move |host: &str| {
        let (answer, answered) = channel();
        asked.send((host.to_owned(), answer)).expect("the test is there");
        answered.recv_timeout(PATIENCE).expect("an answer")
    };
    (Box::leak(Box::new(Lookups::new(most_threads, long, Box::new(resolve)))), asks)
}

fn ask(lookups: &'static Lookups, host: &str) -> oneshot::Receiver<Found> {
    let (dial, answer) = oneshot::channel();
    lookups.ask(host, dial);
    answer
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 0))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

#[track_caller]
fn next(asks: &Receiver<(String, Sender<Answer>)>) -> (String, Sender<Answer>) {
    asks.recv_timeout(PATIENCE).expect("a lookup")
}

/// Waits until the thread that served it is done with everything.
fn until_no_thread_is_left(lookups: &Lookups) {
    let start = std::time::Instant::now();
    while lookups.state().threads > 0 {
        assert!(start.elapsed() < PATIENCE, "the threads do not end");
        std::thread::yield_now();
    }
    assert!(lookups.state().lookups.is_empty());
}

#[test]
fn whoever_asks_for_the_same_host_waits_for_the_same_lookup() {
    let (lookups, asks) = blocking(8);
    let first = ask(lookups, "a.test");
    let (host, answer) = next(&asks);
    assert_eq!(host, "a.test");
    drop(first);
    let others: Vec<_> = (0..10).map(|_| ask(lookups, "A.test")).collect();
    // Another host does not wait.
    let other = ask(lookups, "b.test");
    let (host, other_answer) = next(&asks);
    assert_eq!(host, "b.test");
    other_answer.send(Ok(vec![address(2)])).expect("it waits");
    assert_eq!(other.blocking_recv(), Ok(Ok(vec![address(2)])));

    assert!(asks.try_recv().is_err(), "one lookup of a.test only");
    answer.send(Ok(vec![address(1)])).expect("it waits");
    for one in others {
        assert_eq!(one.blocking_recv(), Ok(Ok(vec![address(1)])));
    }
    until_no_thread_is_left(lookups);
    // Nothing is kept: the next one asks anew.
    let again = ask(lookups, "a.test");
    next(&asks).1.send(Ok(vec![address(3)])).expect("it waits");
    assert_eq!(again.blocking_recv(), Ok(Ok(vec![address(3)])));
}

#[test]
fn beyond_the_bound_hosts_wait_in_order_and_those_that_were_given_up_are_skipped() {
    let (lookups, asks) = blocking(2);
    let running = [ask(lookups, "a.test"), ask(lookups, "b.test")];
    let answers = [next(&asks).1, next(&asks).1];
    let given_up = ask(lookups, "c.test");
    let waiting = [ask(lookups, "d.test"), ask(lookups, "e.test")];
    drop(given_up);
    // A host whose address changes with every attempt must not fill the list.
    for n in 0..1_000 {
        drop(ask(lookups, &format!("{n}.test")));
    }
    assert!(lookups.state().lookups.len() <= 5, "{}", lookups.state().lookups.len());
    assert!(asks.try_recv().is_err(), "two threads, two lookups");

    for answer in answers {
        answer.send(Ok(vec![address(1)])).expect("it waits");
    }
    let mut later = [next(&asks), next(&asks)];
    later.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(later.each_ref().map(|(host, _)| host.as_str()), ["d.test", "e.test"]);
    for (_, answer) in later {
        answer.send(Ok(vec![address(1)])).expect("it waits");
    }
    for one in running.into_iter().chain(waiting) {
        assert_eq!(one.blocking_recv(), Ok(Ok(vec![address(1)])));
    }
    until_no_thread_is_left(lookups);
}

#[test]
fn dials_that_are_given_up_do_not_pile_up_behind_a_lookup_that_hangs() {
    let (lookups, asks) = blocking(2);
    let patient = ask(lookups, "a.test");
    let (_, answer) = next(&asks);
    for _ in 0..10_000 {
        drop(ask(lookups, "a.test"));
    }
    let kept = lookups.state().lookups[0].dials.len();
    assert!(kept < 100, "{kept} of 10,000");
    answer.send(Ok(vec![address(1)])).expect("it waits");
    assert_eq!(patient.blocking_recv(), Ok(Ok(vec![address(1)])));
}

#[test]
fn a_lookup_that_fails_in_any_way_is_an_answer() {
    let resolve = |host: &str| match host {
        "empty.test" => Ok(Vec::new()),
        "panic.test" => panic!("not a name"),
        _ => Err(io::Error::other("no such name")),
    };
    let lookups: &'static Lookups =
        Box::leak(Box::new(Lookups::new(2, Duration::MAX, Box::new(resolve))));
    for (host, detail) in [
        ("empty.test", "the name has no address"),
        ("panic.test", "the resolver panicked"),
        ("error.test", "no such name"),
        ("panic.test", "the resolver panicked"),
    ] {
        let answer = ask(lookups, host).blocking_recv().expect("an answer");
        assert_eq!(answer, Err(Failure::new(ErrorKind::Dns, detail)));
    }
    until_no_thread_is_left(lookups);
}

#[test]
fn the_port_is_that_of_the_dial() {
    let resolve = |_: &str| Ok(vec![address(1), address(2)]);
    let lookups: &'static Lookups =
        Box::leak(Box::new(Lookups::new(2, Duration::MAX, Box::new(resolve))));
    let found = runtime().block_on(lookups.look_up("a.test", 443)).expect("addresses");
    assert_eq!(found, ["127.0.0.1:443", "127.0.0.2:443"].map(|text| text.parse().expect(text)));
}

#[test]
fn a_lookup_that_has_run_for_long_is_joined_by_nobody_who_can_have_another() {
    let (lookups, asks) = blocking_for(8, Duration::ZERO);
    let old = ask(lookups, "a.test");
    let (_, old_answer) = next(&asks);
    let new = ask(lookups, "a.test");
    let (_, new_answer) = next(&asks);
    let newest = ask(lookups, "a.test");
    let (_, newest_answer) = next(&asks);
    // No fourth one: this waits for the third.
    let late = ask(lookups, "a.test");
    newest_answer.send(Ok(vec![address(1)])).expect("it waits");
    // A good answer serves everybody.
    for dial in [old, new, newest, late] {
        assert_eq!(dial.blocking_recv(), Ok(Ok(vec![address(1)])));
    }
    assert!(asks.try_recv().is_err(), "three lookups of a.test and no more");
    new_answer.send(Err(io::Error::other("too late"))).expect("it waits");
    old_answer.send(Err(io::Error::other("too late"))).expect("it waits");
    until_no_thread_is_left(lookups);

    // A bad one is the answer of those who asked for it, and of nobody else.
    let old = ask(lookups, "a.test");
    let (_, old_answer) = next(&asks);
    let new = ask(lookups, "a.test");
    let (_, new_answer) = next(&asks);
    new_answer.send(Err(io::Error::other("no network"))).expect("it waits");
    assert_eq!(new.blocking_recv().expect("an answer").expect_err("bad").kind, ErrorKind::Dns);
    old_answer.send(Ok(vec![address(2)])).expect("it waits");
    assert_eq!(old.blocking_recv(), Ok(Ok(vec![address(2)])));
    until_no_thread_is_left(lookups);
}

#[test]
fn a_lookup_on_the_old_network_is_not_joined() {
    let (lookups, asks) = blocking(8);
    let before = ask(lookups, "a.test");
    let (_, old_answer) = next(&asks);
    lookups.network_changed();
    let after = ask(lookups, "a.test");
    let (_, new_answer) = next(&asks);
    let joins = ask(lookups, "a.test");
    old_answer.send(Err(io::Error::other("the old network is gone"))).expect("it waits");
    assert_eq!(before.blocking_recv().expect("an answer").expect_err("bad").kind, ErrorKind::Dns);
    new_answer.send(Ok(vec![address(1)])).expect("it waits");
    for dial in [after, joins] {
        assert_eq!(dial.blocking_recv(), Ok(Ok(vec![address(1)])));
    }
    until_no_thread_is_left(lookups);
}

#[test]
fn hosts_whose_lookups_hang_do_not_keep_others_waiting() {
    let (lookups, asks) = blocking_for(2, Duration::from_millis(20));
    let hanging = [ask(lookups, "a.test"), ask(lookups, "b.test")];
    let answers = [next(&asks).1, next(&asks).1];
    // All threads are taken now, but not for long.
    let dial = std::thread::spawn(|| runtime().block_on(lookups.look_up("c.test", 443)));
    let (host, answer) = next(&asks);
    assert_eq!(host, "c.test");
    answer.send(Ok(vec![address(3)])).expect("it waits");
    let found = dial.join().expect("no panic").expect("an address");
    assert_eq!(found, [SocketAddr::from(([127, 0, 0, 3], 443))]);
    for answer in answers {
        answer.send(Ok(vec![address(1)])).expect("it waits");
    }
    for dial in hanging {
        assert_eq!(dial.blocking_recv(), Ok(Ok(vec![address(1)])));
    }
    until_no_thread_is_left(lookups);
}

#[test]
fn there_is_a_bound_for_lookups_that_hang_too() {
    let (lookups, asks) = blocking_for(2, Duration::ZERO);
    // One after the other: a lookup hangs once it has begun.
    let (dials, answers): (Vec<_>, Vec<_>) =
        (0..8).map(|n| (ask(lookups, &format!("{n}.test")), next(&asks).1)).unzip();
    let late = ask(lookups, "late.test");
    lookups.look_for_room();
    assert_eq!(lookups.state().threads, 8);
    assert!(asks.try_recv().is_err(), "eight threads, eight lookups");
    for answer in answers {
        answer.send(Ok(vec![address(1)])).expect("it waits");
    }
    next(&asks).1.send(Ok(vec![address(1)])).expect("it waits");
    for dial in dials.into_iter().chain([late]) {
        assert_eq!(dial.blocking_recv(), Ok(Ok(vec![address(1)])));
    }
    until_no_thread_is_left(lookups);
}
