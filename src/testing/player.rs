//! Plays the script of one open connection. It does no input or output: it gets frames and the
//! time, and makes bytes and decisions.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::frame::{self, MAX_FRAME, close_code, opcode};
use super::outbuf::OutBuf;
use super::record::Batch;
use super::script::{Action, ConnectionScript, Payload, Trigger};
use super::seen::{SeenEnd, SeenFrame, SeenFrameKind};

/// A flood adds messages until this many bytes are unsent, which keeps the socket busy.
const FLOOD_AHEAD: usize = 256 * 1024;
/// The largest number of frames of one message. They are made all at once.
const MAX_PIECES: u32 = 1_000_000;
/// How long the server waits for the answer to its close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How playing ends. What was sent before is still written, except with `Gone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Reset the TCP connection.
    Reset(SeenEnd),
    /// End the stream (FIN).
    Fin(SeenEnd),
    /// The connection has ended already.
    Gone(SeenEnd),
    /// Become a black hole.
    Silence,
}

pub(super) type Flow = ControlFlow<Leave>;

pub(super) struct Player {
    script: Arc<ConnectionScript>,
    pub(super) out: OutBuf,
    /// What was received since the last record.
    pub(super) batch: Batch,
    /// How many milliseconds the server has to stop listening for, if it has to.
    pub(super) stop_listening: Option<u64>,
    plays: Vec<Play>,
    /// The rules that wait for a time, each with that time.
    timers: Vec<(Instant, usize)>,
    messages: u64,
    heartbeats: u64,
    /// The opcode of a fragmented message, and its payload so far.
    fragments: Option<(u8, Vec<u8>)>,
    /// Set when the server has sent a close frame: the end of its wait for that of the client.
    closing: Option<Instant>,
    /// True when the client has sent a close frame, after which it may send nothing.
    client_closed: bool,
}

/// The actions of one rule that has started.
struct Play {
    rule: usize,
    next: usize,
    blocked: Blocked,
}

enum Blocked {
    No,
    Until(Instant),
    Flood { left: u64, frame: Vec<u8> },
}

impl Player {
    /// Starts the script, right after the upgrade.
    pub(super) fn new(script: Arc<ConnectionScript>, now: Instant) -> Player {
        let timers = script.rules.iter().enumerate();
        let timers = timers.filter_map(|(rule, r)| match r.on {
            Trigger::AfterMs(ms) => Some((now + millis(ms), rule)),
            _ => None,
        });
        let mut player = Player {
            timers: timers.collect(),
            out: OutBuf::new(millis(script.delay_ms)),
            script,
            batch: Batch::default(),
            stop_listening: None,
            plays: Vec::new(),
            messages: 0,
            heartbeats: 0,
            fragments: None,
            closing: None,
            client_closed: false,
        };
        player.start(|on| *on == Trigger::Open);
        player
    }

    /// Runs what is due.
    pub(super) fn advance(&mut self, now: Instant) -> Flow {
        self.out.promote(now);
        if self.closing.is_some_and(|deadline| deadline <= now) {
            return Flow::Break(Leave::Fin(SeenEnd::CloseIgnored));
        }
        let plays = &mut self.plays;
        self.timers.retain(|&(due, rule)| {
            if due <= now {
                plays.push(Play::new(rule));
            }
            due > now
        });
        self.run_plays(now)
    }

