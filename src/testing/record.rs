//! The record of the server, and waiting for changes of it.

use super::seen::{SeenConnection, SeenEnd, SeenFrame};
use std::borrow::Cow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many frames of a connection are kept: between this many and twice as many.
const KEEP_FRAMES: usize = 10_000;
/// The bytes that the kept frames and request heads of all connections may take together.
const KEEP_BYTES: usize = 64 * 1024 * 1024;
/// How many connections are kept after their end: between this many and twice as many.
const KEEP_CONNECTIONS: usize = 10_000;
/// How many violations of a connection are kept.
const KEEP_VIOLATIONS: usize = 100;

/// The state of the server at one moment, for the predicates of
/// [`ScriptedServer::wait_for`](super::ScriptedServer::wait_for).
#[derive(Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The connections, oldest first.
    pub connections: Vec<SeenConnection>,
    /// True while the server accepts connections.
    pub listening: bool,
    /// How often `listening` has changed.
    pub listening_changes: u64,
    /// How often a connection could not be accepted, for instance because the process had no free
    /// descriptor. The server tries again some 100 times a second.
    pub accept_errors: u64,
    /// The text of the operating system for the last such error.
    pub last_accept_error: Option<String>,
    /// How many connections were accepted since the start.
    pub accepted: u64,
    /// How many connections are open: upgraded and not ended.
    pub open: u64,
    /// How many connections have ended since the start.
    pub ended: u64,
    /// How many data messages were received since the start, on all connections.
    pub messages: u64,
    kept_bytes: usize,
    /// How many of `connections` have ended.
    kept_ended: usize,
    waiting: usize,
}

/// The record of a server. Its connections and its user share it.
pub(super) struct Record {
    start: Instant,
    state: Mutex<Snapshot>,
    changed: Condvar,
}

/// What was received with one read.
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

    /// Locks the state, also after a panic: a predicate that panics cannot have changed it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        // A notification is a system call even if no thread waits.
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
                // A shutdown ends all connections, and one of them may have ended at the same
                // moment.
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

    /// Adds a batch to the record of a connection, and empties the batch.
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

    /// Returns the connection with this number, if it is still kept.
    pub fn connection(&self, index: u64) -> Option<&SeenConnection> {
        self.connections.get(self.position(index)?)
    }

    fn position(&self, index: u64) -> Option<usize> {
        self.connections.binary_search_by_key(&index, |connection| connection.index).ok()
    }

    /// Discards the oldest `count` connections that have ended.
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

    /// Discards frames, then request heads, until all connections together are within
    /// [`KEEP_BYTES`].
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
    use super::super::seen::{KEEP_PAYLOAD, SeenFrameKind};
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
