//! What every language sees: the task, its options, its events, its errors.

mod batch;
mod error;
mod event;
mod listener;
mod logging;
mod millis;
mod options;
pub(crate) mod preset;
pub(crate) mod resolve;
mod task;
mod turn;

pub use batch::{BatchListener, SocketWatcher};
pub use error::{ListenerError, WxError};
pub use event::{CloseEvent, ErrorEvent, MessageEvent, OpenEvent, RetryInfo, SocketEvent};
pub use listener::{BeforeConnect, ConnectDecision, ConnectRequest, SocketListener};
pub use logging::{LogLevel, LogSink, set_logger};
pub use millis::Millis;
pub use options::{
    AttemptLimit, BackgroundPolicy, ConnectOptions, HeartbeatOptions, QueueOptions, ReconnectDelay,
    ReconnectOptions, TlsOptions,
};
pub use preset::Preset;
pub use task::{EventStream, SocketStats, SocketTask, connect_socket, refuse_message};
pub use turn::{
    SocketState, TaskNews, Turn, TurnEvent, end_turn, next_turn, take_dropped, wake_task,
};
