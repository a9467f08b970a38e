//! The leader's part: run the closure, then end the flight. If nobody followed, all of that is here; otherwise
//! [`finish`](super::finish) publishes the result, or offers the lead.

use std::mem;
use std::panic::resume_unwind;
use std::time::Duration;

use super::completion::Completion;
use super::faults::Fault;
use super::flight_ref::FlightRef;
use super::flights::Flights;
use super::handle::FlightHandle;
#[cfg(sync_coalesce_shuttle)]
use super::models;
use super::slot::Failure;
use super::table::ShardLock;
use super::table::record::Record;
use super::table::shard::Shard;
use crate::observe::RunEnded;
use crate::outcome::{Outcome, Role};
use crate::panic::{CatchDrop, catch_panic};
use crate::stats::Stats;
use crate::sync::{self, Instant, Ordering, step};
use crate::wait::thread::{self, ThreadToken};

/// The lead of a flight, and with it the obligation to give the followers a result. However it goes away, the flight
/// ends.
pub(crate) struct LeaderGuard<'a, K, T, E> {
    flight: FlightRef<'a, K, T, E>,
}

/// A lead that was vacant, and the failure for which it was offered, to be dropped after unlocking.
pub(super) type Claimed<'a, K, T, E> = (LeaderGuard<'a, K, T, E>, Failure<T, E>);

impl<K, T, E> Flights<K, T, E> {
    /// Begins a flight for a key that has none.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(super) fn begin<'a>(
        &'a self,
        locked: &mut Shard<K, T, E>,
        shard: &'a ShardLock<K, T, E>,
        hash: u64,
        key: K,
        leader: ThreadToken,
    ) -> LeaderGuard<'a, K, T, E> {
        let record = self.new_record(locked, leader);
        let flight = FlightRef { flights: self, shard, hash, id: record.id };
        locked.insert(hash, key, record);
        LeaderGuard::new(flight)
    }

    /// The record of a flight that begins now, which is counted.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(super) fn new_record(&self, locked: &mut Shard<K, T, E>, leader: ThreadToken) -> Record<T, E> {
        locked.counters.underlying_calls += 1;
        locked.counters.running += 1;
        let began = self.is_timed.then(sync::now);
        locked.new_record(leader, began, self.marks.load(Ordering::Acquire))
    }
}

impl<'a, K, T, E> LeaderGuard<'a, K, T, E> {
    /// For the thread that the flight's record names as its leader.
    #[inline]
    pub(super) fn new(flight: FlightRef<'a, K, T, E>) -> Self {
        thread::begin_lead();
        Self { flight }
    }

    /// Runs the closure and shares its result. A panic in the closure goes on to the caller.
    #[expect(clippy::inline_always, reason = "or the outcome goes through memory twice, a thirtieth of a lone call")]
    #[inline(always)]
    pub(crate) fn run(self, run: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Completion<T, E>) -> Outcome<T, E> {
        let began = self.begin();
        let completion = run(&FlightHandle { flight: self.flight });
        let ran_for = began.map(|began| sync::now().saturating_duration_since(began));
        let (followers, key) = self.finish(&completion, ran_for);
        if let Completion::Panicked { payload, .. } = completion {
            // The caller is owed its own panic, not that of a key's Drop.
            catch_panic(|| drop(key));
            resume_unwind(payload);
        }
        let outcome = Outcome { result: completion.into_result_or_resume(), role: Role::Leader { followers } };
        // Not at the end of the scope: the compiler leaks a value that is being returned if a later Drop panics.
        drop(key);
        outcome
    }

    /// [`run`](LeaderGuard::run) for work that is not caught yet.
    #[cfg(test)]
    pub(crate) fn run_work(self, work: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E>) -> Outcome<T, E> {
        let cost = self.flight.flights.settings.cost.as_deref();
        self.run(|flight| super::completion::attempt(|| work(flight), cost))
    }

