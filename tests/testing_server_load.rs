//! The scripted server under load, over TLS, and when it starts, stops and ends.

// In a test an unexpected value may panic.
#![allow(clippy::unwrap_used)]

#[path = "support/raw_client.rs"]
mod raw_client;

use raw_client::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, client_async, connect_async};
use wxsocket::testing::{Script, ScriptedServer, SeenEnd, SeenFrameKind};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flood_is_echoed_to_a_client_that_reads_later() {
    const COUNT: u64 = 100_000;
    let server = start("[]");
    let (mut sink, mut stream) = dial(&server).await.split();
    let reader = tokio::spawn(async move {
        let mut n = 0;
        while n < COUNT {
            assert_eq!(stream.next().await.unwrap().unwrap().len(), 16);
            n += 1;
        }
    });
    for _ in 0..COUNT {
        sink.feed(Message::text("0123456789abcdef")).await.unwrap();
    }
    sink.flush().await.unwrap();
    reader.await.unwrap();
    let seen = server.connection(1).unwrap();
    assert_eq!(seen.messages_received, COUNT);
    assert_eq!(seen.frames.len() as u64 + seen.frames_forgotten, COUNT);
}

#[tokio::test]
async fn hundreds_of_connections_are_dropped_at_once() {
    // Both ends are in this process, which may be limited to 1024 descriptors.
    const COUNT: u64 = 400;
    let server = start("[]");
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        clients.push(dial(&server).await);
    }
    assert_eq!(server.open_connections() as u64, COUNT);
    server.drop_all();
    assert!(server.wait_ended(COUNT, LONG));
    for client in &mut clients {
        assert!(is_reset(&next(client).await.unwrap_err()));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_still_heard() {
    let server = start(
        r#"[{"echo": false, "delayMs": 1, "rules": [{"on": "open", "do":
            [{"flood": {"count": 18446744073709551615, "bytes": 65536}}]}]}]"#,
    );
    let mut client = dial(&server).await;
    for _ in 0..10 {
        send(&mut client, "heard").await;
    }
    assert!(server.wait_messages(10, LONG));
    // The flood continues when the client reads it.
    for _ in 0..500 {
        assert_eq!(next(&mut client).await.unwrap().len(), 65_536);
    }
    server.drop_all();
    assert_eq!(ended(&server).ended, Some(SeenEnd::ServerDropped));
}

#[tokio::test]
async fn a_dial_that_waits_for_its_answer_can_be_dropped() {
    let server = start(
        r#"[{"handshake": {"delayMs": 18446744073709551615}}, {"handshake": {"delayMs": 50}},
            {"handshake": "hang"}]"#,
    );
    let dialling = tokio::spawn(connect_async(server.url()));
    while server.connections().iter().all(|seen| seen.request_path.is_none()) {
        tokio::task::yield_now().await;
    }
    server.drop_all();
    let error = dialling.await.unwrap().unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    let seen = ended(&server);
    assert_eq!((seen.opened, seen.ended), (false, Some(SeenEnd::ServerDropped)));
    let start = Instant::now();
    dial(&server).await;
    assert!(start.elapsed() >= Duration::from_millis(50));
    let dialling = tokio::spawn(connect_async(server.url()));
    while server.connections().len() < 3 {
        tokio::task::yield_now().await;
    }
    server.drop_all();
    assert!(dialling.await.unwrap().is_err());
}

#[tokio::test]
async fn large_and_fragmented_messages_are_echoed() {
    let server = start("[]");
    let client = dial(&server).await;
    let big = Message::binary(vec![7; 5_000_000]);
    let (mut sink, mut stream) = client.split();
    let sent = sink.send(big.clone());
    let (sent, echo) = futures_util::future::join(sent, stream.next()).await;
    sent.unwrap();
    assert_eq!(echo.unwrap().unwrap(), big);
    let client = sink.reunite(stream).unwrap();
    let mut tcp = match client.into_inner() {
        MaybeTlsStream::Plain(tcp) => tcp,
        _ => unreachable!("there is no TLS here"),
    };
    // "a" + "b" with a ping in between, all in one write.
    tcp.write_all(b"\x01\x81\0\0\0\0a\x89\x80\0\0\0\0\x80\x81\0\0\0\0b").await.unwrap();
    let mut answer = [0; 6];
    tcp.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\x8a\0\x81\x02ab");
    let seen = server.connection(1).unwrap();
    assert_eq!(seen.messages_received, 2);
    assert_eq!(seen.frames[0].payload_len, 5_000_000);
    assert_eq!(seen.frames[0].bytes.len(), 64 * 1024);
    assert!(!seen.frames[1].fin);
    assert_eq!(seen.frames[3].kind, SeenFrameKind::Continuation);
}

