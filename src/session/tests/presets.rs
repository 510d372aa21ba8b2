//! Each preset against the script it reproduces, to the millisecond, on the simulated clock.

use super::script::{Act, Connection, refusal, text};
use super::sim::{Sim, fixed};
use crate::api::preset::Preset;
use crate::session::{Config, ErrorKind, Failure, Input, Message};

fn sim(preset: Preset) -> Sim {
    Sim::new(preset.config())
}

/// A server that refuses every dial at once.
fn dead_server(preset: Preset) -> Sim {
    sim(preset).always(Connection::fails(0, ErrorKind::Refused)).connected()
}

/// Dials of a dead server over two hours when there is no limit, and the story's end.
fn assert_dials_every(preset: Preset, delay: u64) {
    let mut sim = dead_server(preset);
    sim.run_until(2 * 60 * 60 * 1_000);
    let expected: Vec<u64> = (0..=2 * 60 * 60 * 1_000 / delay).map(|n| n * delay).collect();
    assert_eq!(sim.times("dial"), expected);
    assert!(sim.only(&["close"]).iter().all(|line| !line.contains("final")));
}

/// With a limit: the last attempt, the error and the end come in this order.
fn assert_dials_until(preset: Preset, delay: u64, limit: u64) {
    let mut sim = dead_server(preset);
    sim.run_until(2 * 60 * 60 * 1_000);
    let expected: Vec<u64> = (0..=limit).map(|n| n * delay).collect();
    assert_eq!(sim.times("dial"), expected);
    let (last, end) = (limit + 1, limit * delay);
    let lines = sim.timeline();
    assert_eq!(
        lines[lines.len() - 3..],
        [
            format!("{end} dial {last} attempt {limit}"),
            format!("{end} error {last} ReconnectLimit"),
            format!("{end} close {last} 1006 \"\" final"),
        ]
    );
}

/// A server that opens and never says a word.
fn assert_silence(preset: Preset, beat: &str, sent: u64, dead: u64, redialled: u64) {
    let mut sim = sim(preset).then(Connection::opens(0)).connected();
    sim.run_until(redialled);
    let max = preset.config().reconnect.and_then(|policy| policy.max_attempts);
    let max = max.map_or("-".to_owned(), |max| max.to_string());
    let delay = redialled - dead;
    assert_eq!(
        sim.timeline(),
        [
            "0 dial 1 attempt 0".to_owned(),
            "0 open 1 attempt 0".to_owned(),
            format!("{sent} write {beat}"),
            format!("{dead} abort 1"),
            format!("{dead} error 1 HeartbeatTimeout"),
            format!("{dead} close 1 1006 \"heartbeat timeout\" retry 1/{max} in {delay}"),
            format!("{redialled} dial 2 attempt 1"),
        ]
    );
}

/// A server whose every message restarts the interval.
fn assert_idle_driven(preset: Preset, beat: &str, interval: u64) {
    let last_word = interval - 1;
    let server = Connection::opens(0).saying(last_word, "late").answering(250, text("anything"));
    let mut sim = sim(preset).then(server).connected();
    sim.run_until(last_word + 3 * (interval + 250));
    let first = last_word + interval;
    let expected: Vec<u64> = (0..3).map(|n| first + n * (interval + 250)).collect();
    assert_eq!(sim.times(&format!("write {beat}")), expected);
    sim.never("error");
    // What answers is the app's all the same: the script hands every message on.
    let heard: Vec<u64> = sim.times("message 1 anything");
    assert_eq!(heard, expected[..3].iter().map(|at| at + 250).collect::<Vec<_>>());
}

// Seed 002: `limit < 12`, 5000, `timeout: 10000`, "ping", "pong".

#[test]
fn wx_dials_a_dead_server_twelve_times_more() {
    assert_dials_until(Preset::Wx, 5_000, 12);
}

#[test]
fn wx_finds_a_silent_peer_dead_after_twenty_seconds() {
    assert_silence(Preset::Wx, "ping", 10_000, 20_000, 25_000);
}

