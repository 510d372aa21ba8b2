//! The open WebSocket as the run loop sees it: bytes in and out of the transport, messages in and
//! out of the wire layer, errors as failures.

use super::ahead::{Ahead, Heard};
use super::packed::Packer;
use crate::net::{Socket, Transport};
use crate::session::{ErrorKind, Failure, Input, Message, Transmit};
use crate::wire::{Decoder, Encoder, Event, Origin, Violation, Written};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// After this much has been written in one go, in bytes, the session hears of it and the socket is
/// read.
const WRITE_LOOK: usize = 64 * 1024;

/// One look at the socket reads no more bytes than this and one read: it must not fill the memory
/// that the mailbox's bound protects.
const LOOK_BYTES: usize = 1 << 20;

/// So many bytes count as a frame towards a turn. One look of [`LOOK_BYTES`] is a turn then.
const BYTES_OF_A_FRAME: usize = 512;

/// The peer ended its stream, which is not the same as a reset.
const END_OF_STREAM: &str = "the stream ended without a close frame";

thread_local! {
    /// What all connections of a thread read into, one after the other.
    static READING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Connection {
    pub(super) epoch: u64,
    transport: Transport,
    decoder: Decoder,
    encoder: Encoder,
    /// Bytes of what the encoder has pending that TLS has taken and the kernel perhaps not.
    handed: usize,
    /// TLS may hold bytes that no longer count as pending.
    unflushed: bool,
    /// The stream has ended: nothing that is written from now on would arrive.
    ended: bool,
    /// A heartbeat or a greeting was taken and is not written.
    asked: bool,
    /// What was read and is not told yet.
    ahead: Ahead,
    /// The peer's last word was read: its close frame, a violation, or the end of the stream.
    over: bool,
    /// A message was written on the app's own thread since the peer was last heard.
    written_through: bool,
    /// Writing failed; what the peer said before that is still to be read.
    broken: Option<Failure>,
    /// The app's messages that this connection takes no more.
    unsent: Vec<Message>,
}

/// What one attempt to write has come to.
#[derive(Default)]
pub(super) struct Wrote {
    app: Written,
    bytes: usize,
    /// A heartbeat is written.
    heartbeat: bool,
    /// True: something was written, or it turned out that nothing can be. There may be more.
    pub(super) moved: bool,
}

/// What one look at the socket has come to.
#[derive(Default)]
struct Look {
    frames: usize,
    bytes: usize,
    /// For the session, at once.
    told: Vec<Input>,
}

impl Connection {
    pub(super) fn new(epoch: u64, socket: Socket) -> Self {
        let Socket { transport, decoder, encoder } = socket;
        Self {
            epoch,
            transport,
            decoder,
            encoder,
            handed: 0,
            unflushed: false,
            ended: false,
            asked: false,
            ahead: Ahead::default(),
            over: false,
            written_through: false,
            broken: None,
            unsent: Vec::new(),
        }
    }

    /// How far the bytes have come.
    pub(super) fn progress(&self) -> Input {
        let (written, acknowledged) =
            (self.transport.bytes_written(), self.transport.bytes_acknowledged());
        Input::Progress { epoch: self.epoch, written, acknowledged }
    }

    // ---- reading ----------------------------------------------------------------------------

    /// Takes what the peer has said, until it has been some `turn` frames, or up to the end if it
    /// has come. How many frames it was, and what to tell: no more than `room` messages.
    ///
    /// Pings are answered, and the close frame, whether or not there is room. Without room what
    /// is read waits here, up to a bound of some 64 KiB. A Ping that the peer has sent behind more
    /// than that is answered when the app has made room.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        turn: usize,
    ) -> (usize, VecDeque<Heard>) {
        let mut look = Look::default();
        self.decoder.lend(READING.take());
        while !self.over {
            self.decode(&mut look);
            let is_enough = look.frames >= turn
                || look.bytes >= LOOK_BYTES
                || self.ahead.is_enough(room, self.decoder.partial());
            if self.over || is_enough {
                break;
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => self.lost(END_OF_STREAM.to_owned()),
                Poll::Ready(Ok(bytes)) => {
                    look.bytes += bytes;
                    // Empty fragments are no frames to the session, and take time as well.
                    look.frames += bytes / BYTES_OF_A_FRAME;
                    self.written_through = false;
                }
                Poll::Ready(Err(error)) => self.lost(detail(&error)),
                Poll::Pending => {
                    // Everything that the peer said is heard; now a broken pipe counts. Not if it
                    // is only tokio that wants others to have their turn: there may be more.
                    if tokio::task::coop::has_budget_remaining()
                        && let Some(failure) = self.broken.take()
                    {
                        look.frames += 1;
                        self.ends(Input::Failed { epoch: self.epoch, failure });
                    }
                    break;
                }
            }
        }
        READING.set(self.decoder.rest());
        let mut heard = self.ahead.take(room);
        let is_life = |heard: &Heard| !matches!(heard, Heard::Input(_));
        if look.bytes > 0 && look.told.is_empty() && !heard.iter().any(is_life) {
            look.told.push(Input::Alive { epoch: self.epoch });
        }
        for input in look.told.into_iter().rev() {
            heard.push_front(Heard::Input(input));
        }
        (look.frames, heard)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = self.decoder.space();
        pin!(self.transport.read_buf(&mut space)).poll(cx)
    }

    /// Takes everything that the bytes that were read say.
    fn decode(&mut self, look: &mut Look) {
        let epoch = self.epoch;
        let mut packer = Packer::new(epoch);
        while let Some(event) = self.decoder.next() {
            look.frames += 1;
            match event {
                Ok(Event::Data(data)) => {
                    if packer.push(data) {
                        self.ahead.extend(packer.take());
                    }
                }
                Ok(Event::Message(message)) => {
                    self.ahead.extend(packer.take());
                    self.ahead.push(Heard::Message(message));
                }
                Ok(Event::Ping(payload)) => self.encoder.push_pong(payload),
                Ok(Event::Pong(payload)) => {
                    let payload = Bytes::copy_from_slice(payload);
                    look.told.push(Input::Ponged { epoch, payload });
                }
                Ok(Event::Close(close)) => {
                    let (code, reason) = (close.code, close.reason.to_owned());
                    self.ahead.extend(packer.take());
                    self.withdraw();
                    self.encoder.push_close(code, &reason);
                    self.ends(Input::CloseReceived { epoch, code, reason });
                }
                Err(violation) => {
                    let failure = breach(violation);
                    self.ahead.extend(packer.take());
                    self.withdraw();
                    self.encoder.push_close(Some(failure.close_code()), failure.close_reason());
                    self.ends(Input::Failed { epoch, failure });
                }
            }
        }
        self.ahead.extend(packer.take());
    }

    /// The stream has ended. The events that were read before may wait for the app; what it sends
    /// meanwhile is for the next connection.
    fn lost(&mut self, detail: String) {
        self.ended = true;
        self.withdraw();
        let failure = Failure::new(ErrorKind::ConnectionLost, detail);
        self.ends(Input::Failed { epoch: self.epoch, failure });
    }

    /// Nothing that the peer says counts after this.
    fn ends(&mut self, end: Input) {
        self.over = true;
        self.ahead.push(Heard::Input(end));
    }

    // ---- writing ----------------------------------------------------------------------------

    /// Writes what `next` gives on an app's thread. Once per thing heard: a conversation gains
    /// from it, while a burst is better collected by the run loop, many messages to a system
    /// call. Not while something else is on its way to the socket: that is the run loop's, and
    /// may be large.
    pub(super) fn write_through(&mut self, next: impl FnOnce() -> Option<Transmit>) -> Wrote {
        if self.over
            || self.is_writing()
            || !self.encoder.has_room()
            || std::mem::replace(&mut self.written_through, true)
        {
            return Wrote::default();
        }
        // Nobody can be woken through this context: what is not written now is the run
        // loop's, which registers its own.
        let mut context = Context::from_waker(Waker::noop());
        let mut next = Some(next);
        self.write(&mut context, |_| next.take().and_then(|next| next()))
    }

    /// Writes as much of what `next` gives as the socket takes, up to a bound. `next` is asked with
    /// true when there is room for anything, and with false while only a Ping can be taken.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(bool) -> Option<Transmit>,
    ) -> Wrote {
        let mut wrote = Wrote::default();
        while self.broken.is_none() && !self.ended && wrote.bytes < WRITE_LOOK {
            self.take(&mut next);
            match self.poll_some(cx, &mut wrote) {
                Poll::Ready(Ok(true)) => {
                    // The session is told before anything follows: what is in the kernel by then
                    // is what lies ahead of the heartbeat.
                    if self.asked && self.encoder.is_caught_up() {
                        self.asked = false;
                        wrote.heartbeat = true;
                        break;
                    }
                }
                Poll::Ready(Err(error)) => {
                    let failure = Failure::new(ErrorKind::ConnectionLost, detail(&error));
                    self.broken = Some(failure);
                    wrote.moved = true;
                }
                Poll::Ready(Ok(false)) | Poll::Pending => {
                    self.encoder.rest();
                    break;
                }
            }
        }
        wrote
    }

    /// Fills the encoder.
    fn take(&mut self, next: &mut dyn FnMut(bool) -> Option<Transmit>) {
        loop {
            let room = self.encoder.has_room();
            let Some(transmit) = next(room) else { return };
            let refused = match transmit {
                Transmit::Message(message) => self.encoder.push(message, Origin::App),
                Transmit::Own(message) => {
                    self.asked = true;
                    self.encoder.push(message, Origin::Engine)
                }
                Transmit::Ping(payload) => {
                    self.asked = true;
                    self.encoder.push_ping(&payload);
                    Ok(())
                }
                Transmit::Close { code, reason } => {
                    self.encoder.push_close(Some(code), &reason);
                    Ok(())
                }
            };
            debug_assert!(refused.is_ok(), "asked for without room");
            self.unsent.extend(refused.err());
        }
    }

    /// Writes a part of what is pending. False: nothing is.
    fn poll_some(&mut self, cx: &mut Context<'_>, wrote: &mut Wrote) -> Poll<io::Result<bool>> {
        if self.handed == 0 {
            if !self.encoder.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Ready(Ok(false));
            }
            let pending = self.encoder.pending();
            self.handed = ready!(Pin::new(&mut self.transport).poll_write(cx, pending))?;
            if self.handed == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        // TLS takes bytes before the kernel does.
        ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
        self.unflushed = false;
        let bytes = std::mem::take(&mut self.handed);
        let Written { messages, payload } = self.encoder.advance(bytes);
        wrote.app.messages += messages;
        wrote.app.payload += payload;
        wrote.bytes += bytes;
        wrote.moved = true;
        Poll::Ready(Ok(true))
    }

    /// Something is on its way to the kernel.
    pub(super) fn is_writing(&self) -> bool {
        !self.ended && (self.handed > 0 || self.unflushed || self.encoder.is_pending())
    }

    /// What the session is to hear of an attempt to write.
    pub(super) fn news(&self, wrote: &Wrote) -> Option<Input> {
        if wrote.bytes == 0 {
            return None;
        }
        if !self.is_writing() && self.unsent.is_empty() {
            return Some(Input::Flushed);
        }
        let Written { messages, payload } = wrote.app;
        let (epoch, heartbeat) = (self.epoch, wrote.heartbeat);
        Some(Input::Written { epoch, messages, payload, heartbeat })
    }

    // ---- the end ----------------------------------------------------------------------------

    /// No message is begun any more.
    fn withdraw(&mut self) {
        // What TLS has taken may arrive: it must not be sent again.
        let handed = std::mem::take(&mut self.handed);
        self.unflushed |= handed > 0;
        self.encoder.advance(handed);
        self.unsent.extend(self.encoder.withdraw());
    }

    /// The app's messages, in order, of which the server has seen nothing. None is begun after
    /// this.
    pub(super) fn take_unsent(&mut self) -> Vec<Message> {
        self.withdraw();
        std::mem::take(&mut self.unsent)
    }

    /// Drops the connection now; the peer gets a reset.
    pub(super) fn abort(self) {
        self.transport.abort_on_drop();
    }

    /// Ends the connection in good manners, within `patience`: says `close`, or finishes the
    /// answer to the peer's, and waits for the peer to end the stream (RFC 6455, 7.1.1).
    pub(super) async fn hang_up(mut self, close: Option<(u16, String)>, patience: Duration) {
        if let Some((code, reason)) = close {
            self.encoder.push_close(Some(code), &reason);
        }
        let manners = async {
            let mut wrote = Wrote::default();
            while self.broken.is_none() && poll_fn(|cx| self.poll_some(cx, &mut wrote)).await? {}
            // Left unread, what still comes would turn our end into a reset, and the peer might
            // never read why.
            let mut rest = vec![0; 16 * 1024];
            while self.transport.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        match tokio::time::timeout(patience, manners).await {
            Ok(_) => {
                // TLS says goodbye too; whether anyone hears it does not matter.
                let _ = tokio::time::timeout(patience, self.transport.shutdown()).await;
            }
            Err(_) => self.transport.abort_on_drop(),
        }
    }
}

