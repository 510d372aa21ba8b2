//! The listening socket: it accepts connections, stops, and listens again on the same port.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::Sender as Ack;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;

use super::connection::serve;
use super::peer::{Command, Peer};
use super::server::Shared;

/// The length of the queue of the socket. A thousand clients that reconnect at the same moment must
/// fit into it.
pub(super) const BACKLOG: i32 = 4096;
/// How often binding is tried again. The port may be in use for a moment after its last listener
/// closed.
const BIND_ATTEMPTS: u32 = 100;
const BIND_PAUSE: Duration = Duration::from_millis(20);
/// The pause after an accept that failed (for instance without free descriptors), so that the loop
/// does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A command of the server for its listener.
#[derive(Debug)]
pub(super) enum Control {
    /// Stop listening and drop all connections; listen again after the given time, if there is one.
    Stop(Option<Duration>, Option<Ack<io::Result<()>>>),
    /// Listen again.
    Resume(Ack<io::Result<()>>),
}

/// Binds a socket that does not listen yet.
pub(super) fn bind(addr: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(addr);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // On Windows the option means something else, and is not needed to bind the same port again.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// The state of the port.
enum Port {
    Listening(TcpListener),
    /// Bound but not listening. Dials are refused, and nothing else gets the port meanwhile:
    /// neither another process nor the client that dials, which would then be connected to itself.
    Reserved(Socket),
    /// Not bound, because binding it again has failed.
    Lost,
}

pub(super) struct Listener {
    shared: Arc<Shared>,
    addr: SocketAddr,
    port: Port,
    controls: UnboundedReceiver<Control>,
    resume: Option<Pin<Box<Sleep>>>,
    tls: Option<TlsAcceptor>,
}

enum Event {
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    Control(Option<Control>),
    ResumeDue,
}

impl Listener {
    /// Makes a listener of a socket that is bound and listens already.
    pub(super) fn new(
        shared: Arc<Shared>,
        addr: SocketAddr,
        socket: Socket,
        controls: UnboundedReceiver<Control>,
        tls: Option<TlsAcceptor>,
    ) -> Listener {
        Listener { shared, addr, port: Port::Reserved(socket), controls, resume: None, tls }
    }

    pub(super) async fn run(mut self) {
        if let Err(error) = self.listen().await {
            log::error!("scripted server: cannot listen: {error}");
        }
        loop {
            match poll_fn(|cx| self.poll_event(cx)).await {
                Event::Accepted(Ok((tcp, _))) => self.accept(tcp),
                Event::Accepted(Err(error)) => {
                    log::warn!("scripted server: cannot accept: {error}");
                    self.shared.record.accept_failed(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
                Event::Control(None) => return,
                Event::Control(Some(Control::Stop(time, ack))) => {
                    self.stop().await;
                    self.resume = time.map(|time| Box::pin(sleep(time)));
                    if let Some(ack) = ack {
                        let _ = ack.send(Ok(()));
                    }
                }
                Event::Control(Some(Control::Resume(ack))) => {
                    self.resume = None;
                    let _ = ack.send(self.listen().await);
                }
                Event::ResumeDue => {
                    self.resume = None;
                    if let Err(error) = self.listen().await {
                        log::warn!("scripted server: cannot listen again yet: {error}");
                        self.resume = Some(Box::pin(sleep(BIND_PAUSE)));
                    }
                }
            }
        }
    }

    fn poll_event(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Event> {
        if let Poll::Ready(control) = self.controls.poll_recv(cx) {
            return Poll::Ready(Event::Control(control));
        }
        if let Some(timer) = &mut self.resume
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Event::ResumeDue);
        }
        match &self.port {
            Port::Listening(listener) => listener.poll_accept(cx).map(Event::Accepted),
            Port::Reserved(_) | Port::Lost => Poll::Pending,
        }
    }

    fn accept(&self, tcp: TcpStream) {
        // A failure only makes small frames slower.
        let _ = tcp.set_nodelay(true);
        let (sender, commands) = unbounded_channel::<Command>();
        let index = self.shared.register(sender);
        let peer = Peer {
            script: self.shared.next_script(),
            shared: Arc::clone(&self.shared),
            index,
            commands,
            opened: false,
        };
        tokio::spawn(serve(peer, tcp, self.tls.clone()));
    }

    async fn stop(&mut self) {
        if let Port::Listening(_) = self.port {
            self.port = Port::Lost;
            self.port = match bind_patiently(self.addr).await {
                Ok(socket) => Port::Reserved(socket),
                Err(error) => {
                    log::warn!("scripted server: cannot reserve {}: {error}", self.addr);
                    Port::Lost
                }
            };
        }
        self.shared.record.listening(false);
        self.shared.tell_all(&Command::Drop);
    }

    async fn listen(&mut self) -> io::Result<()> {
        let socket = match std::mem::replace(&mut self.port, Port::Lost) {
            Port::Listening(listener) => {
                self.port = Port::Listening(listener);
                return Ok(());
            }
            Port::Reserved(socket) => socket,
            Port::Lost => bind_patiently(self.addr).await?,
        };
        socket.listen(BACKLOG)?;
        self.port = Port::Listening(TcpListener::from_std(socket.into())?);
        self.shared.record.listening(true);
        Ok(())
    }
}

async fn bind_patiently(addr: SocketAddr) -> io::Result<Socket> {
    let mut attempts = BIND_ATTEMPTS;
    loop {
        match bind(addr) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {
                attempts -= 1;
                sleep(BIND_PAUSE).await;
            }
            bound => return bound,
        }
    }
}
