//! The protocol: who leads, who follows, and how a flight ends. `README.md` beside this file tells it step by step.

mod handle;
mod run;
mod slot;
mod table;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use hashbrown::Equivalent;

pub use self::handle::Flight;
pub(crate) use self::run::Cost;
use self::run::{Ran, attempt};
use self::slot::Slot;
use self::table::{Lock, Shard, Table};
use crate::outcome::Shared;
use crate::sync;
use crate::{CallError, FlightInfo, Stats};

/// All flights of one coalescer.
pub(crate) struct Flights<K, T, E> {
    table: Table<K, T, E>,
    track_age: bool,
}

/// Which part a caller plays.
pub(crate) enum Entered<'a, K, T, E> {
    Leads(Lead<'a, K, T, E>),
    Follows(Follow<'a, K, T, E>),
}

impl<K, T, E> Flights<K, T, E> {
    pub(crate) fn new(shards: usize, track_age: bool) -> Self {
        let table = Table::new(shards);
        Self { table, track_age }
    }

    /// Joins the flight for `key`, or takes the lead of a new one.
    ///
    /// User code here: `Q: Eq` under the shard's lock, before anything has changed, and `Q::to_owned` under none.
    /// If either panics, or asks this coalescer again, no flight is harmed.
    pub(crate) fn enter<Q>(&self, hash: u64, key: &Q) -> Entered<'_, K, T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let shard = self.table.shard(hash);
        let absent_since = {
            let mut locked = shard.lock();
            if let Some(follow) = Follow::join(shard, &mut locked, hash, key) {
                return Entered::Follows(follow);
            }
            locked.last_id()
        };

        let owned = key.to_owned();
        let leader = sync::thread_id();
        let began = self.track_age.then(Instant::now);

        let mut locked = shard.lock();
        // Another caller may have taken the lead while the key was made. `owned` outlives the guard, as it must: its
        // Drop is user code.
        if locked.last_id() != absent_since {
            if let Some(follow) = Follow::join(shard, &mut locked, hash, key) {
                return Entered::Follows(follow);
            }
        }
        locked.counters.underlying_calls += 1;
        locked.counters.running += 1;
        let id = locked.insert(hash, owned, leader, began);
        Entered::Leads(Lead { shard, hash, id, ended: false })
    }

    /// Runs `work` for its caller alone. A panic in it goes on to the caller.
    pub(crate) fn bypass(
        &self,
        hash: u64,
        work: impl FnOnce(&Flight<'_, K, T, E>) -> Result<T, E>,
        cost: Option<&Cost<T>>,
    ) -> Shared<T, E> {
        let shard = self.table.shard(hash);
        {
            let mut locked = shard.lock();
            locked.counters.bypassed += 1;
            locked.counters.running += 1;
        }
        let ran = attempt(|| work(&Flight::none()), cost);
        shard.lock().count_end(&ran);
        ran.into_result()
    }

    /// Lets later callers start afresh; present followers stay. Says whether there was a flight.
    pub(crate) fn forget<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        // The key is dropped at the end of this statement's value, after the guard: its Drop is user code.
        let key = self.table.shard(hash).lock().forget(hash, key).map(|(key, _)| key);
        key.is_some()
    }

    /// Forgets the flight and wakes its followers with `Cancelled`. Says whether there was a flight.
    pub(crate) fn cancel<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        let mut locked = self.table.shard(hash).lock();
        let Some((key, record)) = locked.forget(hash, key) else {
            return false;
        };
        record.cancelled = true;
        let followers = std::mem::take(&mut record.followers);
        let slot = record.slot.take();
        if let Some(slot) = &slot {
            slot.publish(Err(CallError::Cancelled));
        }
        locked.counters.cancelled += followers;
        locked.counters.following -= followers;
        drop(locked);
        if let Some(slot) = slot {
            slot.wake_all();
        }
        drop(key);
        true
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for shard in self.table.shards() {
            sum += shard.lock().stats();
        }
        sum
    }

    pub(crate) fn reset_stats(&self) {
        for shard in self.table.shards() {
            shard.lock().counters.reset();
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.table.shards().map(|shard| shard.lock().in_flight()).sum()
    }

    pub(crate) fn infos(&self) -> Vec<FlightInfo<K>>
    where
        K: Clone,
    {
        let mut infos = Vec::new();
        for shard in self.table.shards() {
            infos.extend(shard.lock().flights().map(|entry| FlightInfo {
                key: entry.key.clone(),
                followers: entry.record.followers,
                age: entry.record.began.map(|began| began.elapsed()),
                leader: entry.record.leader,
            }));
        }
        infos
    }
}

