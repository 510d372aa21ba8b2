//! Is the peer there? What is asked, when, and what is taken for an answer.

use super::script::{Act, Connection, binary, ms, text};
use super::sim::{Sim, plain};
use crate::session::{Config, Heartbeat, HeartbeatPayload, Input, Message, ReplyMatch};
use bytes::Bytes;

/// A Ping after 10 s, 4 s to answer.
pub(super) fn pinging() -> Heartbeat {
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

fn asking(question: &str, answer: &str) -> Heartbeat {
    Heartbeat {
        payload: HeartbeatPayload::Text { text: question.to_owned() },
        reply: Some(ReplyMatch::Text { text: answer.to_owned() }),
        ..pinging()
    }
}

fn with(heartbeat: Heartbeat) -> Config {
    Config { heartbeat: Some(heartbeat), ..plain() }
}

/// Connected to this server since 0 ms.
pub(super) fn open(heartbeat: Heartbeat, server: Connection) -> Sim {
    let mut sim = Sim::new(with(heartbeat)).then(server).connected();
    sim.run_for(0);
    sim
}

#[test]
fn the_question_may_be_text_bytes_or_a_protocol_ping() {
    for (payload, wire) in [
        (HeartbeatPayload::Text { text: "are you there?".to_owned() }, "write are you there?"),
        (HeartbeatPayload::Binary { bytes: Bytes::from_static(&[9, 0]) }, "write [9, 0]"),
        (HeartbeatPayload::Text { text: String::new() }, "write "),
        (HeartbeatPayload::Ping, "write Ping 1"),
    ] {
        let mut sim = open(Heartbeat { payload, ..pinging() }, Connection::opens(0));
        sim.run_until(10_000);
        assert_eq!(sim.only(&["write"]), [format!("10000 {wire}")]);
    }
}

/// A Pong is matched by its payload, so that each Ping has one of its own.
#[test]
fn every_ping_carries_another_number() {
    let mut sim = open(pinging(), Connection::opens(0).ponging(0));
    sim.run_until(30_000);
    assert_eq!(
        sim.only(&["write"]),
        ["10000 write Ping 1", "20000 write Ping 2", "30000 write Ping 3"]
    );
}

#[test]
fn by_default_any_frame_is_life() {
    for act in [Act::Say(text("news")), Act::Say(binary(&[])), Act::Ping] {
        let mut sim = open(asking("ping", "pong"), Connection::opens(0).doing(13_999, act));
        sim.run_until(60_000);
        assert_eq!(sim.times("error"), [24_000]);
    }
    // Even a Pong that answers nothing.
    let mut sim = open(pinging(), Connection::opens(0));
    sim.run_until(13_999);
    sim.input(Input::Ponged { epoch: 1, payload: Bytes::from_static(b"unasked") });
    sim.run_until(23_999);
    sim.never("error");
}

#[test]
fn strict_takes_only_the_answer() {
    let heartbeat = Heartbeat { strict: true, ..asking("ping", "pong") };
    let server = Connection::opens(0)
        .saying(11_000, "news")
        .doing(12_000, Act::Ping)
        .saying(13_000, "pong ")
        .doing(13_500, Act::Say(binary(b"pong")));
    let mut sim = open(heartbeat.clone(), server);
    sim.run_until(60_000);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [14_000]);

    let mut sim = open(heartbeat, Connection::opens(0).saying(13_999, "pong"));
    sim.run_until(23_998);
    sim.never("error");
    assert_eq!(sim.times("write ping"), [10_000]);
}

#[test]
fn strict_takes_only_the_pong_that_answers() {
    let mut sim = open(Heartbeat { strict: true, ..pinging() }, Connection::opens(0));
    sim.run_until(12_000);
    sim.input(Input::Ponged { epoch: 1, payload: Bytes::from_static(&[0, 0, 0, 2]) });
    sim.run_until(13_000);
    sim.forget();
    sim.input(Input::Ponged { epoch: 1, payload: Bytes::from_static(&[0, 0, 0, 1]) });
    sim.run_until(23_000);
    sim.expect(&["23000 write Ping 2"]);
    sim.input(Input::Ponged { epoch: 1, payload: Bytes::from_static(&[0, 0, 0, 1]) });
    sim.run_until(27_000);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [27_000]);
}

