//! The steps of a dial, under one time limit.

use super::profile::Stopwatch;
use super::transport::Transport;
use super::{DialOptions, Opened, Target, nat64, resolve, tls, upgrade};
use crate::session::{ErrorKind, Failure};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};

/// The step that a dial has reached. The error of a dial that takes too long names it.
struct Progress<'a> {
    watch: Stopwatch,
    step: &'static str,
    /// The number of steps that the dial has completed.
    passed: &'a AtomicU32,
}

impl Progress<'_> {
    fn next(&mut self, step: &'static str) {
        self.step = step;
        self.passed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Dials, and adds one to `passed` after each step. When the future is dropped, everything that it
/// has made so far is dropped, too.
///
/// # Errors
///
/// The failure of a step, or `Timeout` when the dial takes longer than `options.timeout`.
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
    let tcp = match connect(&addresses, deadline, &mut progress.watch).await {
        Err(failure) if failure.kind == ErrorKind::Unreachable => {
            connect_translated(failure, target, deadline, &mut progress.watch).await?
        }
        result => result?,
    };
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
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => resolve::look_up(host, port).await,
    }
}

/// Connects to the first address that accepts, in the given order. Each address gets an equal share
/// of the time that is left, so that one that swallows packets does not use up all of it.
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

/// How long the prefix of a translator is looked up: as long as resolvers commonly wait for one
/// name server. Without a network the lookup may take until the end of the dial and find nothing.
const PREFIX_PATIENCE: Duration = Duration::from_secs(5);

/// Connects to an IPv4 address of the URL through the NAT64 of the network, if it has one. `direct`
/// is how the dial without NAT64 failed; it is returned when NAT64 cannot be used.
async fn connect_translated(
    direct: Failure,
    target: &Target,
    deadline: Instant,
    watch: &mut Stopwatch,
) -> Result<TcpStream, Failure> {
    let address = match target.host.parse::<Ipv4Addr>() {
        Ok(address) if nat64::is_worth_translating(address) => address,
        _ => return Err(direct),
    };
    let answer = resolve::look_up(nat64::KNOWN_NAME, target.port);
    let Ok(Ok(answer)) = tokio::time::timeout(PREFIX_PATIENCE, answer).await else {
        return Err(direct);
    };
    let translated = nat64::translate(address, &answer);
    if translated.is_empty() { Err(direct) } else { connect(&translated, deadline, watch).await }
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
