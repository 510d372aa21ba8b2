//! Those who hear of events otherwise than through four methods: batch listeners (many messages in
//! one call, which may go on after the call has returned), watchers, and threads that take turns.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use support::gate::*;
use support::*;
use wxsocket::*;

/// Tells the test of each call. `done` is what it answers.
struct Batch {
    told: Mutex<Sender<&'static str>>,
    done: bool,
}

impl Batch {
    fn new(done: bool) -> (Arc<Self>, Receiver<&'static str>) {
        let (told, calls) = channel();
        (Arc::new(Self { told: Mutex::new(told), done }), calls)
    }

    fn tell(&self, call: &'static str) -> Result<bool, ListenerError> {
        // A test that has seen enough is gone.
        let _ = self.told.lock().unwrap().send(call);
        Ok(self.done)
    }
}

impl BatchListener for Batch {
    fn on_messages(&self, _: i64, _: bytes::Bytes) -> Result<bool, ListenerError> {
        self.tell("messages")
    }
    fn on_event(&self, event: SocketEvent) -> Result<bool, ListenerError> {
        self.tell(match event {
            SocketEvent::Open { .. } => "open",
            SocketEvent::Message { .. } => "message",
            SocketEvent::Error { .. } => "error",
            SocketEvent::Close { .. } => "close",
        })
    }
    fn on_wake(&self) -> Result<(), ListenerError> {
        self.tell("wake")?;
        Err(ListenerError::Failed { reason: "on purpose".to_owned() })
    }
}

fn connect(url: String) -> Arc<SocketTask> {
    connect_socket(fast(url), None, None).unwrap()
}

#[test]
fn one_that_was_replaced_cannot_resume_the_next_ones_delivery() {
    let server = echo();
    let mut other = Client::connect(fast(server.url()));
    other.open();
    let task = connect(server.url());
    let ((one, before), (two, calls)) = (Batch::new(false), Batch::new(false));
    let (first, second) = (task.set_batch_listener(one), task.set_batch_listener(two));
    assert_ne!(first, second);
    task.listen(true);
    assert_eq!(calls.recv_timeout(PATIENCE), Ok("open"));
    task.send("x").unwrap();
    eventually("the echo waits", || task.stats().messages_in == 1);
    // Late, as a thread of the app may be: it has the place no more.
    for stale in [first, 0, -1] {
        task.resume_delivery(stale);
    }
    for _ in 0..100 {
        other.send("x");
        other.text();
    }
    assert!(calls.try_recv().is_err(), "it is still busy with the open");
    task.resume_delivery(second);
    assert_eq!(calls.recv_timeout(PATIENCE), Ok("messages"));
    assert!(before.try_recv().is_err(), "it was replaced before anybody listened");
    task.resume_delivery(second);
    other.finish();
}

/// It serves listeners of its own, and asks for the present state on their behalf.
#[test]
fn one_that_comes_late_hears_only_what_comes() {
    let server = echo();
    let task = connect(server.url());
    let (one, before) = Batch::new(true);
    task.set_batch_listener(one);
    task.listen(true);
    assert_eq!(before.recv_timeout(PATIENCE), Ok("open"));
    let (two, calls) = Batch::new(true);
    task.set_batch_listener(two);
    task.send("x").unwrap();
    assert_eq!(calls.recv_timeout(PATIENCE), Ok("messages"));
    assert!(before.try_recv().is_err());
}

#[test]
fn a_wake_that_fails_is_counted() {
    let server = echo();
    let task = connect(server.url());
    let (listener, calls) = Batch::new(true);
    task.set_batch_listener(listener);
    assert!(task.wake_listener());
    assert_eq!(calls.recv_timeout(PATIENCE), Ok("wake"));
    eventually("it is counted", || task.stats().listener_failures == 1);
}

#[test]
fn one_that_is_busy_with_the_end_is_let_go_when_it_is_done() {
    let server = echo();
    let task = connect(server.url());
    let (listener, calls) = Batch::new(false);
    let number = task.set_batch_listener(listener.clone());
    task.listen(true);
    assert_eq!(calls.recv_timeout(PATIENCE), Ok("open"));
    task.close(1000, String::new()).unwrap();
    task.resume_delivery(number);
    assert_eq!(calls.recv_timeout(PATIENCE), Ok("close"));
    assert!(Arc::strong_count(&listener) > 1, "it may still be told to wake");
    task.resume_delivery(number);
    eventually("it is let go", || Arc::strong_count(&listener) == 1);
    assert!(!task.wake_listener(), "there is none any more");
}

struct Watching(Mutex<Sender<SocketState>>);

impl SocketWatcher for Watching {
    fn on_news(&self, state: SocketState, _: TaskNews) -> Result<(), ListenerError> {
        self.0.lock().unwrap().send(state).unwrap();
        Ok(())
    }
}