/// The lead of a flight: whoever holds it owes its followers a result. It ends the flight however it goes away.
pub(crate) struct Lead<'a, K, T, E> {
    shard: &'a Lock<K, T, E>,
    hash: u64,
    id: u64,
    ended: bool,
}

impl<K, T, E> Lead<'_, K, T, E> {
    /// Runs `work` and shares what comes of it; says how many followers got it. A panic in `work` goes on to the caller.
    pub(crate) fn run(
        mut self,
        work: impl FnOnce(&Flight<'_, K, T, E>) -> Result<T, E>,
        cost: Option<&Cost<T>>,
    ) -> (Shared<T, E>, u64) {
        let ran = attempt(|| work(&Flight::of(&self)), cost);
        let (followers, key) = self.end(&ran);
        if matches!(ran, Ran::Panicked { .. }) {
            // The caller is owed its own panic, not that of a key's Drop.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(key)));
        }
        (ran.into_result(), followers)
    }

    /// Removes the flight and publishes its result in one step: a caller finds the flight without a result, or no flight.
    /// Returns the number of followers, and the key to be dropped under no lock.
    fn end(&mut self, ran: &Ran<T, E>) -> (u64, Option<K>) {
        self.ended = true;
        let mut locked = self.shard.lock();
        locked.count_end(ran);
        let Some((key, record)) = locked.remove(self.hash, self.id) else {
            return (0, None);
        };
        let Some(slot) = record.slot else {
            return (0, key);
        };
        slot.publish(ran.shared());
        locked.counters.following -= record.followers;
        if let Ran::Value { cost, .. } = ran {
            locked.counters.cost_saved += cost * count(record.followers);
        }
        drop(locked);
        if record.followers > 0 {
            slot.wake_all();
        }
        (record.followers, key)
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

/// A follower's place in a flight.
pub(crate) struct Follow<'a, K, T, E> {
    shard: &'a Lock<K, T, E>,
    hash: u64,
    id: u64,
    slot: Arc<Slot<T, E>>,
}

impl<'a, K, T, E> Follow<'a, K, T, E> {
    fn join<Q>(shard: &'a Lock<K, T, E>, locked: &mut Shard<K, T, E>, hash: u64, key: &Q) -> Option<Self>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let record = locked.find(hash, key)?;
        record.followers += 1;
        let id = record.id;
        let slot = Arc::clone(record.slot.get_or_insert_with(|| Arc::new(Slot::new())));
        locked.counters.coalesced_calls += 1;
        locked.counters.following += 1;
        Some(Self { shard, hash, id, slot })
    }

    /// Blocks until the flight ends or `deadline` passes.
    pub(crate) fn wait(self, deadline: Option<Instant>) -> Shared<T, E> {
        match self.slot.wait(deadline) {
            Some(result) => result,
            None => self.leave(),
        }
    }

    /// Leaves with `TimedOut`, or with the result if it came in the meantime: the shard's lock, which publishing takes
    /// too, settles which of the two it was.
    fn leave(self) -> Shared<T, E> {
        let mut locked = self.shard.lock();
        if let Some(result) = self.slot.result() {
            return result;
        }
        if let Some(record) = locked.record(self.hash, self.id) {
            record.followers -= 1;
        }
        locked.counters.following -= 1;
        locked.counters.timed_out += 1;
        Err(CallError::TimedOut)
    }
}

impl<K, T, E> Shard<K, T, E> {
    fn count_end(&mut self, ran: &Ran<T, E>) {
        self.counters.running -= 1;
        match ran {
            Ran::Value { cost, .. } => self.counters.cost_spent += cost,
            Ran::Error(_) => self.counters.failed += 1,
            Ran::Panicked { .. } => self.counters.panicked += 1,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 followers")]
fn count(followers: u64) -> f64 {
    followers as f64
}
