//! Ctrl-C: the first is a request, the second an order.

use super::exit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls `first` at the first Ctrl-C (or SIGTERM, SIGHUP); the second ends the process at once.
///
/// Both happen on a thread of their own: the main one may be stuck in a write to a pipe that
/// nobody reads.
pub(crate) fn on_interrupt(first: impl Fn() + Send + 'static) {
    let before = AtomicBool::new(false);
    let set = ctrlc::set_handler(move || {
        if before.swap(true, Ordering::SeqCst) {
            std::process::exit(exit::INTERRUPTED);
        }
        first();
    });
    if let Err(error) = set {
        // Without a handler Ctrl-C still ends the program, only not politely.
        anstream::eprintln!("warning: Ctrl-C will not close politely: {error}");
    }
}
