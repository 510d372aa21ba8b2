//! A TCP connection, with TLS or without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What the WebSocket runs over.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    // Boxed: the TLS state is over a kilobyte, and most of the time it is only moved.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Makes the coming drop a reset: what is unsent is discarded and the kernel keeps
    /// nothing. A peer that is gone would otherwise be retransmitted to for a quarter of an
    /// hour.
    pub(crate) fn abort_on_drop(&self) {
        if let Err(error) =
            socket2::SockRef::from(self.tcp()).set_linger(Some(std::time::Duration::ZERO))
        {
            log::debug!("no reset on close: {error}");
        }
    }
}

macro_rules! forward {
    ($self:ident, $method:ident, $($argument:expr),*) => {
        match $self.get_mut() {
            Transport::Plain(tcp) => Pin::new(tcp).$method($($argument),*),
            Transport::Tls(tls) => Pin::new(tls).$method($($argument),*),
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, poll_write, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_shutdown, cx)
    }
}
