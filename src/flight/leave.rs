//! How a follower leaves its flight before the flight ends.

use std::sync::Arc;

use super::faults::Fault;
use super::finish::AfterUnlock;
use super::flight_ref::FlightRef;
use super::follow::{Follower, LeaveOutcome};
#[cfg(sync_coalesce_shuttle)]
use super::models;
use super::slot::{SlotState, Wakeup};
use super::table::shard::Shard;
use crate::observe::LeaveReason;
use crate::panic::CatchDrop;
use crate::sync::{Instant, only_if, step};

impl<'a, K, T, E> Follower<'a, K, T, E> {
    /// Leaves; or takes what came in the meantime, a result, or a vacant lead if there is still time. Publishing takes
    /// the shard's lock too, so under it there is no doubt which of these it is.
    pub(super) fn leave(&mut self, joined: Instant, deadline_passed: bool) -> LeaveOutcome<'a, K, T, E> {
        let FlightRef { flights, shard, .. } = self.flight;
        let mut locked = shard.lock();
        let is_vacant = match self.slot.state() {
            SlotState::Ended(result) if only_if!(LeavesBlindly, true) => return LeaveOutcome::Ended(result),
            SlotState::Ended(_) | SlotState::Running => false,
            SlotState::Vacant => true,
        };
        if !deadline_passed {
            if only_if!(ImpatientShunsLead, is_vacant) {
                if let Some((lead, _failure)) = self.claim_lead(&mut locked) {
                    drop(locked);
                    self.observe_elected(joined);
                    return LeaveOutcome::Lead(lead);
                }
            }
            if !flights.impatient.take() {
                return LeaveOutcome::Stays;
            }
        }
        let after = self.leave_record(&mut locked, is_vacant, deadline_passed);
        let (_, key) = after.run(locked.unlock(), flights);
        // Out of the graph, and off the bound, before the key is dropped, which is user code.
        let key = key.map(CatchDrop::new);
        #[cfg(sync_coalesce_shuttle)]
        models::keep_edge(&mut self.edge);
        self.edge = None;
        step!(LeaverKeepsPlace, flights.following.give_back(1));
        drop(key);
        LeaveOutcome::Left
    }

    /// Takes this follower off the record. A follower that leaves while the lead is vacant may be the one that was
    /// notified, so it notifies another. The last one that waits ends the flight with the last failure, for the
    /// deferred followers.
    fn leave_record(
        &self,
        locked: &mut Shard<K, T, E>,
        is_vacant: bool,
        deadline_passed: bool,
    ) -> AfterUnlock<K, T, E> {
        let FlightRef { hash, id, .. } = self.flight;
        let mut remaining = 0;
        if let Some((record, counters)) = locked.record(hash, id) {
            record.followers -= 1;
            remaining = record.waiting();
            counters.following -= 1;
            let leavers = if deadline_passed { &mut counters.timed_out } else { &mut counters.impatient };
            *leavers += 1;
        }
        if is_vacant && only_if!(LeaverKeepsLead, remaining > 0) {
            return AfterUnlock { wakeup: Some(Wakeup::one(Arc::clone(&self.slot))), ..AfterUnlock::nothing() };
        }
        #[cfg(sync_coalesce_shuttle)]
        if is_vacant && remaining == 0 && models::forgets_deferred(locked, hash, id) {
            return AfterUnlock::nothing();
        }
        let failure = if is_vacant && remaining == 0 { self.slot.failure() } else { None };
        match failure.filter(|_| only_if!(LastLeavesEntry, true)) {
            Some(failure) => locked.finish(hash, id, || failure).0,
            None => AfterUnlock::nothing(),
        }
    }

    /// Reports that it has left because its wait would close a cycle: to run its own closure uncoalesced, or for good.
    pub(super) fn count_cycle(self, joined: Instant, bypasses: bool) {
        if bypasses {
            step!(RunsUncounted, self.flight.shard.lock().counters.impatient += 1);
        }
        self.observe_left(joined, LeaveReason::Deadlock);
    }

    /// Leaves while it is deferred, unless its flight has ended; says which.
    pub(super) fn leave_deferred(&mut self) -> bool {
        self.is_deferred = false;
        let left = self.change_record(&|record, counters| {
            record.deferred -= 1;
            record.followers -= 1;
            counters.following -= 1;
        });
        if left {
            self.flight.flights.following.give_back(1);
        }
        left
    }
}

impl<K, T, E> Drop for Follower<'_, K, T, E> {
    fn drop(&mut self) {
        if self.is_deferred {
            self.leave_deferred();
        }
    }
}
