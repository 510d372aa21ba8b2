//! What the server saw, and waiting until it sees more.

use std::borrow::Cow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Frames kept per connection: between this many and twice as many.
const KEEP_FRAMES: usize = 10_000;
/// Payload bytes kept per frame.
const KEEP_PAYLOAD: usize = 64 * 1024;
/// What the kept frames and request heads of all connections may take together.
const KEEP_BYTES: usize = 64 * 1024 * 1024;
/// Connections kept after their end: between this many and twice as many.
const KEEP_CONNECTIONS: usize = 10_000;
/// Violations kept per connection.
const KEEP_VIOLATIONS: usize = 100;

/// What the server saw of one connection.
///
/// Counters count everything. Of the frames the last 10,000 are kept (up to 20,000 for a while),
/// of each frame the first 64 KiB, and of all connections together 64 MiB, request heads
/// included; when that is reached, the connection with the most gives up the older half of its
/// frames, and once it has none, its request and its violations. Every connection that lasts is
/// kept, and the last 10,000 that ended (up to 20,000 for a while).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenConnection {
    /// Its number, counted from 1 in the order of acceptance.
    pub index: u64,
    /// When it was accepted, in milliseconds since the server started.
    pub accepted_ms: f64,
    /// The target of the request, with its query; none before a request was read.
    pub request_path: Option<String>,
    /// The headers of the request, in order and in their original case, duplicates included.
    pub headers: Vec<(String, String)>,
    /// The subprotocols offered, in order.
    pub protocols_offered: Vec<String>,
    /// Whether the server upgraded it.
    pub opened: bool,
    /// The frames the client sent, oldest first.
    pub frames: Vec<SeenFrame>,
    /// How many frames are no longer in `frames`.
    pub frames_forgotten: u64,
    /// How many data messages came in, heartbeats not counted.
    pub messages_received: u64,
    /// How many heartbeats came in.
    pub heartbeats_received: u64,
    /// How many payload bytes came in, in frames of any kind.
    pub bytes_received: u64,
    /// What the client did against the protocol (the first 100).
    pub violations: Vec<String>,
    /// How it ended; none while it lasts.
    pub ended: Option<SeenEnd>,
    /// When it ended, in milliseconds since the server started.
    pub ended_ms: Option<f64>,
    /// What it takes, about.
    kept_bytes: usize,
}

/// One frame that the client sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenFrame {
    /// When it was read, in milliseconds since the server started.
    pub at_ms: f64,
    /// Its kind.
    pub kind: SeenFrameKind,
    /// Whether it is the last frame of its message.
    pub fin: bool,
    /// The payload of a text frame, empty for others. What is not UTF-8 is replaced.
    pub text: String,
    /// The payload of a frame other than text and close, empty for those.
    pub bytes: Vec<u8>,
    /// The size of the whole payload, kept or not.
    pub payload_len: u64,
    /// The code of a close frame, none if it is empty.
    pub close_code: Option<u16>,
    /// The reason of a close frame; empty for other frames.
    pub close_reason: String,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeenFrameKind {
    /// A text message or its first fragment.
    Text,
    /// A binary message or its first fragment.
    Binary,
    /// A further fragment of a message.
    Continuation,
    /// A protocol ping.
    Ping,
    /// A protocol pong.
    Pong,
    /// A close frame.
    Close,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SeenEnd {
    /// The server reset it right after accepting it, as its script said.
    Refused,
    /// The server answered the request with something other than an upgrade, as its script said.
    Rejected,
    /// The client's request (or TLS handshake) was none, was not finished, or asked for no
    /// WebSocket.
    BadRequest,
    /// The client sent a close frame, which the server answered.
    ClientClosed,
    /// The server sent a close frame, which the client answered.
    ServerClosed,
    /// The server sent a close frame, which the client did not answer in 10 s.
    CloseIgnored,
    /// The server reset it (RST).
    ServerDropped,
    /// The server ended its stream without a close frame (FIN).
    ServerEof,
    /// The client ended its stream without finishing a closing handshake (FIN).
    ClientEof,
    /// The client reset it (RST), or the connection broke.
    ClientReset,
    /// The client broke the protocol; see [`SeenConnection::violations`].
    Violation,
    /// The server was shut down.
    Shutdown,
}

impl SeenConnection {
    /// Whether it is upgraded and has not ended.
    pub fn is_open(&self) -> bool {
        self.opened && self.ended.is_none()
    }

    /// The value of the first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut all = self.headers.iter();
        all.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }

    /// The kept text frames, heartbeats included, oldest first.
    pub fn texts(&self) -> Vec<String> {
        let texts = self.frames.iter().filter(|f| f.kind == SeenFrameKind::Text);
        texts.map(|frame| frame.text.clone()).collect()
    }

    fn forget_frames(&mut self, n: usize) {
        self.frames.drain(..n);
        self.frames.shrink_to_fit();
        self.frames_forgotten += n as u64;
    }

    /// Forgets what came before the frames.
    fn forget_head(&mut self) {
        self.request_path = None;
        self.headers = Vec::new();
        self.protocols_offered = Vec::new();
        self.violations = Vec::new();
    }

    /// What the request and the violations take.
    fn head_cost(&self) -> usize {
        let names = self.protocols_offered.iter().chain(&self.violations);
        let names = names.chain(&self.request_path);
        let names: usize = names.map(|name| size_of::<String>() + name.capacity()).sum();
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.capacity() + value.capacity()).sum();
        names + headers + self.headers.capacity() * size_of::<(String, String)>()
    }

    fn cost(&self) -> usize {
        let payloads: usize = self.frames.iter().map(SeenFrame::cost).sum();
        self.head_cost() + self.list_cost() + payloads
    }

    /// What the list of frames takes, without their payloads.
    fn list_cost(&self) -> usize {
        self.frames.capacity() * size_of::<SeenFrame>()
    }
}

