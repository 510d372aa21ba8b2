//! The one runtime of the process: a single thread that does the I/O of every task.

use once_cell::sync::Lazy;
use tokio::runtime::{Builder, Handle};

/// Only the checks of certificates block, and `net` asks for no more threads than this at a time.
const BLOCKING_THREADS: usize = 16;

/// Never shut down: the runtime stays on the thread that drives it, because dropping one on
/// one of its own threads panics, and the last task may be released anywhere.
///
/// Not tokio's multi-threaded scheduler: a phone's few sockets do not fill one thread, and a
/// scheduler that could move them weighs 60 KB.
static RUNTIME: Lazy<Handle> = Lazy::new(|| {
    let builder = Builder::new_current_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("wxsocket-blocking")
        .enable_io()
        .enable_time()
        .build();
    // Without threads or epoll nothing in the process works; the FFI turns the panic into
    // an exception.
    let runtime = builder.expect("the operating system refuses an event queue");
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("wxsocket-io".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .expect("the operating system refuses a thread");
    handle
});

pub(super) fn handle() -> &'static Handle {
    &RUNTIME
}
