//! A TCP connection, with TLS or without.

use crate::ffi;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// How many of the bytes that were read last are kept: as many as a close frame can have, two
/// header bytes and 125 more (RFC 6455, 5.5).
const LAST_READ: usize = 127;

/// The kernel takes at most this much more than it has sent already. A heartbeat waits behind it:
/// 0.6 s at 100 KB/s.
const UNSENT: u32 = 64 * 1024;

/// A TCP connection that counts what the kernel takes.
#[derive(Debug)]
pub(super) struct Counted {
    tcp: TcpStream,
    written: u64,
}

impl From<TcpStream> for Counted {
    fn from(tcp: TcpStream) -> Self {
        ffi::limit_unsent(&tcp, UNSENT);
        Self { tcp, written: 0 }
    }
}

impl Counted {
    fn count(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = result {
            self.written += bytes as u64;
        }
        result
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.count(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.count(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// What the WebSocket runs over.
#[derive(Debug)]
pub(crate) struct Transport {
    stream: Stream,
    /// Reads that brought something, modulo 2⁶⁴.
    reads: u64,
    last_read: LastRead,
    writing: Writing,
}

/// The bytes that were read last.
#[derive(Debug)]
struct LastRead {
    bytes: [u8; LAST_READ],
    len: usize,
}

impl Default for LastRead {
    fn default() -> Self {
        Self { bytes: [0; LAST_READ], len: 0 }
    }
}

impl LastRead {
    fn push(&mut self, read: &[u8]) {
        let read = &read[read.len().saturating_sub(LAST_READ)..];
        let stays = self.len.min(LAST_READ - read.len());
        self.bytes.copy_within(self.len - stays..self.len, 0);
        self.len = stays + read.len();
        self.bytes[stays..self.len].copy_from_slice(read);
    }
}

#[derive(Debug)]
enum Writing {
    /// Errors are told to whoever writes.
    Strict,
    /// Errors are kept.
    Kept(Option<io::Error>),
}

#[derive(Debug)]
enum Stream {
    Plain(Counted),
    // Boxed: the TLS state is over a kilobyte, and most of the time it is only moved.
    Tls(Box<TlsStream<Counted>>),
}

impl From<TcpStream> for Transport {
    fn from(tcp: TcpStream) -> Self {
        Self::new(Stream::Plain(tcp.into()))
    }
}

impl From<TlsStream<Counted>> for Transport {
    fn from(tls: TlsStream<Counted>) -> Self {
        Self::new(Stream::Tls(Box::new(tls)))
    }
}

impl Transport {
    fn new(stream: Stream) -> Self {
        Self { stream, reads: 0, last_read: LastRead::default(), writing: Writing::Strict }
    }

    fn counted(&self) -> &Counted {
        match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Bytes that the kernel has taken since the connection was made, handshakes included.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.counted().written
    }

    /// How many of them the peer's kernel has acknowledged; `None`: the system does not tell.
    pub(crate) fn bytes_acknowledged(&self) -> Option<u64> {
        let Counted { tcp, written } = self.counted();
        ffi::unacknowledged(tcp).map(|waiting| written.saturating_sub(waiting))
    }

    /// How often something was read. It tells a slow peer, half-way through a large message,
    /// from one that is gone.
    pub(crate) fn reads(&self) -> u64 {
        self.reads
    }

    /// The bytes that were read last, at most 127. The codec changes some close frames before it
    /// gives them out; here they are as the peer sent them.
    pub(crate) fn last_read(&self) -> &[u8] {
        &self.last_read.bytes[..self.last_read.len]
    }

    /// From now on keeps the error when writing fails, and takes what is written all the same.
    /// The codec writes its Pongs while it reads, and would not give out what it has read
    /// already.
    pub(crate) fn read_on_after_write_errors(&mut self) {
        self.writing = Writing::Kept(None);
    }

    /// Why nothing can be written any more, if that is so.
    pub(crate) fn take_write_error(&mut self) -> Option<io::Error> {
        match &mut self.writing {
            Writing::Kept(error) => error.take(),
            Writing::Strict => None,
        }
    }

    /// The result of writing, which would be `done` if it had gone well.
    fn written<T>(&mut self, result: Poll<io::Result<T>>, done: T) -> Poll<io::Result<T>> {
        match (result, &mut self.writing) {
            (Poll::Ready(Err(error)), Writing::Kept(kept)) => {
                kept.get_or_insert(error);
                Poll::Ready(Ok(done))
            }
            (result, _) => result,
        }
    }

    /// Makes the coming drop a reset: what is unsent is discarded and the kernel keeps
    /// nothing. A peer that is gone would otherwise be retransmitted to for a quarter of an
    /// hour.
    pub(crate) fn abort_on_drop(&self) {
        if let Err(error) =
            socket2::SockRef::from(&self.counted().tcp).set_linger(Some(std::time::Duration::ZERO))
        {
            log::debug!("no reset on close: {error}");
        }
    }
}

macro_rules! forward {
    ($self:ident, $method:ident, $($argument:expr),*) => {
        match &mut $self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).$method($($argument),*),
            Stream::Tls(tls) => Pin::new(tls).$method($($argument),*),
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = forward!(self, poll_read, cx, buf);
        let read = &buf.filled()[before..];
        self.reads = self.reads.wrapping_add(u64::from(!read.is_empty()));
        self.last_read.push(read);
        result
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = forward!(self, poll_write, cx, buf);
        self.written(result, buf.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = forward!(self, poll_flush, cx);
        self.written(result, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_shutdown, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_however_they_come() {
        let all: Vec<u8> = (0..1_000_u32).map(|number| number as u8).collect();
        for piece in [1, 2, 50, 126, 127, 128, 400, 1_000] {
            let mut last = LastRead::default();
            for piece in all.chunks(piece) {
                last.push(piece);
            }
            assert_eq!(last.bytes[..last.len], all[1_000 - LAST_READ..]);
        }
        let mut last = LastRead::default();
        last.push(b"ab");
        last.push(b"");
        assert_eq!(&last.bytes[..last.len], b"ab");
    }
}