    /// Returns when [`Player::advance`] has to be called again if nothing else happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waits = self.plays.iter().filter_map(|play| match play.blocked {
            Blocked::Until(due) => Some(due),
            _ => None,
        });
        let timers = self.timers.iter().map(|&(due, _)| due);
        waits.chain(timers).chain(self.closing).chain(self.out.next_due()).min()
    }

    /// Plays a frame that was received at `now`, which is `at_ms` on the clock of the record.
    pub(super) fn on_frame(
        &mut self,
        now: Instant,
        at_ms: f64,
        (fin, opcode): (bool, u8),
        payload: &[u8],
    ) -> Flow {
        let kind = match opcode {
            opcode::CONTINUATION => SeenFrameKind::Continuation,
            opcode::TEXT => SeenFrameKind::Text,
            opcode::BINARY => SeenFrameKind::Binary,
            opcode::CLOSE => SeenFrameKind::Close,
            opcode::PING => SeenFrameKind::Ping,
            _ => SeenFrameKind::Pong,
        };
        self.batch.bytes += payload.len() as u64;
        let seen = SeenFrame::new(at_ms, kind, fin, payload);
        self.batch.frames.push(seen);
        // A Pong is allowed here, because it may have been on its way already.
        if self.client_closed && kind != SeenFrameKind::Pong {
            return self.violation(now, close_code::PROTOCOL, "frame after the close frame");
        }
        match kind {
            SeenFrameKind::Text | SeenFrameKind::Binary if self.fragments.is_some() => {
                self.violation(now, close_code::PROTOCOL, "message within a fragmented message")
            }
            SeenFrameKind::Text | SeenFrameKind::Binary if fin => {
                self.on_message(now, opcode, payload)
            }
            SeenFrameKind::Text | SeenFrameKind::Binary => {
                self.fragments = Some((opcode, payload.to_vec()));
                Flow::Continue(())
            }
            SeenFrameKind::Continuation => self.on_continuation(now, fin, payload),
            SeenFrameKind::Close => self.on_close(now, payload),
            SeenFrameKind::Ping => {
                if self.script.answer_pings && self.closing.is_none() {
                    frame::encode(self.out.tail(now), true, opcode::PONG, payload);
                }
                Flow::Continue(())
            }
            SeenFrameKind::Pong => Flow::Continue(()),
        }
    }

    fn on_continuation(&mut self, now: Instant, fin: bool, payload: &[u8]) -> Flow {
        let Some((opcode, mut message)) = self.fragments.take() else {
            return self.violation(now, close_code::PROTOCOL, "continuation of nothing");
        };
        if message.len() + payload.len() > MAX_FRAME {
            return self.violation(now, close_code::TOO_BIG, "message larger than 64 MiB");
        }
        message.extend_from_slice(payload);
        if fin {
            return self.on_message(now, opcode, &message);
        }
        self.fragments = Some((opcode, message));
        Flow::Continue(())
    }

    fn on_message(&mut self, now: Instant, opcode: u8, payload: &[u8]) -> Flow {
        let text = opcode == opcode::TEXT;
        if text && std::str::from_utf8(payload).is_err() {
            return self.violation(now, close_code::NOT_UTF8, "text is not UTF-8");
        }
        let script = Arc::clone(&self.script);
        let mut heartbeats = script.heartbeats.iter();
        let heartbeat = heartbeats.find(|(request, _)| text && request.as_bytes() == payload);
        let awaited = |on: &Trigger| match on {
            Trigger::Text(expected) => text && expected.as_bytes() == payload,
            _ => false,
        };
        if let Some((_, reply)) = heartbeat {
            self.heartbeats += 1;
            self.batch.heartbeats += 1;
            if script.answer_heartbeats && self.closing.is_none() {
                frame::encode(self.out.tail(now), true, opcode::TEXT, reply.as_bytes());
            }
            let n = self.heartbeats;
            self.start(|on| awaited(on) || *on == Trigger::Heartbeats(n));
        } else {
            self.messages += 1;
            self.batch.messages += 1;
            let is_awaited = script.rules.iter().any(|rule| awaited(&rule.on));
            if script.echo && !is_awaited && self.closing.is_none() {
                frame::encode(self.out.tail(now), true, opcode, payload);
            }
            let n = self.messages;
            self.start(|on| awaited(on) || *on == Trigger::Messages(n));
        }
        // The actions run at once, because the next frame of the same read must find them done.
        self.run_plays(now)
    }

    fn on_close(&mut self, now: Instant, payload: &[u8]) -> Flow {
        if let Some((code, what)) = close_violation(payload) {
            return self.violation(now, code, what);
        }
        self.client_closed = true;
        if self.closing.is_some() {
            return Flow::Break(Leave::Fin(SeenEnd::ServerClosed));
        }
        if !self.script.answer_close {
            return Flow::Continue(());
        }
        frame::encode(self.out.tail(now), true, opcode::CLOSE, payload);
        Flow::Break(Leave::Fin(SeenEnd::ClientClosed))
    }

    /// Records what the client did wrong, and fails the connection (RFC 6455, 7.1.7) with this
    /// close code, unless a close frame was sent already.
    pub(super) fn violation(
        &mut self,
        now: Instant,
        code: u16,
        what: impl Into<Cow<'static, str>>,
    ) -> Flow {
        let what = what.into();
        if self.closing.is_none() {
            frame::encode_close(self.out.tail(now), Some(code), &what);
        }
        self.batch.violations.push(what);
        Flow::Break(Leave::Fin(SeenEnd::Violation))
    }

    pub(super) fn send_text(&mut self, now: Instant, text: &str) {
        frame::encode(self.out.tail(now), true, opcode::TEXT, text.as_bytes());
    }

    /// Sends a close frame. A second call does nothing.
    pub(super) fn close(&mut self, now: Instant, code: Option<u16>, reason: &str) {
        if self.closing.is_none() {
            frame::encode_close(self.out.tail(now), code, reason);
            self.closing = Some(now + self.out.delay() + CLOSE_TIMEOUT);
        }
    }

    /// Returns true when a close frame was sent. Nothing may follow it.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Starts the actions of the rules whose trigger fires.
    fn start(&mut self, fires: impl Fn(&Trigger) -> bool) {
        let rules = self.script.rules.iter().enumerate();
        let fired = rules.filter(|(_, rule)| fires(&rule.on));
        self.plays.extend(fired.map(|(rule, _)| Play::new(rule)));
    }

    fn run_plays(&mut self, now: Instant) -> Flow {
        if self.plays.is_empty() {
            return Flow::Continue(());
        }
        let mut plays = std::mem::take(&mut self.plays);
        let mut flow = Flow::Continue(());
        plays.retain_mut(|play| {
            flow.is_break() || {
                flow = self.run(play, now);
                !matches!(play.blocked, Blocked::No)
            }
        });
        self.plays = plays;
        flow
    }

    /// Runs actions until one has to wait (then the play is blocked) or none is left.
    fn run(&mut self, play: &mut Play, now: Instant) -> Flow {
        let script = Arc::clone(&self.script);
        let actions = &script.rules[play.rule].actions;
        loop {
            match &mut play.blocked {
                Blocked::No => {}
                Blocked::Until(due) if *due > now => return Flow::Continue(()),
                Blocked::Until(_) => {}
                // No frame follows a close frame.
                Blocked::Flood { .. } if self.closing.is_some() => {}
                Blocked::Flood { left, frame } => {
                    let mut ahead = self.out.len();
                    while *left > 0 && ahead < FLOOD_AHEAD {
                        self.out.tail(now).extend_from_slice(frame);
                        ahead += frame.len();
                        *left -= 1;
                    }
                    if *left > 0 {
                        return Flow::Continue(());
                    }
                }
            }
            play.blocked = Blocked::No;
            let Some(action) = actions.get(play.next) else {
                return Flow::Continue(());
            };
            play.next += 1;
            play.blocked = self.act(action, now)?;
        }
    }

    fn act(&mut self, action: &Action, now: Instant) -> ControlFlow<Leave, Blocked> {
        match action {
            // No frame follows a close frame. The bytes of `Garbage` do, because the script wants
            // them as they are.
            Action::Send(_)
            | Action::SendHex(_)
            | Action::Ping(_)
            | Action::Fragment { .. }
            | Action::Flood { .. }
                if self.closing.is_some() => {}
            Action::Send(text) => self.send_text(now, text),
            Action::SendHex(bytes) => {
                frame::encode(self.out.tail(now), true, opcode::BINARY, bytes);
            }
            Action::Ping(payload) => {
                frame::encode(self.out.tail(now), true, opcode::PING, payload.as_bytes());
            }
            Action::Fragment { payload, pieces } => fragment(self.out.tail(now), payload, *pieces),
            Action::Flood { count, bytes, binary } => {
                let frame = flood_frame(*bytes, *binary);
                let left = *count;
                return ControlFlow::Continue(Blocked::Flood { left, frame });
            }
            Action::Garbage(bytes) => self.out.tail(now).extend_from_slice(bytes),
            Action::Drop => return ControlFlow::Break(Leave::Reset(SeenEnd::ServerDropped)),
            Action::Eof => return ControlFlow::Break(Leave::Fin(SeenEnd::ServerEof)),
            Action::Close { code, reason } => self.close(now, *code, reason),
            Action::Silence => return ControlFlow::Break(Leave::Silence),
            Action::StopListening { ms } => self.stop_listening = Some(*ms),
            Action::Wait { ms } => {
                let due = now + millis(*ms);
                return ControlFlow::Continue(Blocked::Until(due));
            }
        }
        ControlFlow::Continue(Blocked::No)
    }
}

