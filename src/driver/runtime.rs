//! The one runtime of the process.

use once_cell::sync::Lazy;
use tokio::runtime::{Builder, Handle, Runtime};

/// Name lookups, TLS handshakes and `beforeConnect` block; more than this many at a time
/// wait their turn.
const BLOCKING_THREADS: usize = 16;

/// Never dropped: dropping a runtime on one of its own threads panics, and the last task may
/// be released anywhere.
static RUNTIME: Lazy<Runtime> = Lazy::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("wxsocket-io")
        .enable_io()
        .enable_time()
        .build()
        // Without threads or epoll nothing in the process works; the FFI turns the panic into
        // an exception.
        .expect("the operating system refuses a thread or an event queue")
});

pub(super) fn handle() -> &'static Handle {
    RUNTIME.handle()
}
