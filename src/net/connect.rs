//! The steps of a dial, under one time limit.

use super::profile::Stopwatch;
use super::transport::Transport;
use super::{DialOptions, Opened, tls, upgrade};
use crate::session::{ErrorKind, Failure};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tokio::net::{TcpSocket, TcpStream};

/// Where a dial is, for the error when its time is over.
struct Progress<'a> {
    watch: Stopwatch,
    step: &'static str,
    /// How many steps are passed.
    passed: &'a AtomicU32,
}

impl Progress<'_> {
    fn next(&mut self, step: &'static str) {
        self.step = step;
        self.passed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Dials, and adds one to `passed` at each step. Dropping the future drops whatever was made so
/// far.
pub(crate) async fn dial(options: &DialOptions, passed: &AtomicU32) -> Result<Opened, Failure> {
    let mut progress = Progress { watch: Stopwatch::start(), step: "looking up the name", passed };
    let steps = Box::pin(steps(options, &mut progress));
    match tokio::time::timeout(options.timeout, steps).await {
        Ok(result) => result,
        Err(_) => {
            let detail = format!("after {:?}, while {}", options.timeout, progress.step);
            Err(Failure::new(ErrorKind::Timeout, detail))
        }
    }
}

async fn steps(options: &DialOptions, progress: &mut Progress<'_>) -> Result<Opened, Failure> {
    let deadline = Instant::now() + options.timeout;
    let target = &options.target;
    let look_up_start = Instant::now();
    let addresses = look_up(&target.host, target.port).await?;
    progress.watch.look_up = Some((look_up_start, Instant::now()));

    progress.next("connecting");
    let tcp = connect(&addresses, deadline, &mut progress.watch).await?;
    if let Err(error) = tcp.set_nodelay(options.tcp_no_delay) {
        log::debug!("TCP_NODELAY: {error}");
    }
    let transport = if target.secure {
        progress.next("shaking hands (TLS)");
        tls::handshake(tcp, &target.host, &options.tls).await?
    } else {
        Transport::from(tcp)
    };
    progress.watch.connect_end = Some(Instant::now());

    progress.next("waiting for the answer to the upgrade");
    let upgraded = upgrade::upgrade(transport, options).await?;
    Ok(Opened {
        socket: upgraded.socket,
        header: upgraded.header,
        protocol: upgraded.protocol,
        profile: progress.watch.finish(),
    })
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    // An address needs no thread of the lookup pool.
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<_> =
        found.map_err(|error| Failure::new(ErrorKind::Dns, error.to_string()))?.collect();
    if addresses.is_empty() {
        return Err(Failure::new(ErrorKind::Dns, "the name has no address"));
    }
    Ok(addresses)
}

/// Tries the addresses in turn. Each but the last gets a fair share of the time that is left,
/// so that one that swallows packets does not use up everything.
async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
    watch: &mut Stopwatch,
) -> Result<TcpStream, Failure> {
    let mut last = Failure::new(ErrorKind::Network, "no address");
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - at).unwrap_or(1);
        watch.connect_start = Some(Instant::now());
        last = match tokio::time::timeout(share, connect_one(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Failure::new(kind_of(&error), format!("{address}: {error}")),
            Err(_) => Failure::new(ErrorKind::Timeout, format!("{address}: no answer")),
        };
    }
    Err(last)
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.connect(address).await
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorKind::Refused,
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => ErrorKind::Unreachable,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Network,
    }
}
