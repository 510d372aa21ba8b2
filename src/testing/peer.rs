//! What a connection has of its server: its script, its commands and its record. Also how it waits
//! when it plays no script, which is before the upgrade and as a black hole.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};

use super::player::Leave;
use super::script::ConnectionScript;
use super::seen::SeenEnd;
use super::server::Shared;

/// How long a client may take to send its request, or to complete the TLS handshake.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a black hole or a delayed answer checks whether the client is still there.
pub(super) const HOLE_CHECK: Duration = Duration::from_millis(100);
/// How long a black hole stays after its client has ended the connection, which may wait for an
/// answer to its own close.
const HOLE_LINGER: Duration = Duration::from_secs(10);

/// A command of the server for a connection.
#[derive(Clone, Debug)]
pub(super) enum Command {
    SendText(Arc<str>),
    Close(Option<u16>, Arc<str>),
    Drop,
    Silence,
}

/// The number of a connection, its script, and its links to the server.
pub(super) struct Peer {
    pub(super) shared: Arc<Shared>,
    pub(super) index: u64,
    pub(super) script: Arc<ConnectionScript>,
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) opened: bool,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.unregister(self.index);
    }
}

/// Makes the close that follows a reset (RST) instead of a regular end (FIN).
pub(super) fn reset(tcp: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO)) {
        log::warn!("scripted server: cannot reset: {error}");
    }
}

impl Peer {
    pub(super) fn end(&self, end: SeenEnd) {
        self.shared.record.ended(self.index, self.opened, end);
        log::debug!("scripted server: connection {} ended: {end:?}", self.index);
    }

    /// Waits for a future before the connection is open. Only the commands to drop and to silence
    /// the connection end the wait.
    pub(super) async fn interruptibly<F: Future>(&mut self, wait: F) -> Result<F::Output, Leave> {
        let mut wait = pin!(wait);
        loop {
            let command = pin!(self.commands.recv());
            match select(command, &mut wait).await {
                Either::Right((output, _)) => return Ok(output),
                Either::Left((Some(Command::Drop), _)) => {
                    return Err(Leave::Reset(SeenEnd::ServerDropped));
                }
                Either::Left((Some(Command::Silence), _)) => return Err(Leave::Silence),
                Either::Left((Some(_), _)) => {}
                Either::Left((None, _)) => return Err(Leave::Gone(SeenEnd::Shutdown)),
            }
        }
    }

    /// As `interruptibly`, but a client that takes longer than [`REQUEST_TIMEOUT`] is refused.
    pub(super) async fn patiently<F: Future>(&mut self, wait: F) -> Result<F::Output, Leave> {
        let outcome = self.interruptibly(timeout(REQUEST_TIMEOUT, wait)).await?;
        outcome.map_err(|_| Leave::Fin(SeenEnd::BadRequest))
    }

    /// Keeps the connection as a black hole until the server drops it. The client is watched
    /// without reading: its end is recorded, and the socket is closed some time later.
    pub(super) async fn hold(&mut self, tcp: &TcpStream) {
        let mut gone: Option<Instant> = None;
        loop {
            let command = timeout(HOLE_CHECK, self.commands.recv()).await;
            match (command, gone) {
                (Ok(Some(Command::Drop) | None), _) => {
                    if gone.is_none() {
                        self.end(SeenEnd::ServerDropped);
                    }
                    return reset(tcp);
                }
                (Ok(_), _) => {}
                (Err(_), Some(since)) if since.elapsed() > HOLE_LINGER => return,
                (Err(_), Some(_)) => {}
                (Err(_), None) => {
                    if let Some(end) = client_end(tcp) {
                        self.end(end);
                        gone = Some(Instant::now());
                    }
                }
            }
        }
    }
}

/// Returns how the client has ended its side, as far as this can be known without reading. `None`
/// means that it has not.
pub(super) fn client_end(tcp: &TcpStream) -> Option<SeenEnd> {
    let interest = Interest::READABLE | Interest::WRITABLE;
    let ready = tcp.ready(interest).now_or_never()?.ok()?;
    if ready.is_write_closed() {
        Some(SeenEnd::ClientReset)
    } else if ready.is_read_closed() {
        Some(SeenEnd::ClientEof)
    } else {
        None
    }
}
