//! A detached flight that waits for a pool thread, and the thread that takes it.

use std::sync::Arc;

use super::state::Job;
use super::ticket::ResultChannel;
use crate::error::CallError;
use crate::flight::completion::attempt;
use crate::flight::faults::Fault;
use crate::flight::flight_ref::FlightRef;
use crate::flight::flights::Flights;
use crate::flight::handle::FlightHandle;
use crate::flight::lead::LeaderGuard;
use crate::flight::slot::Slot;
use crate::panic::{CatchDrop, catch_panic};
use crate::sync::{also_if, only_if, step};
use crate::wait::thread::{ThreadToken, this_thread};

/// A flight that waits for a pool thread. Dropping it ends the flight with `Closed`.
pub(super) struct QueuedFlight<K, T, E> {
    pub(super) flights: Arc<Flights<K, T, E>>,
    pub(super) hash: u64,
    pub(super) id: u64,
    pub(super) ended: bool,
}

/// A queued flight and its closure.
pub(super) struct DetachedJob<K, T, E, W> {
    pub(super) queued: QueuedFlight<K, T, E>,
    pub(super) work: CatchDrop<W>,
}

impl<K, T, E> FlightRef<'_, K, T, E> {
    /// Gives the flight leader number 0 until a pool thread takes it, and adds its first ticket; or returns the error
    /// with which it has ended since it began. It is one step, because without a ticket the flight could be cancelled
    /// as unwanted.
    pub(super) fn queue(self) -> Result<ResultChannel<T, E>, CallError<E>> {
        let mut locked = self.shard.lock();
        let error = if locked.closed { CallError::Closed } else { CallError::Cancelled };
        let record = locked.record(self.hash, self.id).map(|(record, _)| record);
        let Some(record) = record.filter(|record| also_if!(QueuesWhatWasCancelled, !record.cancelled)) else {
            return Err(error);
        };
        record.detached = true;
        // No thread has this number, so the flight has no outgoing edge in the wait-for graph.
        record.leader = record.leader.map(|leader| ThreadToken { number: 0, ..leader });
        let slot = Arc::clone(record.slot.get_or_insert_with(|| Arc::new(Slot::new(0))));
        slot.leader.clear();
        #[cfg(sync_coalesce_shuttle)]
        let _locked = crate::flight::models::unlock_for_a_moment(Fault::FirstTicketIsLate, locked, self.shard);
        Ok(ResultChannel::new(slot))
    }
}

impl<K, T, E> QueuedFlight<K, T, E> {
    /// Runs the closure on this thread, unless the flight was cancelled.
    fn run(mut self, work: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E>) {
        let flights = Arc::clone(&self.flights);
        let flight =
            FlightRef { flights: &flights, shard: flights.table.shard(self.hash), hash: self.hash, id: self.id };
        if self.take_lead(flight) {
            self.ended = true;
            let cost = flights.settings.cost.as_deref();
            // The tickets get the panic as an error, and there is no other caller to get it.
            catch_panic(|| drop(LeaderGuard::new(flight).run(|handle| attempt(|| work(handle), cost))));
        }
    }

    /// Makes this thread the leader, unless the flight was cancelled while it waited for one.
    fn take_lead(&self, flight: FlightRef<'_, K, T, E>) -> bool {
        let thread = this_thread();
        let mut locked = flight.shard.lock();
        let record = locked.record(self.hash, self.id).map(|(record, _)| record);
        let Some(record) = record.filter(|record| also_if!(RunsWhatWasCancelled, !record.cancelled)) else {
            return false;
        };
        record.leader = Some(thread);
        if let Some(slot) = &record.slot {
            // Before the closure, so that its first wait is checked against the flight's waiters. This thread waits for
            // nothing.
            step!(DetachedUnnamed, slot.leader.set(thread.number));
        }
        true
    }

    /// Ends the flight unrun; or, with `offers`, offers the lead to a follower that waits.
    fn end(&mut self, error: CallError<E>, offers: bool) {
        self.ended = true;
        let flights = &*self.flights;
        let mut locked = flights.table.shard(self.hash).lock();
        let drained = locked.count_unrun();
        let elections = if offers { u32::MAX } else { 0 };
        let failure = error.clone();
        let offered = locked.offer_lead(self.hash, self.id, elections, || Err(failure));
        let mut after = offered.unwrap_or_else(|| locked.finish(self.hash, self.id, || Err(error)).0);
        after.drained = drained;
        let (_, key) = after.run(locked.unlock(), flights);
        drop(key.map(CatchDrop::new));
    }
}

impl<K, T, E> Drop for QueuedFlight<K, T, E> {
    fn drop(&mut self) {
        if only_if!(DroppedJobEndsNothing, !self.ended) {
            self.end(CallError::Closed, false);
        }
    }
}

impl<K, T, E, W> Job for DetachedJob<K, T, E, W>
where
    K: Send,
    T: Send + Sync,
    E: Send + Sync,
    W: FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E> + Send,
{
    fn run(self: Box<Self>) {
        let Self { queued, mut work } = *self;
        if let Some(work) = work.take() {
            catch_panic(|| queued.run(work));
        }
    }

    fn refuse(mut self: Box<Self>) {
        self.queued.end(CallError::Overloaded, true);
    }
}
