//! Every phase meets every input. The table says what comes of it; whatever is not in the
//! table changes nothing and causes nothing.

use super::script::{Connection, ms, text};
use super::sim::{Sim, plain};
use super::timeline::name;
use crate::session::{
    Config, ErrorKind, Failure, Heartbeat, HeartbeatPayload, Input, Phase, ReadyState,
};
use bytes::Bytes;

/// The ways to be. Suspended has four reasons, and each ends differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Connecting,
    Waiting,
    Paused,
    Offline,
    Background,
    /// Its retry has become due meanwhile.
    Crowded,
    Open,
    Closing,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    Connect,
    Close,
    Opened,
    Received,
    Alive,
    Ponged,
    CloseReceived,
    Lost,
    BadUtf8,
    GiveUp,
    Offline,
    Online,
    Foreground,
    BackgroundAndGrace,
    Crowded,
    Roomy,
    Pause,
    Resume,
    ReconnectNow,
    Woke,
    /// The next deadline, if there is one.
    Timer,
    /// `handle_timeout` although nothing is due.
    IdleTimer,
    /// An input of the connection before.
    Stale,
    ReadPaused,
    Flushed,
}

const STATES: [State; 10] = [
    State::Idle,
    State::Connecting,
    State::Waiting,
    State::Paused,
    State::Offline,
    State::Background,
    State::Crowded,
    State::Open,
    State::Closing,
    State::Closed,
];

const TRIGGERS: [Trigger; 25] = [
    Trigger::Connect,
    Trigger::Close,
    Trigger::Opened,
    Trigger::Received,
    Trigger::Alive,
    Trigger::Ponged,
    Trigger::CloseReceived,
    Trigger::Lost,
    Trigger::BadUtf8,
    Trigger::GiveUp,
    Trigger::Offline,
    Trigger::Online,
    Trigger::Foreground,
    Trigger::BackgroundAndGrace,
    Trigger::Crowded,
    Trigger::Roomy,
    Trigger::Pause,
    Trigger::Resume,
    Trigger::ReconnectNow,
    Trigger::Woke,
    Trigger::Timer,
    Trigger::IdleTimer,
    Trigger::Stale,
    Trigger::ReadPaused,
    Trigger::Flushed,
];

