//! Prints what the scripted server sees, as it happens.

use super::escape::{quoted, visible};
use super::json;
use super::options::without_secrets;
use super::timeline::{Mark, Timeline};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use wxsocket::testing::{SeenConnection, SeenEnd, SeenFrame, SeenFrameKind, Snapshot};

/// How many facts, and how many bytes of payload, are noted at a time. When the reader of the
/// output is slow, the rest stays in the server's record, which is bounded.
const MAX_FACTS: usize = 1_000;
const MAX_BYTES: u64 = 1 << 20;

/// The shortest time between two lines which say that connections cannot be accepted.
const ERROR_PACE: Duration = Duration::from_secs(1);

/// One thing that has happened. In JSON, the order of the keys is the order of the fields.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Fact {
    Accepted {
        t_ms: u64,
        connection: u64,
    },
    Open {
        t_ms: u64,
        connection: u64,
        path: String,
        protocols: Vec<String>,
    },
    Frame {
        t_ms: u64,
        connection: u64,
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hex: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
        fin: bool,
        bytes: u64,
    },
    End {
        t_ms: u64,
        connection: u64,
        how: &'static str,
        violations: Vec<String>,
    },
    /// The port refuses dials from now on (`Up`: it accepts them again).
    Down {
        t_ms: u64,
    },
    Up {
        t_ms: u64,
    },
    /// The record has discarded something before it was noted: frames of a connection, or
    /// connections with all or a part of their frames.
    Skipped {
        t_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        connection: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        frames: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        connections: Option<u64>,
    },
    /// Connections could not be accepted, this many times since the last such line.
    Error {
        t_ms: u64,
        message: String,
        times: u64,
    },
}

/// What was noted of a connection.
#[derive(Default)]
struct Told {
    open: bool,
    frames: u64,
}

pub(crate) struct Observer {
    start: Instant,
    json: bool,
    timeline: Timeline,
    /// The connections that have not ended.
    live: BTreeMap<u64, Told>,
    /// The connection to look at first, so that a busy one does not hold up the others.
    turn: u64,
    accepted: u64,
    listening_changes: u64,
    accept_errors: u64,
    /// When an accept error was noted last, and whether there are more.
    error_told: Option<Instant>,
    error_waits: bool,
    facts: Facts,
    broken: Option<io::ErrorKind>,
}

/// What was noted and not printed yet.
#[derive(Default)]
struct Facts {
    all: Vec<Fact>,
    bytes: u64,
}

impl Facts {
    fn has_room(&self) -> bool {
        self.all.len() < MAX_FACTS && self.bytes < MAX_BYTES
    }

    fn push(&mut self, fact: Fact) {
        self.all.push(fact);
    }
}

impl Observer {
    pub(crate) fn new(json: bool) -> Self {
        let start = Instant::now();
        Self {
            start,
            json,
            timeline: Timeline::on_stdout(start),
            live: BTreeMap::new(),
            turn: 0,
            accepted: 0,
            listening_changes: 0,
            accept_errors: 0,
            error_told: None,
            error_waits: false,
            facts: Facts::default(),
            broken: None,
        }
    }

    /// Returns why the output cannot be written any more, if that is so.
    pub(crate) fn broken(&self) -> Option<io::ErrorKind> {
        self.broken.or(self.timeline.broken())
    }

    pub(crate) fn start(&mut self, text: &str) {
        self.timeline.note(Mark::Start, text);
    }

