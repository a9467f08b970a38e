//! Letting a flight's followers go, with a result that somebody else made.

use std::sync::Arc;

use super::slot::{Published, Slot};
use crate::flight::faults::Fault;
use crate::outcome::Shared;
use crate::stats::Stats;
use crate::sync::is_planted;
use crate::wait::bound::Bound;

/// Followers whose result is published and who are still to be woken.
#[must_use]
pub(super) struct Released<T, E> {
    followers: u64,
    published: Published<T, E>,
}

impl<T, E> Released<T, E> {
    /// Publishes the result, and counts for all followers, under the shard's lock; none if nobody ever followed.
    #[inline]
    pub(super) fn publish(
        followers: u64,
        slot: Option<Arc<Slot<T, E>>>,
        counters: &mut Stats,
        result: impl FnOnce() -> Shared<T, E>,
    ) -> Option<Self> {
        let slot = slot?;
        counters.following -= followers;
        Some(Self { followers, published: slot.publish(result()) })
    }

    pub(super) fn followers(&self) -> u64 {
        self.followers
    }

    /// Wakes them, and tells those who wait by a ticket, under no lock; says how many they were.
    pub(super) fn wake(self, following: &Bound) -> u64 {
        following.give_back(self.followers);
        if !is_planted(Fault::WakesNobody) {
            self.published.wake();
        }
        self.followers
    }
}