/// An answer that is found out of turn is still the machine's, not the app's.
#[test]
fn the_answer_is_hidden_unless_asked_for() {
    for (deliver_reply, heard) in [(false, vec![]), (true, vec![5_000, 15_100])] {
        let heartbeat = Heartbeat { deliver_reply, ..asking("ping", "pong") };
        let server = Connection::opens(0).saying(5_000, "pong").answering(100, text("pong"));
        let mut sim = open(heartbeat, server);
        sim.run_until(20_000);
        assert_eq!(sim.times("message 1 pong"), heard);
        // The pong that nobody asked for restarts the interval, hidden or not.
        assert_eq!(sim.times("write ping"), [15_000]);
    }
}

fn is_hidden(reply: ReplyMatch, message: Message) -> bool {
    let heartbeat = Heartbeat { reply: Some(reply), ..asking("ping", "") };
    let mut sim = open(heartbeat, Connection::opens(0).doing(1, Act::Say(message)));
    sim.run_until(1);
    sim.times("message").is_empty()
}

#[test]
fn an_answer_may_be_told_by_its_beginning() {
    let prefix = || ReplyMatch::Prefix { prefix: "pong:".to_owned() };
    assert!(is_hidden(prefix(), text("pong:17")));
    assert!(is_hidden(prefix(), text("pong:")));
    assert!(!is_hidden(prefix(), text("pong")));
    assert!(!is_hidden(prefix(), text("a pong:")));
    assert!(!is_hidden(prefix(), binary(b"pong:17")));
}

#[test]
fn an_answer_may_be_bytes() {
    let bytes = || ReplyMatch::Binary { bytes: Bytes::from_static(&[1, 2]) };
    assert!(is_hidden(bytes(), binary(&[1, 2])));
    assert!(!is_hidden(bytes(), binary(&[1, 2, 3])));
    assert!(!is_hidden(bytes(), text("\u{1}\u{2}")));
}