/// What a breach of the protocol is to the session.
fn breach(violation: Violation) -> Failure {
    let kind = match violation.close_code() {
        1007 => ErrorKind::InvalidUtf8,
        1009 => ErrorKind::TooBig,
        _ => ErrorKind::Protocol,
    };
    Failure::new(kind, violation.to_string())
}

/// What is known of a lost connection.
fn detail(error: &io::Error) -> String {
    // The TLS layer says so when the peer did not end TLS either (RFC 8446, 6.1).
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return format!("{END_OF_STREAM}, and without close_notify");
    }
    error.to_string()
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::ConnectOptions;
    use crate::api::resolve::resolve;
    use crate::testing::{Script, ScriptedServer};
    use std::sync::atomic::AtomicU32;

    #[test]
    fn an_apps_thread_does_not_write_while_something_else_is_on_its_way() {
        let server = ScriptedServer::start(Script::default()).expect("starts");
        let rules = resolve(ConnectOptions::new(server.url())).expect("valid");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let opened = crate::net::dial(&rules.dial, &AtomicU32::new(0)).await;
            let mut connection = Connection::new(1, opened.expect("it listens").socket);
            connection.encoder.push_ping(b"");
            let refused =
                connection.write_through(|| panic!("a large message may be half written"));
            assert!(!refused.moved);
            poll_fn(|cx| Poll::Ready(connection.write(cx, |_| None))).await;
            assert!(!connection.is_writing());
            let wrote = connection.write_through(|| Some(Transmit::Message(Message::text("x"))));
            assert!(wrote.moved && connection.news(&wrote).is_some());
            assert!(!connection.write_through(|| panic!("once per thing heard")).moved);
        });
    }
}
