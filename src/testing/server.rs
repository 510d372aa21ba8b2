//! The server for its users: start, control while it runs, records.

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

/// How long the listener may take to carry out a [`Control`].
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// A WebSocket server that plays a [`Script`], on a thread and a runtime of its own.
///
/// All methods may be called from any thread. Those that wait (`wait_*`, and for a short time those
/// that change whether the server listens) block the calling thread; in asynchronous code call them
/// where blocking is allowed. The server ends with [`shutdown`](ScriptedServer::shutdown) or when
/// it is dropped.
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

/// Locks a mutex, also after a panic: no panic leaves the data of these mutexes half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn next_script(&self) -> Arc<ConnectionScript> {
        lock(&self.script).next()
    }

    /// Adds a connection to the record and returns its number. The lock is held meanwhile, so that
    /// a connection in the record always gets commands.
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
            // The send fails when the connection has just ended.
            let _ = commands.send(command.clone());
        }
    }

    pub(super) fn stop_listening_for(&self, ms: u64) {
        let time = Some(Duration::from_millis(ms));
        let _ = self.controls.send(Control::Stop(time, None));
    }
}

impl ScriptedServer {
    /// Starts a server on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// Those of the operating system when the server cannot listen.
    pub fn start(script: Script) -> io::Result<Arc<ScriptedServer>> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script)
    }

    /// Starts a server on this address. With port 0 it takes a free port.
    ///
    /// # Errors
    ///
    /// Those of the operating system when the server cannot listen.
    pub fn start_on(addr: SocketAddr, script: Script) -> io::Result<Arc<ScriptedServer>> {
        Self::start_with(addr, script, None)
    }

    /// Starts a server for `wss` on a free port of the loopback interface. Its certificate must be
    /// one for `localhost`.
    ///
    /// # Errors
    ///
    /// Those of the operating system when the server cannot listen.
    pub fn start_tls(
        script: Script,
        tls: Arc<rustls::ServerConfig>,
    ) -> io::Result<Arc<ScriptedServer>> {
        Self::start_tls_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script, tls)
    }

    /// Starts a server for `wss` on this address. With port 0 it takes a free port.
    ///
    /// # Errors
    ///
    /// Those of the operating system when the server cannot listen.
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
        // Listens before the caller can know the port, so that no dial is refused.
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

    /// Returns the URL to dial: `ws://127.0.0.1:PORT`, or `wss://localhost:PORT` with TLS.
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

    /// Returns the port of the server, which stays the same while it does not listen.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Sets the script of the connections that are accepted from now on, beginning with its first
    /// entry. The present connections keep theirs.
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

    /// Sends a close frame on all open connections, except silenced ones, and closes them when they
    /// answer (or after 10 s). The code is not checked; without one the frame is empty.
    pub fn close_all(&self, code: Option<u16>, reason: &str) {
        self.shared.tell_all(&Command::Close(code, reason.into()));
    }

    /// Turns all connections into black holes: TCP stays open, and nothing more is read, answered
    /// or sent.
    pub fn silence_all(&self) {
        self.shared.tell_all(&Command::Silence);
    }

    /// Simulates a server that is down: dials are refused and all connections are reset, until
    /// [`resume_listening`](ScriptedServer::resume_listening). When this returns, dials are
    /// refused.
    ///
    /// # Errors
    ///
    /// When the server is shut down, or the listener does not react within 10 s.
    pub fn stop_listening(&self) -> io::Result<()> {
        self.control(|ack| Control::Stop(None, Some(ack)))
    }

    /// As [`stop_listening`](ScriptedServer::stop_listening), but the server listens again after
    /// `time`. This returns as soon as dials are refused.
    ///
    /// # Errors
    ///
    /// As for `stop_listening`.
    pub fn stop_listening_for(&self, time: Duration) -> io::Result<()> {
        self.control(|ack| Control::Stop(Some(time), Some(ack)))
    }

    /// Listens again, on the same port. When this returns without an error, dials succeed.
    ///
    /// # Errors
    ///
    /// When the server is shut down, the listener does not react within 10 s, or the operating
    /// system does not give the port.
    pub fn resume_listening(&self) -> io::Result<()> {
        self.control(Control::Resume)
    }

    fn control(
        &self,
        control: impl FnOnce(std::sync::mpsc::Sender<io::Result<()>>) -> Control,
    ) -> io::Result<()> {
        let (ack, done) = channel();
        // When the server is shut down, the command may be lost. Then `ack` is dropped, and the
        // wait below ends.
        let _ = self.shared.controls.send(control(ack));
        match done.recv_timeout(CONTROL_TIMEOUT) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the scripted server is shut down"))
            }
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Ends the server and all its connections. It does not wait until they have ended, and may be
    /// called in asynchronous code, too. The record can still be read.
    pub fn shutdown(&self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
            self.shared.record.shut_down();
        }
    }

    /// Returns a copy of the record: the connections so far, oldest first.
    pub fn connections(&self) -> Vec<SeenConnection> {
        self.shared.record.lock().connections.clone()
    }

    /// Returns the connection with this number, counted from 1. `None` means that there was none,
    /// or that it is not kept any more.
    pub fn connection(&self, index: u64) -> Option<SeenConnection> {
        self.shared.record.lock().connection(index).cloned()
    }

    /// Returns the number of connections that are open: upgraded and not ended.
    pub fn open_connections(&self) -> usize {
        usize::try_from(self.shared.record.lock().open).unwrap_or(usize::MAX)
    }

    /// Blocks until the predicate holds. Returns false when it did not hold within `timeout`. The
    /// predicate is called at once and after each change, and must not call the server.
    pub fn wait_for(&self, predicate: impl FnMut(&Snapshot) -> bool, timeout: Duration) -> bool {
        self.shared.record.wait_for(predicate, timeout)
    }

    /// Blocks until at least `n` connections were accepted since the start. Returns false after
    /// `timeout`.
    pub fn wait_connections(&self, n: u64, timeout: Duration) -> bool {
        self.wait_for(|seen| seen.accepted >= n, timeout)
    }

    /// Blocks until at least `n` connections are open at the same time. Returns false after
    /// `timeout`.
    pub fn wait_open(&self, n: u64, timeout: Duration) -> bool {
        self.wait_for(|seen| seen.open >= n, timeout)
    }

    /// Blocks until at least `n` data messages were received since the start, on all connections
    /// together. Heartbeats do not count. Returns false after `timeout`.
    pub fn wait_messages(&self, n: u64, timeout: Duration) -> bool {
        self.wait_for(|seen| seen.messages >= n, timeout)
    }

    /// Blocks until at least `n` connections have ended since the start. Returns false after
    /// `timeout`.
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
