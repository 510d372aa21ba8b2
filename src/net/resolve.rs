//! Name lookups, on threads of their own. Dials to the same host share a lookup.
//!
//! The operating system's resolver blocks, sometimes for minutes, and cannot be cancelled. So a
//! lookup continues in its thread when the dial that asked for it is given up, and the next dial to
//! the same host waits for the answer of that lookup instead of starting another one. A lookup that
//! began before the network changed, or that has run for long ([`LONG`]), may have asked a network
//! that is gone. Then one more lookup of the same host is started, and the first good answer is for
//! the dials of both.

use crate::session::{ErrorKind, Failure};
use once_cell::sync::Lazy;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The largest number of lookups that run at the same time in the process. Lookups that have run
/// for long ([`LONG`]) do not count. Further lookups wait for a thread, within the time limit of
/// their dial. A thread ends when no lookup waits for it.
const MAX_THREADS: usize = 64;

/// The bound for all lookups, however long they have run: this many times [`MAX_THREADS`].
const WITH_THOSE_THAT_HANG: usize = 4;

/// A dial does not wait for a lookup that has run for longer than this if another one may be
/// started. Most answers come within a second, and resolvers ask again after 5 s (resolv.conf(5),
/// `timeout`).
const LONG: Duration = Duration::from_secs(2);

/// The largest number of lookups of one host at the same time: for two networks that are gone, and
/// for the present one.
const MAX_OF_ONE_HOST: usize = 3;

static SYSTEM: Lazy<Lookups> = Lazy::new(|| Lookups::new(MAX_THREADS, LONG, Box::new(ask_system)));

/// Returns the addresses of a host name, at least one, in the order in which they are to be tried.
///
/// # Errors
///
/// `Dns` when the lookup fails, `Network` when the system gives no thread for it.
pub(super) async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    SYSTEM.look_up(host, port).await
}

/// Tells the lookups that the network has changed. Later dials wait for no lookup that began
/// before.
pub(crate) fn network_changed() {
    SYSTEM.network_changed();
}

/// The addresses that a lookup has found, with port 0, or why it has failed.
type Found = Result<Vec<SocketAddr>, Failure>;
type Resolve = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

struct Lookups {
    most_threads: usize,
    /// [`LONG`]; tests have another value.
    long: Duration,
    resolve: Box<Resolve>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    threads: usize,
    /// The number of the newest lookup.
    last: u64,
    /// The lookups that run and those that wait for a thread, oldest first.
    lookups: Vec<Lookup>,
}

struct Lookup {
    number: u64,
    host: String,
    /// When it began to run; `None` while it waits for a thread.
    began: Option<Instant>,
    /// True when the network has changed since it began.
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
                // By now the lookups that use all the threads may have run for long, so that they
                // do not count any more.
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
        // The newest lookup is the most likely one to succeed.
        let newest = state.lookups.iter_mut().rfind(|lookup| lookup.is_of(host));
        if let Some(lookup) = newest
            && (running >= MAX_OF_ONE_HOST || !lookup.is_old && !lookup.has_run_for(self.long))
        {
            // Dials that were given up are removed before the list grows, so that its length stays
            // near the number of dials that still wait.
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

    /// Returns true when another thread may be started.
    fn has_room(&self, state: &State) -> bool {
        let hang = state.lookups.iter().filter(|lookup| lookup.has_run_for(self.long)).count();
        state.threads.saturating_sub(hang) < self.most_threads
            && state.threads < self.most_threads * WITH_THOSE_THAT_HANG
    }

    /// Starts a thread if a lookup waits for one and another one may be started.
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
                    // The send fails when the dial was given up.
                    let _ = dial.send(Err(failure.clone()));
                }
            }
            // One of the running threads will take this lookup when it is free.
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

    /// Returns the lookup to run next. `None` means that no lookup waits, and that the thread has
    /// to end.
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

    /// Removes a lookup, and returns the dials that get its answer. A good answer is also for the
    /// dials that wait for another lookup of the same host.
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

    /// Sets a function that every lookup of the process asks before the operating system. It gets
    /// the host name, on a thread on which it may block. When it returns `None`, the operating
    /// system looks up the name. It replaces the function that was set before.
    pub fn set_resolver(
        resolver: impl Fn(&str) -> Option<io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) {
        *RESOLVER.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(resolver));
    }

    pub(super) fn resolve(host: &str) -> Option<io::Result<Vec<SocketAddr>>> {
        // Cloned, so that the lock is not held while the resolver blocks.
        let resolver = RESOLVER.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let with_port = |address| SocketAddr::new(address, 0);
        Some(resolver(host)?.map(|found| found.into_iter().map(with_port).collect()))
    }
}

#[cfg(test)]
mod tests;
