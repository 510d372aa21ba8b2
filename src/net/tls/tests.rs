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

/// Far more than anything here takes; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

type Verdict = Result<(), CertificateError>;

/// A check that blocks until the test has decided, as the operating system's may block until
/// some server has answered.
#[derive(Debug)]
struct Judge {
    /// Told the name of the thread that asks.
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

/// Settings whose checks the test decides.
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
    /// The client gave up in the middle of the handshake, and why.
    Alert(rustls::AlertDescription),
    /// The client left in the middle of the handshake without a word.
    Lost,
    /// The handshake was completed; whether by the session of an earlier one.
    Completed { resumed: bool },
}

/// A server that says `x` after each handshake, and keeps sessions.
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

/// A handshake, and if it succeeds the first byte that the server says: session tickets come
/// before it.
async fn dial(address: SocketAddr, settings: TlsSettings) -> Result<(), Failure> {
    let tcp = TcpStream::connect(address).await.expect("the server listens");
    let mut transport = handshake(tcp, "localhost", &settings).await?;
    assert_eq!(transport.read_u8().await.expect("a byte"), b'x');
    Ok(())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The next thing that comes; the runtime goes on meanwhile.
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
            // The runtime has one thread, and it is free.
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
    // No verdict will ever come, which makes the judge panic.
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
            // In whatever order they are served.
            assert_eq!(next(&seen).await, Seen::Completed { resumed: false });
            drop(dial);
        }
    });
}

/// Its time limit is that of the dial; this is about the threads that are started until then.
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
    // As Android has them: PEM, with a description behind.
    std::fs::write(full.join("a.0"), format!("{pem}Certificate:\n  Data:\n")).expect("a file");
    std::fs::write(full.join("b.0"), format!("{pem}{pem}")).expect("a file");
    std::fs::write(full.join("c.0"), "nothing of the kind").expect("a file");
    let text = |path: &std::path::Path| path.to_str().expect("ASCII").to_owned();
    let (missing, empty, full) = (text(&root.join("no")), text(&empty), text(&full));
    assert_eq!(authorities_in(&[&missing, &empty, &full, &missing]).len(), 3);
    assert_eq!(authorities_in(&[&missing, &empty]).len(), 0);
    std::fs::remove_dir_all(root).expect("ours");
}
