//! The end of a task that the app asks for.

use super::script::{Act, Connection, ms, text};
use super::sim::{Sim, plain};
use super::timeline::name;
use crate::session::{
    CloseRefused, Config, ErrorKind, Failure, Heartbeat, HeartbeatPayload, Input, SendRefused,
    check_close,
};

fn open(server: Connection) -> Sim {
    let mut sim = Sim::new(plain()).then(server).connected();
    sim.run_for(0);
    sim.forget();
    sim
}

#[test]
fn the_closing_handshake_is_clean() {
    let mut sim = open(Connection::opens(0));
    sim.run_until(100);
    sim.close(4321, "done");
    assert_eq!(name(sim.machine.phase()), "Closing");
    sim.run_until(60_000);
    sim.expect(&[
        r#"100 write Close 4321 "done""#,
        "120 hang up 1",
        r#"120 close 1 4321 "done" clean final"#,
    ]);
}

/// The peer may answer with whatever it likes: the app hears its own words.
#[test]
fn the_final_close_has_the_callers_code_and_reason() {
    let mut sim = open(Connection::opens(0).deaf());
    sim.close(3500, "mine");
    sim.input(Input::CloseReceived { epoch: 1, code: Some(1001), reason: "theirs".to_owned() });
    assert_eq!(sim.only(&["close"]), [r#"0 close 1 3500 "mine" clean final"#]);
}

#[test]
fn whoever_does_not_answer_is_left_after_three_seconds() {
    let mut sim = open(Connection::opens(0).deaf());
    sim.close(4000, "bye");
    sim.run_until(2_999);
    assert_eq!(name(sim.machine.phase()), "Closing");
    sim.run_until(60_000);
    sim.expect(&[
        r#"0 write Close 4000 "bye""#,
        "3000 abort 1",
        r#"3000 close 1 4000 "bye" final"#,
    ]);
}

#[test]
fn what_was_accepted_goes_before_the_close_frame() {
    let mut sim = open(Connection::opens(0));
    sim.set_writable(false);
    sim.send(text("a")).expect("it is open");
    sim.send(text("b")).expect("it is open");
    sim.close(1000, "");
    assert!(sim.machine.wants_transmit());
    sim.run_until(500);
    sim.set_writable(true);
    assert_eq!(sim.written(), ["a", "b", r#"Close 1000 """#]);
    sim.run_until(520);
    assert_eq!(sim.only(&["close"]), [r#"520 close 1 1000 "" clean final"#]);
}

/// A peer that reads nothing cannot hold the task for ever; what it never got comes back.
#[test]
fn a_flush_that_takes_too_long_is_given_up() {
    let mut sim = open(Connection::opens(0));
    sim.set_writable(false);
    sim.send(text("a")).expect("it is open");
    sim.close(1000, "");
    sim.run_until(60_000);
    sim.set_writable(true);
    sim.expect(&["3000 abort 1", r#"3000 close 1 1000 "" final unsent [a]"#]);
}

/// Both closed at once: their frame is no answer to ours, which was never written.
#[test]
fn a_close_frame_that_crosses_ours_is_not_clean() {
    let mut sim = open(Connection::opens(0));
    sim.set_writable(false);
    sim.send(text("a")).expect("it is open");
    sim.close(1000, "");
    sim.input(Input::CloseReceived { epoch: 1, code: Some(1001), reason: String::new() });
    sim.expect(&["0 hang up 1", r#"0 close 1 1000 "" final unsent [a]"#]);
}

#[test]
fn a_connection_lost_while_closing_is_no_error() {
    for kind in [ErrorKind::ConnectionLost, ErrorKind::Protocol] {
        let mut sim = open(Connection::opens(0).deaf());
        sim.close(1000, "");
        sim.input(Input::Failed { epoch: 1, failure: Failure::new(kind, "") });
        sim.expect(&[r#"0 write Close 1000 """#, "0 abort 1", r#"0 close 1 1000 "" final"#]);
    }
}

#[test]
fn messages_that_still_arrive_are_delivered() {
    let mut sim = open(Connection::opens(0).deaf().saying(100, "last words").closing(200, 1000));
    sim.close(1000, "");
    sim.run_until(1_000);
    assert_eq!(
        sim.only(&["message", "close"]),
        ["100 message 1 last words", r#"200 close 1 1000 "" clean final"#,]
    );
}

#[test]
fn nothing_is_accepted_once_closing() {
    let mut sim = open(Connection::opens(0));
    sim.close(1000, "");
    assert_eq!(sim.send(text("late")), Err(SendRefused::NotConnected));
    sim.run_until(1_000);
    assert_eq!(sim.send(text("later")), Err(SendRefused::NotConnected));
    assert_eq!(sim.written(), [r#"Close 1000 """#]);
}

/// In every phase: one final Close, in the caller's words, of an epoch that had none.
#[test]
fn close_is_legal_whenever() {
    type Prepare = fn() -> Sim;
    let lives: [(&str, Prepare, &str); 6] = [
        ("Idle", || Sim::new(plain()), "1"),
        ("Connecting", || Sim::new(plain()).connected(), "1"),
        (
            "Waiting",
            || Sim::new(plain()).then(Connection::fails(0, ErrorKind::Dns)).connected(),
            "2",
        ),
        (
            "Suspended",
            || {
                let mut sim = Sim::new(plain());
                sim.input(Input::Pause);
                sim.input(Input::Connect);
                sim
            },
            "1",
        ),
        ("Open", || Sim::new(plain()).then(Connection::opens(0)).connected(), "1"),
        (
            "Closing",
            || {
                let mut sim = open(Connection::opens(0));
                sim.close(3001, "why not");
                sim
            },
            "1",
        ),
    ];
    for (phase, prepare, epoch) in lives {
        let mut sim = prepare();
        sim.run_for(0);
        assert_eq!(name(sim.machine.phase()), phase);
        sim.forget();
        // Idempotent: whoever was first had the say.
        sim.close(3001, "why not");
        sim.close(4999, "again");
        sim.run_for(20);
        sim.close(1000, "");
        sim.run_for(24 * 60 * 60 * 1_000);
        let closes = sim.only(&["close"]);
        assert_eq!(closes.len(), 1, "{phase}");
        assert!(closes[0].contains(&format!(r#"close {epoch} 3001 "why not""#)), "{closes:?}");
        assert!(closes[0].ends_with("final"), "{closes:?}");
        assert_eq!(sim.next_timeout(), None, "{phase}");
    }
}

#[test]
fn a_dial_is_cancelled_and_a_retry_is_not_made() {
    let mut dialling = Sim::new(plain()).always(Connection::opens(500)).connected();
    dialling.run_until(100);
    dialling.close(1000, "");
    // The dial succeeds all the same; nobody is there to hear it.
    dialling.run_until(60_000);
    dialling.expect(&["0 dial 1 attempt 0", "100 abort 1", r#"100 close 1 1000 "" final"#]);
}

#[test]
fn after_the_end_nothing_follows() {
    let mut sim = open(Connection::opens(0));
    sim.close(1000, "");
    sim.run_until(100);
    sim.forget();
    let failure = Failure::new(ErrorKind::ConnectionLost, "");
    for input in [
        Input::Connect,
        Input::Close { code: 4000, reason: String::new() },
        Input::DialProgress { dial: 1 },
        Input::Opened { dial: 1 },
        Input::DialFailed { dial: 1, failure: failure.clone() },
        Input::Received { epoch: 1, message: text("ghost") },
        Input::Alive { epoch: 1 },
        Input::Ponged { epoch: 1, payload: vec![0].into() },
        Input::CloseReceived { epoch: 1, code: None, reason: String::new() },
        Input::Failed { epoch: 1, failure: failure.clone() },
        Input::GiveUp { dial: 1, failure },
        Input::Network(false.into()),
        Input::Network(true.into()),
        Input::Foreground(false),
        Input::Foreground(true),
        Input::Crowded(true),
        Input::Crowded(false),
        Input::Pause,
        Input::Resume,
        Input::ReconnectNow,
        Input::Woke { slept: ms(0) },
    ] {
        sim.input(input);
        sim.run_for(60_000);
    }
    sim.expect(&[]);
}

/// Who is leaving asks nobody whether he is still there.
#[test]
fn closing_has_no_heartbeat() {
    let heartbeat = Heartbeat {
        payload: HeartbeatPayload::Ping,
        interval: ms(1_000),
        timeout: ms(500),
        reply: None,
        strict: false,
        deliver_reply: false,
        idle_driven: false,
    };
    let config = Config { heartbeat: Some(heartbeat), ..plain() };
    for closed_at in [500, 1_200] {
        let mut sim = Sim::new(config.clone()).then(Connection::opens(0).deaf()).connected();
        sim.run_until(closed_at);
        sim.close(1000, "");
        sim.forget();
        sim.input(Input::Woke { slept: ms(0) });
        sim.input(Input::Network(true.into()));
        sim.run_until(60_000);
        let end = closed_at + 3_000;
        assert_eq!(
            sim.timeline(),
            [format!("{end} abort 1"), format!(r#"{end} close 1 1000 "" final"#)]
        );
    }
}

/// When the server closes, it is its code that the app hears, and the truth about it.
#[test]
fn the_servers_close_tells_the_truth() {
    let close = |act: Act| {
        let mut sim = open(Connection::opens(0).doing(10, act));
        sim.run_until(10);
        sim.only(&["close"])[0].clone()
    };
    let broken = |kind| Act::Break(Failure::new(kind, ""));
    for (act, told) in [
        (Act::Close(Some(1000), "ok"), r#"10 close 1 1000 "ok" clean"#),
        (Act::Close(None, ""), r#"10 close 1 1005 "" clean"#),
        (broken(ErrorKind::ConnectionLost), r#"10 close 1 1006 "" retry"#),
        (broken(ErrorKind::Protocol), r#"10 close 1 1002 "protocol error" retry"#),
        (broken(ErrorKind::InvalidUtf8), r#"10 close 1 1007 "invalid UTF-8" retry"#),
        (broken(ErrorKind::TooBig), r#"10 close 1 1009 "message too big" retry"#),
    ] {
        let found = close(act);
        assert!(found.starts_with(told), "{found}, not {told}");
    }
}

#[test]
fn codes_and_reasons_are_checked() {
    for code in [1000, 3000, 3999, 4000, 4999] {
        assert_eq!(check_close(code, ""), Ok(()), "{code}");
    }
    for code in [0, 999, 1001, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
        assert_eq!(check_close(code, ""), Err(CloseRefused::Code), "{code}");
    }
    // 123 bytes of UTF-8, not 123 characters.
    for (character, fit) in [("x", 123), ("é", 61), ("心", 41), ("🫀", 30)] {
        assert_eq!(check_close(1000, &character.repeat(fit)), Ok(()), "{character}");
        let long = character.repeat(fit + 1);
        assert_eq!(check_close(1000, &long), Err(CloseRefused::Reason), "{character}");
    }
    assert_eq!(check_close(1000, &format!("x{}", "é".repeat(61))), Ok(()));
    assert_eq!(check_close(1000, &format!("xx{}", "é".repeat(61))), Err(CloseRefused::Reason));
}
