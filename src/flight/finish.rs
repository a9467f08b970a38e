//! How a flight ends that was followed: the one place that publishes a result.
//!
//! In one section under the shard's lock, the flight is taken out and its result is published. So a caller finds either
//! a flight without a result, or no flight. What is left to do once the lock is released is collected in an
//! [`AfterUnlock`], whose [`run`](AfterUnlock::run) does it in the one right order.

use super::completion::Completion;
use super::faults::Fault;
use super::flight_ref::FlightRef;
use super::flights::Flights;
#[cfg(sync_coalesce_shuttle)]
use super::models;
use super::slot::Wakeup;
use super::table::lingering::LingeringResult;
use super::table::shard::Shard;
use super::table::{ShardGuard, Unlocked};
use super::watch::Signals;
use crate::outcome::Shared;
use crate::panic::CatchDrop;
use crate::sync::{Instant, only_if, step};

/// What is left to do for a flight that has ended, or whose lead was offered, once the shard is unlocked.
#[must_use = "followers sleep until it is run"]
pub(super) struct AfterUnlock<K, T, E> {
    pub(super) wakeup: Option<Wakeup<T, E>>,
    /// What the leader's layers are to be told.
    pub(super) signals: Option<Signals>,
    /// A closure has ended, and a caller drains.
    pub(super) drained: bool,
    /// Lingering results that have expired.
    pub(super) expired: Vec<LingeringResult<K, T, E>>,
    pub(super) key: Option<K>,
}

impl<'a, K, T, E> FlightRef<'a, K, T, E> {
    /// Ends it where somebody followed, or the result lingers.
    #[inline(never)]
    pub(super) fn finish_followed(
        self,
        mut locked: ShardGuard<'a, K, T, E>,
        completion: &Completion<T, E>,
        elections: u32,
        lingers: Option<(Instant, Instant)>,
        drained: bool,
    ) -> (u64, Option<K>) {
        let FlightRef { flights, hash, id, .. } = self;
        if let Some(mut after) = locked.offer_lead(hash, id, elections, || completion.shared()) {
            after.drained = drained;
            return after.run(locked.unlock(), flights);
        }
        let (mut after, mark) = locked.finish(hash, id, || completion.shared());
        after.drained = drained;
        if let Completion::Value { cost, .. } = completion {
            locked.counters.cost_saved += cost * count(after.followers());
        }
        // A flight that was unlinked has no key here, and its result does not linger.
        if let (Some((ended, until)), Some(key)) = (lingers, after.key.take_if(|_| lingers.is_some())) {
            #[cfg(sync_coalesce_shuttle)]
            let unlocked = models::unlock_for_a_moment(Fault::LingersLate, locked, self.shard);
            #[cfg(sync_coalesce_shuttle)]
            let mut locked = unlocked;
            let (key, result) = (CatchDrop::new(key), CatchDrop::new(completion.shared()));
            after.expired = locked.lingering.put(LingeringResult { key, result, hash, id, mark, ended, until });
            return after.run(locked.unlock(), flights);
        }
        after.run(locked.unlock(), flights)
    }
}

impl<K, T, E> Shard<K, T, E> {
    /// Offers the lead of this flight, if a follower waits for it and no more than `elections` runs have followed the
    /// first. If all followers that could claim it leave instead, `failure` is the result.
    pub(super) fn offer_lead(
        &mut self,
        hash: u64,
        id: u64,
        elections: u32,
        failure: impl FnOnce() -> Shared<T, E>,
    ) -> Option<AfterUnlock<K, T, E>> {
        if elections == 0 {
            return None; // the same answer as below, without a look into the table
        }
        let slot = self.record(hash, id)?.0.offer_lead(elections, failure)?;
        Some(AfterUnlock { wakeup: Some(Wakeup::one(slot)), ..AfterUnlock::nothing() })
    }

    /// Takes this flight out, publishes its result, and counts for all its followers. Also returns the last mark before
    /// the flight began.
    pub(super) fn finish(
        &mut self,
        hash: u64,
        id: u64,
        result: impl FnOnce() -> Shared<T, E>,
    ) -> (AfterUnlock<K, T, E>, u64) {
        let Some((key, record)) = self.take_out(hash, id) else { return (AfterUnlock::nothing(), 0) };
        self.counters.following -= record.followers;
        let wakeup = record.slot.map(|slot| slot.publish(record.followers, result()));
        (AfterUnlock { wakeup, key, ..AfterUnlock::nothing() }, record.mark)
    }

    /// Gives the followers of an unlinked flight a result that is not its leader's, and marks the flight as cancelled
    /// for the leader's closure to see. A flight whose lead was vacant ends here, because nobody is left to end it.
    pub(super) fn release_followers(&mut self, id: u64, result: impl FnOnce() -> Shared<T, E>) -> AfterUnlock<K, T, E> {
        let Some(record) = self.unlinked.get_mut(id) else { return AfterUnlock::nothing() };
        record.cancelled = true;
        record.deferred = 0;
        let (slot, followers) = (record.slot.take(), std::mem::take(&mut record.followers));
        #[cfg(sync_coalesce_shuttle)]
        models::keep_slot(record, slot.as_ref());
        let is_vacant = record.leader.is_none();
        self.counters.following -= followers;
        self.counters.cancelled += followers;
        if only_if!(CancelLeavesVacantFlight, is_vacant) {
            self.unlinked.remove(id);
        }
        AfterUnlock { wakeup: slot.map(|slot| slot.publish(followers, result())), ..AfterUnlock::nothing() }
    }
}

impl<K, T, E> AfterUnlock<K, T, E> {
    pub(super) fn nothing() -> Self {
        Self { wakeup: None, signals: None, drained: false, expired: Vec::new(), key: None }
    }

    /// How many followers get the result.
    fn followers(&self) -> u64 {
        self.wakeup.as_ref().map_or(0, Wakeup::followers)
    }

    /// Does it, in this order: notifies the flight's followers, notifies its leader if that waits elsewhere, notifies
    /// callers that drain, drops expired results. The key comes last, because dropping it is user code. It is returned, to
    /// be dropped where its panic belongs.
    pub(super) fn run(self, _: Unlocked, flights: &Flights<K, T, E>) -> (u64, Option<K>) {
        let followers = self.followers();
        flights.following.give_back(followers);
        if let Some(wakeup) = self.wakeup {
            step!(WakesNobody, wakeup.notify());
        }
        if let Some(signals) = self.signals {
            signals.send();
        }
        if self.drained {
            flights.notify_drained();
        }
        drop(self.expired);
        (followers, self.key)
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 followers")]
fn count(followers: u64) -> f64 {
    followers as f64
}
