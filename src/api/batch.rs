//! Small messages many at a time, for a language in which a call is cheap and a value is not.
//!
//! In Swift a callback costs 0.1 µs, but the generated code takes 1.5 µs to read a
//! [`MessageEvent`](super::MessageEvent), one generic copy per field. So messages cross the
//! FFI as one run of bytes, which a few lines of the layer above read in place.

use super::error::ListenerError;
use super::event::{SocketEvent, epoch_number, message_event, socket_event};
use super::turn::{SocketState, TaskNews};
use crate::driver::{Bulletin, Notice, Received, Receiver, Watcher, guarded};
use bytes::Bytes;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

/// Hears everything that happens to a task, as a `SocketListener` does, with runs of small
/// messages in one call.
///
/// Calls come one at a time and in order. `on_messages` and `on_event` answer true when they
/// have told everybody, and false when that goes on after they return: then no other call comes
/// until `SocketTask::resume_delivery` with the number of this listener. Either way no thread of
/// the library waits.
#[uniffi::export(foreign)]
pub trait BatchListener: Send + Sync {
    /// Messages arrived on connection `epoch`. For each, in order: a byte (0: text, 1: binary),
    /// the length of the payload as a big-endian 32-bit number, the payload.
    fn on_messages(&self, epoch: i64, packed: Bytes) -> Result<bool, ListenerError>;
    /// Anything else happened, or a message of more than 4 KiB arrived.
    fn on_event(&self, event: SocketEvent) -> Result<bool, ListenerError>;
    /// `SocketTask::wake_listener` was called. No event is under way: what
    /// `SocketTask::present_state` says holds until this returns.
    fn on_wake(&self) -> Result<(), ListenerError>;
}

/// Hears where a task is in its life, whatever its listeners do in the meantime.
#[uniffi::export(foreign)]
pub trait SocketWatcher: Send + Sync {
    /// The task is elsewhere in its life, perhaps ahead of the events that led there. A state
    /// that is over by the time it would be told is not told.
    fn on_news(&self, state: SocketState, news: TaskNews) -> Result<(), ListenerError>;
}

pub(super) struct ToBatchListener(pub(super) Arc<dyn BatchListener>);

impl Receiver for ToBatchListener {
    fn receive(&self, notices: &mut VecDeque<Notice>, is_wanted: &dyn Fn() -> bool) -> Received {
        let tell = |notice| match notice {
            Notice::Packed(packed) => {
                self.0.on_messages(epoch_number(packed.epoch), packed.into_bytes())
            }
            Notice::Message { epoch, message } => self.0.on_event(message_event(epoch, message)),
            Notice::Step(step) => self.0.on_event(socket_event(&step)),
        };
        let mut received = Received::default();
        while !received.is_busy
            && is_wanted()
            && let Some(notice) = notices.pop_front()
        {
            // A call that fails is over.
            let is_done = Cell::new(true);
            received.failures += guarded(|| told(tell(notice).map(|done| is_done.set(done))));
            received.is_busy = !is_done.get();
        }
        received
    }

    fn woken(&self) -> u64 {
        guarded(|| told(self.0.on_wake()))
    }
}

pub(super) struct ToWatcher(pub(super) Arc<dyn SocketWatcher>);

impl Watcher for ToWatcher {
    fn bulletin(&self, bulletin: Bulletin) -> Result<(), String> {
        told(self.0.on_news(bulletin.standing.into(), bulletin.news.into()))
    }
}

