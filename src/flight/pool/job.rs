//! Flights on a thread of the pool.

use std::sync::Arc;

use hashbrown::Equivalent;

use super::ticket::{ResultChannel, Ticket, TicketOwner, TicketSeat};
use super::{Job, NotTaken, Pool};
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::flight::release::Released;
use crate::flight::slot::Slot;
use crate::flight::table::shard::Removed;
use crate::flight::{Entry, Flight, FlightRef, Flights, LeaderGuard, WaitMode};
use crate::outcome::Shared;
use crate::panic::{CatchDrop, catch_panic};
use crate::policy::{OnFullPool, OnLastTicket};
use crate::sync::{self, ThreadToken, is_planted};

/// A flight that waits for a thread. Dropped, it ends the flight with `Closed`.
struct Queued<K, T, E> {
    flights: Arc<Flights<K, T, E>>,
    hash: u64,
    id: u64,
    ended: bool,
}

/// It and its closure.
struct Detached<K, T, E, W> {
    queued: Queued<K, T, E>,
    work: CatchDrop<W>,
}

impl<K, T, E> Flights<K, T, E>
where
    K: Send + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// A ticket for the flight for `key`; for a new one, `work` goes to the pool.
    pub(crate) fn detach<Q>(
        self: &Arc<Self>,
        pool: &Pool,
        hash: u64,
        key: &Q,
        work: impl FnOnce(&Flight<'_, K, T, E>) -> Result<T, E> + Send + 'static,
    ) -> Ticket<T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let label = self.settings.key_label.map(|label| label(&key.to_owned()));
        // If it is not needed, a panic in its Drop must not cost the caller its ticket.
        let work = CatchDrop::new(work);
        match self.enter_waiting(WaitMode::ByTicket, hash, key, None) {
            Entry::Lead(lead) => self.launch(pool, lead, work, label),
            Entry::Follow(follow) => {
                let (at, slot) = follow.into_ticket();
                self.ticket(at, ResultChannel::new(slot), label, true)
            }
            Entry::Bypass(_) => {
                self.table.shard(hash).lock().counters.overloaded += 1;
                Self::ended_ticket(self.refuse(CallError::Overloaded).result)
            }
            Entry::Lingering(result, _) => Self::ended_ticket(result),
            Entry::Refused(error) => Self::ended_ticket(self.refuse(error).result),
        }
    }

    /// Sends the closure of a flight that this thread has begun to the pool.
    fn launch<W>(
        self: &Arc<Self>,
        pool: &Pool,
        lead: LeaderGuard<'_, K, T, E>,
        work: CatchDrop<W>,
        label: Option<String>,
    ) -> Ticket<T, E>
    where
        W: FnOnce(&Flight<'_, K, T, E>) -> Result<T, E> + Send + 'static,
    {
        let at = lead.hand_to_pool();
        let queued = Queued { flights: Arc::clone(self), hash: at.hash, id: at.id, ended: false };
        let channel = match at.queue() {
            Ok(channel) => channel,
            Err(error) => return Self::ended_ticket(Err(error)),
        };
        let ticket = self.ticket(at, channel, label, false);
        match pool.submit(Box::new(Detached { queued, work })) {
            Ok(()) => {}
            Err(NotTaken::Closed(job)) => drop(job),
            Err(NotTaken::Full(job)) => match self.settings.on_full_pool {
                OnFullPool::Reject => job.refuse(),
                OnFullPool::CallerRuns => job.run(),
            },
        }
        ticket
    }

    fn ticket(
        self: &Arc<Self>,
        at: FlightRef<'_, K, T, E>,
        ResultChannel { slot, receiver, number }: ResultChannel<T, E>,
        label: Option<String>,
        joined: bool,
    ) -> Ticket<T, E> {
        let owner = || Arc::clone(self) as Arc<dyn TicketOwner<T, E>>;
        let seat = number.map(|number| TicketSeat { owner: owner(), hash: at.hash, flight: at.id, number, joined });
        let label = label.unwrap_or_else(|| at.name().to_string()).into();
        Ticket { slot, receiver, seat, label, timeout: self.settings.timeout }
    }

    /// A ticket that has its result and is in no flight.
    fn ended_ticket(result: Shared<T, E>) -> Ticket<T, E> {
        let slot = Arc::new(Slot::new(0));
        drop(Arc::clone(&slot).publish(result));
        let ResultChannel { slot, receiver, .. } = ResultChannel::new(slot);
        Ticket { slot, receiver, seat: None, label: "".into(), timeout: None }
    }
}

