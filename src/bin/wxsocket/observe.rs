//! What the scripted server sees, told as it happens.

use super::json;
use super::options::without_secrets;
use super::timeline::{Mark, Timeline, quoted, visible};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Instant;
use wxsocket::testing::{SeenConnection, SeenEnd, SeenFrame, SeenFrameKind, Snapshot};

/// Something new. As JSON, the order of the keys is the order of the fields.
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
    /// The port refuses now, or accepts again.
    Down {
        t_ms: u64,
    },
    Up {
        t_ms: u64,
    },
}

/// How far a connection is told.
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
    accepted: u64,
    up: bool,
    facts: Vec<Fact>,
    broken: bool,
}

impl Observer {
    pub(crate) fn new(json: bool) -> Self {
        let start = Instant::now();
        Self {
            start,
            json,
            timeline: Timeline::on_stdout(start),
            live: BTreeMap::new(),
            accepted: 0,
            up: true,
            facts: Vec::new(),
            broken: false,
        }
    }

    /// Nobody reads what is printed.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken || self.timeline.is_broken()
    }

    pub(crate) fn start(&mut self, text: &str) {
        self.timeline.note(Mark::Start, text);
    }

    /// Notes what is new, and says whether anything is.
    pub(crate) fn look(&mut self, seen: &Snapshot) -> bool {
        let t_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        for connection in self.accepted + 1..=seen.accepted {
            self.live.insert(connection, Told::default());
            let at = seen.connection(connection).map_or(t_ms, |seen| whole(seen.accepted_ms));
            self.facts.push(Fact::Accepted { t_ms: at, connection });
        }
        self.accepted = seen.accepted;
        let facts = &mut self.facts;
        self.live.retain(|index, told| match seen.connection(*index) {
            Some(connection) => follow(connection, told, t_ms, facts),
            // So old that the server has forgotten it.
            None => false,
        });
        if self.up != seen.listening {
            self.up = seen.listening;
            self.facts.push(if self.up { Fact::Up { t_ms } } else { Fact::Down { t_ms } });
        }
        !self.facts.is_empty()
    }

    /// Prints what was noted.
    pub(crate) fn print(&mut self) {
        for fact in std::mem::take(&mut self.facts) {
            if self.json {
                self.line(&json::to_line(&fact));
            } else {
                tell(&mut self.timeline, &fact);
            }
        }
    }

    /// A line of JSON.
    pub(crate) fn line(&mut self, line: &str) {
        let mut stdout = io::stdout().lock();
        self.broken |= writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err();
    }
}

/// Notes what is new on a connection, and says whether there may be more.
fn follow(seen: &SeenConnection, told: &mut Told, t_ms: u64, facts: &mut Vec<Fact>) -> bool {
    let connection = seen.index;
    if seen.opened && !told.open {
        told.open = true;
        // A query may carry a token.
        let path = seen.request_path.as_deref().map(without_secrets).unwrap_or_default();
        let (path, protocols) = (path.to_owned(), seen.protocols_offered.clone());
        facts.push(Fact::Open { t_ms, connection, path, protocols });
    }
    let forgotten = seen.frames_forgotten;
    let new = usize::try_from(told.frames.saturating_sub(forgotten)).unwrap_or(usize::MAX);
    facts.extend(seen.frames.iter().skip(new).map(|frame| frame_fact(connection, frame)));
    told.frames = forgotten + seen.frames.len() as u64;
    let Some(end) = seen.ended else { return true };
    let t_ms = seen.ended_ms.map_or(t_ms, whole);
    let violations = seen.violations.clone();
    facts.push(Fact::End { t_ms, connection, how: end_word(end), violations });
    false
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
    }
}

/// Milliseconds as the record has them, without their fraction.
fn whole(ms: f64) -> u64 {
    std::time::Duration::from_secs_f64(ms.max(0.0) / 1_000.0)
        .as_millis()
        .try_into()
        .unwrap_or(u64::MAX)
}