fn told(result: Result<(), ListenerError>) -> Result<(), String> {
    result.map_err(|ListenerError::Failed { reason }| reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl BatchListener for Heard {
        fn on_messages(&self, epoch: i64, packed: Bytes) -> Result<bool, ListenerError> {
            let mut rest = &packed[..];
            let mut line = format!("run {epoch}:");
            while let [kind, a, b, c, d, tail @ ..] = rest {
                let (payload, tail) =
                    tail.split_at(u32::from_be_bytes([*a, *b, *c, *d]).try_into().expect("fits"));
                line += &format!(" {kind} {}", String::from_utf8_lossy(payload));
                rest = tail;
            }
            assert!(rest.is_empty());
            self.0.lock().expect("no panic").push(line);
            if packed.windows(3).any(|part| part == b"bad") {
                return Err(ListenerError::Failed { reason: "bad".to_owned() });
            }
            Ok(true)
        }

        fn on_event(&self, event: SocketEvent) -> Result<bool, ListenerError> {
            let line = match event {
                SocketEvent::Message { event } => {
                    format!("message {} of {}", event.epoch, event.data.len())
                }
                SocketEvent::Close { event } => format!("close {}", event.epoch),
                SocketEvent::Error { event } => format!("error {}", event.epoch),
                SocketEvent::Open { .. } => panic!("as a listener may"),
            };
            self.0.lock().expect("no panic").push(line);
            Ok(true)
        }

        fn on_wake(&self) -> Result<(), ListenerError> {
            self.0.lock().expect("no panic").push("woken".to_owned());
            Ok(())
        }
    }

    impl SocketWatcher for Heard {
        fn on_news(&self, state: SocketState, _: TaskNews) -> Result<(), ListenerError> {
            self.0.lock().expect("no panic").push(format!("{state:?}"));
            Ok(())
        }
    }

    #[cfg(feature = "testing")]
    #[test]
    fn states_come_without_events_too() {
        use crate::testing::{Script, ScriptedServer};
        use crate::{ConnectOptions, connect_socket};
        let script = Script::parse(r#"[{"handshake": {"status": 503}}, {"handshake": "hang"}]"#)
            .expect("valid");
        let server = ScriptedServer::start(script).expect("starts");
        let mut options = ConnectOptions::new(server.url());
        options.reconnect.delay = Some(crate::ReconnectDelay::Fixed { delay: crate::Millis(1) });
        let heard = Arc::new(Heard::default());
        let task = connect_socket(options, None, None).expect("valid");
        task.set_watcher(heard.clone());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let has = |line: &str| {
            heard.0.lock().expect("no panic").iter().any(|heard| heard.starts_with(line))
        };
        // The second dial begins without an event.
        while !has("Connecting { attempt: 1 }") && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(has("Connecting { attempt: 1 }"), "{:?}", heard.0.lock());
    }

    /// More of them than there are threads for events.
    #[cfg(feature = "testing")]
    #[test]
    fn news_come_although_every_listener_is_blocked() {
        use crate::testing::{Script, ScriptedServer};
        use crate::{ConnectOptions, connect_socket};
        use std::sync::Condvar;

        #[derive(Default)]
        struct Blocked(Mutex<(bool, usize)>, Condvar);
        impl BatchListener for Blocked {
            fn on_messages(&self, _: i64, _: Bytes) -> Result<bool, ListenerError> {
                Ok(true)
            }
            fn on_event(&self, _: SocketEvent) -> Result<bool, ListenerError> {
                let mut state = self.0.lock().expect("no panic");
                state.1 += 1;
                self.1.notify_all();
                drop(self.1.wait_while(state, |(is_open, _)| !*is_open).expect("no panic"));
                Ok(true)
            }
            fn on_wake(&self) -> Result<(), ListenerError> {
                Ok(())
            }
        }

        let server = ScriptedServer::start(Script::default()).expect("starts");
        let blocked = Arc::new(Blocked::default());
        let connect = || connect_socket(ConnectOptions::new(server.url()), None, None);
        let tasks: Vec<_> = (0..260)
            .map(|_| {
                let task = connect().expect("valid");
                task.set_batch_listener(blocked.clone());
                task.listen(true);
                task
            })
            .collect();
        let patience = std::time::Duration::from_secs(30);
        let state = blocked.0.lock().expect("no panic");
        let all = blocked.1.wait_timeout_while(state, patience, |(_, count)| *count < 256);
        assert!(!all.expect("no panic").1.timed_out(), "256 threads are blocked");
        let heard = Arc::new(Heard::default());
        let task = connect().expect("valid");
        task.set_watcher(heard.clone());
        let deadline = std::time::Instant::now() + patience;
        while !heard.0.lock().expect("no panic").iter().any(|line| line == "Open") {
            assert!(std::time::Instant::now() < deadline, "{:?}", heard.0.lock());
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        blocked.0.lock().expect("no panic").0 = true;
        blocked.1.notify_all();
        drop(tasks);
    }

    #[cfg(feature = "testing")]
    #[test]
    fn runs_keep_the_order_and_a_large_message_comes_alone() {
        use crate::testing::{Script, ScriptedServer};
        use crate::{ConnectOptions, connect_socket};
        let large = "x".repeat(4_097);
        let script = format!(
            r#"[{{"rules": [{{"on": "open", "do": [{{"send": "a"}}, {{"send": ""}}, {{"sendHex": "62"}},
                {{"send": "{large}"}}, {{"send": "bad"}}, {{"send": "c"}}, {{"close": {{"code": 4000}}}}]}}]}}]"#
        );
        let server = ScriptedServer::start(Script::parse(&script).expect("valid")).expect("starts");
        let mut options = ConnectOptions::new(server.url());
        options.reconnect.enabled = Some(false);
        let task = connect_socket(options, None, None).expect("valid");
        let heard = Arc::new(Heard::default());
        task.set_batch_listener(heard.clone());
        task.listen(true);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let lines = || heard.0.lock().expect("no panic").clone();
        while !lines().iter().any(|line| line == "close 1") {
            assert!(std::time::Instant::now() < deadline, "{:?}", lines());
            std::thread::yield_now();
        }
        // How the small ones are divided is the network's doing.
        let mut told = String::new();
        for line in lines() {
            match line.strip_prefix("run 1:") {
                Some(run) => told += run,
                None if line.starts_with("message") => told += " LARGE",
                None => {}
            }
        }
        assert_eq!(told, " 0 a 0  1 b LARGE 0 bad 0 c", "{:?}", lines());
        assert!(lines().contains(&"message 1 of 4097".to_owned()));
        assert_eq!(task.stats().listener_failures, 2, "the panic at the open and the error");
    }
}
