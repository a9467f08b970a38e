//! Letting a flight's followers go, with a result that somebody else made.

use std::sync::Arc;

use super::bound::Bound;
use super::slot::{Asleep, Slot};
use crate::Stats;
use crate::outcome::Shared;
use crate::sync::{Fault, planted};

/// Followers whose result is published and who are still to be woken.
#[must_use]
pub(super) struct Released<T, E> {
    followers: u64,
    slot: Option<(Arc<Slot<T, E>>, Asleep)>,
}

impl<T, E> Released<T, E> {
    /// Publishes the result, and counts for all followers, under the shard's lock.
    #[inline]
    pub(super) fn publish(
        followers: u64,
        slot: Option<Arc<Slot<T, E>>>,
        counters: &mut Stats,
        result: impl FnOnce() -> Shared<T, E>,
    ) -> Self {
        counters.following -= followers;
        let slot = slot.map(|slot| {
            let asleep = slot.publish(&result());
            (slot, asleep)
        });
        Self { followers, slot }
    }

    pub(super) fn followers(&self) -> u64 {
        self.followers
    }

    /// Wakes them, under no lock; says how many they were.
    #[inline]
    pub(super) fn wake(self, following: &Bound) -> u64 {
        if let Some((slot, asleep)) = self.slot.filter(|_| self.followers > 0 && !planted(Fault::WakesNobody)) {
            following.give_back(self.followers);
            slot.wake_all(asleep);
        }
        self.followers
    }
}