#[test]
fn an_answer_may_be_told_by_a_json_field() {
    let field = |name: &str, value: Option<&str>| ReplyMatch::JsonField {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    for (reply, message, hidden) in [
        (field("type", Some("pong")), r#"{"type":"pong","at":1}"#, true),
        (field("type", Some("pong")), r#" { "type" : "pong" } "#, true),
        (field("type", Some("pong")), r#"{"type":"news"}"#, false),
        (field("type", Some("pong")), r#"{"inner":{"type":"pong"}}"#, false),
        (field("type", Some("pong")), r#"["type","pong"]"#, false),
        (field("type", Some("pong")), r#"{"type":"pong""#, false),
        (field("pong", Some("true")), r#"{"pong":true}"#, true),
        (field("pong", Some("true")), r#"{"pong":false}"#, false),
        (field("heart", Some("1")), r#"{"heart":1}"#, true),
        (field("heart", None), r#"{"heart":null}"#, true),
        (field("heart", None), r#"{"hurt":1}"#, false),
    ] {
        assert_eq!(is_hidden(reply.clone(), text(message)), hidden, "{reply:?} {message}");
    }
    // A heartbeat's answer is short: more than 4 KiB is not looked into.
    let of_size = |size: usize| format!(r#"{{"pong":true,"pad":"{}"}}"#, "x".repeat(size - 22));
    assert_eq!(of_size(4_096).len(), 4_096);
    assert!(is_hidden(field("pong", None), text(&of_size(4_096))));
    assert!(!is_hidden(field("pong", None), text(&of_size(4_097))));
}

#[test]
fn idle_driven_waits_for_silence() {
    let heartbeat = Heartbeat { idle_driven: true, ..pinging() };
    let server = Connection::opens(0)
        .saying(9_000, "a")
        .saying(18_000, "b")
        .doing(27_000, Act::Ping)
        .saying(30_000, "c");
    let mut sim = open(heartbeat, server);
    sim.run_until(44_000);
    // Control frames are no messages: "b" is what the first Ping counts from.
    assert_eq!(sim.times("write Ping"), [28_000, 40_000]);
    assert_eq!(sim.times("error"), [44_000]);
}

/// An app that sends into a black hole must be told all the same.
#[test]
fn what_the_app_sends_never_postpones_the_check() {
    for idle_driven in [false, true] {
        let mut sim = open(Heartbeat { idle_driven, ..pinging() }, Connection::opens(0));
        for second in 1..=14 {
            sim.send(text("telemetry")).expect("it is open");
            sim.run_until(second * 1_000);
        }
        assert_eq!(sim.times("write Ping"), [10_000]);
        assert_eq!(sim.times("error 1 HeartbeatTimeout"), [14_000]);
    }
}

#[test]
fn the_dead_are_not_waited_for() {
    let mut sim = open(pinging(), Connection::opens(0));
    sim.run_until(15_000);
    sim.expect(&[
        "0 dial 1 attempt 0",
        "0 open 1 attempt 0",
        "10000 write Ping 1",
        "14000 abort 1",
        "14000 error 1 HeartbeatTimeout",
        r#"14000 close 1 1006 "heartbeat timeout" retry 1/- in 1000"#,
        "15000 dial 2 attempt 1",
    ]);
}

#[test]
fn the_round_trip_is_measured_and_smoothed() {
    let mut sim = open(pinging(), Connection::opens(0).ponging(80));
    sim.run_until(10_079);
    assert_eq!(sim.machine.counters().last_rtt, None);
    sim.run_until(10_080);
    assert_eq!(sim.machine.counters().last_rtt, Some(ms(80)));
    assert_eq!(sim.machine.counters().smoothed_rtt, Some(ms(80)));

    let server = Connection::opens(0).ponging(800).dropping(25_000);
    let mut sim = open(pinging(), server).always(Connection::opens(0).ponging(80));
    sim.run_until(36_080);
    // RFC 6298: 7/8 of the old, 1/8 of the new; what is known survives the connection.
    assert_eq!(sim.machine.counters().last_rtt, Some(ms(80)));
    assert_eq!(sim.machine.counters().smoothed_rtt, Some(ms(710)));
}

/// Only an answer measures: other messages come when they like.
#[test]
fn other_messages_measure_nothing() {
    let server = Connection::opens(0).saying(10_001, "news").answering(300, text("pong"));
    let mut sim = open(asking("ping", "pong"), server);
    sim.run_until(10_200);
    assert_eq!(sim.machine.counters().last_rtt, None);
    sim.run_until(10_300);
    assert_eq!(sim.machine.counters().last_rtt, Some(ms(300)));
}

/// A listener that is slow stops the reading: nobody can say that nothing was said.
#[test]
fn while_nobody_reads_nobody_is_dead() {
    let mut sim = open(pinging(), Connection::opens(0));
    sim.input(Input::ReadPaused(true));
    sim.run_until(10 * 60 * 1_000);
    sim.never("error");
    assert!(sim.times("write Ping").len() > 10, "the peer is still asked");
    sim.input(Input::ReadPaused(false));
    sim.run_for(14_000);
    assert_eq!(sim.times("error 1 HeartbeatTimeout").len(), 1);
}

/// The excuse belongs to the connection that was not read.
#[test]
fn a_new_connection_is_read_again() {
    let mut sim =
        open(pinging(), Connection::opens(0).dropping(5_000)).always(Connection::opens(0));
    sim.input(Input::ReadPaused(true));
    sim.run_until(20_000);
    assert_eq!(sim.times("error 2 HeartbeatTimeout"), [20_000]);
}

#[test]
fn nothing_ticks_while_suspended() {
    let mut sim = open(pinging(), Connection::opens(0));
    sim.run_until(12_000);
    sim.input(Input::Pause);
    assert_eq!(sim.next_timeout(), None);
    sim.forget();
    sim.run_for(24 * 60 * 60 * 1_000);
    sim.expect(&[]);
}

fn signals() -> [Input; 4] {
    [
        Input::Network(true.into()),
        Input::Foreground(true),
        Input::Woke { slept: ms(0) },
        Input::ReconnectNow,
    ]
}

#[test]
fn a_change_of_the_network_asks_at_once_and_waits_briefly() {
    for signal in signals() {
        let mut sim = open(pinging(), Connection::opens(0));
        sim.run_until(3_000);
        sim.input(signal);
        sim.run_until(5_500);
        assert_eq!(
            sim.only(&["write", "error"]),
            ["3000 write Ping 1", "5500 error 1 HeartbeatTimeout",]
        );
    }
}

/// The connection did not survive the change: nobody gains from waiting before the next one.
#[test]
fn a_probe_that_fails_is_followed_by_a_dial_at_once() {
    for signal in signals() {
        let mut sim = open(pinging(), Connection::opens(0));
        sim.run_until(3_000);
        sim.input(signal);
        sim.run_until(6_000);
        assert_eq!(
            sim.only(&["error", "close", "dial 2"]),
            [
                "5500 error 1 HeartbeatTimeout",
                r#"5500 close 1 1006 "heartbeat timeout" retry 1/- in 0"#,
                "5500 dial 2 attempt 1",
            ]
        );
    }
    // A reset that the probe provokes is the same news.
    let mut sim = open(pinging(), Connection::opens(0).dropping(3_100));
    sim.run_until(3_000);
    sim.input(Input::Network(true.into()));
    sim.run_until(4_000);
    assert_eq!(sim.times("dial 2"), [3_100]);
}

/// Without a probe, or once it is answered, the delay is the policy's.
#[test]
fn only_an_unanswered_probe_hurries_the_next_dial() {
    let server = || Connection::opens(0).ponging(50);
    let mut sim = open(pinging(), server().dropping(3_100));
    sim.run_until(3_000);
    sim.input(Input::Network(true.into()));
    sim.run_until(5_000);
    assert_eq!(sim.times("dial 2"), [4_100]);
    // A close frame is an answer, too.
    let mut sim = open(pinging(), Connection::opens(0).closing(3_100, 1001));
    sim.run_until(3_000);
    sim.input(Input::Network(true.into()));
    sim.run_until(5_000);
    assert_eq!(sim.times("dial 2"), [4_100]);
    // The question of a connection before is not the question of this one.
    let mut sim = open(pinging(), Connection::opens(0)).always(Connection::opens(0).dropping(100));
    sim.run_until(3_000);
    sim.input(Input::Network(true.into()));
    sim.run_until(8_000);
    assert_eq!(sim.times("dial")[1..4], [5_500, 6_600, 7_700]);
}

/// Five round trips, but at least 2.5 s and at most 10 s or the heartbeat's own patience.
#[test]
fn a_probe_waits_five_round_trips() {
    for (rtt, timeout, patience) in [
        (100, 60_000, 2_500),
        (500, 60_000, 2_500),
        (900, 60_000, 4_500),
        (3_000, 60_000, 10_000),
        (900, 4_000, 4_000),
        (100, 1_000, 1_000),
    ] {
        let heartbeat = Heartbeat { timeout: ms(timeout), ..pinging() };
        let mut sim = open(heartbeat, Connection::opens(0).ponging(rtt));
        sim.run_until(10_000 + rtt);
        let asked = sim.now();
        sim.input(Input::Network(true.into()));
        assert_eq!(sim.next_timeout(), Some(asked + ms(patience)), "{rtt} {timeout}");
    }
}

/// Many signals in a row are no reason to wait longer.
#[test]
fn probes_do_not_postpone_each_other() {
    let mut sim = open(pinging(), Connection::opens(0));
    sim.run_until(3_000);
    for _ in 0..10 {
        sim.input(Input::Network(true.into()));
        sim.run_for(200);
    }
    sim.run_until(6_000);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [5_500]);
}

/// A probe that is answered leaves the usual rhythm.
#[test]
fn after_a_probe_the_interval_starts_at_its_answer() {
    let mut sim = open(pinging(), Connection::opens(0).ponging(60));
    sim.run_until(7_000);
    sim.input(Input::Woke { slept: ms(0) });
    sim.run_until(30_000);
    assert_eq!(sim.times("write Ping"), [7_000, 17_060, 27_120]);
    sim.never("error");
}

/// Without a heartbeat there is still a way to ask.
#[test]
fn without_a_heartbeat_a_probe_is_a_ping() {
    for (server, died) in [(Connection::opens(0), true), (Connection::opens(0).ponging(9), false)] {
        let mut sim = Sim::new(plain()).then(server).connected();
        sim.run_until(1_000);
        sim.input(Input::Network(true.into()));
        sim.run_until(60_000);
        assert_eq!(sim.only(&["write"]), ["1000 write Ping 1"]);
        assert_eq!(sim.times("error 1 HeartbeatTimeout") == [3_500], died);
        assert_eq!(sim.next_timeout(), None);
    }
}

/// The heartbeat that was due anyway does not ask again, and gives the silent no more time.
#[test]
fn a_probe_takes_the_place_of_the_next_heartbeat() {
    let mut sim = open(pinging(), Connection::opens(0));
    sim.run_until(9_500);
    sim.input(Input::Woke { slept: ms(0) });
    sim.run_until(12_000);
    assert_eq!(sim.times("write Ping"), [9_500]);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [12_000]);
}

/// What is no life gives no more time either.
#[test]
fn strict_and_idle_driven_is_not_put_off_by_other_messages() {
    let heartbeat = Heartbeat { strict: true, idle_driven: true, timeout: ms(15_000), ..pinging() };
    let server = Connection::opens(0).saying(1_000, "early").saying(12_000, "late");
    let mut sim = open(heartbeat, server);
    sim.run_until(26_000);
    assert_eq!(sim.times("write Ping"), [11_000]);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [26_000]);
}

#[test]
fn a_pause_that_is_told_between_two_connections_is_of_neither() {
    let mut sim =
        open(pinging(), Connection::opens(0).dropping(5_000)).always(Connection::opens(0));
    sim.run_until(5_500);
    sim.input(Input::ReadPaused(true));
    sim.run_until(20_000);
    assert_eq!(sim.times("error 2 HeartbeatTimeout"), [20_000]);
}
