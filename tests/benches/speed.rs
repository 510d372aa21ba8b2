//! Echo latency and flood throughput through the engine, beside bare tokio-tungstenite with the
//! same buffers, against the same server in the same run.
//!
//! Two bare clients, because one number alone would mislead. "one thread" is the floor: the code
//! that sends also waits for the socket, so nothing is ever handed over, and nothing protects the
//! socket from a slow application. "app thread" is what an application writes by hand to get what
//! the engine gives: a task that owns the socket, and channels to and from the application.

use criterion::{Criterion, Throughput};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use wxsocket::testing::{Script, ScriptedServer};
use wxsocket::{
    ConnectOptions, EventStream, HeartbeatOptions, SocketEvent, SocketTask, connect_socket,
};

const FLOOD: usize = 10_000;

type Bare = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn server() -> Arc<ScriptedServer> {
    let flood = format!(
        r#"[{{"rules": [
            {{"on": {{"text": "flood 32"}}, "do": {{"flood": {{"count": {FLOOD}, "bytes": 32}}}}}},
            {{"on": {{"text": "flood 1024"}}, "do": {{"flood": {{"count": {FLOOD}, "bytes": 1024}}}}}}
        ]}}]"#
    );
    ScriptedServer::start(Script::parse(&flood).expect("a script")).expect("a port")
}

async fn dial(url: &str) -> Bare {
    let config =
        WebSocketConfig::default().read_buffer_size(16 * 1024).write_buffer_size(16 * 1024);
    let dial = tokio_tungstenite::connect_async_with_config(url, Some(config), true);
    dial.await.expect("the server answers").0
}

/// The socket and the code that uses it on one thread.
struct OneThread {
    runtime: Runtime,
    socket: Bare,
}

impl OneThread {
    fn new(url: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = runtime.block_on(dial(url));
        Self { runtime, socket }
    }

    fn round_trips(&mut self, count: u64, text: &str) -> Duration {
        let start = Instant::now();
        self.runtime.block_on(async {
            for _ in 0..count {
                self.socket.send(Frame::text(text)).await.expect("open");
                self.socket.next().await.expect("open").expect("an echo");
            }
        });
        start.elapsed()
    }

    fn flood(&mut self, command: &str) {
        self.runtime.block_on(async {
            self.socket.send(Frame::text(command)).await.expect("open");
            for _ in 0..FLOOD {
                self.socket.next().await.expect("open").expect("a message");
            }
        });
    }
}

/// A task with the socket on a runtime, and the application on a thread of its own.
struct AppThread {
    out: tokio::sync::mpsc::UnboundedSender<Frame>,
    inbox: mpsc::Receiver<Frame>,
    _runtime: Runtime,
}

impl AppThread {
    fn new(url: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let socket = runtime.block_on(dial(url));
        let (out, mut outbox) = tokio::sync::mpsc::unbounded_channel();
        let (inbound, inbox) = mpsc::sync_channel(1024);
        runtime.spawn(async move {
            let (mut sink, mut stream) = socket.split();
            let write = async {
                while let Some(frame) = outbox.recv().await {
                    sink.send(frame).await.expect("open");
                }
            };
            let read = async {
                while let Some(Ok(frame)) = stream.next().await {
                    if inbound.send(frame).is_err() {
                        break;
                    }
                }
            };
            futures_util::future::select(Box::pin(write), Box::pin(read)).await;
        });
        Self { out, inbox, _runtime: runtime }
    }

    fn round_trips(&mut self, count: u64, text: &str) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            self.out.send(Frame::text(text)).expect("open");
            self.inbox.recv().expect("an echo");
        }
        start.elapsed()
    }

    fn flood(&mut self, command: &str) {
        self.out.send(Frame::text(command)).expect("open");
        for _ in 0..FLOOD {
            self.inbox.recv().expect("a message");
        }
    }
}

struct Engine {
    task: Arc<SocketTask>,
    events: Arc<EventStream>,
}

impl Engine {
    fn new(url: &str) -> Self {
        let options = ConnectOptions {
            tcp_no_delay: Some(true),
            heartbeat: HeartbeatOptions { enabled: Some(false), ..Default::default() },
            ..ConnectOptions::new(url)
        };
        let task = connect_socket(options, None, None).expect("valid options");
        let events = task.events();
        assert!(matches!(events.next_event(), Some(SocketEvent::Open { .. })));
        Self { task, events }
    }

    fn round_trips(&mut self, count: u64, text: &str) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            self.task.send(text).expect("open");
            assert!(matches!(self.events.next_event(), Some(SocketEvent::Message { .. })));
        }
        start.elapsed()
    }

    fn flood(&mut self, command: &str) {
        self.task.send(command).expect("open");
        let mut got = 0;
        while got < FLOOD {
            got += self.events.next_events(256).len();
        }
    }
}

fn echo(criterion: &mut Criterion, url: &str, size: usize) {
    let text = "x".repeat(size);
    let mut group = criterion.benchmark_group(format!("echo {size} B"));
    let (mut one, mut app, mut engine) =
        (OneThread::new(url), AppThread::new(url), Engine::new(url));
    group.bench_function("bare, one thread", |b| b.iter_custom(|n| one.round_trips(n, &text)));
    group.bench_function("bare, app thread", |b| b.iter_custom(|n| app.round_trips(n, &text)));
    group.bench_function("engine", |b| b.iter_custom(|n| engine.round_trips(n, &text)));
    group.finish();
}

fn flood(criterion: &mut Criterion, url: &str, size: usize) {
    let command = format!("flood {size}");
    let mut group = criterion.benchmark_group(command.clone());
    group.throughput(Throughput::Elements(FLOOD as u64)).sample_size(20);
    let (mut one, mut app, mut engine) =
        (OneThread::new(url), AppThread::new(url), Engine::new(url));
    group.bench_function("bare, one thread", |b| b.iter(|| one.flood(&command)));
    group.bench_function("bare, app thread", |b| b.iter(|| app.flood(&command)));
    group.bench_function("engine", |b| b.iter(|| engine.flood(&command)));
    group.finish();
}

/// The median of one benchmark of this run, in nanoseconds, from criterion's own record.
fn median(group: &str, function: &str) -> Option<f64> {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let file = format!("{target}/criterion/{group}/{function}/new/estimates.json");
    let text = std::fs::read_to_string(file).ok()?;
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    json["median"]["point_estimate"].as_f64()
}

fn print_ratios(groups: &[&str]) {
    println!(
        "\n{:<12} {:>12} {:>22} {:>22}",
        "median", "engine", "÷ bare, app thread", "÷ bare, one thread"
    );
    for group in groups {
        let (Some(engine), Some(app), Some(one)) = (
            median(group, "engine"),
            median(group, "bare, app thread"),
            median(group, "bare, one thread"),
        ) else {
            continue;
        };
        let per = if group.starts_with("flood") { FLOOD as f64 } else { 1.0 };
        let micros = engine / per / 1_000.0;
        println!("{group:<12} {micros:>9.2} µs {:>22.2} {:>22.2}", engine / app, engine / one);
    }
}

fn main() {
    let server = server();
    let url = server.url();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    echo(&mut criterion, &url, 20);
    echo(&mut criterion, &url, 16 * 1024);
    flood(&mut criterion, &url, 32);
    flood(&mut criterion, &url, 1024);
    criterion.final_summary();
    print_ratios(&["echo 20 B", "echo 16384 B", "flood 32", "flood 1024"]);
}
