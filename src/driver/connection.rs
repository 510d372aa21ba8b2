//! The open WebSocket as the run loop sees it: frames in, frames out, errors as failures.

use super::closing;
use super::packed::{MAX_PACKED, Packed, Packer};
use crate::net::Socket;
use crate::session::{Data, ErrorKind, Failure, Input, Message, Transmit};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message as Frame, Utf8Bytes};

/// Hand this much to the socket before asking it to write: many small messages share one
/// system call, and no more than this is lost track of when the connection dies.
const WRITE_CHUNK: usize = 64 * 1024;

/// One look at the socket brings no more payload than this and one message: it must not fill
/// the memory that the mailbox's bound protects.
const LOOK_BYTES: usize = 1 << 20;

/// The peer ended its stream, which is not the same as a reset.
const END_OF_STREAM: &str = "the stream ended without a close frame";

/// What one look at the socket brings, in order.
pub(super) enum Heard {
    Packed(Packed),
    /// Larger than those.
    Message(Message),
    Input(Input),
}

/// One frame of the peer's.
enum Said {
    Text(Utf8Bytes),
    Binary(Bytes),
    Input(Input),
}

pub(super) struct Connection {
    pub(super) epoch: u64,
    socket: Socket,
    /// Bytes handed over since the last flush that went through.
    unflushed: usize,
    /// Something may be in the socket's buffer, a Pong of the codec's own included.
    dirty: bool,
    /// A message was written on the app's own thread since the peer was last heard.
    written_through: bool,
    /// The transport's count of reads when the peer was last said to be alive.
    reads: u64,
    /// Writing failed; what the peer said before that is still to be read.
    pub(super) broken: Option<Failure>,
}

impl Connection {
    pub(super) fn new(epoch: u64, mut socket: Socket) -> Self {
        socket.get_mut().read_on_after_write_errors();
        Self {
            epoch,
            socket,
            unflushed: 0,
            dirty: false,
            written_through: false,
            reads: 0,
            broken: None,
        }
    }

    /// Writes what `next` gives on an app's thread. Once per thing heard: a conversation gains
    /// from it, while a burst is better collected by the run loop, many messages to a system
    /// call. Not while something else is on its way to the socket: that is the run loop's, and
    /// may be large. True: the kernel has all of it.
    pub(super) fn write_through(&mut self, next: impl FnOnce() -> Option<Transmit>) -> bool {
        if self.dirty || std::mem::replace(&mut self.written_through, true) {
            return false;
        }
        // Nobody can be woken through this context: what is not written now is the run
        // loop's, which registers its own.
        let mut context = Context::from_waker(Waker::noop());
        let mut next = Some(next);
        let written = self.poll_write(&mut context, || next.take().and_then(|next| next()));
        written == Poll::Ready(true) && self.broken.is_none()
    }

    /// How far the bytes have come.
    pub(super) fn progress(&self) -> Input {
        let transport = self.socket.get_ref();
        let (written, acknowledged) = (transport.bytes_written(), transport.bytes_acknowledged());
        Input::Progress { epoch: self.epoch, written, acknowledged }
    }

