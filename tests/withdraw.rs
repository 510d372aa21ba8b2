//! The app is told when its answer before a dial is no longer wanted.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use support::*;
use wxsocket::*;

/// Answers after it was told that the answer is not wanted any more.
struct Patient {
    asked: Sender<ConnectRequest>,
    told: Sender<i64>,
    withdrawn: Mutex<Receiver<i64>>,
    answered: Sender<i64>,
}

impl BeforeConnect for Patient {
    fn before_connect(&self, request: ConnectRequest) -> Result<ConnectDecision, ListenerError> {
        let number = request.number;
        self.asked.send(request).unwrap();
        while self.withdrawn.lock().unwrap().recv_timeout(PATIENCE).unwrap() < number {}
        self.answered.send(number).unwrap();
        Ok(ConnectDecision::Proceed)
    }

    fn withdraw(&self, number: i64) -> Result<(), ListenerError> {
        self.told.send(number).unwrap();
        Ok(())
    }
}

#[test]
fn a_request_is_withdrawn_when_its_dial_is_given_up_late_or_over() {
    let server = echo();
    let ((asked, requests), (told, withdrawn)) = (channel(), channel());
    let (answered, answers) = channel();
    let provider = Arc::new(Patient { asked, told, withdrawn: Mutex::new(withdrawn), answered });
    let mut options = fast(server.url());
    options.timeout = Some(NEVER);
    let mut client = Client::asking(options.clone(), provider.clone());
    let next = || {
        let request = requests.recv_timeout(PATIENCE).unwrap();
        (request.number, request.epoch, request.attempt)
    };
    let answered = || answers.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next(), (1, 1, 0));
    // The dial is given up because the network is gone.
    client.task().set_network(false.into());
    client.lost(ErrorKind::Interrupted);
    assert_eq!(answered(), 1);
    client.task().set_network(true.into());
    assert_eq!(next(), (2, 2, 0));
    client.task().pause();
    client.lost(ErrorKind::Interrupted);
    assert_eq!(answered(), 2);
    client.task().resume();
    assert_eq!(next(), (3, 3, 0));
    // The dial is given up because the task ends.
    client.task().close(1000, String::new()).unwrap();
    client.end();
    assert_eq!(answered(), 3);
    // The dial is given up because its time is over.
    options.timeout = Some(Millis(20));
    options.reconnect.enabled = Some(false);
    let mut late = Client::asking(options, provider);
    assert_eq!(next(), (1, 1, 0));
    assert_eq!(late.error().kind, ErrorKind::BeforeConnect);
    assert_eq!(answered(), 1);
    late.end();
}
