//! Calls of the kernel about a TCP connection. The standard library and socket2 do not have them on
//! every system.

use tokio::net::TcpStream;

/// Returns the number of bytes that the kernel has taken and the peer's kernel has not acknowledged
/// yet. `None` means that the system does not tell.
pub(crate) fn unacknowledged(tcp: &TcpStream) -> Option<u64> {
    system::unacknowledged(tcp)
}

/// Limits the bytes that the kernel takes beyond those that it has sent already to about this many
/// (TCP_NOTSENT_LOWAT), so that what is written next is sent soon.
pub(crate) fn limit_unsent(tcp: &TcpStream, bytes: u32) {
    if let Err(error) = system::limit_unsent(tcp, bytes) {
        log::debug!("TCP_NOTSENT_LOWAT: {error}");
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod system {
    use std::io;
    use std::os::fd::AsRawFd;
    use tokio::net::TcpStream;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn unacknowledged(tcp: &TcpStream) -> Option<u64> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open for as long as `tcp` is borrowed. TIOCOUTQ, which is
        // SIOCOUTQ for a socket (tcp(7)), writes one int to the address and nothing else.
        let result = unsafe { libc::ioctl(tcp.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 { u64::try_from(bytes).ok() } else { None }
    }

    #[cfg(target_vendor = "apple")]
    pub(super) fn unacknowledged(tcp: &TcpStream) -> Option<u64> {
        let mut bytes: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the descriptor is open for as long as `tcp` is borrowed. SO_NWRITE writes at
        // most `length` bytes, one int, to the address.
        let result = unsafe {
            libc::getsockopt(
                tcp.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NWRITE,
                (&raw mut bytes).cast(),
                &raw mut length,
            )
        };
        if result == 0 { u64::try_from(bytes).ok() } else { None }
    }

    #[cfg(not(target_vendor = "apple"))]
    use libc::TCP_NOTSENT_LOWAT;
    /// From <netinet/tcp.h> of Darwin; libc does not have it.
    #[cfg(target_vendor = "apple")]
    const TCP_NOTSENT_LOWAT: libc::c_int = 0x201;

    pub(super) fn limit_unsent(tcp: &TcpStream, bytes: u32) -> io::Result<()> {
        // SAFETY: the descriptor is open for as long as `tcp` is borrowed. The option is an int,
        // and `bytes` has its size.
        let result = unsafe {
            libc::setsockopt(
                tcp.as_raw_fd(),
                libc::IPPROTO_TCP,
                TCP_NOTSENT_LOWAT,
                (&raw const bytes).cast(),
                size_of::<u32>() as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod system {
    use tokio::net::TcpStream;

    pub(super) fn unacknowledged(_: &TcpStream) -> Option<u64> {
        None
    }

    pub(super) fn limit_unsent(_: &TcpStream, _: u32) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// First the peer does not read, so the buffers fill up. Then it reads, and all bytes are
    /// acknowledged.
    #[test]
    fn what_the_peer_has_not_acknowledged_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        socket2::SockRef::from(&listener).set_recv_buffer_size(16 * 1024).expect("a small buffer");
        let address = listener.local_addr().expect("bound");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let tcp = TcpStream::connect(address).await.expect("it listens");
            limit_unsent(&tcp, 16 * 1024);
            let (mut peer, _) = listener.accept().expect("a connection");
            assert_eq!(unacknowledged(&tcp), Some(0));
            let mut written = 0;
            while let Ok(more) = tcp.try_write(&[0; 4096]) {
                written += more;
            }
            let waits = unacknowledged(&tcp).expect("this system tells");
            assert!(waits > 0 && waits <= written as u64, "{waits} of {written}");
            let mut rest = vec![0; written];
            peer.read_exact(&mut rest).expect("all of it");
            while unacknowledged(&tcp) != Some(0) {
                tokio::task::yield_now().await;
            }
        });
    }
}
