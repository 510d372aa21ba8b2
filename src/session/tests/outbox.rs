//! What the app sends: bounds, order, and that nothing is ever lost silently.

use super::script::{Connection, binary, ms, text};
use super::sim::{Sim, plain};
use crate::session::{
    Config, ErrorKind, Heartbeat, HeartbeatPayload, Input, Message, OverflowPolicy, QueueLimits,
    SendOutcome, SendRefused,
};

/// Three messages or ten bytes.
fn small(overflow: OverflowPolicy) -> QueueLimits {
    QueueLimits { messages: 3, bytes: 10, max_age: None, overflow }
}

fn with(queue: QueueLimits) -> Config {
    Config { queue, ..plain() }
}

/// A connection that is open from 0 ms on. Its buffer has room for two messages of ten bytes,
/// each of which counts 64 bytes more, and for an empty one.
fn with_small_buffer(overflow: OverflowPolicy) -> Sim {
    let config = Config { max_buffered_bytes: 3 * 64 + 20, ..with(small(overflow)) };
    let mut sim = Sim::new(config).always(Connection::opens(0)).connected();
    sim.run_until(0);
    sim
}

fn queued(dropped: &[&str]) -> Result<SendOutcome, SendRefused> {
    Ok(SendOutcome::Queued { dropped: dropped.iter().map(|old| text(old)).collect() })
}

fn send_all(sim: &mut Sim, messages: &[&str]) {
    for message in messages {
        assert_eq!(sim.send(text(message)), queued(&[]), "{message}");
    }
}

/// Refuses the first dial, and opens at the second, at 1000 ms.
fn opens_later(config: Config) -> Sim {
    Sim::new(config)
        .then(Connection::fails(0, ErrorKind::Refused))
        .always(Connection::opens(0))
        .connected()
}

#[test]
fn messages_wait_for_the_open_and_go_before_later_ones() {
    let mut sim = opens_later(plain());
    send_all(&mut sim, &["a", "b", ""]);
    assert_eq!(sim.send(binary(&[1])), queued(&[]));
    sim.run_until(1_000);
    assert_eq!(sim.send(text("later")), Ok(SendOutcome::Sent));
    assert_eq!(sim.written(), ["a", "b", "", "[1]", "later"]);
}

/// `send` inside `onOpen` comes after what was queued.
#[test]
fn what_is_sent_while_the_queue_drains_comes_after_it() {
    let mut sim = opens_later(plain());
    send_all(&mut sim, &["a", "b"]);
    sim.set_writable(false);
    sim.run_until(1_000);
    assert_eq!(sim.send(text("c")), Ok(SendOutcome::Sent));
    sim.set_writable(true);
    assert_eq!(sim.written(), ["a", "b", "c"]);
}

#[test]
fn a_task_accepts_messages_before_it_connects() {
    let mut sim = Sim::new(plain()).always(Connection::opens(5));
    send_all(&mut sim, &["early"]);
    sim.input(Input::Connect);
    sim.run_until(5);
    assert_eq!(sim.written(), ["early"]);
}

#[test]
fn a_full_queue_refuses_the_new_message() {
    let mut sim = opens_later(with(small(OverflowPolicy::Reject)));
    send_all(&mut sim, &["a", "b", "c"]);
    assert_eq!(sim.send(text("d")), Err(SendRefused::QueueFull));
    assert_eq!(sim.machine.buffered_amount(), 3);
    sim.run_until(1_000);
    assert_eq!(sim.written(), ["a", "b", "c"]);
}

#[test]
fn a_full_queue_may_give_up_its_oldest() {
    let mut sim = opens_later(with(small(OverflowPolicy::DropOldest)));
    send_all(&mut sim, &["a", "b", "c"]);
    assert_eq!(sim.send(text("d")), queued(&["a"]));
    // Bytes count as well: 1 + 1 + 1 + 8 is one too many.
    assert_eq!(sim.send(text("eeeeeeee")), queued(&["b"]));
    assert_eq!(sim.send(text("ffffffffff")), queued(&["c", "d", "eeeeeeee"]));
    sim.run_until(1_000);
    assert_eq!(sim.written(), ["ffffffffff"]);
}

#[test]
fn a_full_queue_may_drop_the_newest() {
    let mut sim = opens_later(with(small(OverflowPolicy::DropNewest)));
    send_all(&mut sim, &["a", "b", "c"]);
    assert_eq!(sim.send(text("d")), Ok(SendOutcome::Dropped));
    sim.run_until(1_000);
    assert_eq!(sim.written(), ["a", "b", "c"]);
}