impl<K, T, E> FlightRef<'_, K, T, E> {
    /// Leaves the flight without a leader until a thread of the pool takes it, and puts its first ticket in; or says
    /// what somebody ended it with since it was begun. One step, for without a ticket it might be cancelled as unwanted.
    fn queue(self) -> Result<ResultChannel<T, E>, CallError<E>> {
        let mut locked = self.shard.lock();
        let closed = locked.closed;
        match locked.record(self.hash, self.id) {
            Some((record, _)) if !record.cancelled || is_planted(Fault::QueuesWhatWasCancelled) => {
                record.detached = true;
                // No thread has this number, so it leads nowhere in the graph of waits.
                record.leader = record.leader.map(|leader| ThreadToken { number: 0, ..leader });
                let slot = Arc::clone(record.slot.get_or_insert_with(|| Arc::new(Slot::new(0))));
                slot.leader.clear();
                if is_planted(Fault::FirstTicketIsLate) {
                    drop(locked);
                }
                Ok(ResultChannel::new(slot))
            }
            _ => Err(if closed { CallError::Closed } else { CallError::Cancelled }),
        }
    }
}

impl<K: Send, T: Send + Sync, E: Send + Sync> TicketOwner<T, E> for Flights<K, T, E> {
    fn leave(&self, seat: &TicketSeat<T, E>, slot: &Slot<T, E>) {
        let mut locked = self.table.shard(seat.hash).lock();
        // If the flight has ended, the end has counted for everybody in it.
        let Some(tickets) = slot.remove_ticket(seat.number) else { return };
        let mut unwanted = false;
        if let Some((record, counters)) = locked.record(seat.hash, seat.flight) {
            if seat.joined {
                record.followers -= 1;
                record.deferred -= 1;
                counters.following -= 1;
            }
            let cancels = self.settings.on_last_ticket == OnLastTicket::Cancel;
            unwanted = cancels && record.detached && record.followers == 0 && tickets == 0;
        }
        let key = if unwanted { locked.cancel_unwanted(seat.hash, seat.flight) } else { None }.map(CatchDrop::new);
        drop(locked);
        self.following.give_back(u64::from(seat.joined));
        drop(key);
    }
}

impl<K, T, E> Queued<K, T, E> {
    /// Runs the closure on this thread, unless nobody wants it any more.
    fn run(mut self, work: impl FnOnce(&Flight<'_, K, T, E>) -> Result<T, E>) {
        let flights = Arc::clone(&self.flights);
        let at = FlightRef { flights: &flights, shard: flights.table.shard(self.hash), hash: self.hash, id: self.id };
        let me = sync::this_thread();
        let mut locked = at.shard.lock();
        let wanted = match locked.record(self.hash, self.id) {
            Some((record, _)) if !record.cancelled || is_planted(Fault::RunsWhatWasCancelled) => {
                record.leader = Some(me);
                if let Some(slot) = &record.slot {
                    // Before the closure, so that its first wait sees who waits for it. This thread waits for nothing.
                    slot.leader.set(if is_planted(Fault::DetachedUnnamed) { 0 } else { me.number });
                }
                true
            }
            _ => false,
        };
        drop(locked);
        if wanted {
            self.ended = true;
            // The tickets learn of a panic, and nobody else is there to.
            catch_panic(|| drop(LeaderGuard::new(at).run(work)));
        }
    }

    /// Ends the flight unrun. A follower that waits may run its own closure instead, if `offers`.
    fn end(&mut self, error: CallError<E>, offers: bool) {
        self.ended = true;
        let Flights { table, following, .. } = &*self.flights;
        let mut locked = table.shard(self.hash).lock();
        locked.counters.running -= 1;
        let draining = std::mem::take(&mut locked.draining);
        let failure = error.clone();
        let record = locked.record(self.hash, self.id).filter(|_| offers);
        let offered = record.and_then(|(record, _)| record.offer_lead(u32::MAX, || Err(failure)));
        let removed = if offered.is_some() { None } else { locked.remove(self.hash, self.id) };
        let (key, released) = match removed {
            None => (None, None),
            Some(Removed { key, followers, slot, .. }) => {
                (key.map(CatchDrop::new), Released::publish(followers, slot, &mut locked.counters, || Err(error)))
            }
        };
        drop(locked);
        if let Some(slot) = offered {
            slot.wake_one();
        }
        if let Some(released) = released {
            released.wake(following);
        }
        self.flights.tell_drain(draining);
        drop(key);
    }
}

impl<K, T, E> Drop for Queued<K, T, E> {
    fn drop(&mut self) {
        if !self.ended && !is_planted(Fault::DroppedJobEndsNothing) {
            self.end(CallError::Closed, false);
        }
    }
}

impl<K, T, E, W> Job for Detached<K, T, E, W>
where
    K: Send,
    T: Send + Sync,
    E: Send + Sync,
    W: FnOnce(&Flight<'_, K, T, E>) -> Result<T, E> + Send,
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
