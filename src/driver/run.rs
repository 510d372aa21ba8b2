//! The run loop of one task: a future that never ends before the task does.

use super::ahead::Heard;
use super::asking::Asking;
use super::connection::{Connection, Wrote};
use super::notice::{Notice, Opening, Standing};
use super::sleepers::Sleeper;
use super::{BeforeDial, DialError, Task, journal, runtime};
use crate::net::{self, DialOptions, Opened};
use crate::session::{Event, Failure, Input, Output, Phase};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// After this many frames other tasks have their turn: one full read buffer of small messages, some
/// 100 µs.
const TURN: usize = 2048;

/// The dial under way.
struct Dial {
    epoch: u64,
    number: u64,
    /// How many steps it has passed, and of how many the session knows.
    steps: Arc<AtomicU32>,
    told: u32,
    result: Pin<Box<dyn Future<Output = Result<Opened, DialError>> + Send>>,
}

/// How long a task that is closing waits for a listener that has no room. A listener that is
/// only slow makes some in this time; the whole close takes 3 s at most, unless the options say
/// otherwise.
const SLOW_LISTENER: Duration = Duration::from_millis(250);

/// So many connections of one task may be on their way out at a time.
const MAX_HANG_UPS: usize = 8;

pub(super) struct Runner {
    task: Arc<Task>,
    options: DialOptions,
    asking: Option<Asking>,
    /// How long a connection that is let go politely may take.
    patience: Duration,
    dial: Option<Dial>,
    /// The session was told that no dial may begin.
    crowded: bool,
    /// Waits for its event.
    opening: Option<Box<Opening>>,
    /// The session's next deadline, and tokio's timer for it.
    alarm: Option<(Instant, Pin<Box<Sleep>>)>,
    /// How many sleeps of the device were noticed so far.
    sleeps: u64,
    _sleeper: Sleeper,
    read_paused: bool,
    /// Set while the task is closing and its mailbox is full.
    full: Option<Pin<Box<Sleep>>>,
    /// Shared with every connection that is being let go politely.
    hang_ups: Arc<()>,
    /// What those who watch have been told.
    standing: Standing,
}

impl Runner {
    pub(super) fn new(
        task: Arc<Task>,
        options: DialOptions,
        before_dial: Option<Arc<dyn BeforeDial>>,
        patience: Duration,
    ) -> Self {
        Self {
            standing: task.standing(),
            _sleeper: Sleeper::new(task.number, task.waker.clone()),
            task,
            options,
            asking: before_dial.map(Asking::new),
            patience,
            dial: None,
            crowded: false,
            opening: None,
            alarm: None,
            sleeps: 0,
            read_paused: false,
            full: None,
            hang_ups: Arc::new(()),
        }
    }

    /// Performs what the session wants done. True: there was something.
    fn perform(&mut self) -> bool {
        let (outputs, standing) = self.task.poll_all();
        let mut any = !outputs.is_empty();
        let mut notices = Vec::new();
        for output in outputs {
            match output {
                Output::Emit(event) => {
                    journal::note(self.task.number, &event);
                    let is_open = matches!(event, Event::Open { .. });
                    let opening = if is_open { self.opening.take() } else { None };
                    notices.push(Notice::of(event, opening));
                }
                Output::Dial { epoch, dial, attempt, last_failure } => {
                    self.begin_dial(epoch, dial, attempt, last_failure);
                }
                Output::Abort { epoch } => {
                    self.dial.take_if(|dial| dial.epoch == epoch);
                    if let Some(connection) = self.take_connection(epoch) {
                        connection.abort();
                    }
                }
                Output::HangUp { epoch, close } => {
                    if let Some(connection) = self.take_connection(epoch) {
                        self.hang_up(connection, close);
                    }
                }
            }
        }
        if !notices.is_empty() || standing != self.standing {
            self.standing = standing;
            self.task.mailbox.push(notices, standing, false);
            any |= self.look_for_room();
        }
        any
    }

    /// Lets a connection go politely. Beyond [`MAX_HANG_UPS`] it is aborted: a task that comes
    /// back at once to a server that says goodbye and stays would collect connections.
    fn hang_up(&self, connection: Connection, close: Option<(u16, String)>) {
        if Arc::strong_count(&self.hang_ups) > MAX_HANG_UPS {
            return connection.abort();
        }
        let (counted, manners) = (self.hang_ups.clone(), connection.hang_up(close, self.patience));
        runtime::handle().spawn(async move {
            manners.await;
            drop(counted);
        });
    }

