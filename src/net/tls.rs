//! TLS: whom to trust, and the handshake.

use super::transport::{Counted, Transport};
use crate::session::{ErrorKind, Failure};
use once_cell::sync::OnceCell;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
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
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous();
    let mut config =
        builder.with_custom_certificate_verifier(verifier(extra, provider)?).with_no_client_auth();
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

/// The TLS handshake, on a thread that may block: the operating system's verifier does, for
/// seconds on some phones, and other tasks must not notice.
pub(super) async fn handshake(
    tcp: TcpStream,
    host: &str,
    settings: &TlsSettings,
) -> Result<Transport, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::new(ErrorKind::TlsHostMismatch, "no valid name for TLS"))?;
    let settings = settings.clone();
    // Dropped with this future, which tells the thread that nobody waits any more.
    let (_wanted, unwanted) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let config = settings.client_config().map_err(io::Error::other)?;
        let connecting = Box::pin(TlsConnector::from(config).connect(name, Counted::from(tcp)));
        match runtime.block_on(futures_util::future::select(connecting, unwanted)) {
            futures_util::future::Either::Left((result, _)) => result,
            futures_util::future::Either::Right(_) => Err(io::ErrorKind::Interrupted.into()),
        }
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(stream)) => Ok(Transport::from(stream)),
        Ok(Err(error)) => Err(failure(&error)),
        Err(error) => Err(Failure::new(ErrorKind::Unknown, error.to_string())),
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
mod tests {
    use super::*;

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
}
