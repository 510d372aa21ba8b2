//! The library's log, for apps that have no Rust logger of their own.
//!
//! Lines never hold a header, a query string or a payload.

use log::{Level, LevelFilter, Log, Metadata, Record};
use once_cell::sync::OnceCell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How many lines wait for a slow sink. Further lines are dropped, and a line says how many.
const BACKLOG: usize = 1024;

/// How many lines are logged. Each level includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, uniffi::Enum)]
pub enum LogLevel {
    /// No lines.
    Off,
    /// Bugs of the library.
    Error,
    /// Failures of listeners.
    Warn,
    /// Opens and ends of connections.
    Info,
    /// Each step of a dial.
    Debug,
    /// Everything.
    Trace,
}

/// Gets the log lines.
#[uniffi::export(foreign)]
pub trait LogSink: Send + Sync {
    /// Called with one line, without a line end, on a thread that does nothing else.
    fn log(&self, level: LogLevel, line: String);
}

/// Sends the library's log lines of `level` and of more severe levels to `sink`. A later call replaces
/// both.
///
/// Returns false when the process already has a Rust logger. Then that logger gets the lines, and this
/// call changes nothing.
#[uniffi::export]
pub fn set_logger(level: LogLevel, sink: Arc<dyn LogSink>) -> bool {
    static BRIDGE: OnceCell<&'static Bridge> = OnceCell::new();
    let bridge = BRIDGE.get_or_try_init(|| {
        let bridge: &'static Bridge = Box::leak(Box::default());
        log::set_logger(bridge).map(|()| {
            let serve = move || bridge.serve();
            // Without the thread there is no log; that must not keep an app from running.
            let _ = std::thread::Builder::new().name("wxsocket-log".to_owned()).spawn(serve);
            bridge
        })
    });
    let Ok(bridge) = bridge else { return false };
    bridge.state().sink = Some(sink);
    log::set_max_level(level.into());
    true
}

/// Lines on their way from the threads that log, which never wait, to the one that calls the
/// sink, which may.
#[derive(Default)]
struct Bridge {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    sink: Option<Arc<dyn LogSink>>,
    lines: VecDeque<(LogLevel, String)>,
    dropped: u64,
}

impl Bridge {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        loop {
            let mut state = self.state();
            let Some((level, line)) = state.lines.pop_front() else {
                drop(self.arrived.wait(state));
                continue;
            };
            let sink = state.sink.clone();
            drop(state);
            if let Some(sink) = sink {
                // The sink is the app's; its panic costs one line.
                let log = std::panic::AssertUnwindSafe(|| sink.log(level, line));
                let _ = std::panic::catch_unwind(log);
            }
        }
    }
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Other crates of the process are not this library's to publish.
        metadata.target().starts_with("wxsocket")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = record.args().to_string();
        let mut state = self.state();
        if state.lines.len() >= BACKLOG {
            state.dropped += 1;
            return;
        }
        let dropped = std::mem::take(&mut state.dropped);
        if dropped > 0 {
            line = format!("({dropped} lines dropped) {line}");
        }
        state.lines.push_back((record.level().into(), line));
        self.arrived.notify_one();
    }

    fn flush(&self) {}
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::Off,
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}
