//! Listeners that a test holds up, or that do as they are told.

use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

/// Holds up whoever passes until it is opened, and counts them.
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

    /// Blocks until so many stand before it.
    pub(crate) fn wait_for(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| state.1 < count);
        assert!(!waited.unwrap().1.timed_out(), "nobody came to the gate");
    }
}

/// A gate that a failing test does not leave closed: the threads behind it are everybody's.
pub(crate) struct Opened(pub(crate) Arc<Gate>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// A listener that tells the test and then does as it is told.
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
