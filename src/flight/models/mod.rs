//! The real protocol under the model checker, one model per promise. Run by `ci/shuttle`.
//!
//! Each model is checked twice: with the code as it is, where it must hold in every schedule, and with faults planted
//! one at a time, where some schedule must fail. A model that lets its faults pass proves nothing. All end in
//! [`Crowd::settle`]: nothing is left, and the counters agree with what the callers saw.

#![expect(clippy::disallowed_types, reason = "flags for what a model saw, which the model checker need not see")]

mod anything;
mod batches;
mod deadlocks;
mod detaching;
mod elections;
mod endings;
mod limits;
mod observers;

use std::cell::RefCell;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::completion::Completion;
use super::flight_ref::FlightRef;
use super::handle::FlightHandle;
use super::slot::Slot;
use super::table::record::Record;
use super::table::shard::Shard;
use super::table::{ShardGuard, ShardLock};
use crate::call::{Call, OneKey};
use crate::coalesce::SyncCoalesce;
use crate::coalesce::builder::Builder;
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::outcome::Shared;
use crate::outcome::{Outcome, Role};
use crate::sync::{self, is_planted};
use crate::wait::graph::{self, WaitEdge};
use crate::wait::thread;

/// A key is its own hash, so that a model knows which keys share a shard.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

type Hashing = BuildHasherDefault<Itself>;
type Calls = SyncCoalesce<u64, u64, u64, Hashing>;
type Building = Builder<u64, u64, u64, Hashing>;
type Asking<'a> = Call<'a, Calls, OneKey<'a, u64>>;
type Handle<'a> = FlightHandle<'a, u64, u64, u64>;

fn building() -> Building {
    SyncCoalesce::builder().shards(1).hasher(Hashing::default())
}

/// A coalescer, and how each call to it ended.
struct Crowd {
    calls: Calls,
    /// How many closures run for a flight. There may be one flight per key.
    leading: AtomicU64,
}

/// How one thread's calls ended; `None` for a call that resumed the panic of its own closure.
#[derive(Default)]
struct Seen(RefCell<Vec<Option<Outcome<u64, u64>>>>);

impl Crowd {
    fn new(calls: Building) -> Self {
        Self { calls: calls.build(), leading: AtomicU64::new(0) }
    }

    /// Keys that share no shard.
    fn keys_apart<const N: usize>(&self) -> [u64; N] {
        let table = &self.calls.flights.table;
        let mut keys: Vec<u64> = Vec::new();
        for key in 1..1_000 {
            if keys.iter().all(|&other| !std::ptr::eq(table.shard(other), table.shard(key))) {
                keys.push(key);
            }
        }
        keys.truncate(N);
        keys.try_into().expect("a shard for each key")
    }

    /// Makes one call, keeps it in `seen`, and returns how it ended.
    fn call(
        &self,
        seen: &Seen,
        key: u64,
        options: impl FnOnce(Asking<'_>) -> Asking<'_>,
        work: impl FnOnce(&Handle<'_>) -> Result<u64, u64>,
    ) -> Shared<u64, u64> {
        let outcome = catch_unwind(AssertUnwindSafe(|| options(self.calls.on(&key)).try_call(work)));
        // A payload that is not one of the model's own is a failed assertion.
        let outcome =
            outcome.map_err(|payload| payload.downcast::<u64>().unwrap_or_else(|payload| resume_unwind(payload)));
        let result = outcome.as_ref().map_or(Err(CallError::Cancelled), |outcome| outcome.result.clone());
        seen.0.borrow_mut().push(outcome.ok());
        result
    }

    /// The work of a closure for a key whose flights never run side by side.
    fn alone<R>(&self, work: impl FnOnce() -> R) -> R {
        assert_eq!(self.leading.fetch_add(1, Ordering::Relaxed), 0, "two leaders at a time");
        sync::pause();
        let done = work();
        self.leading.fetch_sub(1, Ordering::Relaxed);
        done
    }

    fn assert_nothing_left(&self) {
        let stats = self.calls.stats();
        let flights = &self.calls.flights;
        assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0), "something is left: {stats:?}");
        for shard in flights.table.shards() {
            let shard = shard.lock();
            assert!(shard.unlinked.is_empty(), "a forgotten flight is left");
            assert!(shard.bypassing.is_empty(), "a bypass is left");
        }
        assert!(graph::nobody_waits(), "an edge is left");
        assert_eq!((flights.following.taken(), flights.impatient.taken()), (0, 0), "a place under a bound is left");
    }

