//! A gate that blocks listeners, and listeners that run a function of the test.

use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

/// Blocks every thread that passes until it is opened, and counts the threads.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        let _open = self.changed.wait_while(state, |state| !state.0).unwrap();
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().0 = true;
        self.changed.notify_all();
    }

    /// Blocks until this many threads have reached the gate.
    pub(crate) fn wait_for(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| state.1 < count);
        assert!(!waited.unwrap().1.timed_out(), "nobody came to the gate");
    }
}

/// Opens the gate when it is dropped. A test that fails must not leave it closed, because all tests
/// share the threads that it blocks.
pub(crate) struct Opened(pub(crate) Arc<Gate>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Returns a listener that sends each event to the test and then runs `then`, and the receiver of
/// the events.
pub(crate) fn telling(
    then: impl Fn(&SocketEvent) -> Result<(), ListenerError> + Send + Sync + 'static,
) -> (Arc<dyn SocketListener>, Receiver<SocketEvent>) {
    let (sender, events): (Sender<SocketEvent>, _) = channel();
    let listener = On(move |event: SocketEvent| {
        let _ = sender.send(event.clone());
        then(&event)
    });
    (Arc::new(listener), events)
}

pub(crate) fn text_of(event: &SocketEvent) -> &str {
    match event {
        SocketEvent::Message { event: MessageEvent { data: Message::Text { text }, .. } } => text,
        other => panic!("{other:?}"),
    }
}