    /// Tells the session if a dial may begin now, or no longer, for want of room in the mailbox.
    /// Each dial adds to what waits there, and a refusal carries headers, which must not pile up.
    /// True: that has changed.
    fn look_for_room(&mut self) -> bool {
        let crowded = !self.task.mailbox.has_room_to_dial();
        if crowded == self.crowded {
            return false;
        }
        self.crowded = crowded;
        self.task.tell(Input::Crowded(crowded));
        true
    }

    fn take_connection(&mut self, epoch: u64) -> Option<Connection> {
        self.task.connection().take_if(|connection| connection.epoch == epoch)
    }

    fn begin_dial(&mut self, epoch: u64, number: u64, attempt: u32, last_failure: Option<Failure>) {
        let options = self.options.clone();
        log::debug!(
            "socket {}, connection {epoch}, attempt {attempt}: dialling {}:{}",
            self.task.number,
            options.target.host,
            options.target.port
        );
        let asking = self.asking.clone();
        self.read_paused = false;
        let steps = Arc::new(AtomicU32::new(0));
        let passed = steps.clone();
        let result = Box::pin(async move {
            let options = match asking {
                Some(asking) => asking.ask(epoch, attempt, last_failure, options).await?,
                None => options,
            };
            passed.fetch_add(1, Ordering::Relaxed);
            net::dial(&options, &passed).await.map_err(DialError::Failed)
        });
        self.dial = Some(Dial { epoch, number, steps, told: 0, result });
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(under_way) = self.dial.as_mut() else { return false };
        let (epoch, dial) = (under_way.epoch, under_way.number);
        let Poll::Ready(result) = under_way.result.as_mut().poll(cx) else {
            let passed = under_way.steps.load(Ordering::Relaxed);
            if std::mem::replace(&mut under_way.told, passed) != passed {
                self.task.tell(Input::DialProgress { dial });
            }
            return false;
        };
        self.dial = None;
        let input = match result {
            Ok(Opened { socket, header, protocol, profile }) => {
                log::debug!(
                    "socket {}, connection {epoch}: open after {} ms",
                    self.task.number,
                    profile.cost as u64
                );
                *self.task.connection() = Some(Connection::new(epoch, socket));
                self.opening = Some(Box::new(Opening { header, protocol, profile }));
                Input::Opened { dial }
            }
            Err(DialError::Failed(failure)) => Input::DialFailed { dial, failure },
            Err(DialError::GiveUp(failure)) => Input::GiveUp { dial, failure },
        };
        self.task.tell(input);
        // The app may have closed in the meantime, or another dial may have taken the place of
        // this one: then nobody wants this connection.
        if !matches!(self.task.phase(), Phase::Open { .. } | Phase::Closing) {
            *self.task.connection() = None;
            self.opening = None;
        }
        true
    }

    fn read(&mut self, cx: &mut Context<'_>, turn: &mut usize) -> bool {
        let Some(epoch) = self.task.connection().as_ref().map(|connection| connection.epoch) else {
            return false;
        };
        let room = self.task.mailbox.room();
        let lossy = self.is_lossy(room, cx);
        let room = if lossy { TURN } else { room };
        let paused = room == 0;
        if paused != self.read_paused {
            self.read_paused = paused;
            self.task.tell(Input::ReadPaused(paused));
        }
        let mut guard = self.task.connection();
        let Some(connection) = guard.as_mut() else { return false };
        let (frames, heard) = connection.read(cx, room, *turn);
        drop(guard);
        *turn -= frames.min(*turn);
        if heard.is_empty() {
            return false;
        }
        let notices = self.hear(epoch, heard);
        if !notices.is_empty() {
            self.task.mailbox.push(notices, self.standing, lossy);
        }
        true
    }

    /// True when messages are read although the app has no room for them. A task that is closing
    /// hears the server out, or the server's answer to the close frame would never come; what
    /// the app has not made room for in a while is discarded and counted.
    fn is_lossy(&mut self, room: usize, cx: &mut Context<'_>) -> bool {
        if self.standing.phase != Phase::Closing || room > 0 {
            self.full = None;
            return false;
        }
        let timer = || Box::pin(tokio::time::sleep(SLOW_LISTENER));
        self.full.get_or_insert_with(timer).as_mut().poll(cx).is_ready()
    }

