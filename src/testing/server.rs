//! The server as its user sees it: start, live controls, records.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::listener::{BACKLOG, Control, Listener, bind};
use super::peer::Command;
use super::record::{Record, Snapshot};
use super::script::{ConnectionScript, Script};
use super::seen::SeenConnection;

/// For the listener to do as it is told.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// A WebSocket server that plays a [`Script`], on a thread and a runtime of its own.
///
/// All methods may be called from any thread. Those that wait (`wait_*`, and for a moment the
/// ones about listening) block the calling thread; in asynchronous code call them where blocking
/// is allowed. The server ends with [`shutdown`](ScriptedServer::shutdown) or when it is dropped.
pub struct ScriptedServer {
    shared: Arc<Shared>,
    addr: SocketAddr,
    tls: bool,
    runtime: Mutex<Option<Runtime>>,
}

/// What the listener and the connections share with the server.
pub(super) struct Shared {
    pub(super) record: Record,
    script: Mutex<Cursor>,
    live: Mutex<HashMap<u64, UnboundedSender<Command>>>,
    controls: UnboundedSender<Control>,
}

struct Cursor {
    script: Vec<Arc<ConnectionScript>>,
    next: usize,
}

impl Cursor {
    fn new(script: Script) -> Cursor {
        let mut script: Vec<_> = script.connections.into_iter().map(Arc::new).collect();
        if script.is_empty() {
            script.push(Arc::default());
        }
        Cursor { script, next: 0 }
    }

    fn next(&mut self) -> Arc<ConnectionScript> {
        let current = Arc::clone(&self.script[self.next]);
        self.next = (self.next + 1).min(self.script.len() - 1);
        current
    }
}

/// Nothing that is locked here can be left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn next_script(&self) -> Arc<ConnectionScript> {
        lock(&self.script).next()
    }

    /// Takes a connection in. Whoever sees it on record can reach it with a command: the lock
    /// is held meanwhile.
    pub(super) fn register(&self, commands: UnboundedSender<Command>) -> u64 {
        let mut live = lock(&self.live);
        let index = self.record.accepted();
        live.insert(index, commands);
        index
    }

    pub(super) fn unregister(&self, index: u64) {
        lock(&self.live).remove(&index);
    }

    pub(super) fn tell_all(&self, command: &Command) {
        for commands in lock(&self.live).values() {
            // A connection that just ended has nothing to do any more.
            let _ = commands.send(command.clone());
        }
    }

    pub(super) fn stop_listening_for(&self, ms: u64) {
        let time = Some(Duration::from_millis(ms));
        let _ = self.controls.send(Control::Stop(time, None));
    }
}

