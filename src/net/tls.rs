//! TLS: whom to trust, and the handshake.

use super::transport::{Counted, Transport};
use crate::session::{ErrorKind, Failure};
use futures_util::future::BoxFuture;
use once_cell::sync::OnceCell;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_rustls::TlsConnector;

/// Whom to trust, and the configuration made of it at the first handshake: reading the
/// system's authorities takes milliseconds that a call from a main thread does not have.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    extra: Arc<[CertificateDer<'static>]>,
    made: Arc<OnceCell<Arc<ClientConfig>>>,
}

/// The configuration of every task that adds no authority of its own: they share it, and
/// with it the session tickets that shorten the next handshake.
static SYSTEM: OnceCell<Arc<OnceCell<Arc<ClientConfig>>>> = OnceCell::new();

impl TlsSettings {
    /// Settings with more authorities; the error says what is wrong with the PEM.
    pub(crate) fn new(ca_pem: Option<&str>) -> Result<Self, String> {
        let Some(pem) = ca_pem else {
            return Ok(Self {
                extra: Arc::new([]),
                made: SYSTEM.get_or_init(Arc::default).clone(),
            });
        };
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let certificates = certificates.map_err(|error| format!("not valid PEM: {error}"))?;
        if certificates.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        // A certificate that cannot be an authority is found here, not at the first dial.
        let mut store = rustls::RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(|error| error.to_string())?;
        }
        Ok(Self { extra: certificates.into(), made: Arc::default() })
    }

    fn client_config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        self.made.get_or_try_init(|| make_config(&self.extra)).cloned()
    }
}

