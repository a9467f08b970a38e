//! Waits with bounds, and ways to hold a leader where a test wants it.

pub(crate) mod process;
pub(crate) mod thread;

use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use proptest::prelude::RngCore;
use proptest::test_runner::{RngAlgorithm, TestRng};
use sync_coalesce::SyncCoalesce;
use sync_coalesce::observe::{FlightId, Observer};

use self::thread::{Scope, ScopedJoinHandle};

/// Far more than any wait in a passing test takes, on a machine that is busy with something else.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test that may hang if the crate is at fault, and ends the process when it does.
pub(crate) fn bounded(test: impl FnOnce()) {
    let mut test = Some(test);
    watched(&mut || test.take().unwrap()());
}

fn watched(test: &mut dyn FnMut()) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (ended, wait) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if wait.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs");
            #[cfg(sync_coalesce_lock_cycles)]
            eprintln!("{}", crate::lock_cycles::found());
            std::process::abort();
        }
    });
    test();
    drop(ended);
    watchdog.join().unwrap();
}

/// Yields until `condition` holds.
#[track_caller]
pub(crate) fn until(what: impl fmt::Display, condition: impl Fn() -> bool) {
    until_true(&what, &condition);
}

#[track_caller]
fn until_true(what: &dyn fmt::Display, condition: &dyn Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::yield_now();
    }
}

/// Waits until `count` followers are in flights.
#[track_caller]
pub(crate) fn until_following<K, T, E, S>(coalesce: &SyncCoalesce<K, T, E, S>, count: u64) {
    until(format_args!("{count} followers"), || coalesce.stats().following == count);
}

/// Waits until a call takes the lead of `count` flights.
#[track_caller]
pub(crate) fn until_running<K, T, E, S>(coalesce: &SyncCoalesce<K, T, E, S>, count: u64) {
    until(format_args!("{count} running closures"), || coalesce.stats().running == count);
}

/// Nothing is left behind.
#[track_caller]
pub(crate) fn assert_idle<K: Hash + Eq + Clone, T, E, S>(coalesce: &SyncCoalesce<K, T, E, S>) {
    assert_nothing_left(coalesce);
    assert!(coalesce.flights().is_empty());
}

/// As [`assert_idle`], for keys that cannot be cloned or must not be: `flights` clones them under the lock, as its docs
/// say.
#[track_caller]
pub(crate) fn assert_nothing_left<K, T, E, S>(coalesce: &SyncCoalesce<K, T, E, S>) {
    let stats = coalesce.stats();
    assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0), "{stats:?}");
}

/// A gate that closures wait at until the test opens it; opened for good.
pub(crate) struct Gate {
    closed: mpsc::Sender<()>,
    wait: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (closed, wait) = mpsc::channel();
        Self { closed, wait: std::sync::Mutex::new(wait) }
    }

    /// Lets one waiter through.
    pub(crate) fn open(&self) {
        self.closed.send(()).unwrap();
    }

    /// Blocks until the gate is opened.
    pub(crate) fn pass(&self) {
        self.wait.lock().unwrap().recv_timeout(LIMIT).expect("the gate stays closed");
    }
}

thread_local! {
    /// Where this thread stops when it has joined a flight.
    static HELD_AT: RefCell<Option<Arc<Gate>>> = const { RefCell::new(None) };
}

/// An observer that stops who has joined a flight and does not wait in it yet, if [`hold_at`] said so.
pub(crate) struct Holding;

impl Observer for Holding {
    fn joined(&self, _: &FlightId<'_>) {
        if let Some(gate) = HELD_AT.take() {
            gate.pass();
        }
    }
}

/// Has this thread stop at the gate when it joins a flight next.
pub(crate) fn hold_at(gate: &Arc<Gate>) {
    HELD_AT.set(Some(Arc::clone(gate)));
}

/// Spawns `count` threads that do the same, told apart by a number.
pub(crate) fn crowd<'scope, R: Send + 'scope>(
    scope: Scope<'scope, '_>,
    count: usize,
    work: impl Fn(usize) -> R + Clone + Send + 'scope,
) -> Vec<ScopedJoinHandle<'scope, R>> {
    (0..count)
        .map(|number| {
            let work = work.clone();
            scope.spawn(move || work(number))
        })
        .collect()
}

/// The results of [`crowd`].
pub(crate) fn join<R>(crowd: Vec<ScopedJoinHandle<'_, R>>) -> Vec<R> {
    crowd.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Random numbers that are the same in each run of the test.
pub(crate) struct Random(TestRng);

impl Random {
    pub(crate) fn new(seed: usize) -> Self {
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &[u8::try_from(seed).unwrap(); 32]))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.next_u32() as usize % bound
    }
}

/// Puts every key into one place.
#[derive(Default)]
pub(crate) struct Terrible;

impl Hasher for Terrible {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, _: &[u8]) {}
}
