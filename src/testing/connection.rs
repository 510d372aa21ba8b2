//! A connection of the server, from its acceptance to its end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::frame::{Decoded, InBuf, decode, opcode};
use super::handshake::{
    NoRequest, Request, read_request, status_answer, upgrade_answer, wrong_upgrade,
};
use super::peer::{Command, HOLE_CHECK, Peer, client_end, reset};
use super::player::{Flow, Leave, Player};
use super::script::{Handshake, StatusAnswer};
use super::seen::SeenEnd;

/// How long the server tries to write the rest of its output before a connection ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the server waits for the client to close its side after the server has closed its own.
/// A close with unread data would reset the connection, and the client could lose what it has not
/// read yet.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A stream over TCP, with TLS or without.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Plays the script of a connection until the connection ends.
pub(super) async fn serve(mut peer: Peer, tcp: TcpStream, tls: Option<TlsAcceptor>) {
    match &peer.script.handshake {
        Handshake::Refuse => {
            peer.end(SeenEnd::Refused);
            return reset(&tcp);
        }
        Handshake::Hang => return peer.hold(&tcp).await,
        _ => {}
    }
    let Some(tls) = tls else {
        return Connection::new(peer, tcp).run().await;
    };
    let mut accept = tls.accept(tcp);
    match peer.patiently(&mut accept).await {
        Ok(Ok(stream)) => Connection::new(peer, stream).run().await,
        Ok(Err(_)) | Err(Leave::Fin(_) | Leave::Gone(_)) => peer.end(SeenEnd::BadRequest),
        Err(leave) => {
            let Some(tcp) = accept.get_ref() else { return };
            match leave {
                Leave::Reset(end) => {
                    peer.end(end);
                    reset(tcp);
                }
                _ => peer.hold(tcp).await,
            }
        }
    }
}

struct Connection<S> {
    peer: Peer,
    io: S,
    input: InBuf,
    player: Player,
    unflushed: bool,
}

/// Why the connection has to do something.
enum Step {
    Read(usize),
    Wrote,
    Broken,
    Command(Option<Command>),
    Due,
}

impl<S: Wire> Connection<S> {
    fn new(peer: Peer, io: S) -> Connection<S> {
        Connection {
            player: Player::new(Arc::clone(&peer.script), Instant::now()),
            peer,
            io,
            input: InBuf::default(),
            unflushed: false,
        }
    }

    async fn run(mut self) {
        let leave = match self.open().await {
            Ok(()) => self.play().await,
            Err(leave) => leave,
        };
        self.leave(leave).await;
    }

    /// Does the opening handshake.
    async fn open(&mut self) -> Result<(), Leave> {
        let read = self.peer.patiently(read_request(&mut self.io)).await?;
        let (request, rest) = match read {
            Ok(read) => read,
            Err(error) => return Err(self.no_request(error).await),
        };
        self.record_request(&request);
        if !rest.is_empty() {
            self.record_violation("data before the answer to the request");
        }
        let (answer, rejected) = self.answer(&request).await?;
        if rejected.is_none() {
            // The record is changed before the answer is written, because a test may read the
            // record as soon as its client is open.
            self.peer.opened = true;
            self.peer.shared.record.opened(self.peer.index);
        }
        let written = write(&mut self.io, &answer);
        let written = self.peer.interruptibly(written).await?;
        written.map_err(|_| Leave::Gone(SeenEnd::ClientReset))?;
        if let Some(end) = rejected {
            return Err(Leave::Fin(end));
        }
        // The times of the script count from here, not from the acceptance.
        self.player = Player::new(Arc::clone(&self.peer.script), Instant::now());
        self.input.extend(&rest);
        Ok(())
    }

    fn record_request(&self, request: &Request) {
        self.peer.shared.record.update(self.peer.index, |seen| {
            seen.request_path = Some(request.path.clone());
            seen.headers = request.headers.clone();
            seen.protocols_offered = request.protocols();
            seen.violations.extend(request.websocket_key().err());
        });
    }

    fn record_violation(&self, what: &str) {
        let what = what.to_owned();
        self.peer.shared.record.update(self.peer.index, |seen| seen.violations.push(what));
    }

