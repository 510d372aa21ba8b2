//! Name lookups: on threads of their own, and one at a time for each host.
//!
//! The operating system's resolver blocks, sometimes for minutes, and cannot be cancelled. So a
//! lookup goes on in its thread when the dial that asked for it is given up, and the next dial
//! to the same host waits for the answer of that lookup instead of starting another. A lookup
//! that began before the network changed, or that has run for long, may have asked a network that
//! is gone: one more is started beside it, and the first good answer serves the dials of both.

use crate::session::{ErrorKind, Failure};
use once_cell::sync::Lazy;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// So many lookups run at a time in the process, each for another host; those that have run for
/// long ([`LONG`]) do not count. Further hosts wait for a thread, within the time limit of their
/// dial. A thread ends when nothing waits for it.
const MAX_THREADS: usize = 64;

/// So many times [`MAX_THREADS`] are the bound for all of them, however long they run.
const WITH_THOSE_THAT_HANG: usize = 4;

/// A lookup that has run for longer than this is not joined if another one may be started: most
/// answers come within a second, and resolvers ask again after 5 s (resolv.conf(5), `timeout`).
const LONG: Duration = Duration::from_secs(2);

/// So many lookups of one host run at a time: two networks that are gone, and the present one.
const MAX_OF_ONE_HOST: usize = 3;

static SYSTEM: Lazy<Lookups> = Lazy::new(|| Lookups::new(MAX_THREADS, LONG, Box::new(ask_system)));

/// The addresses of a host name, in the order in which they are to be tried. At least one.
pub(super) async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    SYSTEM.look_up(host, port).await
}

/// The network has changed: dials from now on join no lookup that began before.
pub(crate) fn network_changed() {
    SYSTEM.network_changed();
}

/// Addresses with port 0.
type Found = Result<Vec<SocketAddr>, Failure>;
type Resolve = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

struct Lookups {
    most_threads: usize,
    /// [`LONG`], but in tests.
    long: Duration,
    resolve: Box<Resolve>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    threads: usize,
    /// The number of the lookup that was asked for last.
    last: u64,
    /// Those that run and those that wait for a thread, oldest first.
    lookups: Vec<Lookup>,
}

struct Lookup {
    number: u64,
    host: String,
    /// When it began to run; absent while it waits for a thread.
    began: Option<Instant>,
    /// The network has changed since it was asked for.
    is_old: bool,
    /// The dials that wait for the answer.
    dials: Vec<oneshot::Sender<Found>>,
}

impl Lookup {
    fn is_of(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }

    fn has_run_for(&self, time: Duration) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= time)
    }

    fn is_wanted(&self) -> bool {
        self.began.is_some() || self.dials.iter().any(|dial| !dial.is_closed())
    }
}