/// Returns what is wrong with the payload of a close frame, and the close code to answer.
fn close_violation(payload: &[u8]) -> Option<(u16, Cow<'static, str>)> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let half = || (close_code::PROTOCOL, "close frame with half a code".into());
        return (!payload.is_empty()).then(half);
    };
    let code = u16::from_be_bytes(*code);
    if !close_code::may_be_sent(code) {
        return Some((close_code::PROTOCOL, format!("close code {code}").into()));
    }
    let valid = std::str::from_utf8(reason).is_ok();
    (!valid).then(|| (close_code::NOT_UTF8, "close reason is not UTF-8".into()))
}

/// Converts a time of a script. It is limited to a year, because the clock might not hold more.
fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms).min(Duration::from_secs(365 * 24 * 60 * 60))
}

impl Play {
    fn new(rule: usize) -> Play {
        Play { rule, next: 0, blocked: Blocked::No }
    }
}

fn flood_frame(bytes: u32, binary: bool) -> Vec<u8> {
    let opcode = if binary { opcode::BINARY } else { opcode::TEXT };
    let len = usize::try_from(bytes).map_or(MAX_FRAME, |len| len.min(MAX_FRAME));
    let mut frame = Vec::with_capacity(len + 10);
    frame::encode(&mut frame, true, opcode, &vec![b'x'; len]);
    frame
}