    /// Records why there is no request, and answers a request that is too large.
    async fn no_request(&mut self, error: NoRequest) -> Leave {
        let violation = match &error {
            NoRequest::Gone(error) => {
                log::debug!("scripted server: no request: {error}");
                return Leave::Fin(SeenEnd::BadRequest);
            }
            NoRequest::TooLarge(what) => (*what).to_owned(),
            NoRequest::Malformed(error) => format!("not an HTTP request: {error}"),
        };
        self.record_violation(&violation);
        if let NoRequest::TooLarge(what) = error {
            let mut answer = StatusAnswer::new(431);
            answer.body = format!("{what}\n");
            let answer = status_answer(&answer);
            let written = write(&mut self.io, &answer);
            // The connection ends even if the client does not read the answer.
            match self.peer.patiently(written).await {
                Ok(_) => {}
                Err(leave) => return leave,
            }
        }
        Leave::Fin(SeenEnd::BadRequest)
    }

    /// Returns the answer to a request, after the delay of the script. If the answer is no upgrade,
    /// also returns how the connection ends.
    async fn answer(&mut self, request: &Request) -> Result<(Vec<u8>, Option<SeenEnd>), Leave> {
        let script = Arc::clone(&self.peer.script);
        let delay_ms = match &script.handshake {
            Handshake::Upgrade(upgrade) => upgrade.delay_ms,
            Handshake::Status(answer) => answer.delay_ms,
            _ => 0,
        };
        if delay_ms > 0 {
            self.delay(Duration::from_millis(delay_ms)).await?;
        }
        Ok(match (&script.handshake, request.websocket_key()) {
            (Handshake::Upgrade(upgrade), Ok(key)) => (upgrade_answer(request, key, upgrade), None),
            (Handshake::Upgrade(_), Err(what)) => {
                let mut answer = StatusAnswer::new(400);
                answer.body = format!("{what}\n");
                (status_answer(&answer), Some(SeenEnd::BadRequest))
            }
            (Handshake::Status(answer), _) => (status_answer(answer), Some(SeenEnd::Rejected)),
            (Handshake::Raw(bytes), _) => (bytes.clone(), Some(SeenEnd::Rejected)),
            // `Refuse` and `Hang` were handled before the request was read.
            (Handshake::WrongUpgrade | Handshake::Refuse | Handshake::Hang, _) => {
                (wrong_upgrade(), Some(SeenEnd::Rejected))
            }
        })
    }

    /// Waits before the answer, at most until the client ends the connection.
    async fn delay(&mut self, delay: Duration) -> Result<(), Leave> {
        let start = Instant::now();
        while let left = delay.saturating_sub(start.elapsed())
            && !left.is_zero()
        {
            self.peer.interruptibly(sleep(left.min(HOLE_CHECK))).await?;
            if let Some(end) = client_end(self.io.tcp()) {
                return Err(Leave::Gone(end));
            }
        }
        Ok(())
    }

    /// Plays the script of the open connection.
    async fn play(&mut self) -> Leave {
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut flow = self.decode();
        loop {
            if let Flow::Break(leave) = flow {
                return leave;
            }
            if let Flow::Break(leave) = self.player.advance(Instant::now()) {
                return leave;
            }
            if let Some(ms) = self.player.stop_listening.take() {
                self.peer.shared.stop_listening_for(ms);
            }
            let deadline = self.player.deadline();
            if let Some(deadline) = deadline
                && deadline != timer.deadline()
            {
                timer.as_mut().reset(deadline);
            }
            let step = poll_fn(|cx| {
                let timer = deadline.map(|_| timer.as_mut());
                self.poll_step(cx, timer)
            });
            let step = step.await;
            flow = match step {
                Step::Read(0) => {
                    if !self.input.filled().is_empty() {
                        self.record_violation("the stream ended within a frame");
                    }
                    Flow::Break(Leave::Fin(SeenEnd::ClientEof))
                }
                Step::Read(n) => {
                    self.input.filled_more(n);
                    self.decode()
                }
                Step::Broken => Flow::Break(Leave::Gone(SeenEnd::ClientReset)),
                Step::Command(command) => self.on_command(command),
                Step::Wrote | Step::Due => Flow::Continue(()),
            };
        }
    }

