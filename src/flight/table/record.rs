//! [`Record`]: what the table knows of one flight that has not ended.

use std::sync::Arc;

use crate::flight::faults::Fault;
use crate::flight::slot::Slot;
use crate::outcome::Shared;
use crate::sync::{Instant, step};
use crate::wait::thread::ThreadToken;

/// What the table knows of one flight that has not ended.
pub(crate) struct Record<T, E> {
    /// Its identity, which no other flight of the coalescer ever has.
    pub(crate) id: u64,
    /// The thread that runs the closure; number 0 while the flight is queued for the pool. `None` while the lead is
    /// vacant, until a follower claims it; followers and a slot exist then.
    pub(crate) leader: Option<ThreadToken>,
    pub(crate) began: Option<Instant>,
    /// The last mark before it began.
    pub(crate) mark: u64,
    /// How many closures have run for it, or are running.
    pub(crate) runs: u32,
    pub(crate) followers: u64,
    /// The followers among them that do not wait yet, and so cannot be elected.
    pub(crate) deferred: u64,
    pub(crate) cancelled: bool,
    /// It runs on a pool thread, or waits for one.
    pub(crate) detached: bool,
    /// Made by the first follower.
    pub(crate) slot: Option<Arc<Slot<T, E>>>,
}

impl<T, E> Record<T, E> {
    /// Makes the lead vacant, if a follower waits that could claim it and no more than `elections` runs have followed
    /// the first. Returns the slot, for notifying one. If all of them leave, the result is `failure`.
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

    /// How many followers wait in the slot, or are about to: those that can be elected.
    pub(crate) fn waiting(&self) -> u64 {
        let mut waiting = self.followers;
        step!(ElectsTheDeferred, waiting -= self.deferred);
        waiting
    }
}