/// Cuts a message into frames of about the same size.
fn fragment(out: &mut Vec<u8>, payload: &Payload, pieces: u32) {
    let (opcode, bytes) = match payload {
        Payload::Text(text) => (opcode::TEXT, text.as_bytes()),
        Payload::Binary(bytes) => (opcode::BINARY, bytes.as_slice()),
    };
    let pieces = usize::try_from(pieces.clamp(1, MAX_PIECES)).unwrap_or(1);
    let cut = |piece: usize| bytes.len() * piece / pieces;
    for piece in 0..pieces {
        let opcode = if piece == 0 { opcode } else { opcode::CONTINUATION };
        let fin = piece + 1 == pieces;
        frame::encode(out, fin, opcode, &bytes[cut(piece)..cut(piece + 1)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_into_as_many_frames_as_asked() {
        let mut out = Vec::new();
        fragment(&mut out, &Payload::Text("abcde".into()), 3);
        assert_eq!(out, b"\x01\x01a\x00\x02bc\x80\x02de");
        out.clear();
        fragment(&mut out, &Payload::Binary(vec![7]), 2);
        assert_eq!(out, [0x02, 0, 0x80, 1, 7]);
    }

    #[test]
    fn messages_after_a_drop_are_not_echoed() {
        let script = ConnectionScript::default().on(Trigger::Messages(2), vec![Action::Drop]);
        let now = Instant::now();
        let mut player = Player::new(Arc::new(script), now);
        let one = player.on_frame(now, 0.0, (true, opcode::TEXT), b"1");
        assert_eq!(one, Flow::Continue(()));
        let two = player.on_frame(now, 0.0, (true, opcode::TEXT), b"2");
        assert_eq!(two, Flow::Break(Leave::Reset(SeenEnd::ServerDropped)));
        assert_eq!(player.out.pending(), b"\x81\x011\x81\x012");
    }

    #[test]
    fn a_wait_holds_back_only_its_own_rule() {
        let wait = vec![Action::Wait { ms: 50 }, Action::Send("late".into())];
        let script = ConnectionScript::default()
            .on(Trigger::Open, wait)
            .on(Trigger::AfterMs(20), vec![Action::Ping("p".into())]);
        let start = Instant::now();
        let mut player = Player::new(Arc::new(script), start);
        let at = |ms| start + Duration::from_millis(ms);
        assert!(player.advance(at(0)).is_continue());
        assert_eq!(player.deadline(), Some(at(20)));
        assert!(player.advance(at(20)).is_continue());
        assert_eq!(player.out.pending(), b"\x89\x01p");
        assert_eq!(player.deadline(), Some(at(50)));
        assert!(player.advance(at(50)).is_continue());
        assert_eq!(player.out.pending(), b"\x89\x01p\x81\x04late");
        assert_eq!(player.deadline(), None);
    }

    #[test]
    fn a_flood_never_runs_far_ahead_of_the_socket() {
        let flood = Action::Flood { count: 1_000, bytes: 1_000, binary: true };
        let script = ConnectionScript::default().on(Trigger::Open, vec![flood]);
        let now = Instant::now();
        let mut player = Player::new(Arc::new(script), now);
        let mut total = 0;
        loop {
            assert!(player.advance(now).is_continue());
            let pending = player.out.pending().len();
            assert!(pending < FLOOD_AHEAD + 1_004);
            if pending == 0 {
                break;
            }
            player.out.wrote(pending);
            total += pending;
        }
        assert_eq!(total, 1_000 * 1_004);
    }
}
