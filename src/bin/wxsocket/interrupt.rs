//! Ctrl-C: the first one asks the program to close, the second one ends it at once.

use super::say;
use std::io::IsTerminal;

/// A shell reports this number plus that of the signal when a signal has ended a program.
const BY_SIGNAL: i32 = 128;

/// Calls `first` at the first Ctrl-C (or SIGTERM, SIGHUP); the second ends the process at once.
///
/// Both happen on a thread of their own, because the main thread may be blocked in a write to a
/// pipe that is not read. A signal that is ignored when the program starts, as SIGHUP is under
/// `nohup`, stays ignored.
pub(crate) fn on_interrupt(first: impl Fn() + Send + 'static) {
    let mut before = false;
    listen(move |signal| {
        if std::mem::replace(&mut before, true) {
            std::process::exit(BY_SIGNAL + signal);
        }
        first();
    });
}

/// Ends the process at the first Ctrl-C (or SIGTERM, SIGHUP).
pub(crate) fn exit_on_interrupt() {
    listen(|signal| {
        // The live line, if there is one, stays as it is; what follows begins below it.
        if std::io::stderr().is_terminal() {
            say("");
        }
        std::process::exit(BY_SIGNAL + signal);
    });
}

/// Calls the function with the number of each signal that is received.
fn listen(on_signal: impl FnMut(i32) + Send + 'static) {
    if let Err(error) = system::listen(on_signal) {
        // Ctrl-C still ends the program, but without a close frame.
        say(format_args!("warning: Ctrl-C will not close politely: {error}"));
    }
}

#[cfg(unix)]
mod system {
    use std::future::poll_fn;
    use std::io;
    use std::task::Poll;
    use tokio::runtime::Builder;
    use tokio::signal::unix::{Signal, SignalKind, signal};

    pub(super) fn listen(mut on_signal: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let mut signals = Vec::new();
        {
            let _inside = runtime.enter();
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            for kind in kinds.into_iter().filter(|kind| !is_ignored(*kind)) {
                signals.push((kind.as_raw_value(), signal(kind)?));
            }
        }
        let thread = std::thread::Builder::new().name("wxsocket-signals".to_owned());
        thread.spawn(move || {
            loop {
                on_signal(runtime.block_on(next(&mut signals)));
            }
        })?;
        Ok(())
    }

    async fn next(signals: &mut [(i32, Signal)]) -> i32 {
        poll_fn(|cx| {
            let mut all = signals.iter_mut();
            let came =
                all.find_map(|(number, signal)| signal.poll_recv(cx).is_ready().then_some(*number));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Returns true when the program was started with this signal ignored. Where the system does
    /// not tell that without unsafe code, this returns true for SIGHUP: then SIGHUP has its usual
    /// effect, it is ignored or ends the program.
    fn is_ignored(kind: SignalKind) -> bool {
        let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
            return kind == SignalKind::hangup();
        };
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;
    use tokio::runtime::Builder;

    /// SIGINT, which is what a shell reports after Ctrl-C.
    const INTERRUPT: i32 = 2;

    pub(super) fn listen(mut on_signal: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let thread = std::thread::Builder::new().name("wxsocket-signals".to_owned());
        thread.spawn(move || {
            while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                on_signal(INTERRUPT);
            }
        })?;
        Ok(())
    }
}
