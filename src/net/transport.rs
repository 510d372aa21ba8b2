//! A TCP connection, with TLS or without.

use crate::ffi;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

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
}

#[derive(Debug)]
enum Stream {
    Plain(Counted),
    // Boxed: the TLS state is over a kilobyte, and most of the time it is only moved.
    Tls(Box<TlsStream<Counted>>),
}

impl From<TcpStream> for Transport {
    fn from(tcp: TcpStream) -> Self {
        Self { stream: Stream::Plain(tcp.into()) }
    }
}

impl From<TlsStream<Counted>> for Transport {
    fn from(tls: TlsStream<Counted>) -> Self {
        Self { stream: Stream::Tls(Box::new(tls)) }
    }
}

impl Transport {
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
        forward!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, poll_write, cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_flush, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_shutdown, cx)
    }
}