impl SeenFrame {
    pub(super) fn new(at_ms: f64, kind: SeenFrameKind, fin: bool, payload: &[u8]) -> SeenFrame {
        let kept = &payload[..payload.len().min(KEEP_PAYLOAD)];
        let mut frame = SeenFrame {
            at_ms,
            kind,
            fin,
            text: String::new(),
            bytes: Vec::new(),
            payload_len: payload.len() as u64,
            close_code: None,
            close_reason: String::new(),
        };
        match kind {
            SeenFrameKind::Text => frame.text = String::from_utf8_lossy(kept).into_owned(),
            SeenFrameKind::Close => {
                if let Some((code, reason)) = kept.split_first_chunk() {
                    frame.close_code = Some(u16::from_be_bytes(*code));
                    frame.close_reason = String::from_utf8_lossy(reason).into_owned();
                }
            }
            _ => frame.bytes = kept.to_vec(),
        }
        frame
    }

    /// What its payload takes.
    fn cost(&self) -> usize {
        self.text.capacity() + self.bytes.capacity() + self.close_reason.capacity()
    }
}

/// The state of the server at one moment, for the predicates of
/// [`ScriptedServer::wait_for`](super::ScriptedServer::wait_for).
#[derive(Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The connections, oldest first.
    pub connections: Vec<SeenConnection>,
    /// Whether the server accepts connections.
    pub listening: bool,
    /// How often `listening` has changed.
    pub listening_changes: u64,
    /// How often a connection could not be accepted, for instance for want of descriptors. The
    /// server tries again some 100 times a second.
    pub accept_errors: u64,
    /// The last such error, in the words of the operating system.
    pub last_accept_error: Option<String>,
    /// How many connections were accepted so far.
    pub accepted: u64,
    /// How many connections are open: upgraded and not ended.
    pub open: u64,
    /// How many connections ended so far.
    pub ended: u64,
    /// How many data messages came in so far, on all connections.
    pub messages: u64,
    kept_bytes: usize,
    /// How many of `connections` have ended.
    kept_ended: usize,
    waiting: usize,
}

/// The record of a server, shared by its connections and by those who look at it.
pub(super) struct Record {
    start: Instant,
    state: Mutex<Snapshot>,
    changed: Condvar,
}

/// What one read brought.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) frames: Vec<SeenFrame>,
    pub(super) messages: u64,
    pub(super) heartbeats: u64,
    pub(super) bytes: u64,
    pub(super) violations: Vec<Cow<'static, str>>,
}

