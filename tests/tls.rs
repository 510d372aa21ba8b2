//! wss: whom it trusts, and how it says that it does not.

#![allow(clippy::unwrap_used)]

mod support;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use support::*;
use wxsocket::testing::{Script, ScriptedServer, SeenEnd};
use wxsocket::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "wxsocket test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server whose certificate is from this authority.
fn tls_server(
    authority: &Authority,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> Arc<ScriptedServer> {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
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
    ScriptedServer::start_tls(Script::default(), Arc::new(config)).unwrap()
}

fn trusting(url: String, authority: &Authority) -> ConnectOptions {
    let mut options = once(url);
    options.tls.ca_pem = Some(authority.pem());
    options
}

/// How a dial fails, and that the server saw no request.
#[track_caller]
fn refused(server: &ScriptedServer, options: ConnectOptions) -> (ErrorKind, i32) {
    let mut client = Client::connect(options);
    let error = client.error();
    let end = client.end();
    assert_eq!((end.code, end.was_clean), (1006, false));
    assert_eq!(ended(server, 1).ended, Some(SeenEnd::BadRequest));
    assert_eq!(server.connection(1).unwrap().request_path, None, "not a word before the proof");
    assert!(error.err_msg.starts_with("connectSocket:fail "), "{error:?}");
    (error.kind, error.err_code)
}

#[test]
fn an_authority_of_the_apps_own_is_trusted() {
    let authority = authority();
    let server = tls_server(&authority, "localhost", |_| {});
    let mut client = Client::connect(trusting(server.url(), &authority));
    let open = client.open();
    // TCP and TLS both.
    assert!(open.profile.rtt > 0.0);
    let large = "é".repeat(1 << 19);
    client.send(large.clone());
    client.send(vec![]);
    assert!(client.text() == large);
    assert_eq!(client.message(), Message::binary(vec![]));
    client.task().close(4000, "bye".into()).unwrap();
    let end = client.end();
    assert_eq!((end.code, end.was_clean), (4000, true));
    let seen = ended(&server, 1);
    assert_eq!(seen.ended, Some(SeenEnd::ClientClosed));
    assert_eq!(seen.header("Host"), Some(format!("localhost:{}", server.port())));
}

#[test]
fn it_comes_back_over_tls_too() {
    let authority = authority();
    let server = tls_server(&authority, "localhost", |_| {});
    let mut options = trusting(server.url(), &authority);
    options.reconnect.enabled = Some(true);
    let mut client = Client::connect(options);
    for epoch in 1..=3 {
        assert_eq!(client.open().epoch, epoch);
        client.send("x");
        client.text();
        server.drop_all();
        client.lost(ErrorKind::ConnectionLost);
    }
    client.open();
    client.finish();
}

#[test]
fn several_authorities_in_one_pem_all_count() {
    let (one, other) = (authority(), authority());
    let server = tls_server(&other, "localhost", |_| {});
    let mut options = trusting(server.url(), &one);
    options.tls.ca_pem = Some(one.pem() + "\n" + &other.pem());
    let mut client = Client::connect(options);
    client.open();
    client.finish();
}

#[test]
fn an_authority_that_nobody_named_is_not_trusted() {
    let untrusted = (ErrorKind::TlsUntrusted, 690_012);
    let server = tls_server(&authority(), "localhost", |_| {});
    assert_eq!(refused(&server, once(server.url())), untrusted);
    // And naming another one with the same name does not help.
    let server = tls_server(&authority(), "localhost", |_| {});
    let error = refused(&server, trusting(server.url(), &authority())).0;
    assert!(matches!(error, ErrorKind::TlsUntrusted | ErrorKind::Tls), "{error:?}");
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let authority = authority();
    let mismatch = (ErrorKind::TlsHostMismatch, 690_013);
    let server = tls_server(&authority, "example.com", |_| {});
    assert_eq!(refused(&server, trusting(server.url(), &authority)), mismatch);
    // The address of the right host is not its name.
    let server = tls_server(&authority, "localhost", |_| {});
    let url = format!("wss://127.0.0.1:{}", server.port());
    assert_eq!(refused(&server, trusting(url, &authority)), mismatch);
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let authority = authority();
    let expired = (ErrorKind::TlsExpired, 690_011);
    let server = tls_server(&authority, "localhost", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    assert_eq!(refused(&server, trusting(server.url(), &authority)), expired);
    let server = tls_server(&authority, "localhost", |params| {
        params.not_before = date_time_ymd(3001, 1, 1);
        params.not_after = date_time_ymd(3002, 1, 1);
    });
    assert_eq!(refused(&server, trusting(server.url(), &authority)), expired);
}

#[test]
fn tls_to_a_plain_port_and_the_other_way_round() {
    let server = echo();
    let url = server.url().replace("ws://", "wss://");
    let mut client = Client::connect(once(url));
    let error = client.error();
    assert!(matches!(error.kind, ErrorKind::Tls | ErrorKind::Network), "{error:?}");
    client.end();
    assert_eq!(ended(&server, 1).ended, Some(SeenEnd::BadRequest));

    let authority = authority();
    let server = tls_server(&authority, "localhost", |_| {});
    let mut client = Client::connect(once(server.url().replace("wss://", "ws://")));
    let error = client.error();
    assert!(matches!(error.kind, ErrorKind::BadUpgrade | ErrorKind::Network), "{error:?}");
    client.end();
    ended(&server, 1);
}

#[test]
fn statuses_on_the_stop_list_of_resilient_count_over_tls() {
    let authority = authority();
    let server = tls_server(&authority, "localhost", |_| {});
    server.set_script(Script::parse(r#"[{"handshake": {"status": 403}}]"#).unwrap());
    let mut options = ConnectOptions::new(server.url());
    options.preset = Some(Preset::Resilient);
    options.tls.ca_pem = Some(authority.pem());
    let mut client = Client::connect(options);
    assert_eq!(client.error().http_status, Some(403));
    client.end();
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn peers_that_say_nothing_hold_up_nobody() {
    // More of them than there are threads that check certificates.
    const SILENT: usize = 40;
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://{}", hole.local_addr().unwrap());
    let (greeted, greetings) = channel::<TcpStream>();
    std::thread::spawn(move || {
        for stream in hole.incoming() {
            let (mut stream, greeted) = (stream.unwrap(), greeted.clone());
            std::thread::spawn(move || {
                // The first byte of the client's greeting: its handshake has begun.
                if stream.read_exact(&mut [0]).is_ok() {
                    let _ = greeted.send(stream);
                }
            });
        }
    });
    let mut options = once(url);
    // Far longer than the test has patience.
    options.timeout = Some(NEVER);
    let silent: Vec<_> = (0..SILENT).map(|_| Client::connect(options.clone())).collect();
    let hung: Vec<_> = (0..SILENT).map(|_| greetings.recv_timeout(PATIENCE).unwrap()).collect();

    // A lookup, and another handshake.
    let server = echo();
    let mut plain = Client::connect(once(format!("ws://localhost:{}", server.port())));
    plain.open();
    let authority = authority();
    let secure = tls_server(&authority, "localhost", |_| {});
    let mut client = Client::connect(trusting(secure.url(), &authority));
    client.open();

    // All of them are still waiting.
    for task in silent.iter().map(Client::task) {
        assert_eq!((task.ready_state(), task.stats().epoch), (ReadyState::Connecting, 1));
    }
    drop(hung);
    plain.finish();
    client.finish();
}