#[test]
fn the_bounds_are_exact() {
    for overflow in [OverflowPolicy::Reject, OverflowPolicy::DropNewest] {
        let full = match overflow {
            OverflowPolicy::DropNewest => Ok(SendOutcome::Dropped),
            _ => Err(SendRefused::QueueFull),
        };
        let mut sim = opens_later(with(small(overflow)));
        send_all(&mut sim, &["12345", "1234"]);
        assert_eq!(sim.send(text("12")), full);
        send_all(&mut sim, &["1"]);
        assert_eq!(sim.send(text("")), full, "empty messages count as messages");
    }
}

/// No policy makes room for what can never fit, and nothing gives way to it.
#[test]
fn a_message_larger_than_the_queue_is_refused() {
    for overflow in [OverflowPolicy::Reject, OverflowPolicy::DropOldest, OverflowPolicy::DropNewest]
    {
        let mut sim = opens_later(with(small(overflow)));
        send_all(&mut sim, &["a", "b"]);
        assert_eq!(sim.send(text("eleven byte")), Err(SendRefused::QueueFull));
        sim.run_until(1_000);
        assert_eq!(sim.written(), ["a", "b"]);
    }
}

#[test]
fn without_a_queue_only_an_open_connection_takes_messages() {
    let queue = QueueLimits { messages: 0, ..small(OverflowPolicy::DropOldest) };
    let mut sim = opens_later(with(queue));
    assert_eq!(sim.send(text("a")), Err(SendRefused::NotConnected));
    sim.run_until(1_000);
    assert_eq!(sim.send(text("b")), Ok(SendOutcome::Sent));
    assert_eq!(sim.written(), ["b"]);
}

#[test]
fn what_grows_too_old_is_given_back_at_the_open() {
    let queue = QueueLimits { max_age: Some(ms(600)), ..small(OverflowPolicy::Reject) };
    let mut sim = opens_later(with(queue));
    sim.run_until(399);
    send_all(&mut sim, &["old"]);
    sim.run_until(400);
    send_all(&mut sim, &["just"]);
    sim.run_until(1_000);
    assert_eq!(sim.only(&["open"]), ["1000 open 2 attempt 1 unsent [old]"]);
    assert_eq!(sim.written(), ["just"]);
}

#[test]
fn what_grows_too_old_makes_room() {
    for overflow in [OverflowPolicy::Reject, OverflowPolicy::DropOldest, OverflowPolicy::DropNewest]
    {
        let queue = QueueLimits { max_age: Some(ms(100)), ..small(overflow) };
        let mut sim = opens_later(with(queue));
        send_all(&mut sim, &["a"]);
        sim.run_until(50);
        send_all(&mut sim, &["b", "c"]);
        sim.run_until(101);
        assert_eq!(sim.send(text("d")), queued(&["a"]), "{overflow:?}");
    }
}

/// Only a send or an open can tell the app what is dropped. Until one of them comes, a message
/// that waits behind an open connection is kept, and is written when the peer reads again.
#[test]
fn what_grows_too_old_while_open_is_given_back_by_the_next_send_or_written() {
    for sends in [false, true] {
        let queue = QueueLimits { max_age: Some(ms(100)), ..small(OverflowPolicy::Reject) };
        let mut sim = Sim::new(with(queue)).always(Connection::opens(0)).connected();
        sim.run_until(0);
        sim.set_writable(false);
        assert_eq!(sim.send(text("old")), Ok(SendOutcome::Sent));
        sim.run_until(1_000);
        if sends {
            assert_eq!(sim.send(text("new")), queued(&["old"]));
        }
        sim.set_writable(true);
        sim.run_until(1_000);
        assert_eq!(sim.written(), [if sends { "new" } else { "old" }]);
    }
}

