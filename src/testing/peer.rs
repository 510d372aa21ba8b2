//! A connection as its server sees it: what it is told, and how it waits where no script is
//! played, before the upgrade and in a black hole.

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

/// For a client to send its request, or to get through TLS.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a black hole, or a late answer, looks whether the client is still there.
pub(super) const HOLE_CHECK: Duration = Duration::from_millis(100);
/// How long a black hole outlives its client, which may wait for an answer to its own close.
const HOLE_LINGER: Duration = Duration::from_secs(10);

/// What the server tells its connections.
#[derive(Clone, Debug)]
pub(super) enum Command {
    SendText(Arc<str>),
    Close(Option<u16>, Arc<str>),
    Drop,
    Silence,
}

/// Who a connection is, and whom it reports to.
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

/// Makes the close that follows a reset (RST) instead of an orderly end (FIN).
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

    /// Waits for something before the connection is open, during which it can only be dropped
    /// or silenced.
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

    /// The same with a limit on what a client may take to get connected.
    pub(super) async fn patiently<F: Future>(&mut self, wait: F) -> Result<F::Output, Leave> {
        let outcome = self.interruptibly(timeout(REQUEST_TIMEOUT, wait)).await?;
        outcome.map_err(|_| Leave::Fin(SeenEnd::BadRequest))
    }

    /// Is a black hole until the server drops the connection. The client is watched without
    /// reading: its end goes on record, and some time later the socket is given back.
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

/// Whether the client closed or reset its side, as far as can be told without reading.
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
