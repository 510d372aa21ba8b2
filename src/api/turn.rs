//! The events of all tasks together, for a language that brings a few threads of its own.

use super::event::{
    CloseEvent, ErrorEvent, OpenEvent, SocketEvent, epoch_number, message_event, saturate,
    socket_event,
};
use super::millis::Millis;
use crate::driver::{News, Notice, Standing, Taken, now, turns};
use crate::session::{Message, Phase};
use bytes::Bytes;
use std::time::Duration;

/// Where a task is in its life; finer than `readyState`, which it never contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum SocketState {
    /// Dialling or shaking hands.
    Connecting {
        /// Attempts used since the last stable connection; 0: this is no attempt to come back.
        attempt: i32,
    },
    /// Between two attempts.
    Waiting {
        /// The number of the one that follows.
        attempt: i32,
        /// The wait until then.
        delay: Millis,
    },
    /// No attempt is due: offline, paused, in the background, or too many events wait for a
    /// listener.
    Suspended,
    /// Open.
    Open,
    /// The app asked to close; the server's answer is awaited.
    Closing,
    /// Final.
    Closed,
}

impl From<Standing> for SocketState {
    fn from(Standing { phase, attempt }: Standing) -> Self {
        let attempt = saturate(attempt);
        match phase {
            Phase::Idle | Phase::Suspended => Self::Suspended,
            Phase::Connecting => Self::Connecting { attempt },
            Phase::Waiting { due } => {
                let delay = due.saturating_duration_since(now()).into();
                Self::Waiting { attempt, delay }
            }
            Phase::Open { .. } => Self::Open,
            Phase::Closing => Self::Closing,
            Phase::Closed => Self::Closed,
        }
    }
}

/// One task's turn: what it has to tell, in order; or its news.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Turn {
    /// The task's number, as `join_turns` gave it; 0: there was nothing in time.
    pub task: i64,
    /// Of two turns of a task, the state of the one with the larger version is newer.
    pub version: i64,
    /// Where the task was when the turn began, which may be ahead of the events.
    pub state: SocketState,
    /// Present: this is no turn but news, with nothing to end. It may come while another thread
    /// has the task's turn.
    pub news: Option<TaskNews>,
    /// Perhaps none: somebody asked for the turn. At most one of them is an open, an error or a
    /// close, and it comes first.
    pub events: Vec<TurnEvent>,
}

impl Turn {
    fn without_events(task: i64, state: SocketState) -> Self {
        Self { task, version: 0, state, news: None, events: Vec::new() }
    }
}

/// The newest steps of a task as they happen, for those who wait for one of them. They may be
/// ahead of what listeners have heard.
#[derive(Clone, Debug, Default, PartialEq, uniffi::Record)]
pub struct TaskNews {
    /// The newest open, even if its connection is over.
    pub open: Option<OpenEvent>,
    /// The newest error.
    pub error: Option<ErrorEvent>,
    /// The newest close; without `retry` the task is over.
    pub close: Option<CloseEvent>,
}

impl From<News> for TaskNews {
    fn from(News { open, error, close }: News) -> Self {
        let mut news = Self::default();
        for step in [open, error, close].into_iter().flatten() {
            match socket_event(&step) {
                SocketEvent::Open { event } => news.open = Some(event),
                SocketEvent::Error { event } => news.error = Some(event),
                SocketEvent::Close { event } => news.close = Some(event),
                SocketEvent::Message { .. } => {}
            }
        }
        news
    }
}

/// What a turn brings: small messages many at a time, anything else one by one.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum TurnEvent {
    /// Messages that arrived on one connection.
    Messages {
        /// The connection.
        epoch: i64,
        /// In the form that `BatchListener` describes.
        packed: Bytes,
    },
    /// Anything else, or a message of more than 4 KiB.
    Event {
        /// What.
        event: SocketEvent,
    },
}

impl From<Notice> for TurnEvent {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Packed(packed) => {
                Self::Messages { epoch: epoch_number(packed.epoch), packed: packed.into_bytes() }
            }
            Notice::Message { epoch, message } => {
                Self::Event { event: message_event(epoch, message) }
            }
            Notice::Step(step) => Self::Event { event: socket_event(&step) },
        }
    }
}

/// Ends the turn of task `done` (0: of none), then waits at most `wait_ms` for the next turn of
/// any task that joined, with at most `max_events` events.
///
/// With a `max_events` of 0 it waits for the news of any task and takes no turn. A thread that
/// calls it so is never blocked by a listener, so it tells whoever waits for an open or a close
/// although all other threads are busy. Threads that take turns take news too.
///
/// A task whose turn has not ended gets no other: its events stay serial, and its socket is
/// not read for much longer. Call it from as many threads as tasks may be busy at once.
#[uniffi::export]
pub fn next_turn(done: i64, max_events: i32, wait_ms: i64) -> Turn {
    let max = usize::try_from(max_events).unwrap_or(1);
    let patience = Duration::from_millis(wait_ms.clamp(0, i32::MAX.into()).unsigned_abs());
    match turns::next(done, max, patience) {
        Some((task, Taken::Turn(turn))) => Turn {
            task,
            version: version_number(turn.version),
            state: turn.standing.into(),
            news: None,
            events: turn.notices.into_iter().map(TurnEvent::from).collect(),
        },
        Some((task, Taken::News(bulletin))) => Turn {
            task,
            version: version_number(bulletin.version),
            state: bulletin.standing.into(),
            news: Some(bulletin.news.into()),
            events: Vec::new(),
        },
        Some((task, Taken::Over)) => Turn::without_events(task, SocketState::Closed),
        None => Turn::without_events(0, SocketState::Closed),
    }
}

