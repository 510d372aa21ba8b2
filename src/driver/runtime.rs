//! The one runtime of the process: a single thread that does the I/O of every task.

use once_cell::sync::OnceCell;
use std::io;
use std::sync::mpsc::channel;
use tokio::runtime::{Builder, Handle};

struct Made {
    handle: Handle,
    /// The process that made it. A child that is forked later inherits the memory, but not the
    /// thread.
    process: u32,
}

/// Never shut down: the runtime stays on the thread that drives it, because dropping one on
/// one of its own threads panics, and the last task may be released anywhere.
///
/// Not tokio's multi-threaded scheduler: a phone's few sockets do not fill one thread, and a
/// scheduler that could move them weighs 60 KB.
static RUNTIME: OnceCell<Made> = OnceCell::new();

/// Makes the runtime unless it is there. The error says why there is none; a later call tries
/// again.
pub(super) fn start() -> Result<(), String> {
    let made = RUNTIME.get_or_try_init(make);
    made.map_err(|error| format!("the operating system refuses what the library needs: {error}"))?;
    if is_forked() {
        return Err("this process was forked from one that had used the library, which does not \
            work here unless exec is called"
            .to_owned());
    }
    Ok(())
}

fn make() -> io::Result<Made> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let handle = runtime.handle().clone();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    handle.spawn(super::sleepers::listen_to_the_clock());
    let (give, given) = channel::<tokio::runtime::Runtime>();
    let thread = std::thread::Builder::new().name("wxsocket-io".to_owned()).spawn(move || {
        if let Ok(runtime) = given.recv() {
            runtime.block_on(std::future::pending::<()>());
        }
    });
    if let Err(error) = thread {
        // Dropping it here would panic if the caller is a task of another runtime.
        runtime.shutdown_background();
        return Err(error);
    }
    // It cannot fail: the thread waits for it.
    let _ = give.send(runtime);
    Ok(Made { handle, process: std::process::id() })
}

/// The runtime, which is there as soon as there is a task.
pub(super) fn handle() -> &'static Handle {
    &RUNTIME.get().expect("a task is only made after the runtime").handle
}

/// This process is a fork of the one that made the runtime: nothing is ever done for its tasks.
pub(crate) fn is_forked() -> bool {
    RUNTIME.get().is_some_and(|made| made.process != std::process::id())
}