#[tokio::test]
async fn it_speaks_tls() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = issued.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(issued.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let script = r#"[{"rules": [{"on": {"messages": 2}, "do": "drop"}]}, {"handshake": "hang"}]"#;
    let script = Script::parse(script).unwrap();
    let server = ScriptedServer::start_tls(script, Arc::new(config)).unwrap();
    assert_eq!(server.url(), format!("wss://localhost:{}", server.port()));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let tls = connector.connect(name.clone(), tcp).await.unwrap();
    let (mut client, _) = client_async(server.url(), tls).await.unwrap();
    let big = "x".repeat(1_000_000);
    client.send(Message::text(big.clone())).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text(big));
    client.send(Message::text("2")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("2"));
    let error = client.next().await.unwrap().unwrap_err();
    assert!(is_reset(&error), "{error:?}");

    let tcp = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let hangs = connector.connect(name, tcp);
    let hangs = tokio::time::timeout(Duration::from_millis(100), hangs).await;
    assert!(hangs.is_err(), "TLS got through");
}

#[test]
fn dropping_it_inside_a_runtime_is_fine() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = start("[]");
        let _client = dial(&server).await;
        drop(server);
    });
}

#[test]
fn a_script_survives_the_way_to_json_and_back() {
    let json = r#"{"connections": [
        {"handshake": "refuse"}, {"handshake": "hang"}, {"handshake": "wrongUpgrade"},
        {"handshake": {"delayMs": 5, "headers": [["A", "b"]], "protocol": null}},
        {"handshake": {"protocol": "p"}},
        {"handshake": {"status": 429, "reason": "Slow", "body": "b", "delayMs": 1}},
        {"handshake": {"raw": "x"}}, {"handshake": {"rawHex": "ff"}},
        {"echo": false, "rules": [{"on": {"text": "t"}, "do": [
            {"send": "s"}, {"sendHex": "ab"}, {"ping": ""}, {"garbage": "00"}, "drop", "eof",
            {"fragment": {"hex": "ab", "pieces": 2}}, {"close": {}}, {"close": {"code": 999}},
            {"flood": {"count": 1, "bytes": 2, "binary": true}}, "silence",
            {"stopListening": {"ms": 1}}, {"wait": {"ms": 1}}]}]}]}"#;
    let script = Script::parse(json).unwrap();
    let again = serde_json::to_string(&script).unwrap();
    assert_eq!(Script::parse(&again).unwrap(), script, "{again}");
    assert_eq!(Script::parse("[]").unwrap(), Script::default());
}

#[test]
fn an_error_in_a_script_says_where_and_what() {
    let cases = [
        ("[\n  {\"eko\": true}]", 2, "unknown field `eko`"),
        ("[{\"rules\": [{\"on\": \"open\",\n\"do\": \"dorp\"}]}]", 2, "unknown variant `dorp`"),
        ("[{\"rules\": [{\"on\": \"opened\", \"do\": []}]}]", 1, "unknown variant `opened`"),
        ("[{\"handshake\": \"upgarde\"}]", 1, "unknown variant `upgarde`"),
        ("[{\"handshake\": {\"body\": \"b\"}}]", 1, "need a `status`"),
        ("[{\"handshake\": {\"raw\": \"b\", \"status\": 200}}]", 1, "stand alone"),
        ("[{\"rules\": [{\"on\": \"open\", \"do\": {\"sendHex\": \"0\"}}]}]", 1, "hexadecimal"),
        ("[{\"rules\": [{\"on\": \"open\", \"do\": {\"close\": {\"cod\": 1}}}]}]", 1, "`cod`"),
        (
            "[{\"rules\": [{\"on\": \"open\", \"do\": {\"fragment\": {\"pieces\": 1}}}]}]",
            1,
            "either",
        ),
        ("7", 1, "an array of connections"),
        ("[", 1, "EOF"),
    ];
    for (json, line, message) in cases {
        let error = Script::parse(json).unwrap_err();
        assert_eq!(error.line, line, "{json}: {error}");
        assert!(error.column > 0, "{json}: {error}");
        assert!(error.message.contains(message), "{json}: {error}");
        assert!(!error.message.contains(" at line "), "{json}: {error}");
    }
}