    /// Returns the time until there is something to print even if nothing more happens, if that is
    /// so.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let told = self.error_told.filter(|_| self.error_waits)?;
        Some(ERROR_PACE.saturating_sub(told.elapsed()))
    }

    /// Notes what is new, as far as there is room. Returns true when there is something to print.
    pub(crate) fn look(&mut self, seen: &Snapshot) -> bool {
        let t_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.look_at_accepted(seen, t_ms);
        self.look_at_connections(seen, t_ms);
        while self.listening_changes < seen.listening_changes && self.facts.has_room() {
            self.listening_changes += 1;
            let is_up = self.listening_changes.is_multiple_of(2);
            self.facts.push(if is_up { Fact::Up { t_ms } } else { Fact::Down { t_ms } });
        }
        self.look_at_errors(seen, t_ms);
        !self.facts.all.is_empty()
    }

    fn look_at_accepted(&mut self, seen: &Snapshot, t_ms: u64) {
        let mut forgotten = 0;
        while self.accepted < seen.accepted && self.facts.has_room() {
            self.accepted += 1;
            let connection = self.accepted;
            let Some(seen) = seen.connection(connection) else {
                forgotten += 1;
                continue;
            };
            self.live.insert(connection, Told::default());
            let t_ms = whole(seen.accepted_ms);
            self.facts.push(Fact::Accepted { t_ms, connection });
        }
        if forgotten > 0 {
            self.facts.push(skipped_connections(t_ms, forgotten));
        }
    }

    fn look_at_connections(&mut self, seen: &Snapshot, t_ms: u64) {
        let from_turn = self.live.range(self.turn..).chain(self.live.range(..self.turn));
        let order: Vec<u64> = from_turn.map(|(index, _)| *index).collect();
        let mut forgotten = 0;
        for index in order {
            if !self.facts.has_room() {
                self.turn = index;
                break;
            }
            let Some(told) = self.live.get_mut(&index) else { continue };
            let lasts = match seen.connection(index) {
                Some(connection) => follow(connection, told, t_ms, &mut self.facts),
                None => {
                    forgotten += 1;
                    false
                }
            };
            if !lasts {
                self.live.remove(&index);
            }
        }
        if forgotten > 0 {
            self.facts.push(skipped_connections(t_ms, forgotten));
        }
    }

    fn look_at_errors(&mut self, seen: &Snapshot, t_ms: u64) {
        let times = seen.accept_errors - self.accept_errors;
        let is_due = self.error_told.is_none_or(|told| told.elapsed() >= ERROR_PACE);
        self.error_waits = times > 0 && !is_due;
        if times > 0 && is_due {
            self.accept_errors = seen.accept_errors;
            self.error_told = Some(Instant::now());
            let why = seen.last_accept_error.as_deref().unwrap_or("no reason is known");
            let message = format!("cannot accept a connection: {why}");
            self.facts.push(Fact::Error { t_ms, message, times });
        }
    }

    /// Prints what was noted.
    pub(crate) fn print(&mut self) {
        for fact in std::mem::take(&mut self.facts).all {
            if self.json {
                self.line(&json::to_line(&fact));
            } else {
                tell(&mut self.timeline, &fact);
            }
        }
    }

    /// Prints a line of JSON.
    pub(crate) fn line(&mut self, line: &str) {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
        if let Err(error) = written {
            self.broken.get_or_insert(error.kind());
        }
    }
}

/// Notes what is new on a connection, as far as there is room. Returns true when there may be more
/// to note later.
fn follow(seen: &SeenConnection, told: &mut Told, t_ms: u64, facts: &mut Facts) -> bool {
    let connection = seen.index;
    if seen.opened && !told.open {
        told.open = true;
        // A query may contain a token.
        let path = seen.request_path.as_deref().map(without_secrets).unwrap_or_default();
        let (path, protocols) = (path.to_owned(), seen.protocols_offered.clone());
        facts.push(Fact::Open { t_ms, connection, path, protocols });
    }
    let forgotten = seen.frames_forgotten.saturating_sub(told.frames);
    if forgotten > 0 {
        told.frames = seen.frames_forgotten;
        let (connection, frames) = (Some(connection), Some(forgotten));
        facts.push(Fact::Skipped { t_ms, connection, frames, connections: None });
    }
    let new = usize::try_from(told.frames - seen.frames_forgotten).unwrap_or(usize::MAX);
    for frame in seen.frames.iter().skip(new) {
        if !facts.has_room() {
            return true;
        }
        told.frames += 1;
        facts.bytes += frame.payload_len;
        facts.push(frame_fact(connection, frame));
    }
    let Some(end) = seen.ended else { return true };
    let t_ms = seen.ended_ms.map_or(t_ms, whole);
    let violations = seen.violations.clone();
    facts.push(Fact::End { t_ms, connection, how: end_word(end), violations });
    false
}