#[test]
fn a_watcher_hears_of_each_state_once_and_nothing_of_messages() {
    let server = echo();
    let mut client = Client::connect(fast(server.url()));
    client.open();
    let (told, states) = channel();
    client.task().set_watcher(Arc::new(Watching(Mutex::new(told))));
    assert_eq!(states.recv_timeout(PATIENCE), Ok(SocketState::Open));
    for _ in 0..100 {
        client.send("x");
        client.text();
    }
    client.finish();
    let mut rest: Vec<_> = states.iter().collect();
    // A state that is over by the time it would be told is left out.
    rest.retain(|state| *state != SocketState::Closing);
    assert_eq!(rest, [SocketState::Closed]);
}

struct Failing;

impl SocketWatcher for Failing {
    fn on_news(&self, _: SocketState, _: TaskNews) -> Result<(), ListenerError> {
        Err(ListenerError::Failed { reason: "on purpose".to_owned() })
    }
}

#[test]
fn a_watcher_that_fails_is_counted_and_hears_on() {
    let server = serve(r#"[{"handshake": "hang"}]"#);
    let task = connect(server.url());
    task.set_watcher(Arc::new(Failing));
    let failures = || task.stats().listener_failures;
    eventually("it is counted", || failures() > 0);
    let before = failures();
    task.close(1000, String::new()).unwrap();
    eventually("it heard of the end", || failures() > before);
}

/// Turns are those of the whole process: one test at a time takes them.
static TURNS: Mutex<()> = Mutex::new(());

/// The next turn of this task that brings events; it is the caller's to end.
fn turn_of(number: i64) -> Turn {
    loop {
        let turn = next_turn(0, 4, PATIENCE.as_millis() as i64);
        assert_ne!(turn.task, 0, "no turn in time");
        match turn {
            // There is nothing to end.
            Turn { news: Some(_), .. } => {}
            Turn { task, ref events, .. } if task == number && !events.is_empty() => return turn,
            // Of the task of another test, which is over.
            Turn { task, .. } => end_turn(task, false),
        }
    }
}

/// Whether this task has a turn to give away now.
fn has_turn(number: i64) -> bool {
    loop {
        match next_turn(0, 4, 0) {
            Turn { task: 0, .. } => return false,
            Turn { news: Some(_), .. } => {}
            Turn { task, .. } if task == number => return true,
            Turn { task, .. } => end_turn(task, false),
        }
    }
}

#[test]
fn a_listener_that_takes_the_place_of_turns_hears_everything_else() {
    let _alone = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let server = echo();
    let task = connect(server.url());
    let number = task.join_turns();
    task.listen(true);
    end_turn(number, false);
    let turn = turn_of(number);
    assert!(matches!(turn.events[..], [TurnEvent::Event { event: SocketEvent::Open { .. } }]));
    // That turn lasts, and an event waits for the next one.
    task.send("x").unwrap();
    eventually("the echo waits", || task.stats().messages_in == 1);
    let (listener, events) = telling(|_| Ok(()));
    task.set_listener(listener);
    assert!(events.try_recv().is_err(), "a turn is under way");
    end_turn(number, false);
    let heard = [events.recv_timeout(PATIENCE).unwrap(), events.recv_timeout(PATIENCE).unwrap()];
    // The present state first.
    assert!(matches!(heard[0], SocketEvent::Open { .. }), "{heard:?}");
    assert_eq!(text_of(&heard[1]), "x");
    assert!(!has_turn(number), "it has left the turns");
}

#[test]
fn a_call_under_way_does_not_end_the_first_turn_of_who_takes_the_listeners_place() {
    let _alone = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let server = echo();
    let mut other = Client::connect(fast(server.url()));
    other.open();
    let task = connect(server.url());
    let gate = Arc::new(Gate::default());
    let _opened = Opened(gate.clone());
    let inside = gate.clone();
    let (listener, events) = telling(move |_| {
        inside.pass();
        Ok(())
    });
    task.set_listener(listener);
    gate.wait_for(1);
    task.send("x").unwrap();
    eventually("the echo waits", || task.stats().messages_in == 1);
    let number = task.join_turns();
    gate.open();
    // The listener is let go once its call has returned.
    let heard: Vec<_> = events.iter().collect();
    assert!(matches!(heard[..], [SocketEvent::Open { .. }]), "{heard:?}");
    for _ in 0..100 {
        other.send("x");
        other.text();
    }
    assert!(!has_turn(number), "the first turn has not ended");
    end_turn(number, false);
    let turn = turn_of(number);
    assert!(matches!(turn.events[..], [TurnEvent::Messages { .. }]), "{turn:?}");
    end_turn(number, false);
    other.finish();
}
