//! A listener that passes the events of a task to a loop of the program.

use wxsocket::{
    CloseEvent, ErrorEvent, ListenerError, MessageEvent, OpenEvent, SocketEvent, SocketListener,
};

/// Passes every event to the function, which returns false when the program takes no more events.
/// The function may block; then the server has to wait.
pub(crate) struct Forward<F>(pub(crate) F);

impl<F: Fn(SocketEvent) -> bool> Forward<F> {
    fn pass(&self, event: SocketEvent) -> Result<(), ListenerError> {
        let ending = || ListenerError::Failed { reason: "the program is ending".to_owned() };
        (self.0)(event).then_some(()).ok_or_else(ending)
    }
}

impl<F: Fn(SocketEvent) -> bool + Send + Sync> SocketListener for Forward<F> {
    fn on_open(&self, event: OpenEvent) -> Result<(), ListenerError> {
        self.pass(SocketEvent::Open { event })
    }

    fn on_message(&self, event: MessageEvent) -> Result<(), ListenerError> {
        self.pass(SocketEvent::Message { event })
    }

    fn on_error(&self, event: ErrorEvent) -> Result<(), ListenerError> {
        self.pass(SocketEvent::Error { event })
    }

    fn on_close(&self, event: CloseEvent) -> Result<(), ListenerError> {
        self.pass(SocketEvent::Close { event })
    }
}
