//! Large messages on slow connections: an upload that is still on its way counts as life, and a
//! dead connection is found nevertheless. The servers are plain sockets that read as slowly as a
//! test wants.

#![allow(clippy::unwrap_used)]

mod support;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use support::*;
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use wxsocket::*;

/// Bytes per second that a slow server reads.
const RATE: f64 = 600_000.0;

/// Five seconds at that rate.
const LARGE: usize = 3_000_000;

/// A message that takes half a minute at that rate.
const HUGE: usize = 16 << 20;

/// Reads slowly, and stops for ever after so many bytes.
struct Slow {
    tcp: TcpStream,
    left: usize,
}

impl Read for Slow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            loop {
                std::thread::park();
            }
        }
        let most = buf.len().min(4096).min(self.left);
        let read = self.tcp.read(&mut buf[..most])?;
        self.left -= read;
        std::thread::sleep(Duration::from_secs_f64(read as f64 / RATE));
        Ok(read)
    }
}

impl Write for Slow {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.tcp.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// Starts a server for one connection. It reads at most `most` bytes, answers every `ping`, and
/// tells the size of every other message. `receive_buffer` is the size of its kernel's buffer, if
/// not the default.
fn serve_slowly(
    most: usize,
    receive_buffer: Option<usize>,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> (u16, Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if let Some(bytes) = receive_buffer {
        socket2::SockRef::from(&listener).set_recv_buffer_size(bytes).unwrap();
    }
    let port = listener.local_addr().unwrap().port();
    let (told, sizes) = channel();
    std::thread::spawn(move || {
        let slow = Slow { tcp: listener.accept().unwrap().0, left: most };
        let tell = move |size| {
            let _ = told.send(size);
        };
        match tls {
            None => answer(slow, tell),
            Some(config) => {
                let tls = rustls::ServerConnection::new(config).unwrap();
                answer(rustls::StreamOwned::new(tls, slow), tell);
            }
        }
    });
    (port, sizes)
}

fn answer(stream: impl Read + Write, tell: impl Fn(usize)) {
    let mut socket = tungstenite::accept(stream).unwrap();
    // Runs until the client has ended the connection.
    while let Ok(frame) = socket.read() {
        match frame {
            Frame::Text(text) if text.as_str() == "ping" => drop(socket.send(Frame::text("pong"))),
            frame if frame.is_text() || frame.is_binary() => tell(frame.len()),
            _ => {}
        }
    }
}

/// Returns options with a `ping` every 300 ms and this time to answer.
fn beating(url: String, timeout_ms: i64) -> ConnectOptions {
    let mut options = once(url);
    options.heartbeat = HeartbeatOptions {
        enabled: Some(true),
        interval: Some(Millis(300)),
        timeout: Some(Millis(timeout_ms)),
        ..Default::default()
    };
    options
}

/// Checks that an upload is complete that takes more than twice as long as interval and timeout
/// together.
#[track_caller]
fn arrives_whole(mut client: Client, sizes: &Receiver<usize>) {
    client.open();
    client.send(vec![7; LARGE]);
    client.send("behind it");
    assert_eq!(sizes.recv_timeout(PATIENCE * 2).unwrap(), LARGE);
    assert_eq!(sizes.recv_timeout(PATIENCE).unwrap(), "behind it".len());
    let heard = client.finish();
    assert_eq!(heard.len(), 2, "an open and a close: {heard:?}");
}

#[test]
fn a_slow_upload_is_not_taken_for_silence() {
    let (port, sizes) = serve_slowly(usize::MAX, Some(16 << 10), None);
    arrives_whole(Client::connect(beating(format!("ws://127.0.0.1:{port}"), 2_000)), &sizes);
}

#[test]
fn a_slow_upload_over_tls_is_not_taken_for_silence() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let (port, sizes) = serve_slowly(usize::MAX, Some(16 << 10), Some(Arc::new(config)));
    let mut options = beating(format!("wss://localhost:{port}"), 2_000);
    options.tls.ca_pem = Some(authority.pem());
    arrives_whole(Client::connect(options), &sizes);
}

#[track_caller]
fn found_dead(client: &mut Client) {
    let error = client.error();
    assert_eq!(error.kind, ErrorKind::HeartbeatTimeout, "{error:?}");
    assert_eq!(client.end().code, 1006);
}

/// What a server hears in the middle of a huge message.
#[derive(Debug, PartialEq)]
enum Amid {
    Ping,
    Close(u16),
}

/// A server that reads a huge message slowly, and tells what comes between its fragments and how
/// much it has read by then. It says goodbye when it has read `close_after` bytes.
fn serve_amid(close_after: usize) -> (u16, Receiver<(Amid, usize)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(16 << 10).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heard) = channel();
    std::thread::spawn(move || {
        let slow = Slow { tcp: listener.accept().unwrap().0, left: HUGE };
        // The client has not said more than its request by then.
        let mut slow = tungstenite::accept(slow).unwrap().into_inner();
        let mut closes = false;
        while let Ok((opcode, payload)) = read_frame(&mut slow) {
            let taken = HUGE - slow.left;
            if taken >= close_after && !std::mem::replace(&mut closes, true) {
                slow.write_all(b"\x88\x08\x0f\xa0enough").unwrap();
            }
            let amid = match opcode {
                0..=2 => continue,
                8 => Amid::Close(u16::from_be_bytes([payload[0], payload[1]])),
                9 => {
                    slow.write_all(&[&[0x8a, payload.len() as u8], &payload[..]].concat()).unwrap();
                    Amid::Ping
                }
                other => panic!("opcode {other}"),
            };
            let _ = told.send((amid, taken));
        }
    });
    (port, heard)
}