impl ScriptedServer {
    /// Starts a server on a loopback port of its choosing.
    pub fn start(script: Script) -> io::Result<Arc<ScriptedServer>> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script)
    }

    /// Starts a server on this address; with port 0 on a port of its choosing.
    pub fn start_on(addr: SocketAddr, script: Script) -> io::Result<Arc<ScriptedServer>> {
        Self::start_with(addr, script, None)
    }

    /// Starts a server for `wss` on a loopback port of its choosing. Its certificate has to be
    /// one for `localhost`.
    pub fn start_tls(
        script: Script,
        tls: Arc<rustls::ServerConfig>,
    ) -> io::Result<Arc<ScriptedServer>> {
        Self::start_tls_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script, tls)
    }

    /// Starts a server for `wss` on this address; with port 0 on a port of its choosing.
    pub fn start_tls_on(
        addr: SocketAddr,
        script: Script,
        tls: Arc<rustls::ServerConfig>,
    ) -> io::Result<Arc<ScriptedServer>> {
        Self::start_with(addr, script, Some(tls.into()))
    }

    fn start_with(
        addr: SocketAddr,
        script: Script,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<Arc<ScriptedServer>> {
        let socket = bind(addr)?;
        // Before anyone is told the port.
        socket.listen(BACKLOG)?;
        let addr = socket.local_addr()?.as_socket().unwrap_or(addr);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("wxsocket-server")
            .enable_all()
            .build()?;
        let (controls, receiver) = unbounded_channel();
        let shared = Arc::new(Shared {
            record: Record::new(),
            script: Mutex::new(Cursor::new(script)),
            live: Mutex::default(),
            controls,
        });
        let with_tls = tls.is_some();
        let listener = Listener::new(Arc::clone(&shared), addr, socket, receiver, tls);
        runtime.spawn(listener.run());
        Ok(Arc::new(ScriptedServer {
            shared,
            addr,
            tls: with_tls,
            runtime: Mutex::new(Some(runtime)),
        }))
    }

    /// Where to dial: `ws://127.0.0.1:PORT`, or `wss://localhost:PORT` with TLS.
    pub fn url(&self) -> String {
        if self.tls {
            return format!("wss://localhost:{}", self.addr.port());
        }
        let ip = match self.addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("ws://{}", SocketAddr::new(ip, self.addr.port()))
    }

    /// The port it listens on, also while it does not.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Plays another script on the connections accepted from now on, from its first entry. Those
    /// that are there keep theirs.
    pub fn set_script(&self, script: Script) {
        *lock(&self.shared.script) = Cursor::new(script);
    }

    /// Sends a text message on all open connections, except silenced ones.
    pub fn send_text_all(&self, text: &str) {
        self.shared.tell_all(&Command::SendText(text.into()));
    }

    /// Resets all connections (RST) at once, open or not, silenced or not. What was not written
    /// yet is lost.
    pub fn drop_all(&self) {
        self.shared.tell_all(&Command::Drop);
    }

    /// Sends a close frame on all open connections, except silenced ones, and closes them when
    /// they answer (or after 10 s). Any code goes; without one the frame is empty.
    pub fn close_all(&self, code: Option<u16>, reason: &str) {
        self.shared.tell_all(&Command::Close(code, reason.into()));
    }

    /// Turns all connections into black holes: TCP stays open, nothing is read, answered or sent
    /// any more.
    pub fn silence_all(&self) {
        self.shared.tell_all(&Command::Silence);
    }

    /// The server goes down: its port refuses and all connections are reset, until
    /// [`resume_listening`](ScriptedServer::resume_listening). When this returns, dials are
    /// refused.
    pub fn stop_listening(&self) -> io::Result<()> {
        self.control(|ack| Control::Stop(None, Some(ack)))
    }

    /// The same for a time. This returns as soon as dials are refused.
    pub fn stop_listening_for(&self, time: Duration) -> io::Result<()> {
        self.control(|ack| Control::Stop(Some(time), Some(ack)))
    }

    /// Listens again, on the same port. When this returns without an error, dials succeed.
    pub fn resume_listening(&self) -> io::Result<()> {
        self.control(Control::Resume)
    }

    fn control(
        &self,
        control: impl FnOnce(std::sync::mpsc::Sender<io::Result<()>>) -> Control,
    ) -> io::Result<()> {
        let (ack, done) = channel();
        // If the server is shut down, the receiver is gone or will be, and the ack with it.
        let _ = self.shared.controls.send(control(ack));
        match done.recv_timeout(CONTROL_TIMEOUT) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the scripted server is shut down"))
            }
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Ends the server and all its connections. Does not wait until they are gone, and may be
    /// called anywhere, also in asynchronous code. The record stays.
    pub fn shutdown(&self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
            self.shared.record.shut_down();
        }
    }

    /// The connections seen so far, oldest first: a copy of the record.
    pub fn connections(&self) -> Vec<SeenConnection> {
        self.shared.record.lock().connections.clone()
    }

    /// The connection with this number, counted from 1, if there was one and it is still kept.
    pub fn connection(&self, index: u64) -> Option<SeenConnection> {
        self.shared.record.lock().connection(index).cloned()
    }

    /// How many connections are open now: upgraded and not ended.
    pub fn open_connections(&self) -> usize {
        usize::try_from(self.shared.record.lock().open).unwrap_or(usize::MAX)
    }

    /// Blocks until the predicate holds, and says whether it did in time. It is asked at once
    /// and after each change, and must not call the server.
    pub fn wait_for(&self, predicate: impl FnMut(&Snapshot) -> bool, timeout: Duration) -> bool {
        self.shared.record.wait_for(predicate, timeout)
    }

    /// Blocks until at least `n` connections were accepted since the start.
    pub fn wait_connections(&self, n: u64, timeout: Duration) -> bool {
        self.wait_for(|seen| seen.accepted >= n, timeout)
    }

    /// Blocks until at least `n` connections are open at the same time.
    pub fn wait_open(&self, n: u64, timeout: Duration) -> bool {
        self.wait_for(|seen| seen.open >= n, timeout)
    }

    /// Blocks until at least `n` data messages came in since the start, on all connections
    /// together, heartbeats not counted.
    pub fn wait_messages(&self, n: u64, timeout: Duration) -> bool {
        self.wait_for(|seen| seen.messages >= n, timeout)
    }

    /// Blocks until at least `n` connections ended since the start.
    pub fn wait_ended(&self, n: u64, timeout: Duration) -> bool {
        self.wait_for(|seen| seen.ended >= n, timeout)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl std::fmt::Debug for ScriptedServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedServer")
            .field("url", &self.url())
            .field("open", &self.open_connections())
            .finish_non_exhaustive()
    }
}