#[test]
fn wx_pings_ten_seconds_after_the_open_and_after_each_pong() {
    let server = Connection::opens(100).answering(40, text("pong"));
    let mut sim = sim(Preset::Wx).then(server).connected();
    sim.run_until(60_000);
    assert_eq!(sim.times("write ping"), [10_100, 20_140, 30_180, 40_220, 50_260]);
    // The pongs are for the machine.
    ["message", "error", "close"].into_iter().for_each(|what| sim.never(what));
}

#[test]
fn wx_takes_any_frame_for_life_but_only_a_pong_restarts_the_interval() {
    let server = Connection::opens(0).saying(4_000, "news").saying(19_000, "more");
    let mut sim = sim(Preset::Wx).then(server).connected();
    sim.run_until(35_000);
    // 10 s after the open although there was news; 10 s after the ping, as "more" is no pong.
    assert_eq!(sim.times("write ping"), [10_000, 20_000]);
    assert_eq!(sim.times("message"), [4_000, 19_000]);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [30_000]);
}

#[test]
fn wx_strict_takes_only_a_pong_for_life() {
    let mut config = Preset::Wx.config();
    config.heartbeat.as_mut().expect("wx has a heartbeat").strict = true;
    let server = Connection::opens(0).saying(12_000, "news").saying(19_999, "more");
    let mut sim = Sim::new(config).then(server).connected();
    sim.run_until(20_000);
    assert_eq!(sim.times("error 1 HeartbeatTimeout"), [20_000]);
}

#[test]
fn wx_comes_back_after_any_close_of_the_server() {
    for code in [1000, 1001, 1008, 4000] {
        let mut sim = sim(Preset::Wx).then(Connection::opens(0).closing(700, code)).connected();
        sim.run_until(10_000);
        assert_eq!(sim.times("dial"), [0, 5_700], "{code}");
    }
}

