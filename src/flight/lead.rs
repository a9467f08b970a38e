//! The leader's part: run the closure, then end the flight or hand it over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::release::Released;
use super::run::{Ran, attempt};
use super::{At, Flight, waits};
use crate::sync::{self, Fault, planted};
use crate::{Ended, Outcome, Role};

/// The lead of a flight: whoever holds it owes its followers a result. It ends the flight however it goes away.
pub(crate) struct Lead<'a, K, T, E> {
    at: At<'a, K, T, E>,
    /// How long its closure ran, once that is over, if an observer was told that it leads.
    ran_for: Option<Duration>,
    ended: bool,
}

impl<'a, K, T, E> Lead<'a, K, T, E> {
    /// For the thread that is in the flight's record as its leader.
    pub(super) fn new(at: At<'a, K, T, E>) -> Self {
        waits::begin_lead();
        Self { at, ran_for: None, ended: false }
    }

    /// Runs `work` and shares what comes of it. A panic in `work` goes on to the caller.
    pub(crate) fn run(mut self, work: impl FnOnce(&Flight<'_, K, T, E>) -> Result<T, E>) -> Outcome<T, E> {
        let settings = &self.at.flights.settings;
        settings.observe(|observer| observer.led(&self.at.name()));
        // Neither the observers' own time nor that of waking the followers is the closure's.
        let began = settings.is_observed().then(sync::now);
        let ran = attempt(|| work(&Flight::of(self.at)), settings.cost.as_deref());
        self.ran_for = began.map(|began| sync::now().saturating_duration_since(began));
        let (followers, key) = self.end(&ran);
        if matches!(ran, Ran::Panicked { .. }) {
            // The caller is owed its own panic, not that of a key's Drop.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(key)));
        }
        Outcome { result: ran.into_result(), role: Role::Leader { followers } }
    }

    /// Hands the lead over if the policy says so and somebody waits. Else removes the flight and publishes its result
    /// in one step: a caller finds the flight without a result, or no flight. Returns how many followers were released,
    /// and the key to be dropped under no lock.
    fn end(&mut self, ran: &Ran<T, E>) -> (u64, Option<K>) {
        let At { flights, shard, hash, id } = self.at;
        // The policy is user code. Until the flight has ended this thread leads it, so what it asks here is refused
        // where it would wait for itself.
        let elections = flights.settings.elections(ran);
        self.ended = true;
        let unfollowed = planted(Fault::LooksForFollowersTooSoon) && Flight::of(self.at).followers() == 0;
        #[cfg(all(test, sync_coalesce_shuttle))]
        super::models::end_too_soon(self.at, ran);

        let mut locked = shard.lock();
        let draining = locked.count_end(ran);
        let offered = match elections {
            0 => None, // as the other arm would find, but without a look into the table
            _ => locked.record(hash, id).and_then(|(record, _)| record.offer_lead(elections)),
        };
        let stays = planted(Fault::PanicEndsNothing) && matches!(ran, Ran::Panicked { .. });
        let removed = if offered.is_some() || stays { None } else { locked.remove(hash, id) };
        let (key, released) = match removed {
            None => (None, None),
            Some((key, mut record)) => {
                record.slot = record.slot.filter(|_| !unfollowed);
                let released = Released::publish(&mut record, &mut locked.counters, || ran.shared());
                if let Ran::Value { cost, .. } = ran {
                    locked.counters.cost_saved += cost * count(released.followers());
                }
                (key, Some(released))
            }
        };
        drop(locked);

        waits::end_lead();
        if let Some(slot) = offered.filter(|_| !planted(Fault::OffersToNobody)) {
            slot.wake_one();
        }
        let followers = released.map_or(0, |released| released.wake(&flights.following));
        flights.tell_drain(draining);
        // A lead that was not run was not told of either.
        if let Some(duration) = self.ran_for {
            let ended = Ended { followers, duration, outcome: ran.kind() };
            flights.settings.observe(|observer| observer.ended(&self.at.name(), &ended));
        }
        (followers, key)
    }
}

impl<K, T, E> Drop for Lead<'_, K, T, E> {
    /// A lead that was not run, or lost on the way by a fault of ours, must not leave its followers waiting.
    fn drop(&mut self) {
        if !self.ended && !planted(Fault::AbandonedLeadEndsNothing) {
            self.end(&Ran::Panicked { message: "it left without a result".into(), payload: Box::new(()) });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 followers")]
fn count(followers: u64) -> f64 {
    followers as f64
}