impl Lookups {
    fn new(most_threads: usize, long: Duration, resolve: Box<Resolve>) -> Self {
        Self { most_threads, long, resolve, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn network_changed(&self) {
        for lookup in &mut self.state().lookups {
            lookup.is_old |= lookup.began.is_some();
        }
    }

    async fn look_up(&'static self, host: &str, port: u16) -> Found {
        let (dial, answer) = oneshot::channel();
        self.ask(host, dial);
        let unanswered = |_| Err(Failure::new(ErrorKind::Unknown, "the lookup has no answer"));
        let mut answer = std::pin::pin!(answer);
        let answer = loop {
            match tokio::time::timeout(self.long, answer.as_mut()).await {
                Ok(answer) => break answer,
                // Those that had all the threads may have run for long by now.
                Err(_) => self.look_for_room(),
            }
        };
        let mut addresses = answer.unwrap_or_else(unanswered)?;
        addresses.iter_mut().for_each(|address| address.set_port(port));
        Ok(addresses)
    }

    fn ask(&'static self, host: &str, dial: oneshot::Sender<Found>) {
        let mut state = self.state();
        let running = state.lookups.iter().filter(|lookup| lookup.is_of(host)).count();
        // The newest one: it has the best prospects.
        let newest = state.lookups.iter_mut().rfind(|lookup| lookup.is_of(host));
        if let Some(lookup) = newest
            && (running >= MAX_OF_ONE_HOST || !lookup.is_old && !lookup.has_run_for(self.long))
        {
            // Before the list grows, so that its length stays near the number of dials that
            // still wait.
            if lookup.dials.len() == lookup.dials.capacity() {
                lookup.dials.retain(|dial| !dial.is_closed());
            }
            return lookup.dials.push(dial);
        }
        let has_room = self.has_room(&state);
        if !has_room {
            state.lookups.retain(Lookup::is_wanted);
        }
        state.last += 1;
        let (number, host) = (state.last, host.to_owned());
        state.lookups.push(Lookup { number, host, began: None, is_old: false, dials: vec![dial] });
        if has_room {
            self.add_thread(&mut state);
        }
    }

    /// Whether another thread may be started.
    fn has_room(&self, state: &State) -> bool {
        let hang = state.lookups.iter().filter(|lookup| lookup.has_run_for(self.long)).count();
        state.threads.saturating_sub(hang) < self.most_threads
            && state.threads < self.most_threads * WITH_THOSE_THAT_HANG
    }

    /// Starts a thread if a lookup waits for one and one may be started.
    fn look_for_room(&'static self) {
        let mut state = self.state();
        let waits = state.lookups.iter().any(|lookup| lookup.began.is_none());
        if waits && self.has_room(&state) {
            self.add_thread(&mut state);
        }
    }

    fn add_thread(&'static self, state: &mut State) {
        let builder = std::thread::Builder::new().name("wxsocket-lookup".to_owned());
        match builder.spawn(|| self.serve()) {
            Ok(_) => state.threads += 1,
            Err(error) if state.threads == 0 => {
                let failure = Failure::new(ErrorKind::Network, format!("no thread: {error}"));
                for dial in state.lookups.drain(..).flat_map(|lookup| lookup.dials) {
                    // Some may have been given up.
                    let _ = dial.send(Err(failure.clone()));
                }
            }
            // The threads that there are will come to it.
            Err(error) => log::warn!("no thread for a lookup: {error}"),
        }
    }

    fn serve(&self) {
        while let Some((number, host)) = self.next() {
            // The standard library panics at an error text that is not UTF-8.
            let result = catch_unwind(AssertUnwindSafe(|| (self.resolve)(&host)));
            let found = match result {
                Ok(Ok(addresses)) if addresses.is_empty() => Err("the name has no address".into()),
                Ok(Ok(addresses)) => Ok(addresses),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the resolver panicked".to_owned()),
            };
            let found = found.map_err(|detail| Failure::new(ErrorKind::Dns, detail));
            for dial in self.finish(number, found.is_ok()) {
                let _ = dial.send(found.clone());
            }
        }
    }

    /// The lookup to run next; `None`: nothing waits, and the thread is to end.
    fn next(&self) -> Option<(u64, String)> {
        let mut state = self.state();
        state.lookups.retain(Lookup::is_wanted);
        let Some(lookup) = state.lookups.iter_mut().find(|lookup| lookup.began.is_none()) else {
            state.threads -= 1;
            return None;
        };
        lookup.began = Some(Instant::now());
        Some((lookup.number, lookup.host.clone()))
    }

    /// Removes a lookup; the dials that are served by its answer. A good one also serves those
    /// that wait for another lookup of the same host.
    fn finish(&self, number: u64, is_good: bool) -> Vec<oneshot::Sender<Found>> {
        let mut state = self.state();
        let at = state.lookups.iter().position(|lookup| lookup.number == number);
        let Some(Lookup { host, mut dials, .. }) = at.map(|at| state.lookups.remove(at)) else {
            return Vec::new();
        };
        if is_good {
            let others = state.lookups.iter_mut().filter(|lookup| lookup.is_of(&host));
            dials.extend(others.flat_map(|lookup| std::mem::take(&mut lookup.dials)));
        }
        dials
    }
}

fn ask_system(host: &str) -> io::Result<Vec<SocketAddr>> {
    #[cfg(feature = "testing")]
    if let Some(answer) = stand_in::resolve(host) {
        return answer;
    }
    Ok((host, 0).to_socket_addrs()?.collect())
}

#[cfg(feature = "testing")]
pub(crate) mod stand_in {
    use std::io;
    use std::net::{IpAddr, SocketAddr};
    use std::sync::{Arc, PoisonError, RwLock};

    type Resolver = dyn Fn(&str) -> Option<io::Result<Vec<IpAddr>>> + Send + Sync;

    static RESOLVER: RwLock<Option<Arc<Resolver>>> = RwLock::new(None);

    /// Has every lookup of the process ask `resolver` first, from a thread on which it may
    /// block. It is given the host name; `None` leaves the name to the operating system. It
    /// replaces the one that was set before.
    pub fn set_resolver(
        resolver: impl Fn(&str) -> Option<io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) {
        *RESOLVER.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(resolver));
    }

    pub(super) fn resolve(host: &str) -> Option<io::Result<Vec<SocketAddr>>> {
        // A copy: the lock is not held while the resolver blocks.
        let resolver = RESOLVER.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let with_port = |address| SocketAddr::new(address, 0);
        Some(resolver(host)?.map(|found| found.into_iter().map(with_port).collect()))
    }
}

#[cfg(test)]
mod tests;