type Row = (State, Trigger, &'static str, &'static [&'static str]);

/// Who, what, the phase after it, and everything that the machine asks for and tells.
/// Times are left out: they have tests of their own.
#[rustfmt::skip]
const TABLE: &[Row] = {
    use State as S;
    use Trigger as T;
    &[
    (S::Idle, T::Connect, "Connecting", &["dial 1 attempt 0"]),
    (S::Idle, T::Close, "Closed", &[r#"close 1 4000 "bye" final"#]),

    (S::Connecting, T::Close, "Closed", &["abort 2", r#"close 2 4000 "bye" final"#]),
    (S::Connecting, T::Opened, "Open", &["open 2 attempt 1"]),
    (S::Connecting, T::Lost, "Waiting", &["error 2 ConnectionLost", r#"close 2 1006 "" retry 2/- in 1000"#]),
    (S::Connecting, T::BadUtf8, "Waiting", &["error 2 InvalidUtf8", r#"close 2 1007 "invalid UTF-8" retry 2/- in 1000"#]),
    (S::Connecting, T::GiveUp, "Closed", &["error 2 Stopped", r#"close 2 1006 "" final"#]),
    (S::Connecting, T::Offline, "Suspended", &["abort 2", "error 2 Interrupted", r#"close 2 1006 "interrupted" retry 1/- held"#]),
    (S::Connecting, T::BackgroundAndGrace, "Suspended", &["abort 2", "error 2 Interrupted", r#"close 2 1006 "interrupted" retry 1/- held"#]),
    (S::Connecting, T::Woke, "Connecting", &["abort 2", "dial 2 attempt 1"]),
    (S::Connecting, T::Pause, "Suspended", &["abort 2", "error 2 Interrupted", r#"close 2 1006 "paused" retry 1/- held"#]),

    (S::Waiting, T::Close, "Closed", &[r#"close 2 4000 "bye" final"#]),
    (S::Waiting, T::Offline, "Suspended", &[]),
    (S::Waiting, T::Online, "Connecting", &["dial 2 attempt 0"]),
    (S::Waiting, T::Foreground, "Connecting", &["dial 2 attempt 0"]),
    // The retry is due before the grace is over.
    (S::Waiting, T::BackgroundAndGrace, "Suspended", &["dial 2 attempt 1", "abort 2", "error 2 Interrupted", r#"close 2 1006 "interrupted" retry 1/- held"#]),
    (S::Waiting, T::Crowded, "Suspended", &[]),
    (S::Waiting, T::Pause, "Suspended", &[]),
    (S::Waiting, T::ReconnectNow, "Connecting", &["dial 2 attempt 0"]),
    (S::Waiting, T::Timer, "Connecting", &["dial 2 attempt 1"]),

    (S::Paused, T::Close, "Closed", &[r#"close 2 4000 "bye" final"#]),
    (S::Paused, T::Resume, "Connecting", &["dial 2 attempt 0"]),
    (S::Paused, T::ReconnectNow, "Connecting", &["dial 2 attempt 0"]),
    (S::Offline, T::Close, "Closed", &[r#"close 2 4000 "bye" final"#]),
    (S::Offline, T::Online, "Connecting", &["dial 2 attempt 0"]),
    (S::Offline, T::ReconnectNow, "Connecting", &["dial 2 attempt 0"]),
    (S::Background, T::Close, "Closed", &[r#"close 2 4000 "bye" final"#]),
    (S::Background, T::Foreground, "Connecting", &["dial 2 attempt 0"]),
    (S::Background, T::ReconnectNow, "Connecting", &["dial 2 attempt 0"]),

    (S::Crowded, T::Close, "Closed", &[r#"close 2 4000 "bye" final"#]),
    // Nothing else helps: neither a network nor an app that cannot wait.
    (S::Crowded, T::Roomy, "Connecting", &["dial 2 attempt 1"]),

    (S::Open, T::Close, "Closing", &[r#"write Close 4000 "bye""#]),
    (S::Open, T::Received, "Open", &["message 2 hi"]),
    (S::Open, T::CloseReceived, "Waiting", &["hang up 2", r#"close 2 4001 "so" clean retry 2/- in 1000"#]),
    (S::Open, T::Lost, "Waiting", &["abort 2", "error 2 ConnectionLost", r#"close 2 1006 "" retry 2/- in 1000"#]),
    (S::Open, T::BadUtf8, "Waiting", &[r#"hang up 2 with 1007 "invalid UTF-8""#, "error 2 InvalidUtf8", r#"close 2 1007 "invalid UTF-8" retry 2/- in 1000"#]),
    // A short gap may be survived; the heartbeat tells.
    (S::Open, T::Online, "Open", &["write Ping 1"]),
    (S::Open, T::Foreground, "Open", &["write Ping 1"]),
    (S::Open, T::BackgroundAndGrace, "Suspended", &[r#"hang up 2 with 1001 "interrupted""#, r#"close 2 1006 "interrupted" retry 1/- held"#]),
    (S::Open, T::Pause, "Suspended", &[r#"hang up 2 with 1001 "paused""#, r#"close 2 1006 "paused" retry 1/- held"#]),
    (S::Open, T::ReconnectNow, "Open", &["write Ping 1"]),
    (S::Open, T::Woke, "Open", &["write Ping 1"]),
    (S::Open, T::Timer, "Open", &["write Ping 1"]),

    (S::Closing, T::Received, "Closing", &["message 2 hi"]),
    (S::Closing, T::CloseReceived, "Closed", &["hang up 2", r#"close 2 3000 "first" clean final"#]),
    (S::Closing, T::Lost, "Closed", &["abort 2", r#"close 2 3000 "first" final"#]),
    (S::Closing, T::BadUtf8, "Closed", &["abort 2", r#"close 2 3000 "first" final"#]),
    (S::Closing, T::Timer, "Closed", &["abort 2", r#"close 2 3000 "first" final"#]),
    // Not because of the background: the time to close is shorter than the grace.
    (S::Closing, T::BackgroundAndGrace, "Closed", &["abort 2", r#"close 2 3000 "first" final"#]),
    ]
};

fn config() -> Config {
    Config {
        heartbeat: Some(Heartbeat {
            payload: HeartbeatPayload::Ping,
            interval: ms(30_000),
            timeout: ms(10_000),
            reply: None,
            strict: false,
            deliver_reply: false,
            idle_driven: false,
        }),
        background_grace: Some(ms(5_000)),
        ..plain()
    }
}

/// A task in the given state whose first connection, if it had one, failed: an attempt has
/// been used, and there is an older epoch. A phase with a connection has epoch 2.
pub(super) fn in_state(state: State) -> Sim {
    let mut sim = Sim::new(config())
        .then(Connection::fails(0, ErrorKind::Refused))
        .always(Connection::hangs().deaf());
    if state != State::Idle {
        sim.input(Input::Connect);
        sim.run_for(0);
    }
    if matches!(state, State::Connecting | State::Open | State::Closing | State::Closed) {
        sim.run_for(1_000);
    }
    if matches!(state, State::Open | State::Closing | State::Closed) {
        sim.input(Input::Opened { dial: 2 });
    }
    match state {
        State::Paused => sim.input(Input::Pause),
        State::Offline => sim.input(Input::Network(false.into())),
        State::Crowded => {
            sim.input(Input::Crowded(true));
            sim.run_for(1_000);
        }
        State::Background => {
            // Its retry may not come before the grace is over.
            sim.input(Input::Foreground(false));
            sim.input(Input::Pause);
            sim.run_for(5_000);
            sim.input(Input::Resume);
        }
        State::Closing | State::Closed => sim.close(3000, "first"),
        _ => {}
    }
    if state == State::Closed {
        sim.input(Input::CloseReceived { epoch: 2, code: Some(3000), reason: String::new() });
    }
    sim.forget();
    sim
}

fn pull(sim: &mut Sim, trigger: Trigger) {
    let epoch = sim.machine.epoch();
    let dial = sim.dial;
    let is_dialling = sim.machine.phase() == Phase::Connecting;
    let failed = |kind| match Failure::new(kind, "") {
        failure if is_dialling => Input::DialFailed { dial, failure },
        failure => Input::Failed { epoch, failure },
    };
    match trigger {
        Trigger::Connect => sim.input(Input::Connect),
        Trigger::Close => sim.close(4000, "bye"),
        Trigger::Opened => sim.input(Input::Opened { dial }),
        Trigger::Received => sim.input(Input::Received { epoch, message: text("hi") }),
        Trigger::Alive => sim.input(Input::Alive { epoch }),
        Trigger::Ponged => sim.input(Input::Ponged { epoch, payload: vec![0].into() }),
        Trigger::CloseReceived => {
            sim.input(Input::CloseReceived { epoch, code: Some(4001), reason: "so".to_owned() });
        }
        Trigger::Lost => sim.input(failed(ErrorKind::ConnectionLost)),
        Trigger::BadUtf8 => sim.input(failed(ErrorKind::InvalidUtf8)),
        Trigger::GiveUp => {
            sim.input(Input::GiveUp { dial, failure: Failure::new(ErrorKind::Stopped, "") });
        }
        Trigger::Offline => sim.input(Input::Network(false.into())),
        Trigger::Online => sim.input(Input::Network(true.into())),
        Trigger::Foreground => sim.input(Input::Foreground(true)),
        Trigger::BackgroundAndGrace => {
            sim.input(Input::Foreground(false));
            sim.run_for(5_000);
        }
        Trigger::Crowded => sim.input(Input::Crowded(true)),
        Trigger::Roomy => sim.input(Input::Crowded(false)),
        Trigger::Pause => sim.input(Input::Pause),
        Trigger::Resume => sim.input(Input::Resume),
        Trigger::ReconnectNow => sim.input(Input::ReconnectNow),
        Trigger::Woke => sim.input(Input::Woke { slept: ms(0) }),
        Trigger::Timer => {
            if let Some(due) = sim.next_timeout() {
                sim.sleep((due - sim.now()).as_millis() as u64);
            }
            sim.timeout();
        }
        Trigger::IdleTimer => sim.timeout(),
        Trigger::Stale => stale(sim, epoch.saturating_sub(1), dial.saturating_sub(1)),
        Trigger::ReadPaused => sim.input(Input::ReadPaused(true)),
        Trigger::Flushed => sim.input(Input::Flushed),
    }
}

fn stale(sim: &mut Sim, epoch: u64, dial: u64) {
    let failure = Failure::new(ErrorKind::ConnectionLost, "");
    sim.input(Input::DialProgress { dial });
    sim.input(Input::Opened { dial });
    sim.input(Input::DialFailed { dial, failure: failure.clone() });
    sim.input(Input::Received { epoch, message: text("old") });
    sim.input(Input::Alive { epoch });
    sim.input(Input::Ponged { epoch, payload: vec![0].into() });
    sim.input(Input::CloseReceived { epoch, code: None, reason: String::new() });
    sim.input(Input::Failed { epoch, failure: failure.clone() });
    sim.input(Input::GiveUp { dial, failure });
}

/// What an older connection says changes nothing: no output, no deadline, no count.
#[test]
fn an_older_connection_has_no_say() {
    let lost = || Failure::new(ErrorKind::ConnectionLost, "");
    // It would be the answer to the question that is under way.
    let pong = || Bytes::from_static(&[0, 0, 0, 1]);
    for epoch in [0, 1, 3] {
        let of_connection = [
            Input::Received { epoch, message: text("old") },
            Input::Alive { epoch },
            Input::Ponged { epoch, payload: pong() },
            Input::CloseReceived { epoch, code: None, reason: String::new() },
            Input::Failed { epoch, failure: lost() },
        ];
        let of_dial = [
            Input::DialProgress { dial: epoch },
            Input::Opened { dial: epoch },
            Input::DialFailed { dial: epoch, failure: lost() },
            Input::GiveUp { dial: epoch, failure: lost() },
        ];
        for input in of_connection.into_iter().chain(of_dial) {
            for state in [State::Connecting, State::Open, State::Closing] {
                let mut sim = in_state(state);
                sim.input(Input::Network(true.into()));
                sim.forget();
                let before = (sim.machine.phase(), sim.next_timeout(), sim.machine.counters());
                sim.input(input.clone());
                let after = (sim.machine.phase(), sim.next_timeout(), sim.machine.counters());
                assert_eq!(after, before, "{state:?} × {input:?}");
                sim.expect(&[]);
            }
        }
    }
}

fn ready_state(phase: &str) -> ReadyState {
    match phase {
        "Open" => ReadyState::Open,
        "Closing" => ReadyState::Closing,
        "Closed" => ReadyState::Closed,
        _ => ReadyState::Connecting,
    }
}

#[test]
fn every_phase_meets_every_input() {
    for state in STATES {
        for trigger in TRIGGERS {
            let mut sim = in_state(state);
            let before = name(sim.machine.phase());
            pull(&mut sim, trigger);
            let row = TABLE.iter().find(|row| (row.0, row.1) == (state, trigger));
            let (after, expected) = row.map_or((before, &[][..]), |row| (row.2, row.3));
            let lines = sim.timeline();
            let said: Vec<_> =
                lines.iter().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
            assert_eq!(said, expected, "{state:?} × {trigger:?}");
            assert_eq!(name(sim.machine.phase()), after, "{state:?} × {trigger:?}");
            let now = sim.machine.phase().ready_state();
            assert_eq!(now, ready_state(after), "{state:?} × {trigger:?}");
        }
    }
}

/// The table would pass just as well with half of its rows never looked at.
#[test]
fn the_table_names_each_pair_once() {
    for (index, row) in TABLE.iter().enumerate() {
        assert!(STATES.contains(&row.0) && TRIGGERS.contains(&row.1));
        let same = |other: &&Row| (other.0, other.1) == (row.0, row.1);
        assert_eq!(TABLE[index..].iter().filter(same).count(), 1, "{:?} {:?}", row.0, row.1);
    }
}

#[test]
fn ready_state_has_the_numbers_of_the_web() {
    let numbers: Vec<u8> = STATES
        .into_iter()
        .map(|state| in_state(state).machine.phase().ready_state() as u8)
        .collect();
    assert_eq!(numbers, [0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
    assert!(matches!(in_state(State::Background).machine.phase(), Phase::Suspended));
}

/// Holds add up: a task is free only when the last of them is gone.
#[test]
fn a_task_that_is_held_twice_stays_until_both_are_gone() {
    let mut sim = in_state(State::Paused);
    sim.input(Input::Network(false.into()));
    sim.input(Input::Resume);
    sim.expect(&[]);
    sim.input(Input::Network(true.into()));
    sim.expect(&["0 dial 2 attempt 0"]);
}

#[test]
fn a_hold_that_came_before_the_start_counts() {
    let mut sim = Sim::new(config());
    sim.input(Input::Network(false.into()));
    sim.input(Input::Connect);
    sim.expect(&[]);
    assert_eq!(name(sim.machine.phase()), "Suspended");
    sim.run_for(60_000);
    sim.input(Input::Network(true.into()));
    sim.expect(&["60000 dial 1 attempt 0"]);
}

/// Going offline while open keeps the connection, but not the one after it.
#[test]
fn offline_while_open_matters_when_the_connection_is_gone() {
    let mut sim = in_state(State::Open);
    sim.input(Input::Network(false.into()));
    sim.input(Input::Failed { epoch: 2, failure: Failure::new(ErrorKind::ConnectionLost, "") });
    sim.expect(&[
        "1000 abort 2",
        "1000 error 2 ConnectionLost",
        r#"1000 close 2 1006 "" retry 2/- held"#,
    ]);
    sim.run_for(60_000);
    sim.input(Input::Network(true.into()));
    assert_eq!(sim.only(&["dial"]), ["61000 dial 3 attempt 0"]);
}

/// The grace runs from the moment the app left, however often it is told again.
#[test]
fn the_grace_in_the_background_ends_once() {
    let mut sim = in_state(State::Open);
    sim.input(Input::Foreground(false));
    sim.run_for(3_000);
    sim.input(Input::Foreground(false));
    sim.run_for(10_000);
    assert_eq!(sim.times("hang up"), [6_000]);
    sim.input(Input::Foreground(true));
    assert_eq!(sim.times("dial"), [14_000]);
}

/// The operating system gave the app less time than the grace.
#[test]
fn the_grace_ends_early_when_the_app_is_about_to_be_suspended() {
    let mut open = in_state(State::Open);
    open.input(Input::Foreground(false));
    open.run_for(2_000);
    open.input(Input::GraceOver);
    open.input(Input::GraceOver);
    open.run_for(10_000);
    assert_eq!(open.times("hang up"), [3_000]);
    assert_eq!(name(open.machine.phase()), "Suspended");
    open.input(Input::Foreground(true));
    assert_eq!(open.times("dial"), [13_000]);

    let mut waiting = in_state(State::Waiting);
    waiting.input(Input::Foreground(false));
    waiting.input(Input::GraceOver);
    assert_eq!(name(waiting.machine.phase()), "Suspended");
    assert_eq!(waiting.next_timeout(), None);
}

/// In the foreground, and in a task that keeps its connection, no grace is running.
#[test]
fn a_grace_that_does_not_run_cannot_end() {
    let mut front = in_state(State::Open);
    front.input(Input::GraceOver);
    front.expect(&[]);
    front.input(Input::Foreground(false));
    front.input(Input::Foreground(true));
    front.forget();
    front.input(Input::GraceOver);
    front.expect(&[]);

    let keeps = Config { background_grace: None, ..config() };
    let mut sim = Sim::new(keeps).always(Connection::opens(0));
    sim.input(Input::Connect);
    sim.run_for(0);
    sim.forget();
    sim.input(Input::Foreground(false));
    sim.input(Input::GraceOver);
    sim.expect(&[]);
}

#[test]
fn back_within_the_grace_keeps_the_connection() {
    let mut sim = in_state(State::Open);
    sim.input(Input::Foreground(false));
    sim.run_for(4_999);
    sim.input(Input::Foreground(true));
    sim.expect(&["5999 write Ping 1"]);
}

#[test]
fn the_background_is_waited_for_once_and_not_while_closing() {
    let mut held = in_state(State::Background);
    held.input(Input::Foreground(false));
    assert_eq!(held.next_timeout(), None);

    let mut closing = in_state(State::Open);
    closing.input(Input::Foreground(false));
    closing.run_for(4_000);
    closing.close(1000, "");
    assert_eq!(closing.next_timeout(), Some(closing.now() + ms(3_000)));
}
