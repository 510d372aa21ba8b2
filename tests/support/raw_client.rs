//! A plain WebSocket client without the engine, for tests of the scripted server.

// Each test binary uses only a part of this.
#![allow(dead_code)]

use futures_util::{SinkExt, StreamExt};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use wxsocket::testing::{Script, ScriptedServer, SeenConnection};

pub(crate) type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The time limit of every wait. It is much longer than any wait of a test that passes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn start(json: &str) -> Arc<ScriptedServer> {
    ScriptedServer::start(Script::parse(json).unwrap()).unwrap()
}

pub(crate) async fn dial(server: &ScriptedServer) -> Client {
    connect_async(server.url()).await.unwrap().0
}

pub(crate) async fn dial_error(server: &ScriptedServer) -> Error {
    connect_async(server.url()).await.unwrap_err()
}

pub(crate) async fn next(client: &mut Client) -> Result<Message, Error> {
    let next = tokio::time::timeout(LONG, client.next()).await;
    next.expect("nothing came").expect("ended without an error")
}

pub(crate) async fn send(client: &mut Client, text: &str) {
    client.send(Message::text(text)).await.unwrap();
}

/// Blocks until the only connection has ended, and returns it.
pub(crate) fn ended(server: &ScriptedServer) -> SeenConnection {
    assert!(server.wait_ended(1, LONG));
    server.connection(1).unwrap()
}

pub(crate) fn is_reset(error: &Error) -> bool {
    matches!(error, Error::Io(e) if e.kind() == ErrorKind::ConnectionReset)
        || matches!(error, Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))
}
