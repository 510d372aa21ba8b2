//! Random lives: whatever the app, the network and the operating system do, and in whatever
//! order, the invariants of [`checker`](super::checker) hold.

use super::broken::{Broken, Fault};
use super::checker::{CHECKS, Trace};
use super::script::{Act, Connection, ms, refusal};
use super::sim::{Machine, Sim, fixed, policy};
use crate::session::{
    Backoff, Config, ErrorKind, Failure, Heartbeat, HeartbeatPayload, Input, Message,
    OverflowPolicy, QueueLimits, ReconnectPolicy, ReplyMatch, Session,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{TestCaseError, TestRunner};
use std::collections::HashMap;

/// Enough for each invariant to be put to the test a hundred times.
const LIVES: u32 = 400;

/// One thing that somebody does.
#[derive(Clone, Debug)]
enum Move {
    Connect,
    Close(u16),
    /// A message of so many bytes more than its number.
    Send(usize),
    Pass(u64),
    Sleep(u64),
    Network(bool),
    Foreground(bool),
    GraceOver,
    Crowded(bool),
    Pause,
    Resume,
    ReconnectNow,
    Woke,
    ReadPaused(bool),
    Writable(bool),
    /// So many bytes have been acknowledged, or are said to have been written.
    Progress(u64, bool),
    /// A timer that fires for no reason.
    Timeout,
    /// The server, or the dial, speaks up: of this connection or an older one.
    Hear(Heard, u64),
}

#[derive(Clone, Copy, Debug)]
enum Heard {
    Progress,
    Opened,
    Refused,
    Message,
    Reply,
    Ping,
    Pong,
    Close,
    Lost,
    Broken,
    GiveUp,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let heard = prop_oneof![
        1 => Just(Heard::Progress),
        4 => Just(Heard::Opened),
        2 => Just(Heard::Refused),
        4 => Just(Heard::Message),
        2 => Just(Heard::Reply),
        1 => Just(Heard::Ping),
        1 => Just(Heard::Pong),
        2 => Just(Heard::Close),
        2 => Just(Heard::Lost),
        1 => Just(Heard::Broken),
        1 => Just(Heard::GiveUp),
    ];
    let one = prop_oneof![
        2 => Just(Move::Connect),
        1 => prop_oneof![Just(1000), 3000..=4999_u16].prop_map(Move::Close),
        20 => (0..8_usize).prop_map(Move::Send),
        30 => prop_oneof![0..20_u64, 0..400_u64, 0..4_000_u64].prop_map(Move::Pass),
        2 => (0..20_000_u64).prop_map(Move::Sleep),
        4 => any::<bool>().prop_map(Move::Network),
        4 => any::<bool>().prop_map(Move::Foreground),
        1 => Just(Move::GraceOver),
        2 => any::<bool>().prop_map(Move::Crowded),
        1 => Just(Move::Pause),
        2 => Just(Move::Resume),
        1 => Just(Move::ReconnectNow),
        2 => Just(Move::Woke),
        2 => any::<bool>().prop_map(Move::ReadPaused),
        6 => any::<bool>().prop_map(Move::Writable),
        4 => (0..2_000_u64, any::<bool>()).prop_map(|(bytes, told)| Move::Progress(bytes, told)),
        2 => Just(Move::Timeout),
        10 => (heard, prop_oneof![5 => Just(0), 1 => 1..3_u64])
            .prop_map(|(heard, older)| Move::Hear(heard, older)),
    ];
    prop::collection::vec(one, 1..100)
}

fn connections() -> impl Strategy<Value = Vec<Connection>> {
    let one = (0..6_u32, 0..120_u64, 0..900_u64).prop_map(|(kind, dial, life)| match kind {
        0 => Connection::fails(dial, ErrorKind::Refused),
        1 if life % 2 == 0 => Connection::fails_with(dial, refusal(401, true, None)),
        1 => Connection::fails_with(dial, refusal(503, true, Some(ms(life)))),
        2 => Connection::opens(dial).dropping(life),
        3 => Connection::opens(dial).ponging(life / 4).closing(life, 1001).deaf(),
        4 => Connection::opens(dial).answering(life / 4, Message::text("pong")),
        _ => Connection::opens(dial).doing(life, Act::Say(Message::text("news"))),
    });
    prop::collection::vec(one, 1..12)
}

fn heartbeats() -> impl Strategy<Value = Option<Heartbeat>> {
    let one = (any::<bool>(), any::<bool>(), any::<bool>(), 1..500_u64, 1..500_u64);
    prop::option::of(one.prop_map(|(text, strict, idle_driven, interval, timeout)| Heartbeat {
        payload: match text {
            true => HeartbeatPayload::Text { text: "ping".to_owned() },
            false => HeartbeatPayload::Ping,
        },
        interval: ms(interval),
        timeout: ms(timeout),
        reply: text.then(|| ReplyMatch::Text { text: "pong".to_owned() }),
        strict,
        deliver_reply: !idle_driven,
        idle_driven,
    }))
}

fn policies() -> impl Strategy<Value = Option<ReconnectPolicy>> {
    let jittered = Backoff::FullJitter {
        first: ms(50),
        min: ms(50),
        max: ms(400),
        slow_after: ms(2_000),
        slow: ms(900),
    };
    let backoff = prop_oneof![(0..200_u64).prop_map(|d| Backoff::Fixed(ms(d))), Just(jittered)];
    let one = (backoff, prop::option::of(0..5_u32), 1..600_u64, any::<bool>());
    let some = one.prop_map(|(backoff, max, stable, stops)| ReconnectPolicy {
        stable_after: ms(stable),
        stop_codes: if stops { vec![1001, 1002] } else { vec![] },
        stop_statuses: if stops { vec![401] } else { vec![] },
        ..policy(backoff, max)
    });
    prop_oneof![1 => Just(None), 9 => some.prop_map(Some)]
}

fn queues() -> impl Strategy<Value = QueueLimits> {
    let overflow = prop_oneof![
        Just(OverflowPolicy::Reject),
        Just(OverflowPolicy::DropOldest),
        Just(OverflowPolicy::DropNewest),
    ];
    (overflow, 0..6_usize, 0..60_usize, prop::option::of(0..800_u64)).prop_map(
        |(overflow, messages, bytes, age)| QueueLimits {
            messages,
            bytes,
            max_age: age.map(ms),
            overflow,
        },
    )
}

fn configs() -> impl Strategy<Value = Config> {
    let grace = prop::option::of(0..500_u64);
    let buffered = 0..600_usize;
    (policies(), heartbeats(), queues(), buffered, 1..400_u64, grace, any::<bool>()).prop_map(
        |(reconnect, heartbeat, queue, max_buffered_bytes, close_timeout, grace, greets)| Config {
            reconnect,
            heartbeat,
            queue,
            max_buffered_bytes,
            close_timeout: ms(close_timeout),
            background_grace: grace.map(ms),
            greeting: greets.then(|| Message::text("hello")),
            can_refresh: greets,
        },
    )
}

type Life = (Config, Vec<Connection>, Vec<Move>);

fn lives() -> impl Strategy<Value = Life> {
    (configs(), connections(), moves())
}

/// Lives through it and comes back with the record.
fn live<M: Machine>(machine: M, life: &Life) -> Sim<M> {
    let (config, connections, moves) = life;
    let mut sim = Sim::with_machine(machine, config.clone());
    for connection in connections {
        sim = sim.then(connection.clone());
    }
    sim = sim.always(Connection::opens(5)).connected();
    for (number, one) in moves.iter().enumerate() {
        play(&mut sim, one, number);
    }
    sim
}

fn play<M: Machine>(sim: &mut Sim<M>, one: &Move, number: usize) {
    match one {
        Move::Connect => sim.input(Input::Connect),
        Move::Close(code) => sim.close(*code, "bye"),
        Move::Send(extra) => {
            let text = format!("m{number}{}", ".".repeat(*extra));
            // Refused or not, the record has it.
            let _ = sim.send(Message::text(text));
        }
        Move::Pass(time) => sim.run_for(*time),
        Move::Sleep(time) => sim.sleep(*time),
        Move::Network(available) => sim.input(Input::Network((*available).into())),
        Move::Foreground(foreground) => sim.input(Input::Foreground(*foreground)),
        Move::GraceOver => sim.input(Input::GraceOver),
        Move::Crowded(crowded) => sim.input(Input::Crowded(*crowded)),
        Move::Pause => sim.input(Input::Pause),
        Move::Resume => sim.input(Input::Resume),
        Move::ReconnectNow => sim.input(Input::ReconnectNow),
        Move::Woke => sim.input(Input::Woke { slept: ms(0) }),
        Move::ReadPaused(paused) => sim.input(Input::ReadPaused(*paused)),
        Move::Writable(writable) => sim.set_writable(*writable),
        Move::Progress(bytes, told) => {
            let (epoch, acknowledged) = (sim.machine.epoch(), told.then_some(*bytes));
            sim.input(Input::Progress { epoch, written: 1_000 + bytes, acknowledged });
        }
        Move::Timeout => sim.timeout(),
        Move::Hear(heard, older) => {
            let epoch = sim.machine.epoch().saturating_sub(*older);
            sim.input(hear(*heard, epoch, sim.dial.saturating_sub(*older)));
        }
    }
}

fn hear(heard: Heard, epoch: u64, dial: u64) -> Input {
    let failed = |kind| Failure::new(kind, "");
    match heard {
        Heard::Progress => Input::DialProgress { dial },
        Heard::Opened => Input::Opened { dial },
        Heard::Refused => Input::DialFailed { dial, failure: failed(ErrorKind::Refused) },
        Heard::Message => Input::Received { epoch, message: Message::text("news") },
        Heard::Reply => Input::Received { epoch, message: Message::text("pong") },
        Heard::Ping => Input::Alive { epoch },
        Heard::Pong => Input::Ponged { epoch, payload: vec![0, 0, 0, 1].into() },
        Heard::Close => {
            Input::CloseReceived { epoch, code: Some(1001), reason: "theirs".to_owned() }
        }
        Heard::Lost => Input::Failed { epoch, failure: failed(ErrorKind::ConnectionLost) },
        Heard::Broken => Input::Failed { epoch, failure: failed(ErrorKind::Protocol) },
        Heard::GiveUp => Input::GiveUp { dial, failure: failed(ErrorKind::Stopped) },
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// And each invariant has something to judge, often.
#[test]
fn every_invariant_holds_in_every_life() {
    let judged = std::cell::RefCell::new(HashMap::<&str, usize>::new());
    let mut runner = TestRunner::new(config(LIVES));
    let outcome = runner.run(&lives(), |life| {
        let sim = live(Session::new(life.0.clone(), fixed(0.5)), &life);
        let trace = Trace { config: &sim.config, steps: &sim.steps };
        for (name, check) in CHECKS {
            match check(&trace) {
                Ok(count) => *judged.borrow_mut().entry(name).or_default() += count,
                Err(wrong) => {
                    let story = sim.story();
                    return Err(TestCaseError::fail(format!("{name}: {wrong}\n{story}")));
                }
            }
        }
        Ok(())
    });
    if let Err(wrong) = outcome {
        panic!("{wrong}");
    }
    for (name, _) in CHECKS {
        let count = judged.borrow().get(name).copied().unwrap_or(0);
        assert!(count >= 25, "{name}: judged {count} times in {LIVES} lives");
    }
}

/// Which broken machine each checker must find.
const FAULTS: &[(Fault, &str)] = &[
    (Fault::DoubleDial, "one connection at a time"),
    (Fault::KeepConnection, "one connection at a time"),
    (Fault::BelieveLateDial, "only the newest dial is heard"),
    (Fault::DialAfterClose, "no dial after close"),
    (Fault::DoubleOpen, "at most one Open, and first"),
    (Fault::MessageAfterClose, "messages between Open and Close"),
    (Fault::DoubleError, "at most one Error, just before the Close"),
    (Fault::MessageAfterError, "at most one Error, just before the Close"),
    (Fault::ForgetClose, "exactly one Close"),
    (Fault::DoubleClose, "exactly one Close"),
    (Fault::StaleEvent, "nothing of an older epoch"),
    (Fault::EventAfterFinal, "nothing after the final Close"),
    (Fault::LateState, "the state changes before the event"),
    (Fault::OwnCloseCode, "the final Close has the caller's words"),
    (Fault::AlwaysClean, "clean means that both closed"),
    (Fault::LargeQueue, "the queue keeps its bounds"),
    (Fault::SilentDrop, "every message exactly once, in order"),
    (Fault::Reorder, "every message exactly once, in order"),
    (Fault::SendTwice, "every message exactly once, in order"),
    (Fault::ForgetUnsent, "every message exactly once, in order"),
    (Fault::MiscountBuffered, "bufferedAmount adds up"),
    (Fault::OverLimit, "never more attempts than the limit"),
    (Fault::ResetOnOpen, "the counter is set back only when earned"),
    (Fault::StayAway, "suspended only while held"),
    (Fault::LeftoverTimer, "no timer is left over"),
    (Fault::PastTimeout, "no timeout in the past"),
    (Fault::LostTimer, "something will happen"),
    (Fault::WriteWhileClosed, "writes only while open or closing"),
    (Fault::WriteAfterCloseFrame, "nothing is written after the close frame"),
    (Fault::HiddenTransmit, "it wants to write exactly when it can"),
];

/// How many random lives it takes until the checker reports the fault.
fn lives_until_caught(fault: Fault, name: &str) -> Option<usize> {
    let (_, check) = CHECKS.iter().find(|(known, _)| *known == name).expect("a known checker");
    let mut runner = TestRunner::deterministic();
    (0..200).find(|_| {
        let life = lives().new_tree(&mut runner).expect("a life").current();
        let sim = live(Broken::new(life.0.clone(), fault), &life);
        check(&Trace { config: &sim.config, steps: &sim.steps }).is_err()
    })
}

#[test]
fn every_checker_catches_its_broken_machine() {
    for (name, _) in CHECKS {
        assert!(FAULTS.iter().any(|(_, checker)| checker == name), "nothing breaks {name}");
    }
    for (fault, checker) in FAULTS {
        assert!(lives_until_caught(*fault, checker).is_some(), "{checker} misses {fault:?}");
    }
}

/// The lives that find the faults find none in the sound machine.
#[test]
fn the_sound_machine_passes_the_same_lives() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..200 {
        let life = lives().new_tree(&mut runner).expect("a life").current();
        let sim = live(Session::new(life.0.clone(), fixed(0.5)), &life);
        let trace = Trace { config: &sim.config, steps: &sim.steps };
        for (name, check) in CHECKS {
            if let Err(wrong) = check(&trace) {
                panic!("{name}: {wrong}\n{}", sim.story());
            }
        }
    }
}