fn make_config(extra: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, rustls::Error> {
    // Named here rather than installed for the process: the app may use rustls itself.
    let provider = Arc::new(provider());
    config_with(verifier(extra, provider.clone())?, provider)
}

fn config_with(
    verifier: Verifier,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous();
    let mut config = builder.with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The default provider without the code that signs: a client without a certificate of its own
/// never does, and it weighs 40 KB.
fn provider() -> CryptoProvider {
    CryptoProvider { key_provider: &NoKeys, ..rustls::crypto::ring::default_provider() }
}

#[derive(Debug)]
struct NoKeys;

impl rustls::crypto::KeyProvider for NoKeys {
    fn load_private_key(
        &self,
        _: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn rustls::sign::SigningKey>, rustls::Error> {
        Err(rustls::Error::General("client certificates are not supported".to_owned()))
    }
}

type Verifier = Arc<dyn rustls::client::danger::ServerCertVerifier>;

#[cfg(not(target_os = "android"))]
fn verifier(
    extra: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, rustls::Error> {
    let extra = extra.iter().cloned();
    Ok(Arc::new(rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider)?))
}

/// Android's own verifier is reached through Java, needs a class of its own in the app and a
/// call before the first dial, and panics without. The authorities it would use lie in files,
/// which is also what an app trusts that says nothing else (users' own additions do not count
/// since Android 7).
#[cfg(target_os = "android")]
fn verifier(
    extra: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, rustls::Error> {
    let mut store = rustls::RootCertStore::empty();
    // The first is there since Android 14, where it is updated without the system.
    store.add_parsable_certificates(authorities_in(&[
        "/apex/com.android.conscrypt/cacerts",
        "/system/etc/security/cacerts",
    ]));
    for certificate in extra {
        store.add(certificate.clone())?;
    }
    let builder =
        rustls::client::WebPkiServerVerifier::builder_with_provider(store.into(), provider);
    let verifier = builder.build().map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(verifier)
}

/// The certificates in the first of these directories that has any, one or more to a file.
#[cfg(any(target_os = "android", test))]
fn authorities_in(directories: &[&str]) -> Vec<CertificateDer<'static>> {
    let certificates = |directory: &&str| {
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let texts = files.filter_map(|file| std::fs::read(file.path()).ok());
        // A file that is no certificate is not worth failing for: there are a hundred others.
        let found = texts
            .flat_map(|text| CertificateDer::pem_slice_iter(&text).flatten().collect::<Vec<_>>());
        found.collect::<Vec<_>>()
    };
    directories.iter().map(certificates).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The TLS handshake. It waits for the network on the I/O runtime. What came in is processed on
/// a thread that may block, because the operating system's verifier does, for seconds on some
/// phones.
///
/// rustls asks the verifier in the middle of its processing and before anything secret is
/// sent, so the order of steps is that of rustls: nothing is accepted first and checked later.
pub(super) async fn handshake(
    tcp: TcpStream,
    host: &str,
    settings: &TlsSettings,
) -> Result<Transport, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::new(ErrorKind::TlsHostMismatch, "no valid name for TLS"))?;
    let settings = settings.clone();
    let connecting = async move {
        let config = settings.client_config().map_err(io::Error::other)?;
        TlsConnector::from(config).connect(name, Counted::from(tcp)).await
    };
    let result = poll_on_threads(Box::pin(connecting)).await;
    result.map(Transport::from).map_err(|error| failure(&error))
}

/// So many handshakes are processed at a time; further ones wait for their turn, within the time
/// limit of their dial. It is reached only when that many certificate checks block at once.
const PROCESSED_AT_ONCE: usize = 16;

static TURNS: Semaphore = Semaphore::const_new(PROCESSED_AT_ONCE);

/// A handshake is processed twice if nothing is lost or late, and up to once for each packet of
/// the server's. After so many times it waits for [`PAUSE`] before each further one: a server that
/// sends single bytes must not have a thread started for each.
const PROMPTLY: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// Wakes the dial when its handshake can go on.
#[derive(Default)]
struct Wakeup(Notify);

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls a future on threads that may block. While it waits it holds none of them.
///
/// Each poll has a new thread, which costs far less than the handshake itself, and can fail:
/// tokio's pool for blocking work panics instead when the system refuses a thread.
async fn poll_on_threads<T: Send + 'static>(
    mut future: BoxFuture<'static, io::Result<T>>,
) -> io::Result<T> {
    let wakeup = Arc::new(Wakeup::default());
    let mut times = 0_u32;
    loop {
        if times >= PROMPTLY {
            tokio::time::sleep(PAUSE).await;
        }
        times = times.saturating_add(1);
        // Never closed, so there is always a permit in the end.
        let turn = TURNS.acquire().await;
        let waker = Waker::from(wakeup.clone());
        let (done, polled) = oneshot::channel();
        let poll = move || {
            let result = future.as_mut().poll(&mut Context::from_waker(&waker));
            // If the dial was given up in the meantime, its connection ends here.
            let _ = done.send((future, result));
            drop(turn);
        };
        std::thread::Builder::new().name("wxsocket-tls".to_owned()).spawn(poll)?;
        let panicked = |_| io::Error::other(rustls::Error::General("the check panicked".into()));
        let (unfinished, result) = polled.await.map_err(panicked)?;
        if let Poll::Ready(output) = result {
            return output;
        }
        future = unfinished;
        wakeup.0.notified().await;
    }
}

fn failure(error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let kind = match inner {
        Some(rustls::Error::InvalidCertificate(certificate)) => certificate_kind(certificate),
        Some(_) => ErrorKind::Tls,
        None if error.kind() == io::ErrorKind::UnexpectedEof => ErrorKind::Tls,
        None => ErrorKind::Network,
    };
    Failure::new(kind, error.to_string())
}

fn certificate_kind(error: &CertificateError) -> ErrorKind {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => ErrorKind::TlsExpired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ErrorKind::TlsHostMismatch
        }
        CertificateError::UnknownIssuer | CertificateError::Revoked => ErrorKind::TlsUntrusted,
        _ => ErrorKind::Tls,
    }
}

#[cfg(test)]
mod tests;