impl Record {
    pub(super) fn new() -> Record {
        Record {
            start: Instant::now(),
            state: Mutex::new(Snapshot {
                connections: Vec::new(),
                listening: true,
                listening_changes: 0,
                accept_errors: 0,
                last_accept_error: None,
                accepted: 0,
                open: 0,
                ended: 0,
                messages: 0,
                kept_bytes: 0,
                kept_ended: 0,
                waiting: 0,
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn now_ms(&self) -> f64 {
        self.start.elapsed().as_secs_f64() * 1000.0
    }

    /// Looks at the state, which a panicking predicate cannot have broken.
    pub(super) fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        // A notification is a system call even if nobody waits.
        if state.waiting > 0 {
            self.changed.notify_all();
        }
        result
    }

    pub(super) fn wait_for(
        &self,
        mut predicate: impl FnMut(&Snapshot) -> bool,
        timeout: Duration,
    ) -> bool {
        let mut state = self.lock();
        state.waiting += 1;
        let waited = self.changed.wait_timeout_while(state, timeout, |state| !predicate(state));
        let (mut state, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        !outcome.timed_out()
    }

    pub(super) fn listening(&self, listening: bool) {
        self.change(|state| {
            state.listening_changes += u64::from(state.listening != listening);
            state.listening = listening;
        });
    }

    pub(super) fn accept_failed(&self, error: &std::io::Error) {
        self.change(|state| {
            state.accept_errors += 1;
            state.last_accept_error = Some(error.to_string());
        });
    }

    pub(super) fn accepted(&self) -> u64 {
        let accepted_ms = self.now_ms();
        self.change(|state| {
            state.accepted += 1;
            if state.kept_ended >= 2 * KEEP_CONNECTIONS {
                state.forget_connections(KEEP_CONNECTIONS);
            }
            state.connections.push(SeenConnection {
                index: state.accepted,
                accepted_ms,
                ..SeenConnection::default()
            });
            state.accepted
        })
    }

    /// Changes the record of a connection, if it is still kept.
    pub(super) fn update(&self, index: u64, update: impl FnOnce(&mut SeenConnection)) {
        self.change(|state| {
            let Some(connection) = state.connection_mut(index) else { return };
            let before = connection.head_cost();
            update(connection);
            let after = connection.head_cost();
            connection.kept_bytes = connection.kept_bytes + after - before;
            state.kept_bytes = state.kept_bytes + after - before;
            state.forget_bytes();
        });
    }

    pub(super) fn opened(&self, index: u64) {
        self.change(|state| {
            state.open += 1;
            if let Some(connection) = state.connection_mut(index) {
                connection.opened = true;
            }
        });
    }

    pub(super) fn ended(&self, index: u64, opened: bool, end: SeenEnd) {
        let ended_ms = self.now_ms();
        self.change(|state| {
            if let Some(connection) = state.connection_mut(index) {
                // A shutdown ends everything, and may race with the connection's own end.
                if connection.ended.is_some() {
                    return;
                }
                connection.ended = Some(end);
                connection.ended_ms = Some(ended_ms);
                state.kept_ended += 1;
            }
            state.ended += 1;
            state.open = state.open.saturating_sub(u64::from(opened));
        });
    }

    pub(super) fn shut_down(&self) {
        let lasting: Vec<(u64, bool)> = {
            let state = self.lock();
            let lasting = state.connections.iter().filter(|c| c.ended.is_none());
            lasting.map(|c| (c.index, c.opened)).collect()
        };
        for (index, opened) in lasting {
            self.ended(index, opened, SeenEnd::Shutdown);
        }
        self.listening(false);
    }

    /// Adds what was read, and empties it.
    pub(super) fn add(&self, index: u64, batch: &mut Batch) {
        self.change(|state| {
            state.messages += batch.messages;
            let Some(connection) = state.connection_mut(index) else {
                return;
            };
            connection.messages_received += batch.messages;
            connection.heartbeats_received += batch.heartbeats;
            connection.bytes_received += batch.bytes;
            let before = connection.list_cost() + connection.head_cost();
            let room = KEEP_VIOLATIONS.saturating_sub(connection.violations.len());
            let violations = batch.violations.drain(..).take(room);
            connection.violations.extend(violations.map(Cow::into_owned));
            let mut added: usize = batch.frames.iter().map(SeenFrame::cost).sum();
            let mut freed = before;
            connection.frames.append(&mut batch.frames);
            if connection.frames.len() >= 2 * KEEP_FRAMES {
                let old = connection.frames.len() - KEEP_FRAMES;
                freed += connection.frames[..old].iter().map(SeenFrame::cost).sum::<usize>();
                connection.forget_frames(old);
            }
            added += connection.list_cost() + connection.head_cost();
            connection.kept_bytes = connection.kept_bytes + added - freed;
            state.kept_bytes = state.kept_bytes + added - freed;
            state.forget_bytes();
        });
        *batch = Batch::default();
    }
}

impl Snapshot {
    fn connection_mut(&mut self, index: u64) -> Option<&mut SeenConnection> {
        let position = self.position(index)?;
        self.connections.get_mut(position)
    }

    /// The connection with this number, if it is still kept.
    pub fn connection(&self, index: u64) -> Option<&SeenConnection> {
        self.connections.get(self.position(index)?)
    }

    fn position(&self, index: u64) -> Option<usize> {
        self.connections.binary_search_by_key(&index, |connection| connection.index).ok()
    }

    /// Forgets the oldest connections that have ended.
    fn forget_connections(&mut self, count: usize) {
        let mut left = count;
        let mut freed = 0;
        self.connections.retain(|connection| {
            let is_kept = left == 0 || connection.ended.is_none();
            if !is_kept {
                left -= 1;
                freed += connection.kept_bytes;
            }
            is_kept
        });
        self.kept_ended -= count - left;
        self.kept_bytes -= freed;
    }

    /// Keeps all connections together within their bound.
    fn forget_bytes(&mut self) {
        while self.kept_bytes > KEEP_BYTES {
            let largest = self.connections.iter_mut().max_by_key(|c| c.kept_bytes);
            let Some(largest) = largest.filter(|c| c.kept_bytes > 0) else {
                return;
            };
            match largest.frames.len() {
                0 => largest.forget_head(),
                frames => largest.forget_frames(frames.div_ceil(2)),
            }
            let before = std::mem::replace(&mut largest.kept_bytes, 0);
            largest.kept_bytes = largest.cost();
            self.kept_bytes = self.kept_bytes + largest.kept_bytes - before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8], times: usize, record: &Record, index: u64) {
        let frame = SeenFrame::new(0.0, SeenFrameKind::Text, true, payload);
        let mut batch =
            Batch { frames: vec![frame; times], messages: times as u64, ..Batch::default() };
        record.add(index, &mut batch);
    }

    #[test]
    fn only_the_last_frames_of_a_connection_are_kept() {
        let all = Record::new();
        let index = all.accepted();
        for _ in 0..50 {
            record(b"x", 1_000, &all, index);
        }
        let state = all.lock();
        let seen = &state.connections[0];
        assert!((KEEP_FRAMES..2 * KEEP_FRAMES).contains(&seen.frames.len()));
        assert_eq!(seen.frames.len() as u64 + seen.frames_forgotten, 50_000);
        assert_eq!(seen.messages_received, 50_000);
        assert_eq!(seen.kept_bytes, state.kept_bytes);
    }

    #[test]
    fn all_connections_together_are_bounded() {
        let all = Record::new();
        let big = vec![b'x'; 2 * KEEP_PAYLOAD];
        for _ in 0..40 {
            let index = all.accepted();
            record(&big, 100, &all, index);
        }
        let state = all.lock();
        assert!(state.kept_bytes <= KEEP_BYTES);
        let kept: usize = state.connections.iter().map(|c| c.kept_bytes).sum();
        assert_eq!(kept, state.kept_bytes);
        let counted: usize = state.connections.iter().map(SeenConnection::cost).sum();
        assert_eq!(counted, state.kept_bytes);
    }

    #[test]
    fn request_heads_are_bounded_too() {
        let all = Record::new();
        for _ in 0..2_000 {
            let index = all.accepted();
            all.update(index, |seen| seen.headers.push(("X".to_owned(), "x".repeat(60_000))));
            record(b"", 1, &all, index);
        }
        let state = all.lock();
        let counted: usize = state.connections.iter().map(SeenConnection::cost).sum();
        assert_eq!(counted, state.kept_bytes);
        assert!(counted <= KEEP_BYTES, "{counted}");
        let heads = state.connections.iter().flat_map(|seen| &seen.headers);
        let heads: usize = heads.map(|(_, value)| value.len()).sum();
        assert!(heads <= KEEP_BYTES && heads > KEEP_BYTES / 2, "{heads}");
    }

    #[test]
    fn frames_that_are_forgotten_give_their_room_back() {
        let all = Record::new();
        let index = all.accepted();
        record(b"", 2 * KEEP_FRAMES, &all, index);
        let state = all.lock();
        assert!(state.connections[0].frames.capacity() <= KEEP_FRAMES);
    }

    #[test]
    fn old_connections_are_forgotten_and_lasting_ones_never() {
        let all = Record::new();
        let lasting = all.accepted();
        all.opened(lasting);
        for _ in 0..2 * KEEP_CONNECTIONS + 5 {
            let index = all.accepted();
            all.opened(index);
            all.ended(index, true, SeenEnd::ClientReset);
        }
        record(b"still there", 1, &all, lasting);
        let state = all.lock();
        assert_eq!(state.connections.len(), KEEP_CONNECTIONS + 6);
        assert_eq!(state.connection(2), None);
        let seen = state.connection(15_000).and_then(|c| c.ended);
        assert_eq!(seen, Some(SeenEnd::ClientReset));
        let seen = state.connection(lasting).expect("it lasts");
        assert_eq!((seen.messages_received, seen.texts()), (1, vec!["still there".to_owned()]));
        assert_eq!((state.ended, state.open), (20_005, 1));
    }
}
