//! The leader's part: run the closure, then end the flight or hand it over.

use std::mem;
use std::time::Duration;

use super::completion::{Completion, attempt};
use super::release::Released;
use super::table::lingering::LingeringResult;
use super::table::lock::ShardGuard;
use super::table::shard::Removed;
use super::{Flight, FlightRef};
use crate::flight::faults::Fault;
use crate::observe::Ended;
use crate::outcome::{Outcome, Role};
use crate::panic::{CatchDrop, catch_panic};
use crate::sync::{self, Instant, is_planted};
use crate::wait::graph;

/// The lead of a flight: whoever holds it owes its followers a result. It ends the flight however it goes away.
pub(crate) struct LeaderGuard<'a, K, T, E> {
    at: FlightRef<'a, K, T, E>,
}

impl<'a, K, T, E> LeaderGuard<'a, K, T, E> {
    /// For the thread that is in the flight's record as its leader.
    #[inline]
    pub(super) fn new(at: FlightRef<'a, K, T, E>) -> Self {
        graph::begin_lead();
        Self { at }
    }

    /// Runs `work` and shares what comes of it. A panic in `work` goes on to the caller.
    #[expect(clippy::inline_always, reason = "or the outcome goes through memory twice, a thirtieth of a lone call")]
    #[inline(always)]
    pub(crate) fn run(self, work: impl FnOnce(&Flight<'_, K, T, E>) -> Result<T, E>) -> Outcome<T, E> {
        let began = self.begin();
        let completion = attempt(|| work(&Flight::of(self.at)), self.at.flights.settings.cost.as_deref());
        let ran_for = began.map(|began| sync::now().saturating_duration_since(began));
        let (followers, key) = self.into_at().end(&completion, ran_for);
        if matches!(completion, Completion::Panicked { .. }) {
            // The caller is owed its own panic, not that of a key's Drop.
            catch_panic(|| drop(key));
        }
        Outcome { result: completion.into_result(), role: Role::Leader { followers } }
    }

    /// Tells the observers that the closure is about to run, and says when that is if there are any.
    #[inline]
    pub(super) fn begin(&self) -> Option<Instant> {
        self.at.flights.settings.is_observed().then(|| self.tell_begin())
    }

    fn tell_begin(&self) -> Instant {
        self.at.flights.settings.observe(|observer| observer.led(&self.at.name()));
        // Neither the observers' own time nor that of waking the followers is the closure's.
        sync::now()
    }

    /// Ends the flight with its part of what a closure for several flights came to. The key is to be dropped under no
    /// lock, and when the other flights have ended too.
    pub(super) fn finish(self, completion: &Completion<T, E>, ran_for: Option<Duration>) -> Option<K> {
        self.into_at().end(completion, ran_for).1
    }

    /// Leaves the closure to another thread, which is to take the lead of the flight.
    pub(super) fn hand_to_pool(self) -> FlightRef<'a, K, T, E> {
        graph::end_lead();
        self.into_at()
    }

    /// From here on, what this lead owes is owed by the caller.
    fn into_at(self) -> FlightRef<'a, K, T, E> {
        let at = self.at;
        mem::forget(self);
        at
    }
}

impl<K, T, E> Drop for LeaderGuard<'_, K, T, E> {
    /// A lead that was not run, or lost on the way by a fault of ours, must not leave its followers waiting.
    fn drop(&mut self) {
        if !is_planted(Fault::AbandonedLeadEndsNothing) {
            let abandoned = Completion::Panicked { message: "it left without a result".into(), payload: Box::new(()) };
            let (_, key) = self.at.end(&abandoned, None);
            // It may be a panic that this goes away in, and a second one would end the process.
            catch_panic(|| drop(key));
        }
    }
}

