//! The events of a task, passed on to a program that takes them in a loop of its own.

use wxsocket::{
    CloseEvent, ErrorEvent, ListenerError, MessageEvent, OpenEvent, SocketEvent, SocketListener,
};

/// Hands every event to the function, which says whether anybody still wants it. It may block:
/// the server then has to wait.
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