    /// Notifies the observers that the closure is about to run. Returns the time of that, if there are any.
    #[inline]
    pub(super) fn begin(&self) -> Option<Instant> {
        let is_observed = !self.flight.flights.settings.observers.is_empty();
        is_observed.then(|| self.observe_begin())
    }

    fn observe_begin(&self) -> Instant {
        self.flight.flights.settings.observe(&|observer| observer.led(&self.flight.name()));
        // The observers' own time is not the closure's.
        sync::now()
    }

    /// Ends the flight with this completion. Returns how many followers were released, and the key, to be dropped under
    /// no lock.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(super) fn finish(self, completion: &Completion<T, E>, ran_for: Option<Duration>) -> (u64, Option<K>) {
        self.into_flight().finish(completion, ran_for)
    }

    /// Gives the lead up to a pool thread, which takes it over.
    pub(super) fn hand_to_pool(self) -> FlightRef<'a, K, T, E> {
        thread::end_lead();
        self.into_flight()
    }

    /// From here on, the caller has this guard's obligation.
    #[inline]
    fn into_flight(self) -> FlightRef<'a, K, T, E> {
        let flight = self.flight;
        mem::forget(self);
        flight
    }
}

impl<'a, K, T, E> FlightRef<'a, K, T, E> {
    /// Offers the lead if the policy elects and a follower waits; otherwise ends the flight with `completion`. Returns
    /// how many followers were released, and the key, to be dropped under no lock.
    ///
    /// `ran_for` is `None` for a lead that was not run: its beginning was not observed, so its end is not either.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(super) fn finish(self, completion: &Completion<T, E>, ran_for: Option<Duration>) -> (u64, Option<K>) {
        let FlightRef { flights, shard, hash, id } = self;
        // The policy is user code. This thread still leads, so a call that it makes here is refused if it would wait
        // for itself.
        let is_value = matches!(completion, Completion::Value { .. });
        let elections = if is_value { 0 } else { flights.settings.elections(completion) };
        let lingers = if flights.lingers { flights.settings.lingers(completion) } else { None };
        #[cfg(sync_coalesce_shuttle)]
        if models::finishes_wrongly(self, completion) {
            return (0, None);
        }
        // There is no wait between here and the return, so this thread need not count as a leader any more.
        thread::end_lead();
        let mut locked = shard.lock();
        let drained = locked.count_end(completion);
        // The usual case, short and here: nobody has followed, and the result does not linger.
        let lone = if lingers.is_some() { None } else { locked.remove_lone(hash, id) };
        let (followers, key) = if lone.is_some() {
            drop(locked);
            if drained {
                flights.notify_drained();
            }
            (0, lone)
        } else {
            self.finish_followed(locked, completion, elections, lingers, drained)
        };
        if let Some(duration) = ran_for {
            let ended = RunEnded { followers, duration, outcome: completion.kind() };
            flights.settings.observe(&|observer| observer.ended(&self.name(), &ended));
        }
        (followers, key)
    }

    /// Claims a vacant lead for `thread`.
    pub(super) fn claim_lead(
        self,
        record: &mut Record<T, E>,
        counters: &mut Stats,
        thread: ThreadToken,
    ) -> Claimed<'a, K, T, E> {
        let failure = record.slot.as_ref().map_or(CatchDrop::NONE, |slot| slot.claim_lead(thread.number));
        record.leader = Some(thread);
        record.runs += 1;
        counters.underlying_calls += 1;
        counters.running += 1;
        (LeaderGuard::new(self), failure)
    }
}

impl<K, T, E> Drop for LeaderGuard<'_, K, T, E> {
    /// A guard that was not run, or was lost through a fault of ours, must not leave its followers waiting.
    fn drop(&mut self) {
        let abandoned = Completion::Panicked { message: "it left without a result".into(), payload: Box::new(()) };
        // This may be dropped during a panic, and a second panic would end the process.
        step!(AbandonedLeadEndsNothing, {
            let (_, key) = self.flight.finish(&abandoned, None);
            catch_panic(|| drop(key));
        });
    }
}
