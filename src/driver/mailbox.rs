//! What a task has to tell its app, in order: the place between the run loop, which never
//! waits, and the app, which may.
//!
//! There are two lanes. *Events* go to one outlet, in order, at the app's pace; when the
//! [`Backlog`] is full, the run loop stops reading the socket, TCP's window closes, and the
//! server waits. *News* go to one watcher: the state of the task and its newest steps, as they
//! happen. The lanes do not wait for each other, so whoever waits for the end of a task hears
//! of it although a listener is busy.

use super::backlog::{Backlog, Interest};
use super::notice::{News, Notice, Standing, Step};
use super::receiver::{Receiver, Watcher, guarded};
use super::{Task, pool, turns};
use futures_util::task::AtomicWaker;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// One turn of a delivery thread; then other tasks have theirs. It begins with few events and
/// doubles as long as a turn takes less than [`LONG_TURN`]: a fast listener hears many at a
/// time, and behind a slow one nobody waits for long.
const MIN_BATCH: usize = 16;
const MAX_BATCH: usize = 256;
const LONG_TURN: Duration = Duration::from_millis(2);

/// The state of a task and its newest steps.
#[derive(Clone, Debug)]
pub(crate) struct Bulletin {
    /// Grows with every change: of two bulletins the one with the larger number is newer.
    pub(crate) version: u64,
    pub(crate) standing: Standing,
    pub(crate) news: News,
}

/// What a thread of [`turns`] takes at once.
pub(crate) struct Turn {
    pub(crate) version: u64,
    pub(crate) standing: Standing,
    /// At most one step, which comes first, then messages.
    pub(crate) notices: VecDeque<Notice>,
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// Another one.
    Ready,
    /// Nothing for now.
    Quiet,
    /// Nothing ever: everything is told, or a receiver hears the rest.
    Over,
}

/// The work of a delivery thread for one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Events,
    News,
}

pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// Signals those who pull.
    arrived: Condvar,
    /// The run loop, which waits for room.
    reader: Arc<AtomicWaker>,
    /// How often the outlet was replaced: whoever tells events looks before each call.
    outlets: AtomicU64,
}

/// Who empties the mailbox. Without one, those who pull from it.
enum Outlet {
    /// The threads of [`pool`].
    Receiver(Arc<dyn Receiver>),
    /// The threads of [`turns`], under this number.
    Turns(i64),
}

struct State {
    backlog: Backlog,
    outlet: Option<Outlet>,
    /// A delivery thread has the events, or will; or the receiver is busy.
    scheduled: bool,
    /// The receiver is busy, and `resume` puts the mailbox in line again.
    parked: bool,
    /// `resume` was called before the delivery thread could park.
    resumed: bool,
    /// The outlet wants a turn even if there is nothing to tell.
    again: bool,
    /// A receiver that came late is to hear the present state first.
    replays: bool,
    standing: Standing,
    version: u64,
    watcher: Option<Arc<dyn Watcher>>,
    /// A delivery thread has the news, or will.
    watched: bool,
    /// There is a bulletin that the watcher has not been told.
    is_news: bool,
    /// The run loop stopped reading for want of room.
    starved: bool,
    failures: u64,
    /// How many events the next turn of a delivery thread takes.
    batch: usize,
}

impl State {
    /// Whether the outlet has something to do.
    fn has_work(&self) -> bool {
        match &self.outlet {
            Some(_) => self.again || self.backlog.has_some(),
            None => false,
        }
    }
}

