use super::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::UnixTime;
use rustls::{DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// The time limit of every wait. It is much longer than any wait of a test that passes.
const PATIENCE: Duration = Duration::from_secs(20);

type Verdict = Result<(), CertificateError>;

/// A verifier that blocks until the test has decided, as that of the operating system may block
/// until some server has answered.
#[derive(Debug)]
struct Judge {
    /// Gets the name of the thread that calls the verifier.
    asked: Sender<String>,
    verdicts: Mutex<Receiver<Verdict>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let thread = std::thread::current();
        self.asked.send(thread.name().unwrap_or_default().to_owned()).expect("the test is there");
        let verdict = self.verdicts.lock().expect("no panic").recv_timeout(PATIENCE);
        match verdict.expect("a verdict") {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(error.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns settings with a [`Judge`], the names of the threads that call it, and the sender for its
/// verdicts.
fn judged() -> (TlsSettings, Receiver<String>, Sender<Verdict>) {
    let ((asked, asks), (verdict, verdicts)) = (channel(), channel());
    let provider = Arc::new(provider());
    let judge = Judge { asked, verdicts: Mutex::new(verdicts), provider: provider.clone() };
    let config = config_with(Arc::new(judge), provider).expect("a configuration");
    let made = Arc::new(OnceCell::with_value(config));
    (TlsSettings { extra: Arc::new([]), made }, asks, verdict)
}

/// What a server saw of a connection.
#[derive(Debug, PartialEq)]
enum Seen {
    /// The client ended the handshake with this alert.
    Alert(rustls::AlertDescription),
    /// The client ended the connection during the handshake without an alert.
    Lost,
    /// The handshake was completed. `resumed` is true when it used the session of an earlier one.
    Completed { resumed: bool },
}

/// Starts a server that sends `x` after each handshake and keeps sessions.
fn server(version: &'static rustls::SupportedProtocolVersion) -> (SocketAddr, Receiver<Seen>) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("a certificate and its key");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (saw, seen) = channel();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let (config, saw) = (config.clone(), saw.clone());
            std::thread::spawn(move || saw.send(serve(tcp, config)));
        }
    });
    (address, seen)
}

fn serve(mut tcp: std::net::TcpStream, config: Arc<ServerConfig>) -> Seen {
    let mut tls = ServerConnection::new(config).expect("a connection");
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut tcp) {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            return match inner {
                Some(rustls::Error::AlertReceived(alert)) => Seen::Alert(*alert),
                _ => Seen::Lost,
            };
        }
    }
    let resumed = tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    stream.write_all(b"x").expect("the client reads it");
    let _ = stream.read(&mut [0]);
    Seen::Completed { resumed }
}

