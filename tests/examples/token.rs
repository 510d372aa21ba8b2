//! A token that is fetched before every dial, because it expires.
//!
//! ```console
//! $ cargo run --example token -- wss://example.com/live
//! ```
//!
//! The connection is closed after the first message.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use wxsocket::{
    BeforeConnect, ConnectDecision, ConnectOptions, ConnectRequest, ErrorKind, Header,
    ListenerError, SocketEvent, connect_socket,
};

#[derive(Default)]
struct Tokens {
    /// Answers to the requests up to this number are no longer wanted.
    withdrawn: AtomicI64,
}

impl Tokens {
    /// Stands for a call to the app's own server. It may take its time: this is a thread of its own.
    fn fetch(&self, request: &ConnectRequest) -> Result<String, ListenerError> {
        if request.number <= self.withdrawn.load(Ordering::Relaxed) {
            return Err(ListenerError::Failed { reason: "no longer wanted".to_owned() });
        }
        Ok(format!("token-{}", request.number))
    }
}

impl BeforeConnect for Tokens {
    fn before_connect(&self, request: ConnectRequest) -> Result<ConnectDecision, ListenerError> {
        if request.last_error.as_ref().is_some_and(|error| error.kind == ErrorKind::HttpStatus) {
            println!("the server did not accept the last token");
        }
        let token = self.fetch(&request)?;
        let header = vec![Header::new("Authorization", format!("Bearer {token}"))];
        Ok(ConnectDecision::Change { url: None, header: Some(header), protocols: None })
    }

    fn withdraw(&self, number: i64) -> Result<(), ListenerError> {
        self.withdrawn.fetch_max(number, Ordering::Relaxed);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: token URL")?;
    let task = connect_socket(ConnectOptions::new(url), None, Some(Arc::new(Tokens::default())))?;
    for event in &*task.events() {
        match event {
            SocketEvent::Open { event } => println!("open, connection {}", event.epoch),
            SocketEvent::Message { event } => {
                println!("{:?}", event.data);
                task.close(1000, String::new())?;
            }
            SocketEvent::Error { event } => println!("{} {:?}", event.err_msg, event.http_status),
            SocketEvent::Close { event } => println!("closed {}", event.code),
        }
    }
    Ok(())
}