/// The opcode of a client's frame, and its payload (RFC 6455, 5.2).
fn read_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let size = match head[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut length = [0; 8];
    stream.read_exact(&mut length[8 - size..])?;
    let length = if size == 0 { u64::from(head[1] & 0x7f) } else { u64::from_be_bytes(length) };
    let mut key = [0; 4];
    stream.read_exact(&mut key)?;
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload)?;
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Ok((head[0] & 0xf, payload))
}

/// So much of a huge message may be in front of a control frame, in bytes: one fragment, what the
/// kernels of both ends hold, and some more for a loaded machine.
const IN_FRONT: usize = 500_000;

#[test]
fn a_ping_goes_between_the_fragments_of_a_huge_message() {
    let (port, heard) = serve_amid(usize::MAX);
    let mut options = beating(format!("ws://127.0.0.1:{port}"), 5_000);
    options.heartbeat.payload = Some(HeartbeatPayload::Ping);
    let mut client = Client::connect(options);
    client.open();
    client.send(vec![7; HUGE]);
    for round in 1..=3 {
        let (amid, taken) = heard.recv_timeout(PATIENCE).unwrap();
        assert_eq!(amid, Amid::Ping);
        // It was put in line 300 ms after the one before.
        let due = (RATE * 0.3) as usize;
        assert!(taken <= round * (due + IN_FRONT), "{taken} bytes, Ping {round}");
    }
    // The round trip is that of the Ping alone.
    eventually("it is measured", || client.task().stats().last_rtt_ms.is_some());
    let buffered = client.task().buffered_amount();
    assert!((HUGE as i64 / 2..HUGE as i64).contains(&buffered), "{buffered}");
}

#[test]
fn a_close_is_answered_between_the_fragments_of_a_huge_message() {
    let (port, heard) = serve_amid(200_000);
    let mut options = once(format!("ws://127.0.0.1:{port}"));
    // Room for two messages.
    options.max_buffered_bytes = Some(32 << 20);
    let mut client = Client::connect(options);
    client.open();
    client.send(vec![7; HUGE]);
    client.send("behind it");
    let close = client.end();
    assert_eq!((close.code, &*close.reason, close.was_clean), (4000, "enough", true));
    // Nobody knows what the server made of the message that was begun.
    assert_eq!(close.unsent, [Message::text("behind it")]);
    let (amid, taken) = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(amid, Amid::Close(4000));
    assert!(taken <= 200_000 + IN_FRONT, "{taken} bytes");
}

/// The window is full: the heartbeat cannot even be written.
#[test]
fn a_black_hole_in_the_middle_of_an_upload_is_found() {
    let (port, _sizes) = serve_slowly(200_000, Some(16 << 10), None);
    let mut client = Client::connect(beating(format!("ws://127.0.0.1:{port}"), 600));
    client.open();
    client.send(vec![7; LARGE]);
    found_dead(&mut client);
}

/// The server's kernel still takes and acknowledges megabytes, among them the heartbeat.
#[test]
fn a_server_that_hangs_is_found_while_its_kernel_still_acknowledges() {
    let (port, _sizes) = serve_slowly(1_000, None, None);
    let mut client = Client::connect(beating(format!("ws://127.0.0.1:{port}"), 600));
    client.open();
    let task = client.task().clone();
    let (done, stop) = channel::<()>();
    let chatter = std::thread::spawn(move || {
        let mut sent = 0;
        while stop.recv_timeout(Duration::from_millis(5)).is_err()
            && task.send("are you listening").is_ok()
        {
            sent += 1;
            assert!(sent < 4_000, "20 s of talking to a server that hangs");
        }
    });
    found_dead(&mut client);
    let _ = done.send(());
    chatter.join().unwrap();
}