/// A refusal changes nothing: what would have had to go is still there.
#[test]
fn a_refused_message_drives_nothing_out() {
    let queue = QueueLimits { max_age: Some(ms(100)), ..small(OverflowPolicy::Reject) };
    let mut sim = Sim::new(with(queue)).always(Connection::hangs()).connected();
    send_all(&mut sim, &["a"]);
    sim.run_until(60);
    send_all(&mut sim, &["12345", "b"]);
    sim.run_until(101);
    assert_eq!(sim.send(text("123456")), Err(SendRefused::QueueFull));
    sim.close(1000, "");
    assert_eq!(sim.only(&["close"]), [r#"101 close 1 1000 "" final unsent [a 12345 b]"#]);
}

#[test]
fn the_greeting_is_first_at_every_open() {
    let config = Config { greeting: Some(text("hello")), ..plain() };
    let mut sim = Sim::new(config)
        .then(Connection::opens(0).dropping(10))
        .always(Connection::opens(0))
        .connected();
    send_all(&mut sim, &["a"]);
    sim.run_until(100);
    send_all(&mut sim, &["b"]);
    sim.run_until(2_000);
    assert_eq!(
        sim.only(&["write"]),
        ["0 write hello", "0 write a", "1010 write hello", "1010 write b",]
    );
}

/// The check for life must not starve behind a megabyte.
#[test]
fn heartbeats_go_ahead_of_what_waits() {
    let heartbeat = Heartbeat {
        payload: HeartbeatPayload::Text { text: "ping".to_owned() },
        interval: ms(1_000),
        timeout: ms(60_000),
        reply: None,
        strict: false,
        deliver_reply: false,
        idle_driven: false,
    };
    let config = Config { heartbeat: Some(heartbeat), ..plain() };
    let mut sim = Sim::new(config).always(Connection::opens(0)).connected();
    sim.run_until(0);
    sim.set_writable(false);
    assert_eq!(sim.send(text("a")), Ok(SendOutcome::Sent));
    assert_eq!(sim.send(text("b")), Ok(SendOutcome::Sent));
    sim.run_until(1_000);
    sim.set_writable(true);
    assert_eq!(sim.written(), ["ping", "a", "b"]);
}

/// A heartbeat of a connection that is gone means nothing to the next one.
#[test]
fn heartbeats_and_greetings_do_not_outlive_their_connection() {
    let config = Config { greeting: Some(text("hello")), ..plain() };
    let mut sim = Sim::new(config)
        .then(Connection::opens(0).dropping(10))
        .always(Connection::opens(0))
        .connected();
    sim.set_writable(false);
    sim.run_until(5);
    sim.input(Input::Network(true.into()));
    sim.run_until(500);
    sim.set_writable(true);
    sim.run_until(1_010);
    assert_eq!(sim.only(&["write"]), ["500 write hello"]);
}

#[test]
fn buffered_amount_is_what_is_accepted_and_not_written() {
    let mut sim =
        Sim::new(with(small(OverflowPolicy::Reject))).always(Connection::opens(10)).connected();
    let machine = &mut sim.machine;
    let now = std::time::Instant::now();
    machine.send(text("12345"), now).expect("there is room");
    assert_eq!(machine.buffered_amount(), 5);
    machine.handle(Input::Opened { dial: 1 }, now);
    machine.send(text("123"), now).expect("there is room");
    assert_eq!(machine.buffered_amount(), 8);
    // Handed out, but for all we know still on its way.
    assert!(machine.poll_transmit().is_some());
    assert_eq!(machine.buffered_amount(), 8);
    machine.handle(Input::Flushed, now);
    assert_eq!(machine.buffered_amount(), 3);
    assert!(machine.poll_transmit().is_some() && machine.poll_transmit().is_none());
    machine.handle(Input::Flushed, now);
    assert_eq!(machine.buffered_amount(), 0);
}

/// The machine's own words are not the app's: it did not send them.
#[test]
fn greetings_and_heartbeats_are_not_buffered() {
    let now = std::time::Instant::now();
    let mut config = crate::api::preset::Preset::Wx.config();
    config.greeting = Some(text("hello"));
    let mut machine = crate::session::Session::new(config, super::sim::fixed(0.5));
    machine.handle(Input::Connect, now);
    machine.handle(Input::Opened { dial: 1 }, now);
    machine.handle_timeout(now + ms(10_000));
    assert!(machine.poll_transmit().is_some() && machine.poll_transmit().is_some());
    assert!(machine.poll_transmit().is_none());
    assert_eq!(machine.buffered_amount(), 0);
}

/// A peer that reads slowly. The policy of the queue is of no importance while open.
#[test]
fn an_open_connection_has_a_bound_of_its_own() {
    for overflow in [OverflowPolicy::Reject, OverflowPolicy::DropOldest, OverflowPolicy::DropNewest]
    {
        let mut sim = with_small_buffer(overflow);
        sim.set_writable(false);
        let ten = || text("0123456789");
        assert_eq!(sim.send(ten()), Ok(SendOutcome::Sent));
        assert_eq!(sim.send(ten()), Ok(SendOutcome::Sent));
        assert_eq!(sim.send(text("x")), Err(SendRefused::QueueFull), "{overflow:?}");
        assert_eq!(sim.send(text("")), Ok(SendOutcome::Sent));
        assert_eq!(sim.send(text("")), Err(SendRefused::QueueFull), "{overflow:?}");
        sim.set_writable(true);
        assert_eq!(sim.send(ten()), Ok(SendOutcome::Sent));
        assert_eq!(sim.written().len(), 4);
    }
}

/// Each empty message needs memory too: 16 MiB are enough for 262,144 of them and no more.
#[test]
fn a_million_empty_messages_are_bounded_as_memory() {
    let mut machine = crate::session::Session::new(plain(), super::sim::fixed(0.5));
    let now = std::time::Instant::now();
    machine.handle(Input::Connect, now);
    machine.handle(Input::Opened { dial: 1 }, now);
    let taken = (0..1_000_000).take_while(|_| machine.send(text(""), now).is_ok()).count();
    assert_eq!(taken, (16 << 20) / 64);
    assert_eq!(machine.buffered_amount(), 0);
}

/// Otherwise it could never be sent.
#[test]
fn a_message_larger_than_the_bound_is_taken_when_nothing_is_buffered() {
    let mut sim = with_small_buffer(OverflowPolicy::Reject);
    let large = || text(&"x".repeat(10_000));
    assert_eq!(sim.send(large()), Ok(SendOutcome::Sent));
    sim.set_writable(false);
    assert_eq!(sim.send(large()), Ok(SendOutcome::Sent));
    assert_eq!(sim.send(large()), Err(SendRefused::QueueFull));
    assert_eq!(sim.send(text("")), Err(SendRefused::QueueFull));
    sim.set_writable(true);
    assert_eq!(sim.written().len(), 2);
}

/// Even an empty message on its way means that something is buffered.
#[test]
fn what_is_handed_out_and_not_written_is_buffered() {
    let now = std::time::Instant::now();
    let config = Config { max_buffered_bytes: 200, ..plain() };
    let mut machine = crate::session::Session::new(config, super::sim::fixed(0.5));
    machine.handle(Input::Connect, now);
    machine.handle(Input::Opened { dial: 1 }, now);
    machine.send(text(""), now).expect("nothing is buffered");
    assert!(machine.poll_transmit().is_some());
    let large = || text(&"x".repeat(201));
    assert_eq!(machine.send(large(), now), Err(SendRefused::QueueFull));
    machine.handle(Input::Flushed, now);
    assert_eq!(machine.send(large(), now), Ok(SendOutcome::Sent));
}

/// Nothing that was accepted is lost with the connection. It counts towards the queue: nothing
/// more is accepted until there is room.
#[test]
fn what_an_open_connection_did_not_write_waits_for_the_next_one_and_fills_the_queue() {
    let cases = [
        (OverflowPolicy::Reject, Err(SendRefused::QueueFull), vec!["1", "2", "3", "4", "5"]),
        (OverflowPolicy::DropNewest, Ok(SendOutcome::Dropped), vec!["1", "2", "3", "4", "5"]),
        (OverflowPolicy::DropOldest, queued(&["1", "2", "3"]), vec!["4", "5", "new"]),
    ];
    for (overflow, outcome, next) in cases {
        let mut sim = Sim::new(with(small(overflow)))
            .then(Connection::opens(0).dropping(100))
            .always(Connection::opens(0))
            .connected();
        sim.run_until(50);
        sim.set_writable(false);
        for message in ["1", "2", "3", "4", "5"] {
            assert_eq!(sim.send(text(message)), Ok(SendOutcome::Sent));
        }
        sim.run_until(500);
        assert_eq!(sim.machine.buffered_amount(), 5);
        assert_eq!(sim.send(text("new")), outcome, "{overflow:?}");
        sim.set_writable(true);
        sim.run_until(1_100);
        assert_eq!(sim.written(), next, "{overflow:?}");
        assert_eq!(sim.send(text("later")), Ok(SendOutcome::Sent));
    }
}

/// Written is written, waiting is waiting: the next connection gets the rest, once.
#[test]
fn a_new_connection_gets_what_was_never_written_and_nothing_else() {
    let mut sim = Sim::new(plain())
        .then(Connection::opens(0).dropping(100))
        .always(Connection::opens(0))
        .connected();
    sim.run_until(10);
    assert_eq!(sim.send(text("written")), Ok(SendOutcome::Sent));
    sim.set_writable(false);
    assert_eq!(sim.send(text("stuck")), Ok(SendOutcome::Sent));
    sim.run_until(200);
    send_all(&mut sim, &["queued"]);
    sim.set_writable(true);
    sim.run_until(1_100);
    assert_eq!(sim.send(text("new")), Ok(SendOutcome::Sent));
    assert_eq!(
        sim.only(&["write"]),
        ["10 write written", "1100 write stuck", "1100 write queued", "1100 write new",]
    );
}

/// Handed out and not flushed counts as written: sending it twice would be worse.
#[test]
fn what_was_handed_out_is_never_handed_out_again() {
    let now = std::time::Instant::now();
    let mut machine = crate::session::Session::new(plain(), super::sim::fixed(0.5));
    machine.handle(Input::Connect, now);
    machine.handle(Input::Opened { dial: 1 }, now);
    machine.send(text("a"), now).expect("it is open");
    assert!(machine.poll_transmit().is_some());
    machine.handle(Input::CloseReceived { epoch: 1, code: Some(1001), reason: String::new() }, now);
    assert_eq!(machine.buffered_amount(), 0);
    machine.handle_timeout(now + ms(1_000));
    machine.handle(Input::Opened { dial: 2 }, now + ms(1_000));
    assert_eq!(machine.poll_transmit(), None);
}

#[test]
fn whatever_ends_the_task_gives_back_what_was_never_sent() {
    type End = fn(&mut Sim);
    let ends: [(&str, End); 4] = [
        ("close", |sim| sim.close(1000, "")),
        ("give up", |sim| {
            let failure = crate::session::Failure::new(ErrorKind::Stopped, "");
            sim.input(Input::GiveUp { dial: 1, failure });
        }),
        ("limit", |sim| {
            let failure = crate::session::Failure::new(ErrorKind::Dns, "");
            sim.input(Input::DialFailed { dial: 1, failure });
        }),
        ("offline without a policy", |sim| sim.input(Input::Network(false.into()))),
    ];
    for (name, end) in ends {
        let config = Config { reconnect: None, ..plain() };
        let mut sim = Sim::new(config).always(Connection::hangs()).connected();
        send_all(&mut sim, &["a", "b"]);
        end(&mut sim);
        let close = sim.only(&["close"]);
        assert!(close[0].ends_with("final unsent [a b]"), "{name}: {close:?}");
        assert_eq!(sim.machine.buffered_amount(), 0);
        assert_eq!(sim.send(Message::text("c")), Err(SendRefused::NotConnected));
    }
}

/// What is on its way still takes room.
#[test]
fn bytes_on_their_way_count_towards_the_bound() {
    let now = std::time::Instant::now();
    let config = Config { max_buffered_bytes: 2 * 64 + 20, ..plain() };
    let mut machine = crate::session::Session::new(config, super::sim::fixed(0.5));
    machine.handle(Input::Connect, now);
    machine.handle(Input::Opened { dial: 1 }, now);
    machine.send(text("twelve bytes"), now).expect("there is room");
    assert!(machine.poll_transmit().is_some());
    assert_eq!(machine.send(text("nine more"), now), Err(SendRefused::QueueFull));
    machine.handle(Input::Flushed, now);
    assert_eq!(machine.send(text("nine more"), now), Ok(SendOutcome::Sent));
}

#[test]
fn what_goes_in_and_out_is_counted() {
    let server = Connection::opens(0).saying(10, "four").saying(20, "").dropping(30);
    let mut sim = Sim::new(with(small(OverflowPolicy::Reject))).always(server).connected();
    send_all(&mut sim, &["abc"]);
    assert_eq!(sim.send(text("too large for it")), Err(SendRefused::QueueFull));
    sim.run_until(15);
    sim.send(text("de")).expect("it is open");
    sim.run_until(1_030);
    let counters = sim.machine.counters();
    assert_eq!((counters.epoch, counters.attempt, counters.opens), (2, 1, 2));
    assert_eq!((counters.messages_out, counters.bytes_out), (2, 5));
    assert_eq!((counters.messages_in, counters.bytes_in), (2, 4));
}