impl Mailbox {
    pub(super) fn new(reader: Arc<AtomicWaker>, standing: Standing) -> Self {
        let state = State {
            backlog: Backlog::new(),
            outlet: None,
            scheduled: false,
            parked: false,
            resumed: false,
            again: false,
            replays: false,
            standing,
            version: 0,
            watcher: None,
            watched: false,
            is_news: false,
            starved: false,
            failures: 0,
            batch: MIN_BATCH,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            reader,
            outlets: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages the run loop may bring; 0: none until it is woken.
    pub(super) fn room(&self) -> usize {
        let mut state = self.state();
        let room = state.backlog.room();
        state.starved |= room == 0;
        room
    }

    /// Whether the run loop may dial; if not, it is woken when it may.
    pub(super) fn has_room_to_dial(&self) -> bool {
        let mut state = self.state();
        let is_there = state.backlog.has_room_to_dial();
        state.starved |= !is_there;
        is_there
    }

    /// Adds what has happened. With `lossy`, messages for which there is no room are discarded
    /// and counted.
    pub(super) fn push(
        self: &Arc<Self>,
        notices: impl IntoIterator<Item = Notice>,
        standing: Standing,
        lossy: bool,
    ) {
        let mut state = self.state();
        let mut is_news = state.standing != standing;
        for notice in notices {
            is_news |= state.backlog.push(notice, lossy);
        }
        state.standing = standing;
        if is_news {
            state.version += 1;
            state.is_news = true;
        }
        let pulled = state.outlet.is_none();
        self.schedule(state);
        // Not under the lock, on which those who are woken would at once wait again.
        if pulled {
            self.arrived.notify_all();
        }
    }

    /// Whom to tell the events from now on. The first one hears them from the beginning; a
    /// later one hears the present state, and then what has not been told yet. After this
    /// returns the one before is not called again, but for a call that is under way. Its number
    /// for [`resume`](Self::resume), never 0.
    pub(crate) fn set_receiver(self: &Arc<Self>, receiver: Arc<dyn Receiver>, all: bool) -> u64 {
        let mut state = self.state();
        let number = self.outlets.fetch_add(1, Ordering::SeqCst) + 1;
        state.replays = all && state.backlog.is_told();
        if all {
            state.backlog.listen(Interest::Everything);
        }
        if std::mem::take(&mut state.parked) {
            // Whoever was busy is not waited for any more.
            state.scheduled = false;
        }
        state.again |= state.replays;
        let before = state.outlet.replace(Outlet::Receiver(receiver));
        // Whoever pulls has nothing to wait for any more.
        self.arrived.notify_all();
        self.schedule(state);
        // Outside the lock: its destructor is the app's code.
        drop(before);
        number
    }

    /// Has the threads of [`turns`] empty it from now on, and gives its number there. Its first
    /// turn has begun, and is whose who calls.
    pub(super) fn set_turns(self: &Arc<Self>, task: Weak<Task>) -> i64 {
        let mut state = self.state();
        if let Some(Outlet::Turns(number)) = state.outlet {
            return number;
        }
        let number = turns::join(self.clone(), task);
        self.outlets.fetch_add(1, Ordering::SeqCst);
        let before = state.outlet.replace(Outlet::Turns(number));
        self.arrived.notify_all();
        state.scheduled = true;
        state.parked = false;
        // It is told where the task stands, too.
        state.is_news = true;
        self.schedule(state);
        drop(before);
        number
    }

    /// Whom to tell the news from now on, beginning with how things are.
    pub(crate) fn set_watcher(self: &Arc<Self>, watcher: Arc<dyn Watcher>) {
        let mut state = self.state();
        let before = state.watcher.replace(watcher);
        state.is_news = true;
        self.schedule(state);
        drop(before);
    }

    /// Somebody listens to these events, too.
    pub(crate) fn listen(self: &Arc<Self>, interest: Interest) {
        let mut state = self.state();
        state.backlog.listen(interest);
        self.make_room(state);
        self.schedule(self.state());
    }

    /// What a listener that comes now hears first.
    pub(crate) fn present(&self) -> Vec<Arc<Step>> {
        self.state().backlog.present().to_vec()
    }

    /// Receivers' errors and panics so far.
    pub(crate) fn failures(&self) -> u64 {
        self.state().failures
    }

    /// Messages that were received and that nobody will hear.
    pub(crate) fn discarded(&self) -> u64 {
        self.state().backlog.discarded()
    }

    /// Puts each lane in line that has something to do and is not there yet.
    fn schedule(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let turns = match &state.outlet {
            Some(Outlet::Turns(number)) => Some(*number),
            _ => None,
        };
        let news = state.is_news && !state.watched && (turns.is_some() || state.watcher.is_some());
        state.watched |= news;
        let events = !state.scheduled && state.has_work();
        state.scheduled |= events;
        drop(state);
        for (lane, wanted) in [(Lane::News, news), (Lane::Events, events)] {
            match turns {
                _ if !wanted => {}
                Some(number) => turns::schedule(number, self.clone(), lane),
                None => pool::schedule(self.clone(), lane),
            }
        }
    }

    // ---- those who pull -----------------------------------------------------------------

    /// Waits until there is something and takes it, at most `max`. Empty: it is all over, or
    /// somebody else empties the mailbox.
    pub(crate) fn take(&self, max: usize) -> VecDeque<Notice> {
        let mut state = self.state();
        if state.outlet.is_none() {
            state.backlog.listen(Interest::Everything);
        }
        while state.backlog.is_empty() && !state.backlog.is_over() && state.outlet.is_none() {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.outlet.is_some() {
            return VecDeque::new();
        }
        self.remove(state, max)
    }

    /// Takes at most `max` events; the run loop goes on if that makes room.
    fn remove(&self, mut state: MutexGuard<'_, State>, max: usize) -> VecDeque<Notice> {
        let taken = state.backlog.take(max);
        self.make_room(state);
        taken
    }

    fn make_room(&self, mut state: MutexGuard<'_, State>) {
        let wake = state.starved && state.backlog.is_roomy();
        state.starved &= !wake;
        drop(state);
        if wake {
            self.reader.wake();
        }
    }

    // ---- turns --------------------------------------------------------------------------

    /// Begins a turn of a thread of [`turns`]. It is empty if a receiver has their place by now.
    pub(super) fn begin_turn(&self, max: usize) -> Turn {
        let mut state = self.state();
        let (version, standing) = (state.version, state.standing);
        if !matches!(state.outlet, Some(Outlet::Turns(_))) {
            return Turn { version, standing, notices: VecDeque::new() };
        }
        state.again = false;
        Turn { version, standing, notices: self.remove(state, max) }
    }

    /// Ends that turn; whoever ends it puts the mailbox back in line if it wants another one.
    pub(super) fn end_turn(self: &Arc<Self>, again: bool) -> TurnEnd {
        let mut state = self.state();
        if !matches!(state.outlet, Some(Outlet::Turns(_))) {
            // A receiver has their place, and was kept waiting for this.
            state.scheduled = false;
            self.schedule(state);
            return TurnEnd::Over;
        }
        state.again |= again;
        let more = state.has_work();
        state.scheduled = more;
        match (more, state.backlog.is_over()) {
            (true, _) => TurnEnd::Ready,
            (false, false) => TurnEnd::Quiet,
            (false, true) => TurnEnd::Over,
        }
    }

    /// Gives the outlet a turn, whether or not there is something to tell. False: everything is
    /// told, and there is no outlet any more.
    pub(crate) fn wake(self: &Arc<Self>) -> bool {
        let mut state = self.state();
        let is_there = state.outlet.is_some();
        state.again = is_there;
        self.schedule(state);
        is_there
    }

    /// Takes the news.
    pub(super) fn bulletin(&self) -> Bulletin {
        let mut state = self.state();
        state.is_news = false;
        state.watched = false;
        Self::bulletin_of(&state)
    }

    fn bulletin_of(state: &State) -> Bulletin {
        let news = state.backlog.news().clone();
        Bulletin { version: state.version, standing: state.standing, news }
    }

    // ---- delivery threads ---------------------------------------------------------------

    /// One turn of a delivery thread. True: there is more.
    pub(super) fn deliver(self: &Arc<Self>, lane: Lane) -> bool {
        match lane {
            Lane::Events => self.deliver_events(),
            Lane::News => self.deliver_news(),
        }
    }

    fn deliver_events(self: &Arc<Self>) -> bool {
        let mut state = self.state();
        let Some(Outlet::Receiver(receiver)) = &state.outlet else {
            drop(state);
            return self.rest();
        };
        let receiver = receiver.clone();
        let outlet = self.outlets.load(Ordering::SeqCst);
        let is_wanted = || self.outlets.load(Ordering::SeqCst) == outlet;
        let woken = std::mem::take(&mut state.again);
        let mut replay = VecDeque::new();
        if std::mem::take(&mut state.replays) {
            replay.extend(state.backlog.present().iter().cloned().map(Notice::Step));
        }
        state.resumed = false;
        drop(state);
        let begin = Instant::now();
        let mut failures = receiver.receive(&mut replay, &is_wanted).failures;
        if woken && is_wanted() {
            // Before anything is taken: what is taken changes the present state.
            failures += receiver.woken();
        }
        let state = self.state();
        let batch = state.batch;
        let mut notices = self.remove(state, batch);
        let received = receiver.receive(&mut notices, &is_wanted);
        drop(receiver);
        let mut state = self.state();
        state.backlog.put_back(notices);
        state.failures += failures + received.failures;
        let was_long = begin.elapsed() > LONG_TURN;
        state.batch = if was_long { MIN_BATCH } else { MAX_BATCH.min(batch * 2) };
        let is_busy = received.is_busy && is_wanted() && !state.resumed;
        state.parked = is_busy;
        // Whoever was told the end is let go: it may own whatever keeps this task alive.
        let over = state.backlog.is_over() && !state.again && !is_busy && is_wanted();
        let done = if over { state.outlet.take() } else { None };
        drop(state);
        drop(done);
        !is_busy && self.rest()
    }

    /// Ends a turn. True: not yet, there is more.
    fn rest(self: &Arc<Self>) -> bool {
        let mut state = self.state();
        if let Some(Outlet::Turns(_)) = state.outlet {
            // It has taken the receiver's place, and its first turn is under way.
            return false;
        }
        state.scheduled = state.has_work();
        state.scheduled
    }

    /// The receiver with this number, which was busy, can take more. Nothing happens if another
    /// one has its place.
    pub(crate) fn resume(self: &Arc<Self>, number: u64) {
        let mut state = self.state();
        if self.outlets.load(Ordering::SeqCst) != number {
            return;
        }
        if !std::mem::take(&mut state.parked) {
            state.resumed = true;
            return;
        }
        state.scheduled = false;
        // To be let go.
        state.again |= state.backlog.is_over();
        self.schedule(state);
    }

    fn deliver_news(self: &Arc<Self>) -> bool {
        let mut state = self.state();
        let Some(watcher) = state.watcher.clone() else {
            state.watched = false;
            return false;
        };
        state.is_news = false;
        let bulletin = Self::bulletin_of(&state);
        let over = state.backlog.is_complete();
        drop(state);
        let failures = guarded(|| watcher.bulletin(bulletin));
        drop(watcher);
        let mut state = self.state();
        state.failures += failures;
        let done = if over { state.watcher.take() } else { None };
        let more = state.is_news && state.watcher.is_some();
        state.watched = more;
        drop(state);
        drop(done);
        more
    }
}
