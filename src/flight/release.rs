//! Letting a flight's followers go, with a result that somebody else made.

use std::sync::Arc;

use super::bound::Bound;
use super::slot::Slot;
use super::table::Record;
use crate::Stats;
use crate::outcome::Shared;
use crate::sync::{Fault, planted};

/// Followers whose result is published and who are still to be woken.
#[must_use]
pub(super) struct Released<T, E> {
    followers: u64,
    slot: Option<Arc<Slot<T, E>>>,
}

impl<T, E> Released<T, E> {
    /// Publishes the result, and counts for all followers, under the shard's lock.
    pub(super) fn publish(
        record: &mut Record<T, E>,
        counters: &mut Stats,
        result: impl FnOnce() -> Shared<T, E>,
    ) -> Self {
        let followers = std::mem::take(&mut record.followers);
        counters.following -= followers;
        let slot = if planted(Fault::PublishesTwice) { record.slot.clone() } else { record.slot.take() };
        if let Some(slot) = &slot {
            slot.publish(result());
        }
        Self { followers, slot }
    }

    pub(super) fn followers(&self) -> u64 {
        self.followers
    }

    /// Wakes them, under no lock; says how many they were.
    pub(super) fn wake(self, following: &Bound) -> u64 {
        if let Some(slot) = self.slot.filter(|_| self.followers > 0 && !planted(Fault::WakesNobody)) {
            following.give_back(self.followers);
            slot.wake_all();
        }
        self.followers
    }
}
