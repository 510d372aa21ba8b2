//! A chat: lines from standard input are sent, messages are printed.
//!
//! ```console
//! $ cargo run --example chat -- wss://echo.example.com
//! ```

use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use wxsocket::{
    CloseEvent, ConnectOptions, ErrorEvent, ListenerError, Message, MessageEvent, OpenEvent,
    Preset, SocketListener, connect_socket,
};

struct Screen {
    /// Gets false at the first open and true when the task is over.
    steps: Sender<bool>,
}

impl SocketListener for Screen {
    fn on_open(&self, event: OpenEvent) -> Result<(), ListenerError> {
        println!("-- connected ({:.0} ms)", event.profile.cost);
        // Nobody waits when the program is about to end anyway.
        let _ = self.steps.send(false);
        Ok(())
    }

    fn on_message(&self, event: MessageEvent) -> Result<(), ListenerError> {
        match event.data {
            Message::Text { text } => println!("> {text}"),
            Message::Binary { bytes } => println!("> {} bytes", bytes.len()),
        }
        Ok(())
    }

    fn on_error(&self, event: ErrorEvent) -> Result<(), ListenerError> {
        println!("-- {} ({})", event.err_msg, event.detail);
        Ok(())
    }

    fn on_close(&self, event: CloseEvent) -> Result<(), ListenerError> {
        match event.retry.and_then(|retry| retry.delay) {
            Some(delay) => println!("-- disconnected, next attempt in {delay}"),
            None => println!("-- disconnected ({})", event.code),
        }
        if event.retry.is_none() {
            let _ = self.steps.send(true);
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: chat URL")?;
    let options = ConnectOptions { preset: Some(Preset::Resilient), ..ConnectOptions::new(url) };
    let (steps, step) = channel();
    let task = connect_socket(options, Some(Arc::new(Screen { steps })), None)?;
    // Closing before the first open would end the dial, and the lines with it.
    let mut is_over = step.recv()?;
    for line in std::io::stdin().lock().lines() {
        // Without a connection the line waits for the next one.
        task.send(line?)?;
    }
    // What was sent goes out first.
    task.close(1000, "bye".to_owned())?;
    while !is_over {
        is_over = step.recv()?;
    }
    Ok(())
}