fn skipped_connections(t_ms: u64, count: u64) -> Fact {
    Fact::Skipped { t_ms, connection: None, frames: None, connections: Some(count) }
}

fn frame_fact(connection: u64, frame: &SeenFrame) -> Fact {
    let (kind, data, hex) = match frame.kind {
        SeenFrameKind::Text => ("text", Some(frame.text.clone()), None),
        SeenFrameKind::Binary => ("binary", None, Some(json::hex(&frame.bytes))),
        SeenFrameKind::Continuation => ("continuation", None, Some(json::hex(&frame.bytes))),
        SeenFrameKind::Ping => ("ping", None, Some(json::hex(&frame.bytes))),
        SeenFrameKind::Pong => ("pong", None, Some(json::hex(&frame.bytes))),
        SeenFrameKind::Close => ("close", Some(frame.close_reason.clone()), None),
    };
    Fact::Frame {
        t_ms: whole(frame.at_ms),
        connection,
        kind,
        data,
        hex,
        code: frame.close_code,
        fin: frame.fin,
        bytes: frame.payload_len,
    }
}

fn end_word(end: SeenEnd) -> &'static str {
    match end {
        SeenEnd::Refused => "refused",
        SeenEnd::Rejected => "rejected",
        SeenEnd::BadRequest => "badRequest",
        SeenEnd::ClientClosed => "clientClosed",
        SeenEnd::ServerClosed => "serverClosed",
        SeenEnd::CloseIgnored => "closeIgnored",
        SeenEnd::ServerDropped => "serverDropped",
        SeenEnd::ServerEof => "serverEof",
        SeenEnd::ClientEof => "clientEof",
        SeenEnd::ClientReset => "clientReset",
        SeenEnd::Violation => "violation",
        SeenEnd::Shutdown => "shutdown",
        _ => "other",
    }
}

fn tell(timeline: &mut Timeline, fact: &Fact) {
    match fact {
        Fact::Accepted { connection, .. } => {
            timeline.note(Mark::Dial, &format!("#{connection}  accepted"));
        }
        Fact::Open { connection, path, protocols, .. } => {
            let offers = match &**protocols {
                [] => String::new(),
                protocols => format!(", offers {}", visible(&protocols.join(", "))),
            };
            timeline.note(Mark::Open, &format!("#{connection}  {}{offers}", visible(path)));
        }
        Fact::Frame { connection, kind, data, hex, code, bytes, .. } => {
            let code = code.map(|code| format!(" {code}")).unwrap_or_default();
            let content = match (data, hex) {
                (Some(text), _) => format!(" {}", quoted(text)),
                (None, Some(hex)) if hex.is_empty() => String::new(),
                (None, Some(hex)) => format!(" {}", visible(hex)),
                (None, None) => String::new(),
            };
            let text = format!("#{connection}  {kind}{code}{content}, {bytes} bytes");
            timeline.note(Mark::Receive, &text);
        }
        Fact::End { connection, how, violations, .. } => {
            let violations = match &**violations {
                [] => String::new(),
                violations => format!(": {}", visible(&violations.join("; "))),
            };
            timeline.note(Mark::Close, &format!("#{connection}  {how}{violations}"));
        }
        Fact::Down { .. } => timeline.note(Mark::Server, "is down: dials are refused"),
        Fact::Up { .. } => timeline.note(Mark::Server, "listens again"),
        Fact::Skipped { connection, frames, connections, .. } => {
            let text = match (connection, frames, connections) {
                (Some(connection), Some(frames), _) => {
                    format!("#{connection}  {frames} frames came too fast to be told")
                }
                (_, _, connections) => {
                    let count = connections.unwrap_or_default();
                    format!("{count} connections came too fast to be told whole")
                }
            };
            timeline.note(Mark::Server, &text);
        }
        Fact::Error { message, times, .. } => {
            timeline.note(Mark::Error, &format!("{}, {times} times", visible(message)));
        }
    }
}

/// Returns milliseconds of the record without their fraction.
fn whole(ms: f64) -> u64 {
    std::time::Duration::from_secs_f64(ms.max(0.0) / 1_000.0)
        .as_millis()
        .try_into()
        .unwrap_or(u64::MAX)
}
