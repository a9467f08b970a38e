//! One thread that plays several: leads are held as if other threads held them, and followers are held unwaited.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::Equivalent;

use crate::flight::enter::{Entry, WaitMode};
use crate::flight::flights::Flights;
use crate::flight::follow::Follower;
use crate::flight::lead::LeaderGuard;
use crate::flight::settings::{Policy, Settings};
use crate::observe::{FlightId, FollowerLeft, Observer, RefusalReason, RunEnded};
use crate::options::CallOptions;
use crate::outcome::Outcome;
use crate::policy::{OnDeadlock, OnFailure};
use crate::sync::{self, Mutex};
use crate::wait::limits::WaitLimits;
use crate::wait::thread;

/// The hash of every key.
pub(super) const HASH: u64 = 1;

pub(super) type Numbers = Flights<u8, u64, u64>;

/// A failure is followed by an election, once.
pub(super) fn settings<K>() -> Settings<K, u64, u64> {
    Settings { on_error: Policy::Always(OnFailure::Elect { times: 1 }), ..Settings::new() }
}

/// What observers have heard, in words.
#[derive(Clone)]
pub(super) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub(super) fn events(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    fn add(&self, event: impl Into<String>) {
        self.0.lock().push(event.into());
    }
}

impl Observer for Heard {
    fn led(&self, _: &FlightId<'_>) {
        self.add("led");
    }

    fn joined(&self, _: &FlightId<'_>) {
        self.add("joined");
    }

    fn ended(&self, _: &FlightId<'_>, _: &RunEnded) {
        self.add("ended");
    }

    fn left(&self, _: &FlightId<'_>, left: &FollowerLeft) {
        self.add(format!("left {}", left.reason.as_str()));
    }

    fn refused(&self, _: Option<&str>, reason: RefusalReason) {
        self.add(format!("refused {}", reason.as_str()));
    }

    fn elected(&self, _: &FlightId<'_>, _: Duration) {
        self.add("elected");
    }
}

/// Flights whose events are heard.
pub(super) fn observed(on_deadlock: OnDeadlock) -> (Numbers, Heard) {
    let heard = Heard(Arc::new(Mutex::new(Vec::new())));
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(heard.clone())];
    (Flights::new(1, Settings { on_deadlock, observers, ..settings() }), heard)
}

/// Takes the lead, as it is free.
pub(super) fn lead<'a, Q, K, T, E>(flights: &'a Flights<K, T, E>, key: &Q) -> LeaderGuard<'a, K, T, E>
where
    Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
{
    match flights.enter(WaitMode::Now, HASH, key, &CallOptions::default()) {
        Entry::Lead(lead) => lead,
        _ => panic!("somebody leads, or it was refused"),
    }
}

/// Joins as a follower that does not wait yet.
pub(super) fn follow<'a, Q, K, T, E>(flights: &'a Flights<K, T, E>, mode: WaitMode, key: &Q) -> Follower<'a, K, T, E>
where
    Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
{
    match flights.enter(mode, HASH, key, &CallOptions::default()) {
        Entry::Follow(follower) => follower,
        _ => panic!("nobody leads, or it was refused"),
    }
}

/// A lead that is held as if another thread held it, or a follower of this one would seem to wait for itself.
pub(super) struct Held<'a, K, T, E>(Option<LeaderGuard<'a, K, T, E>>);

/// Takes the lead, as another thread would.
pub(super) fn lead_elsewhere<'a, Q, K, T, E>(flights: &'a Flights<K, T, E>, key: &Q) -> Held<'a, K, T, E>
where
    Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
{
    let lead = lead(flights, key);
    thread::end_lead();
    Held(Some(lead))
}

impl<K, T, E> Held<'_, K, T, E> {
    /// Its closure returns.
    pub(super) fn end(mut self, result: Result<T, E>) -> Outcome<T, E> {
        thread::begin_lead();
        self.0.take().expect("it is held").run_work(|_| result)
    }
}

impl<K, T, E> Drop for Held<'_, K, T, E> {
    fn drop(&mut self) {
        if self.0.is_some() {
            thread::begin_lead();
        }
    }
}

/// So long that only a fault reaches it.
pub(super) fn patient() -> WaitLimits {
    WaitLimits { deadline: sync::now().checked_add(Duration::from_secs(60)), patience: None }
}

pub(super) fn too_late() -> WaitLimits {
    WaitLimits { deadline: Some(sync::now()), patience: None }
}