#[test]
fn wx_lives_five_seconds_in_the_background() {
    let mut sim = sim(Preset::Wx).then(Connection::opens(0)).connected();
    sim.run_until(1_000);
    sim.input(Input::Foreground(false));
    sim.run_until(9_999);
    assert_eq!(sim.times("hang up 1 with 1001"), [6_000]);
    assert_eq!(sim.only(&["close"]), [r#"6000 close 1 1006 "interrupted" retry 0/12 held"#]);
}

// Seed 000: at once, `recTimes < 59`, no heartbeat, `binaryType = "arraybuffer"`.

#[test]
fn browser_dials_a_dead_server_fifty_nine_times_more_at_once() {
    assert_dials_until(Preset::Browser, 0, 59);
}

#[test]
fn browser_comes_back_in_the_same_millisecond() {
    let mut sim = sim(Preset::Browser).then(Connection::opens(30).dropping(6_000)).connected();
    sim.run_until(10_000);
    assert_eq!(sim.only(&["dial"]), ["0 dial 1 attempt 0", "6030 dial 2 attempt 1"]);
}

#[test]
fn browser_has_no_heartbeat_and_keeps_bytes_bytes() {
    let bytes = Message::binary(vec![0, 255]);
    let server = Connection::opens(0).doing(10, Act::Say(bytes.clone()));
    let mut sim = sim(Preset::Browser).then(server).connected();
    sim.run_until(24 * 60 * 60 * 1_000);
    assert_eq!(sim.timeline().len(), 3, "nothing but the dial, the open and the message");
    assert_eq!(sim.only(&["message"]), ["10 message 1 [0, 255]"]);
    assert_eq!(sim.next_timeout(), None);
}

// Seed 001: 2000, `timeout: 6000`, "HeartBeat", any message resets.

#[test]
fn heart_check_dials_every_two_seconds_without_end() {
    assert_dials_every(Preset::HeartCheck, 2_000);
}

#[test]
fn heart_check_finds_a_silent_peer_dead_after_twelve_seconds() {
    assert_silence(Preset::HeartCheck, "HeartBeat", 6_000, 12_000, 14_000);
}

#[test]
fn heart_check_restarts_at_every_message() {
    assert_idle_driven(Preset::HeartCheck, "HeartBeat", 6_000);
}

// Seed 003: `60 * 1000`, `{ heart: 1 }`, any message restarts.

#[test]
fn vue_dials_every_minute_without_end() {
    assert_dials_every(Preset::Vue, 60_000);
}

#[test]
fn vue_finds_a_silent_peer_dead_after_two_minutes() {
    assert_silence(Preset::Vue, r#"{"heart":1}"#, 60_000, 120_000, 180_000);
}

#[test]
fn vue_restarts_at_every_message() {
    assert_idle_driven(Preset::Vue, r#"{"heart":1}"#, 60_000);
}

// Seed 004: 3000, `timeout: 5000`, `{ ping: true }`, a first message, `code !== 1000`.

#[test]
fn use_ws_dials_every_three_seconds_without_end() {
    assert_dials_every(Preset::UseWs, 3_000);
}

#[test]
fn use_ws_finds_a_silent_peer_dead_after_ten_seconds() {
    assert_silence(Preset::UseWs, r#"{"ping":true}"#, 5_000, 10_000, 13_000);
}

#[test]
fn use_ws_restarts_at_every_message() {
    assert_idle_driven(Preset::UseWs, r#"{"ping":true}"#, 5_000);
}

#[test]
fn use_ws_is_over_when_the_server_closes_with_1000_and_only_then() {
    let mut over = sim(Preset::UseWs).then(Connection::opens(0).closing(700, 1000)).connected();
    over.run_until(60_000);
    assert_eq!(over.only(&["close"]), [r#"700 close 1 1000 "" clean final"#]);
    for code in [1001, 1011, 3000, 4999] {
        let mut sim = sim(Preset::UseWs).then(Connection::opens(0).closing(700, code)).connected();
        sim.run_until(10_000);
        assert_eq!(sim.times("dial"), [0, 3_700], "{code}");
    }
    // A close frame without a code is 1005.
    let silent = Connection::opens(0).doing(700, Act::Close(None, ""));
    let mut sim = sim(Preset::UseWs).then(silent).connected();
    sim.run_until(10_000);
    assert_eq!(sim.only(&["close"]), [r#"700 close 1 1005 "" clean retry 1/- in 3000"#]);
}

#[test]
fn use_ws_says_its_first_message_at_every_open() {
    let config = Config { greeting: Some(text("data")), ..Preset::UseWs.config() };
    let mut sim = Sim::new(config)
        .then(Connection::opens(10).dropping(100))
        .then(Connection::opens(10))
        .connected();
    sim.send(text("queued")).expect("the queue is empty");
    sim.run_until(5_000);
    assert_eq!(sim.only(&["write"]), ["10 write data", "10 write queued", "3120 write data"]);
}

// Ours.

fn resilient(jitter: f64) -> Sim {
    Sim::with_jitter(Preset::Resilient.config(), fixed(jitter))
}

/// The gaps between the dials of a dead server.
fn gaps(jitter: f64, count: usize) -> Vec<u64> {
    let mut sim = resilient(jitter).always(Connection::fails(0, ErrorKind::Refused)).connected();
    sim.run_until(60 * 60 * 1_000);
    let times = sim.times("dial");
    times.windows(2).map(|pair| pair[1] - pair[0]).take(count).collect()
}

/// Attempt 1 in 0 to 1 s, attempt n in 1 s to 2ⁿ⁻¹ s, at most 30 s; after five minutes 48 to
/// 72 s.
#[test]
fn resilient_spreads_its_dials() {
    // Always the shortest: a second each, until five minutes have passed.
    let shortest = gaps(0.0, 303);
    assert_eq!(shortest[0], 0);
    assert_eq!(shortest[1..301], [1_000; 300]);
    assert_eq!(shortest[301..], [48_000; 2]);

    let middle = [500, 1_500, 2_500, 4_500, 8_500];
    let mut expected = middle.to_vec();
    expected.extend([15_500; 19]);
    // 17.5 s and 18 × 15.5 s are less than 300 s of failing since the first, 19 × are more.
    expected.extend([60_000; 2]);
    assert_eq!(gaps(0.5, 26), expected);

    let longest = [999, 1_999, 3_997, 7_993, 15_985];
    let mut expected = longest.to_vec();
    expected.extend([29_971; 9]);
    expected.extend([71_976; 2]);
    let found = gaps(0.999, 17);
    assert_eq!(found.len(), 17);
    // The record is in whole milliseconds: each end of a gap is off by half of one at most.
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.abs_diff(expected) <= 1, "{found} is not {expected}");
    }
}

#[test]
fn resilient_pings_every_thirty_seconds_and_waits_ten() {
    let mut silent = resilient(0.5).then(Connection::opens(0)).connected();
    silent.run_until(40_500);
    silent.expect(&[
        "0 dial 1 attempt 0",
        "0 open 1 attempt 0",
        "30000 write Ping 1",
        "40000 abort 1",
        "40000 error 1 HeartbeatTimeout",
        r#"40000 close 1 1006 "heartbeat timeout" retry 1/- in 500"#,
        "40500 dial 2 attempt 1",
    ]);
    let mut alive = resilient(0.5).then(Connection::opens(0).ponging(80)).connected();
    alive.run_until(100_000);
    assert_eq!(alive.times("write Ping"), [30_000, 60_080, 90_160]);
}

#[test]
fn resilient_takes_any_frame_for_life() {
    for act in [Act::Ping, Act::Say(text("news"))] {
        let server = Connection::opens(0).doing(39_999, act);
        let mut sim = resilient(0.5).then(server).connected();
        sim.run_until(69_999);
        assert_eq!(sim.times("write Ping"), [30_000, 60_000]);
        sim.never("error");
        sim.run_until(70_000);
        assert_eq!(sim.times("error"), [70_000]);
    }
}

#[test]
fn resilient_stops_where_coming_back_is_pointless() {
    for (code, stops) in [
        (1000, true),
        (1001, false),
        (1002, true),
        (1003, true),
        (1005, false),
        (1007, true),
        (1008, true),
        (1009, true),
        (1010, true),
        (1011, false),
        (1012, false),
        (1013, false),
        (3000, false),
        (4000, false),
    ] {
        let mut sim = resilient(0.5).then(Connection::opens(0).closing(700, code)).connected();
        sim.run_until(60_000);
        assert_eq!(sim.times("dial").len(), if stops { 1 } else { 2 }, "{code}");
    }
    for status in [400, 401, 403, 404, 408, 410, 425, 426, 429, 500, 502, 503] {
        for verified in [true, false] {
            let refused = Connection::fails_with(5, refusal(status, verified, None));
            let mut sim = resilient(0.5).then(refused).connected();
            sim.run_until(60_000);
            let fatal = [400, 401, 403, 404, 410, 426].contains(&status);
            let dials = if fatal && verified { 1 } else { 2 };
            assert_eq!(sim.times("dial").len(), dials, "{status}, over TLS: {verified}");
        }
    }
}

#[test]
fn resilient_lives_thirty_seconds_in_the_background() {
    let mut sim = resilient(0.5).then(Connection::opens(0).ponging(5)).connected();
    sim.run_until(1_000);
    sim.input(Input::Foreground(false));
    sim.run_until(90_000);
    assert_eq!(sim.times("hang up 1 with 1001"), [31_000]);
    sim.input(Input::Foreground(true));
    assert_eq!(sim.times("dial"), [0, 90_000]);
}

/// In all of them: `close()` is the end, whenever it comes.
#[test]
fn close_stops_every_preset() {
    let presets = [
        Preset::Wx,
        Preset::Browser,
        Preset::HeartCheck,
        Preset::Vue,
        Preset::UseWs,
        Preset::Resilient,
    ];
    for preset in presets {
        let lost = Failure::new(ErrorKind::ConnectionLost, "");
        for server in [Connection::opens(0), Connection::hangs(), Connection::fails_with(0, lost)] {
            let mut sim = sim(preset).then(server).connected();
            sim.run_for(0);
            sim.close(1000, "");
            sim.run_for(24 * 60 * 60 * 1_000);
            let closes = sim.only(&["close"]);
            assert!(closes.last().is_some_and(|line| line.ends_with("final")), "{closes:?}");
            assert_eq!(sim.next_timeout(), None);
        }
    }
}