    /// Tells the session, and collects the messages that are for the app.
    fn hear(&self, epoch: u64, heard: VecDeque<Heard>) -> Vec<Notice> {
        let mut notices = Vec::new();
        for heard in heard {
            // Not for all of it at once: the app's `send` waits for the same lock.
            let (mut session, now) = self.task.session_now();
            match heard {
                Heard::Packed(mut packed) => {
                    packed.retain(|data| session.receive(epoch, data, now));
                    if packed.count() > 0 {
                        notices.push(Notice::Packed(packed));
                    }
                }
                Heard::Message(message) => {
                    if session.receive(epoch, message.data(), now) {
                        notices.push(Notice::Message { epoch, message });
                    }
                }
                Heard::Input(input) => session.handle(input, now),
            }
        }
        notices
    }

    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let task = &self.task;
        let mut guard = task.connection();
        let Some(connection) = guard.as_mut() else { return false };
        let wrote = connection.write(cx, |room| {
            let mut session = task.session();
            if room { session.poll_transmit() } else { session.poll_ping() }
        });
        task.wrote(connection, &wrote);
        wrote.moved
    }

    /// Handles the session's next deadline if it is due, or keeps a timer at it. True: it was
    /// due.
    fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        let (session, now) = self.task.session_now();
        let due = session.next_timeout();
        drop(session);
        let is_due = due.is_some_and(|due| due <= now);
        if is_due {
            // What the peer has acknowledged by now may be a sign of life.
            if let Some(connection) = self.task.connection().as_ref() {
                self.task.wrote(connection, &Wrote::default());
            }
            let (mut session, now) = self.task.session_now();
            session.handle_timeout(now);
        }
        let sleeps = self.task.watch.sleeps();
        if std::mem::replace(&mut self.sleeps, sleeps) != sleeps {
            log::debug!("socket {}: the device slept", self.task.number);
            // Tokio's clock stood still meanwhile, so its timer is late.
            self.alarm = None;
        }
        if is_due {
            return true;
        }
        if self.alarm.as_ref().map(|(due, _)| *due) != due {
            self.alarm = due.map(|due| (due, Box::pin(tokio::time::sleep(due - now))));
        }
        let Some((_, timer)) = self.alarm.as_mut() else { return false };
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        // The two clocks may differ a little: the deadline is looked at once more.
        self.alarm = None;
        true
    }
}

impl Future for Runner {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.task.waker.register(cx.waker());
        let mut turn = TURN;
        loop {
            // Asked before the outputs are taken: a close that comes from another thread in
            // between has its final event still to be taken.
            let over = this.task.phase() == Phase::Closed;
            let mut moved = this.perform();
            if over {
                return Poll::Ready(());
            }
            // Whoever made room has woken this loop.
            moved |= this.crowded && this.look_for_room();
            if this.poll_dial(cx) {
                // The open comes before the messages, which go to the app directly.
                moved = true;
                this.perform();
            }
            moved |= this.read(cx, &mut turn);
            // What was read is on its way to the app before anything else is done.
            moved |= this.perform();
            moved |= this.write(cx);
            moved |= this.tick(cx);
            if turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }
}

/// A run loop that ends before its task does has met a bug of ours. The app is told, once.
impl Drop for Runner {
    fn drop(&mut self) {
        let (mut session, now) = self.task.session_now();
        if session.phase() == Phase::Closed {
            return;
        }
        log::error!("socket {}: the run loop ended early", self.task.number);
        session.handle(Input::Close { code: 1000, reason: "internal error".to_owned() }, now);
        session.handle_timeout(now + self.patience);
        drop(session);
        self.perform();
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use crate::testing::{Script, ScriptedServer};
    use crate::{ConnectOptions, connect_socket};
    use std::time::Duration;

    #[test]
    fn a_close_at_any_moment_is_told() {
        let server = ScriptedServer::start(Script::default()).expect("starts");
        for round in 0..2_000 {
            let task = connect_socket(ConnectOptions::new(server.url()), None, None);
            let task = task.expect("valid");
            for _ in 0..round % 200 * 10 {
                std::hint::spin_loop();
            }
            task.close(1000, String::new()).expect("valid");
            let (told, last) = std::sync::mpsc::channel();
            let events = task.events();
            std::thread::spawn(move || told.send((&*events).last().is_some_and(|e| e.is_final())));
            assert!(last.recv_timeout(Duration::from_secs(10)).expect("an end"), "not final");
        }
    }
}