    /// Asserts that nothing is left, and that the counters agree with what the callers saw.
    fn settle(&self, seen: Vec<Seen>) {
        self.assert_nothing_left();
        let stats = self.calls.stats();
        let seen: Vec<_> = seen.into_iter().flat_map(|seen| seen.0.into_inner()).collect();
        let count = |is: &dyn Fn(Role, &Shared<u64, u64>) -> bool| {
            seen.iter().flatten().filter(|outcome| is(outcome.role, &outcome.result)).count() as u64
        };
        let panicked = seen.iter().filter(|outcome| outcome.is_none()).count() as u64;
        let ran = count(&|role, _| role.ran());
        let followed = count(&|role, _| matches!(role, Role::Follower { .. }));
        let late = count(&|_, result| matches!(result, Err(CallError::TimedOut)));
        let dismissed = count(&|role, result| {
            matches!(role, Role::Follower { .. }) && matches!(result, Err(CallError::Cancelled | CallError::Closed))
        });
        assert_eq!(stats.calls(), seen.len() as u64, "calls do not add up: {stats:?}");
        let runs = stats.underlying_calls + stats.bypassed + stats.impatient;
        assert_eq!(runs, ran + panicked, "runs: {stats:?}");
        assert_eq!(stats.coalesced_calls, followed + stats.elected + stats.impatient, "followers: {stats:?}");
        assert_eq!((stats.timed_out, stats.cancelled), (late, dismissed), "early leavers: {stats:?}");
        assert_eq!(stats.deadlocks, count(&|_, result| matches!(result, Err(CallError::Deadlock { .. }))), "{stats:?}");
        assert_eq!(stats.overloaded, count(&|_, result| matches!(result, Err(CallError::Overloaded))), "{stats:?}");
        if panicked == 0 {
            // How many followers the leaders say that they released, and how many were released.
            let released = seen.iter().flatten().map(|outcome| match outcome.role {
                Role::Leader { followers } => followers,
                _ => 0,
            });
            assert_eq!(released.sum::<u64>(), followed - late - dismissed, "released: {stats:?}");
        }
    }
}

/// No options.
fn plainly(request: Asking<'_>) -> Asking<'_> {
    request
}

/// Runs each in a thread of its own, and returns what they saw.
fn together<const N: usize>(parts: [&(dyn Fn(&Seen) + Sync); N]) -> Vec<Seen> {
    sync::scope(|scope| {
        let threads = parts.map(|part| {
            scope.spawn(move || {
                let seen = Seen::default();
                part(&seen);
                assert!(!thread::leads_something(), "a thread ends as a leader");
                seen
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The faults before the end of a flight. Returns whether the flight's end is then left out.
pub(super) fn finishes_wrongly<K, T, E>(flight: FlightRef<'_, K, T, E>, completion: &Completion<T, E>) -> bool {
    if is_planted(Fault::PublishesBeforeRemoving) {
        let mut locked = flight.shard.lock();
        let slot = locked.record(flight.hash, flight.id).and_then(|(record, _)| record.slot.clone());
        drop(locked);
        if let Some(slot) = slot {
            slot.publish(0, completion.shared()).notify();
        }
    }
    if is_planted(Fault::LooksForFollowersTooSoon) && (FlightHandle { flight }).followers() == 0 {
        if let Some((record, _)) = flight.shard.lock().record(flight.hash, flight.id) {
            record.slot = None;
        }
    }
    let ends_nothing = is_planted(Fault::PanicEndsNothing) && matches!(completion, Completion::Panicked { .. });
    if ends_nothing {
        thread::end_lead();
        flight.shard.lock().count_end(completion);
    }
    ends_nothing
}

/// The step of `fault`: unlocks the shard between two steps that belong together.
pub(super) fn unlock_for_a_moment<'a, K, T, E>(
    fault: Fault,
    locked: ShardGuard<'a, K, T, E>,
    shard: &'a ShardLock<K, T, E>,
) -> ShardGuard<'a, K, T, E> {
    if !is_planted(fault) {
        return locked;
    }
    drop(locked);
    shard.lock()
}

/// The step of `fault`: the record loses its slot.
pub(super) fn lose_slot<T, E>(fault: Fault, record: &mut Record<T, E>) {
    if is_planted(fault) {
        record.slot = None;
    }
}

/// [`Fault::PublishesTwice`].
pub(super) fn keep_slot<T, E>(record: &mut Record<T, E>, slot: Option<&Arc<Slot<T, E>>>) {
    if is_planted(Fault::PublishesTwice) {
        record.slot = slot.cloned();
    }
}

/// [`Fault::LeaverKeepsEdge`].
pub(super) fn keep_edge(edge: &mut Option<WaitEdge>) {
    if is_planted(Fault::LeaverKeepsEdge) {
        std::mem::forget(edge.take());
    }
}

/// [`Fault::DeferredAreForgotten`]: the flight is removed without a result.
pub(super) fn forgets_deferred<K, T, E>(locked: &mut Shard<K, T, E>, hash: u64, id: u64) -> bool {
    is_planted(Fault::DeferredAreForgotten) && locked.take_out(hash, id).is_some()
}