    /// Writes and reads what is possible. One function does both, so that neither direction waits
    /// for the other: otherwise a client that sends a lot before it reads would wait for ever.
    fn poll_step(&mut self, cx: &mut Context<'_>, timer: Option<Pin<&mut Sleep>>) -> Poll<Step> {
        if let Poll::Ready(command) = self.peer.commands.poll_recv(cx) {
            return Poll::Ready(Step::Command(command));
        }
        if let Some(timer) = timer
            && timer.poll(cx).is_ready()
        {
            return Poll::Ready(Step::Due);
        }
        let wrote = match self.poll_write_out(cx) {
            Ok(wrote) => wrote,
            Err(_) => return Poll::Ready(Step::Broken),
        };
        if !self.player.out.is_full() {
            let mut buf = ReadBuf::new(self.input.room());
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => return Poll::Ready(Step::Read(buf.filled().len())),
                Poll::Ready(Err(_)) => return Poll::Ready(Step::Broken),
                Poll::Pending => {}
            }
        }
        match wrote {
            true => Poll::Ready(Step::Wrote),
            false => Poll::Pending,
        }
    }

    /// Writes as much as the client takes. Returns true when at least one byte was written.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        let mut wrote = false;
        while !self.player.out.pending().is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, self.player.out.pending()) {
                Poll::Ready(n) => self.player.out.wrote(n?),
                Poll::Pending => break,
            }
            wrote = true;
            self.unflushed = true;
        }
        if self.unflushed && self.player.out.pending().is_empty() {
            // TLS has a buffer of its own.
            if let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx) {
                flushed?;
                self.unflushed = false;
            }
        }
        Ok(wrote)
    }

    /// Plays the complete frames that were read, and then records them: once per read, and before
    /// the client gets an answer to them.
    fn decode(&mut self) -> Flow {
        let now = Instant::now();
        let at_ms = self.peer.shared.record.now_ms();
        let mut flow = Flow::Continue(());
        while flow.is_continue() {
            let buf = self.input.filled();
            flow = match decode(buf) {
                Decoded::Incomplete => break,
                Decoded::Violation(code, what) => self.player.violation(now, code, what),
                Decoded::Frame { fin, opcode, payload } => {
                    let end = payload.end;
                    let played = &buf[payload];
                    let flow = self.player.on_frame(now, at_ms, (fin, opcode), played);
                    self.input.consume(end);
                    flow
                }
            };
        }
        let batch = &mut self.player.batch;
        let is_closed =
            matches!(flow, Flow::Break(Leave::Fin(SeenEnd::ClientClosed | SeenEnd::ServerClosed)));
        // A Pong is allowed here, because it may have been on its way already.
        let next = self.input.filled().first().map(|byte| byte & 0x0f);
        if is_closed && next.is_some_and(|opcode| opcode != opcode::PONG) {
            batch.violations.push("data after the close frame".into());
        }
        if !batch.frames.is_empty() || !batch.violations.is_empty() {
            self.peer.shared.record.add(self.peer.index, batch);
        }
        flow
    }

    fn on_command(&mut self, command: Option<Command>) -> Flow {
        let now = Instant::now();
        match command {
            Some(Command::SendText(_)) if self.player.is_closing() => {}
            Some(Command::SendText(text)) => self.player.send_text(now, &text),
            Some(Command::Close(code, reason)) => self.player.close(now, code, &reason),
            Some(Command::Drop) => {
                self.player.out.clear();
                return Flow::Break(Leave::Reset(SeenEnd::ServerDropped));
            }
            Some(Command::Silence) => {
                self.player.out.clear();
                return Flow::Break(Leave::Silence);
            }
            None => return Flow::Break(Leave::Gone(SeenEnd::Shutdown)),
        }
        Flow::Continue(())
    }

    async fn leave(mut self, leave: Leave) {
        match leave {
            Leave::Gone(end) => self.peer.end(end),
            Leave::Reset(end) => {
                self.flush().await;
                self.peer.end(end);
                reset(self.io.tcp());
            }
            Leave::Silence => {
                self.flush().await;
                self.peer.hold(self.io.tcp()).await;
            }
            Leave::Fin(end) => {
                self.flush().await;
                self.peer.end(end);
                let _ = timeout(FLUSH_TIMEOUT, self.io.shutdown()).await;
                let _ = timeout(DRAIN_TIMEOUT, drain(&mut self.io)).await;
            }
        }
    }

    /// Writes the rest of the output, for a limited time, because the client may not read.
    async fn flush(&mut self) {
        let out = &mut self.player.out;
        let io = &mut self.io;
        let limit = FLUSH_TIMEOUT + out.delay();
        let all = async {
            loop {
                out.promote(Instant::now());
                io.write_all(out.pending()).await?;
                out.wrote(out.pending().len());
                match out.next_due() {
                    Some(due) => sleep_until(due).await,
                    None => return io.flush().await,
                }
            }
        };
        let _ = timeout(limit, all).await;
    }
}

async fn write<S: Wire>(io: &mut S, bytes: &[u8]) -> std::io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

/// Reads and discards data until the client closes its side.
async fn drain<S: Wire>(io: &mut S) -> std::io::Result<()> {
    let mut buf = vec![0; 4096];
    while io.read(&mut buf).await? > 0 {}
    Ok(())
}
