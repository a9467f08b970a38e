//! What is known of one flight that has not ended.

use std::sync::Arc;

use crate::flight::faults::Fault;
use crate::flight::slot::Slot;
use crate::outcome::Shared;
use crate::sync::{Instant, ThreadToken, step};

/// What is known of one flight that has not ended.
pub(crate) struct Record<T, E> {
    /// Its identity, which no other flight of the coalescer ever has.
    pub(crate) id: u64,
    /// Who runs its closure, with the number 0 as long as it waits for a thread of the pool; nobody while the lead is
    /// free, and then there are followers and a slot.
    pub(crate) leader: Option<ThreadToken>,
    pub(crate) began: Option<Instant>,
    /// The last mark before it began.
    pub(crate) mark: u64,
    /// How many closures have been run for it.
    pub(crate) runs: u32,
    pub(crate) followers: u64,
    /// Those of the followers that wait later, if at all, and so cannot be elected now.
    pub(crate) deferred: u64,
    pub(crate) cancelled: bool,
    /// It runs on a thread of the pool, or waits for one.
    pub(crate) detached: bool,
    /// Made by the first follower.
    pub(crate) slot: Option<Arc<Slot<T, E>>>,
}

impl<T, E> Record<T, E> {
    /// Frees the lead if a follower is there to take it and not more than `elections` runs have followed the first. The
    /// slot is returned to wake one. If all of them leave, the result is `failure`.
    pub(crate) fn offer_lead(
        &mut self,
        elections: u32,
        failure: impl FnOnce() -> Shared<T, E>,
    ) -> Option<Arc<Slot<T, E>>> {
        if self.waiting() == 0 || self.runs > elections {
            return None;
        }
        let slot = self.slot.clone()?;
        slot.offer(failure());
        self.leader = None;
        self.detached = false;
        Some(slot)
    }

    /// How many followers wait in the slot now, or are about to: those who can be elected.
    pub(crate) fn waiting(&self) -> u64 {
        let mut waiting = self.followers;
        step!(ElectsTheDeferred, waiting -= self.deferred);
        waiting
    }
}