/// Does a handshake and reads the first byte that the server sends after it. Session tickets come
/// before that byte.
async fn dial(address: SocketAddr, settings: TlsSettings) -> Result<(), Failure> {
    let tcp = TcpStream::connect(address).await.expect("the server listens");
    let mut transport = handshake(tcp, "localhost", &settings).await?;
    assert_eq!(transport.read_u8().await.expect("a byte"), b'x');
    Ok(())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Returns the next value of the channel. The runtime runs its other tasks meanwhile.
async fn next<T>(channel: &Receiver<T>) -> T {
    let next = async {
        loop {
            match channel.try_recv() {
                Ok(value) => return value,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("something comes")
}

#[test]
fn a_check_that_blocks_holds_up_only_its_own_dial_and_nothing_goes_out_before_it() {
    for version in rustls::ALL_VERSIONS {
        let (address, seen) = server(version);
        let (settings, asks, verdict) = judged();
        runtime().block_on(async {
            let dial = tokio::spawn(dial(address, settings));
            // The runtime has one thread, and the check does not block it.
            assert_eq!(next(&asks).await, "wxsocket-tls");
            assert!(seen.try_recv().is_err(), "the server waits for the client's last word");
            verdict.send(Err(CertificateError::UnknownIssuer)).expect("it waits");
            let failure = dial.await.expect("no panic").expect_err("refused");
            assert_eq!(failure.kind, ErrorKind::TlsUntrusted);
        });
        let seen = seen.recv_timeout(PATIENCE).expect("one connection");
        assert_eq!(seen, Seen::Alert(rustls::AlertDescription::UnknownCA), "{version:?}");
    }
}

#[test]
fn only_the_session_of_a_peer_that_passed_the_check_is_resumed() {
    for version in rustls::ALL_VERSIONS {
        let (address, seen) = server(version);
        let (settings, asks, verdict) = judged();
        let dial = |says: Option<Verdict>| {
            if let Some(says) = says.clone() {
                verdict.send(says).expect("it waits");
            }
            let result = runtime().block_on(dial(address, settings.clone()));
            assert_eq!(asks.try_iter().count(), usize::from(says.is_some()), "{version:?}");
            (result.is_ok(), seen.recv_timeout(PATIENCE).expect("a connection"))
        };
        for _ in 0..2 {
            let expired = rustls::AlertDescription::CertificateExpired;
            let refused = dial(Some(Err(CertificateError::Expired)));
            assert_eq!(refused, (false, Seen::Alert(expired)), "{version:?}");
        }
        assert_eq!(dial(Some(Ok(()))), (true, Seen::Completed { resumed: false }), "{version:?}");
        assert_eq!(dial(None), (true, Seen::Completed { resumed: true }), "{version:?}");
    }
}

#[test]
fn a_check_that_panics_fails_its_dial() {
    let (address, seen) = server(&rustls::version::TLS13);
    let (settings, _asks, verdict) = judged();
    // Without a sender there is no verdict, and the judge panics.
    drop(verdict);
    let failure = runtime().block_on(dial(address, settings)).expect_err("no verdict");
    assert_eq!(failure, Failure::new(ErrorKind::Tls, "unexpected error: the check panicked"));
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(Seen::Lost));
}

#[test]
fn a_dial_that_is_given_up_before_its_turn_takes_its_connection_along() {
    let (address, seen) = server(&rustls::version::TLS13);
    let (settings, asks, verdict) = judged();
    runtime().block_on(async {
        let all = (0..PROCESSED_AT_ONCE).map(|_| tokio::spawn(dial(address, settings.clone())));
        let blocked: Vec<_> = all.collect();
        for _ in &blocked {
            next(&asks).await;
        }

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let waiting = dial(listener.local_addr().expect("an address"), settings.clone());
        let waiting = tokio::spawn(waiting);
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        waiting.abort();
        let mut greeting = Vec::new();
        let end = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut greeting)).await;
        end.expect("an end while the others still block").expect("no reset");
        assert_eq!(greeting, b"", "it never had its turn");

        for dial in blocked {
            verdict.send(Ok(())).expect("it waits");
            // The order in which they are served is not fixed.
            assert_eq!(next(&seen).await, Seen::Completed { resumed: false });
            drop(dial);
        }
    });
}

/// The time limit of a handshake is that of the dial. This test is about the threads that are
/// started until then.
#[test]
fn a_handshake_that_comes_in_single_bytes_is_not_processed_without_a_pause() {
    let mut polls = 0;
    let many = std::future::poll_fn(move |cx| {
        polls += 1;
        if polls == PROMPTLY + 10 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    let start = std::time::Instant::now();
    runtime().block_on(poll_on_threads(Box::pin(many))).expect("it ends");
    assert!(start.elapsed() >= PAUSE * 10, "{:?}", start.elapsed());
}

#[test]
fn authorities_are_read_from_the_first_directory_that_has_any() {
    let root = std::env::temp_dir().join(format!("wxsocket-tls-{}", std::process::id()));
    let (empty, full) = (root.join("empty"), root.join("full"));
    std::fs::create_dir_all(&empty).expect("a directory");
    std::fs::create_dir_all(&full).expect("a directory");
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["ca.test".to_owned()]).expect("a name");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    // The form of the files on Android: PEM, followed by a description.
    std::fs::write(full.join("a.0"), format!("{pem}Certificate:\n  Data:\n")).expect("a file");
    std::fs::write(full.join("b.0"), format!("{pem}{pem}")).expect("a file");
    std::fs::write(full.join("c.0"), "nothing of the kind").expect("a file");
    let text = |path: &std::path::Path| path.to_str().expect("ASCII").to_owned();
    let (missing, empty, full) = (text(&root.join("no")), text(&empty), text(&full));
    assert_eq!(authorities_in(&[&missing, &empty, &full, &missing]).len(), 3);
    assert_eq!(authorities_in(&[&missing, &empty]).len(), 0);
    std::fs::remove_dir_all(root).expect("ours");
}
