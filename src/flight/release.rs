//! Letting a flight's followers go, with a result that somebody else made.

use std::sync::Arc;

use super::bound::Bound;
use super::slot::{Published, Slot};
use crate::Stats;
use crate::outcome::Shared;
use crate::sync::{Fault, planted};

/// Followers whose result is published and who are still to be woken.
#[must_use]
pub(super) struct Released<T, E> {
    followers: u64,
    published: Option<Published<T, E>>,
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
        Self { followers, published: slot.map(|slot| slot.publish(result())) }
    }

    pub(super) fn followers(&self) -> u64 {
        self.followers
    }

    /// Wakes them, and tells those who wait by a ticket, under no lock; says how many they were.
    #[inline]
    pub(super) fn wake(self, following: &Bound) -> u64 {
        if let Some(published) = self.published.filter(|_| !planted(Fault::WakesNobody)) {
            following.give_back(self.followers);
            published.wake();
        }
        self.followers
    }
}