    /// Takes what the peer has said, at most `most` frames, up to the end if it has come. How
    /// many frames it was.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, most: usize) -> (usize, Vec<Heard>) {
        let mut packer = Packer::new(self.epoch);
        let (mut heard, mut frames, mut bytes) = (Vec::new(), 0, 0);
        while frames < most && bytes < LOOK_BYTES {
            let Poll::Ready(said) = self.poll_read(cx) else {
                // Everything that the peer said is heard; now a broken pipe counts. Not if it is
                // only tokio that wants others to have their turn: there may be more.
                if tokio::task::coop::has_budget_remaining()
                    && let Some(failure) = self.broken.take()
                {
                    frames += 1;
                    heard.extend(packer.take().map(Heard::Packed));
                    heard.push(Heard::Input(Input::Failed { epoch: self.epoch, failure }));
                }
                break;
            };
            frames += 1;
            let (is_text, payload) = match &said {
                Said::Text(text) => (true, text.as_bytes()),
                Said::Binary(bytes) => (false, &bytes[..]),
                Said::Input(_) => (false, &[][..]),
            };
            bytes += payload.len();
            let is_small = payload.len() <= MAX_PACKED && !matches!(said, Said::Input(_));
            if is_small && !packer.push(Data { is_text, payload }) {
                continue;
            }
            heard.extend(packer.take().map(Heard::Packed));
            match said {
                _ if is_small => {}
                Said::Text(text) => heard.push(Heard::Message(Message::text(text.as_str()))),
                Said::Binary(bytes) => heard.push(Heard::Message(Message::binary(bytes))),
                Said::Input(input) => {
                    let is_end =
                        matches!(input, Input::Failed { .. } | Input::CloseReceived { .. });
                    heard.push(Heard::Input(input));
                    if is_end {
                        break;
                    }
                }
            }
        }
        heard.extend(packer.take().map(Heard::Packed));
        (frames, heard)
    }

    /// The next thing that the peer says, or the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        let epoch = self.epoch;
        loop {
            let frame = match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => return self.poll_part(),
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    let failure = failure(&error);
                    return Poll::Ready(Said::Input(Input::Failed { epoch, failure }));
                }
                Poll::Ready(None) => {
                    let failure = Failure::new(ErrorKind::ConnectionLost, END_OF_STREAM);
                    return Poll::Ready(Said::Input(Input::Failed { epoch, failure }));
                }
            };
            self.written_through = false;
            self.reads = self.socket.get_ref().reads();
            let input = match frame {
                Frame::Text(text) => return Poll::Ready(Said::Text(text)),
                Frame::Binary(bytes) => return Poll::Ready(Said::Binary(bytes)),
                Frame::Ping(_) => {
                    // The codec has its Pong ready; somebody has to write it.
                    self.dirty = true;
                    Input::Alive { epoch }
                }
                Frame::Pong(payload) => Input::Ponged { epoch, payload },
                Frame::Close(close) => {
                    match closing::check(close, self.socket.get_ref().last_read()) {
                        Ok((code, reason)) => Input::CloseReceived { epoch, code, reason },
                        Err(failure) => Input::Failed { epoch, failure },
                    }
                }
                // Only ever given out by the raw-frame reader, which is not used.
                Frame::Frame(_) => continue,
            };
            return Poll::Ready(Said::Input(input));
        }
    }

    /// Nothing whole has come; a part of something counts too, once.
    fn poll_part(&mut self) -> Poll<Said> {
        let reads = self.socket.get_ref().reads();
        if std::mem::replace(&mut self.reads, reads) == reads {
            return Poll::Pending;
        }
        Poll::Ready(Said::Input(Input::Alive { epoch: self.epoch }))
    }

    /// Writes as much of what `next` gives as the socket takes. `Ready(true)`: everything that
    /// was taken is written, and something was; there may be more to take.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut() -> Option<Transmit>,
    ) -> Poll<bool> {
        if self.broken.is_some() {
            return Poll::Pending;
        }
        let result = self.try_write(cx, &mut next);
        if let Some(error) = self.socket.get_mut().take_write_error() {
            self.broken = Some(failure(&Error::Io(error)));
            return Poll::Ready(true);
        }
        match result {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(written)) => Poll::Ready(written),
            // The closing handshake is through: there is nothing left to write.
            Poll::Ready(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => Poll::Ready(false),
            Poll::Ready(Err(error)) => {
                self.broken = Some(failure(&error));
                Poll::Ready(true)
            }
        }
    }

    fn try_write(
        &mut self,
        cx: &mut Context<'_>,
        next: &mut dyn FnMut() -> Option<Transmit>,
    ) -> Poll<Result<bool, Error>> {
        loop {
            if self.unflushed >= WRITE_CHUNK {
                std::task::ready!(self.poll_flush(cx))?;
                // At this moment everything is written, which the session must hear: while the
                // app sends without a pause, the end of this loop may never be reached.
                return Poll::Ready(Ok(true));
            }
            std::task::ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
            let Some(transmit) = next() else { break };
            let frame = frame(transmit);
            // The header of a frame is at most 14 bytes (RFC 6455, 5.2).
            self.unflushed += frame.len() + 14;
            self.dirty = true;
            Pin::new(&mut self.socket).start_send(frame)?;
        }
        if !self.dirty {
            return Poll::Ready(Ok(false));
        }
        std::task::ready!(self.poll_flush(cx))?;
        Poll::Ready(Ok(true))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        std::task::ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.unflushed = 0;
        self.dirty = false;
        Poll::Ready(Ok(()))
    }

    /// Drops the connection now; the peer gets a reset.
    pub(super) fn abort(self) {
        self.socket.get_ref().abort_on_drop();
    }

    /// Ends the connection in good manners, within `patience`: says `close`, or finishes the
    /// answer to the peer's, and waits for the peer to end the stream (RFC 6455, 7.1.1).
    pub(super) async fn hang_up(self, close: Option<(u16, String)>, patience: Duration) {
        let mut socket = self.socket;
        let manners = async {
            match close {
                Some((code, reason)) => {
                    let frame = CloseFrame { code: code.into(), reason: reason.into() };
                    match socket.close(Some(frame)).await {
                        // The peer's close frame was illegal: the codec's answer, with 1002, is
                        // ready and still to be written.
                        Err(Error::Protocol(ProtocolError::SendAfterClosing)) => {
                            socket.flush().await?;
                        }
                        closed => closed?,
                    }
                }
                None => socket.flush().await?,
            }
            if let Some(error) = socket.get_mut().take_write_error() {
                return Err(Error::Io(error));
            }
            while let Some(Ok(_)) = socket.next().await {}
            // After an error there may be more, which makes no sense any more. Left unread it
            // would turn our end into a reset, and the peer might never read why.
            let mut rest = vec![0; 16 * 1024];
            while socket.get_mut().read(&mut rest).await? > 0 {}
            Ok::<(), Error>(())
        };
        match tokio::time::timeout(patience, manners).await {
            Ok(_) => {
                // TLS says goodbye too; whether anyone hears it does not matter.
                let _ = tokio::time::timeout(patience, socket.get_mut().shutdown()).await;
            }
            Err(_) => socket.get_ref().abort_on_drop(),
        }
    }
}