fn version_number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// Ends a turn from another thread than the one that asks for the next; `again` asks for
/// another turn of the same task at once.
#[uniffi::export]
pub fn end_turn(task: i64, again: bool) {
    turns::end(task, again);
}

/// Asks for a turn of a task, even of one that is over, whether or not it has something to
/// tell.
#[uniffi::export]
pub fn wake_task(task: i64) {
    turns::wake(task);
}

/// The older messages that gave way when this thread last sent one with plain numbers for
/// arguments; see `ffi::hot`.
#[uniffi::export]
pub fn take_dropped() -> Vec<Message> {
    crate::ffi::take_dropped()
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::{Script, ScriptedServer};
    use crate::{ConnectOptions, connect_socket};

    /// Takes turns until `task` is over, as the only thread that does.
    fn follow(task: i64, mut each: impl FnMut(&Turn)) {
        let mut done = 0;
        loop {
            let turn = next_turn(done, 4, 10_000);
            assert_eq!(turn.task, task, "no turn in time, or one of nobody");
            each(&turn);
            if turn.news.is_some() {
                done = 0;
                continue;
            }
            done = turn.task;
            if matches!(turn.events.last(), Some(TurnEvent::Event { event }) if event.is_final()) {
                break end_turn(done, false);
            }
        }
    }

    // One test: the turns are the process's, and two tests would take each other's.
    #[test]
    fn turns_carry_states_and_events_and_exclude_each_other() {
        let script = r#"[{"rules": [{"on": "open", "do": [{"flood": {"count": 100, "bytes": 3}}]},
                         {"on": {"text": "bye"}, "do": "drop"}]}, {}]"#;
        let server = ScriptedServer::start(Script::parse(script).expect("valid")).expect("starts");
        let mut options = ConnectOptions::new(server.url());
        options.reconnect.delay = Some(crate::ReconnectDelay::Fixed { delay: Millis(200) });
        let task = connect_socket(options, None, None).expect("valid");
        let number = task.join_turns();
        assert_eq!(task.join_turns(), number, "joining twice changes nothing");
        assert!(next_turn(0, 0, 0).news.is_some(), "where the task stands");
        assert_eq!(next_turn(0, 4, 0).task, 0, "the first turn is the caller's");
        task.listen(true);
        end_turn(number, true);
        while next_turn(0, 0, 0).news.is_some() {}
        assert_eq!(next_turn(0, 0, 0).task, 0, "a turn is ready, and it is not news");

        let (mut messages, mut states) = (0, Vec::new());
        follow(number, |turn| {
            if turn.news.is_none() {
                // The turn lasts: nobody else gets the task.
                let other = next_turn(0, 4, 0);
                assert!(other.task == 0 || other.news.is_some());
                if other.news.is_some() {
                    states.push(other.state);
                }
            }
            if states.last() != Some(&turn.state) {
                states.push(turn.state);
            }
            for event in &turn.events {
                match event {
                    TurnEvent::Messages { epoch: 1, packed } => {
                        assert_eq!(packed.len() % 8, 0, "texts of three bytes");
                        messages += packed.len() / 8;
                    }
                    TurnEvent::Event { event } if event.epoch() == 2 => {
                        task.close(1000, "done".to_owned()).expect("valid");
                    }
                    TurnEvent::Event { .. } => {}
                    TurnEvent::Messages { .. } => panic!("of a connection that sends nothing"),
                }
            }
            if messages == 100 {
                messages += 1;
                task.send("bye").expect("open");
            }
        });
        assert_eq!(messages, 101);
        assert!(states.contains(&SocketState::Open), "{states:?}");
        let is_waiting = |state: &SocketState| matches!(state, SocketState::Waiting { .. });
        assert!(states.iter().any(is_waiting), "{states:?}");
        assert_eq!(states.last(), Some(&SocketState::Closed));
        assert_eq!(task.state(), SocketState::Closed);

        // A task that is over is still woken, for those who listen late.
        wake_task(number);
        let turn = next_turn(0, 4, 10_000);
        assert_eq!((turn.task, turn.state), (number, SocketState::Closed));
        end_turn(number, true);
        assert_eq!(next_turn(0, 4, 10_000).task, number);
        assert_eq!(next_turn(number, 4, 0).task, 0);
    }
}
