//! The leader's part: run the closure, then end the flight or hand it over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::release::Released;
use super::run::{Ran, attempt};
use super::{At, Flight, waits};
use crate::sync::{self, Instant};
use crate::{Ended, Outcome, Role};

/// The lead of a flight: whoever holds it owes its followers a result. It ends the flight however it goes away.
pub(crate) struct Lead<'a, K, T, E> {
    at: At<'a, K, T, E>,
    /// When its closure began, if an observer is to be told how long that took.
    began: Option<Instant>,
    ended: bool,
}

impl<'a, K, T, E> Lead<'a, K, T, E> {
    /// For the thread that is in the flight's record as its leader.
    pub(super) fn new(at: At<'a, K, T, E>) -> Self {
        waits::begin_lead();
        Self { at, began: None, ended: false }
    }

    /// Runs `work` and shares what comes of it. A panic in `work` goes on to the caller.
    pub(crate) fn run(mut self, work: impl FnOnce(&Flight<'_, K, T, E>) -> Result<T, E>) -> Outcome<T, E> {
        let settings = &self.at.flights.settings;
        if settings.observer.is_some() {
            self.began = Some(sync::now());
            settings.observe(|observer| observer.led(&self.at.name()));
        }
        let ran = attempt(|| work(&Flight::of(self.at)), settings.cost.as_deref());
        let (followers, key) = self.end(&ran);
        if matches!(ran, Ran::Panicked { .. }) {
            // The caller is owed its own panic, not that of a key's Drop.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(key)));
        }
        Outcome { result: ran.into_result(), role: Role::Leader { followers } }
    }

    /// Hands the lead over if the policy says so and somebody waits. Else removes the flight and publishes its result in one
    /// step: a caller finds the flight without a result, or no flight. Returns how many followers were released, and the
    /// key to be dropped under no lock.
    fn end(&mut self, ran: &Ran<T, E>) -> (u64, Option<K>) {
        let At { flights, shard, hash, id } = self.at;
        // The policy is user code. Until the flight has ended this thread leads it, so what it asks here is refused where it would
        // wait for itself.
        let elections = flights.settings.elections(ran);
        self.ended = true;

        let mut locked = shard.lock();
        let draining = locked.count_end(ran);
        let offered = match elections {
            0 => None,
            _ => locked.record(hash, id).and_then(|(record, _)| record.offer_lead(elections)),
        };
        let removed = if offered.is_some() { None } else { locked.remove(hash, id) };
        let (key, released) = match removed {
            None => (None, None),
            Some((key, mut record)) => {
                let released = Released::publish(&mut record, &mut locked.counters, || ran.shared());
                if let Ran::Value { cost, .. } = ran {
                    locked.counters.cost_saved += cost * count(released.followers());
                }
                (key, Some(released))
            }
        };
        drop(locked);

        waits::end_lead();
        if let Some(slot) = offered {
            slot.wake_one();
        }
        let followers = released.map_or(0, |released| released.wake(&flights.following));
        flights.tell_drain(draining);
        flights.settings.observe(|observer| {
            let duration = self.began.map_or(Duration::ZERO, |began| sync::now().saturating_duration_since(began));
            observer.ended(&self.at.name(), &Ended { followers, duration, outcome: ran.kind() });
        });
        (followers, key)
    }
}

impl<K, T, E> Drop for Lead<'_, K, T, E> {
    /// A lead that was not run, or lost on the way by a fault of ours, must not leave its followers waiting.
    fn drop(&mut self) {
        if !self.ended {
            self.end(&Ran::Panicked { message: "it left without a result".into(), payload: Box::new(()) });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 followers")]
fn count(followers: u64) -> f64 {
    followers as f64
}
