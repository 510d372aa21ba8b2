//! Small messages many at a time, for a language in which a call is cheap and a value is not.
//!
//! In Swift a callback costs 0.1 µs, but the generated code takes 1.5 µs to read a
//! [`MessageEvent`](super::MessageEvent), one generic copy per field. So messages cross the
//! FFI as one run of bytes, which a few lines of the layer above read in place.

use super::error::ListenerError;
use super::event::{SocketEvent, epoch_number};
use super::turn::SocketState;
use crate::driver::{Notice, Receiver, Standing, guarded};
use crate::session::{Event, Message};
use bytes::Bytes;
use std::sync::Arc;

/// A larger message is an event of its own: packing it would only copy it once more.
const MAX_PACKED: usize = 4 << 10;

/// A run that is this long is handed over.
const MAX_RUN: usize = 64 << 10;

/// Hears everything that happens to a task, as a `SocketListener` does, with runs of small
/// messages in one call.
#[uniffi::export(foreign)]
pub trait BatchListener: Send + Sync {
    /// Messages arrived on connection `epoch`. For each, in order: a byte (0: text, 1: binary),
    /// the length of the payload as a big-endian 32-bit number, the payload.
    fn on_messages(&self, epoch: i64, packed: Bytes) -> Result<(), ListenerError>;
    /// Anything else happened, or a message of more than 4 KiB arrived.
    fn on_event(&self, event: SocketEvent) -> Result<(), ListenerError>;
    /// The task is elsewhere in its life, perhaps ahead of the events that led there. A state
    /// that is over by the time it would be told is not told.
    fn on_state(&self, state: SocketState) -> Result<(), ListenerError>;
}

pub(super) struct ToBatchListener(pub(super) Arc<dyn BatchListener>);

impl ToBatchListener {
    fn hand_over(&self, epoch: u64, run: &mut Vec<u8>) -> u64 {
        if run.is_empty() {
            return 0;
        }
        let packed = Bytes::from(std::mem::take(run));
        guarded(|| told(self.0.on_messages(epoch_number(epoch), packed)))
    }
}

impl Receiver for ToBatchListener {
    fn receive(&self, notice: Notice) -> Result<(), String> {
        told(self.0.on_event(notice.into()))
    }

    fn receive_all(&self, notices: Vec<Notice>) -> u64 {
        let mut failures = 0;
        let (mut run, mut run_epoch) = (Vec::new(), 0);
        for notice in notices {
            match &notice.event {
                Event::Message { epoch, message } if message.len() <= MAX_PACKED => {
                    if *epoch != run_epoch || run.len() >= MAX_RUN {
                        failures += self.hand_over(run_epoch, &mut run);
                        run_epoch = *epoch;
                    }
                    pack(message, &mut run);
                }
                _ => {
                    failures += self.hand_over(run_epoch, &mut run);
                    failures += guarded(|| self.receive(notice));
                }
            }
        }
        failures + self.hand_over(run_epoch, &mut run)
    }

    fn watches(&self) -> bool {
        true
    }

    fn stands(&self, standing: Standing) -> Result<(), String> {
        told(self.0.on_state(standing.into()))
    }
}

fn pack(message: &Message, run: &mut Vec<u8>) {
    let (kind, payload) = match message {
        Message::Text { text } => (0, text.as_bytes()),
        Message::Binary { bytes } => (1, &bytes[..]),
    };
    run.push(kind);
    // At most `MAX_PACKED`.
    run.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    run.extend_from_slice(payload);
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
        fn on_messages(&self, epoch: i64, packed: Bytes) -> Result<(), ListenerError> {
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
            if packed.ends_with(b"bad") {
                return Err(ListenerError::Failed { reason: "bad".to_owned() });
            }
            Ok(())
        }

        fn on_event(&self, event: SocketEvent) -> Result<(), ListenerError> {
            let line = match event {
                SocketEvent::Message { event } => {
                    format!("message {} of {}", event.epoch, event.data.len())
                }
                SocketEvent::Close { event } => format!("close {}", event.epoch),
                SocketEvent::Error { event } => format!("error {}", event.epoch),
                SocketEvent::Open { .. } => panic!("as a listener may"),
            };
            self.0.lock().expect("no panic").push(line);
            Ok(())
        }

        fn on_state(&self, state: SocketState) -> Result<(), ListenerError> {
            self.0.lock().expect("no panic").push(format!("{state:?}"));
            Ok(())
        }
    }

    fn message(epoch: u64, message: impl Into<Message>) -> Notice {
        Notice { event: Event::Message { epoch, message: message.into() }, opening: None }
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
        options.reconnect.delay = Some(crate::ReconnectDelay::Fixed { delay_ms: 1 });
        let heard = Arc::new(Heard::default());
        let task = connect_socket(options, None, None).expect("valid");
        task.set_batch_listener(heard.clone());
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

    #[test]
    fn runs_are_of_one_connection_and_keep_the_order() {
        let heard = Arc::new(Heard::default());
        let close = Event::Close {
            epoch: 1,
            code: 1000,
            reason: String::new(),
            was_clean: true,
            retry: None,
            unsent: vec![],
        };
        let failures = ToBatchListener(heard.clone()).receive_all(vec![
            Notice { event: Event::Open { epoch: 1, attempt: 0, unsent: vec![] }, opening: None },
            message(1, "a"),
            message(1, ""),
            message(1, &b"b"[..]),
            message(1, vec![0; MAX_PACKED + 1]),
            message(1, "bad"),
            Notice { event: close, opening: None },
            message(2, "c"),
            message(3, "d"),
        ]);
        assert_eq!(failures, 2, "the panic and the error");
        assert_eq!(
            *heard.0.lock().expect("no panic"),
            [
                "run 1: 0 a 0  1 b",
                "message 1 of 4097",
                "run 1: 0 bad",
                "close 1",
                "run 2: 0 c",
                "run 3: 0 d"
            ]
        );
    }
}