impl<'a, K, T, E> FlightRef<'a, K, T, E> {
    /// Hands the lead over if the policy says so and somebody waits. Else removes the flight and publishes its result
    /// in one step: a caller finds the flight without a result, or no flight. Returns how many followers were released,
    /// and the key to be dropped under no lock.
    ///
    /// A lead that was not run was not told of either, so there is nothing to tell of its end: `ran_for` is none.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    fn end(self, completion: &Completion<T, E>, ran_for: Option<Duration>) -> (u64, Option<K>) {
        let FlightRef { flights, shard, hash, id } = self;
        // The policy is user code. Until the flight has ended this thread leads it, so what it asks here is refused
        // where it would wait for itself.
        let elections = flights.settings.elections(completion);
        let unfollowed = is_planted(Fault::LooksForFollowersTooSoon) && Flight::of(self).followers() == 0;
        #[cfg(sync_coalesce_shuttle)]
        super::models::end_too_soon(self, completion);

        let kept =
            if flights.settings.linger.is_on() { flights.settings.linger.span(completion, sync::now()) } else { None };
        let stays = is_planted(Fault::PanicEndsNothing) && matches!(completion, Completion::Panicked { .. });
        let mut locked = shard.lock();
        if unfollowed {
            if let Some((record, _)) = locked.record(hash, id) {
                record.slot = None;
            }
        }
        let draining = locked.count_end(completion);
        // The usual case, short and apart: nobody has followed, and nothing is kept.
        let lone = if kept.is_some() || stays { None } else { locked.remove_lone(hash, id) };
        let (followers, key) = if lone.is_some() {
            drop(locked);
            graph::end_lead();
            flights.tell_drain(draining);
            (0, lone)
        } else {
            self.end_shared(locked, completion, elections, kept, draining)
        };
        if let Some(duration) = ran_for {
            let ended = Ended { followers, duration, outcome: completion.kind() };
            flights.settings.observe(|observer| observer.ended(&self.name(), &ended));
        }
        (followers, key)
    }

    /// The same where somebody followed, or the result is to be kept.
    #[inline(never)]
    fn end_shared(
        self,
        mut locked: ShardGuard<'a, K, T, E>,
        completion: &Completion<T, E>,
        elections: u32,
        kept: Option<(Instant, Instant)>,
        draining: bool,
    ) -> (u64, Option<K>) {
        let FlightRef { flights, shard, hash, id } = self;
        let offered = match elections {
            0 => None, // as the other arm would find, but without a look into the table
            _ => locked.record(hash, id).and_then(|(record, _)| record.offer_lead(elections, || completion.shared())),
        };
        let stays = is_planted(Fault::PanicEndsNothing) && matches!(completion, Completion::Panicked { .. });
        let removed = if offered.is_some() || stays { None } else { locked.remove(hash, id) };
        let mut gone = Vec::new();
        let (key, released) = match removed {
            None => (None, None),
            Some(Removed { mut key, mark, followers, slot }) => {
                let released = Released::publish(followers, slot, &mut locked.counters, || completion.shared());
                if let (Some(released), Completion::Value { cost, .. }) = (&released, completion) {
                    locked.counters.cost_saved += cost * count(released.followers());
                }
                // A flight that was forgotten has no key.
                if let (Some((ended, until)), Some(key)) = (kept, key.take_if(|_| kept.is_some())) {
                    if is_planted(Fault::LingersLate) {
                        drop(locked);
                        locked = shard.lock();
                    }
                    let (key, result) = (CatchDrop::new(key), CatchDrop::new(completion.shared()));
                    gone = locked.lingering.put(LingeringResult { key, result, hash, id, mark, ended, until });
                }
                (key, released)
            }
        };
        drop(locked);

        graph::end_lead();
        if let Some(slot) = offered.filter(|_| !is_planted(Fault::OffersToNobody)) {
            slot.wake_one();
        }
        let followers = released.map_or(0, |released| released.wake(&flights.following));
        flights.tell_drain(draining);
        // User code, which may take its time: nobody waits for this thread any more.
        drop(gone);
        (followers, key)
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 followers")]
fn count(followers: u64) -> f64 {
    followers as f64
}