fn frame(transmit: Transmit) -> Frame {
    match transmit {
        Transmit::Message(Message::Text { text }) => Frame::Text(text.into()),
        Transmit::Message(Message::Binary { bytes }) => Frame::Binary(bytes),
        Transmit::Ping(payload) => Frame::Ping(payload),
        Transmit::Close { code, reason } => {
            Frame::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
        }
    }
}

fn failure(error: &Error) -> Failure {
    let kind = match error {
        Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => ErrorKind::ConnectionLost,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => ErrorKind::TooBig,
        Error::Utf8(_) => ErrorKind::InvalidUtf8,
        Error::Protocol(_) | Error::Capacity(_) => ErrorKind::Protocol,
        _ => ErrorKind::Unknown,
    };
    Failure::new(kind, detail(error))
}

/// What is known of it beyond its kind. tungstenite calls an end of the stream a reset.
fn detail(error: &Error) -> String {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => END_OF_STREAM.to_owned(),
        // The TLS layer says so when the peer did not end TLS either (RFC 8446, 6.1).
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            format!("{END_OF_STREAM}, and without close_notify")
        }
        error => error.to_string(),
    }
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
            let opened = opened.expect("it listens");
            let mut connection = Connection::new(1, opened.socket);
            connection.dirty = true;
            assert!(!connection.write_through(|| panic!("a large message may be half written")));
            connection.dirty = false;
            assert!(connection.write_through(|| Some(Transmit::Message(Message::text("x")))));
            assert!(!connection.write_through(|| panic!("once per thing heard")));
        });
    }
}
