//! Detached flights: from `detach` to the pool thread that leads them.

use std::sync::Arc;

use hashbrown::Equivalent;

use super::ticket::{ResultChannel, Ticket, TicketOwner, TicketRole, TicketSeat};
use super::{Job, NotTaken, Pool};
use crate::error::CallError;
use crate::flight::completion::attempt;
use crate::flight::enter::{Entry, WaitMode};
use crate::flight::faults::Fault;
use crate::flight::flight_ref::FlightRef;
use crate::flight::flights::Flights;
use crate::flight::handle::FlightHandle;
use crate::flight::lead::LeaderGuard;
use crate::flight::slot::Slot;
use crate::flight::watch::Signal;
use crate::options::CallOptions;
use crate::outcome::{BypassReason, Outcome, Role};
use crate::panic::{CatchDrop, catch_panic};
use crate::policy::OnOverflow;
use crate::sync::{self, ThreadToken, also_if, only_if, step};
use crate::wait::limits::WaitUntil;

/// A flight that waits for a pool thread. Dropping it ends the flight with `Closed`.
struct QueuedFlight<K, T, E> {
    flights: Arc<Flights<K, T, E>>,
    hash: u64,
    id: u64,
    ended: bool,
}

/// A queued flight and its closure.
struct DetachedJob<K, T, E, W> {
    queued: QueuedFlight<K, T, E>,
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
        options: &CallOptions<'_>,
        work: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E> + Send + 'static,
    ) -> Ticket<T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let of_key = || self.settings.key_label.map(|label| label(&key.to_owned()).into());
        let label = options.label.map(Arc::from).or_else(of_key);
        // If it is not needed, a panic in its Drop must not cost the caller its ticket.
        let work = CatchDrop::new(work);
        let entry =
            if options.bypass { self.begin_apart(hash) } else { self.enter(WaitMode::ByTicket, hash, key, options) };
        let until = options.until.or(self.settings.timeout.map(WaitUntil::Timeout));
        match entry {
            Entry::Lead(lead) => self.launch(pool, lead, work, (label, until), options.bypass),
            Entry::Follow(follower) => {
                let (flight, slot) = follower.into_ticket();
                let role = TicketRole::Follower { joined: sync::now() };
                self.ticket(flight, ResultChannel::new(slot), role, (label, until))
            }
            // A ticket has no closure of its own to run, so nothing is bypassed for it.
            Entry::Bypass(_) => Self::ended_ticket(self.refuse(CallError::Overloaded)),
            Entry::Done(outcome) => Self::ended_ticket(outcome),
        }
    }

    /// Begins a flight that nobody can join.
    fn begin_apart(&self, hash: u64) -> Entry<'_, K, T, E> {
        let shard = self.table.shard(hash);
        let mut locked = shard.lock();
        if locked.closed {
            locked.counters.closed += 1;
            drop(locked);
            return Entry::Done(self.refuse(CallError::Closed));
        }
        locked.counters.bypassed += 1;
        locked.counters.running += 1;
        let began = self.settings.is_timed().then(sync::now);
        let record = locked.new_record(sync::this_thread(), began, self.last_mark());
        let flight = FlightRef { flights: self, shard, hash, id: record.id };
        locked.unlinked.insert(record.id, record);
        drop(locked);
        Entry::Lead(LeaderGuard::new(flight))
    }

    /// Sends the closure of a flight that this thread has begun to the pool.
    fn launch<W>(
        self: &Arc<Self>,
        pool: &Pool,
        lead: LeaderGuard<'_, K, T, E>,
        work: CatchDrop<W>,
        ticket: (Option<Arc<str>>, Option<WaitUntil>),
        bypasses: bool,
    ) -> Ticket<T, E>
    where
        W: FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E> + Send + 'static,
    {
        let flight = lead.hand_to_pool();
        // From here on, the Drop of this ends the flight, even if `queue` fails.
        let queued = QueuedFlight { flights: Arc::clone(self), hash: flight.hash, id: flight.id, ended: false };
        let channel = match flight.queue() {
            Ok(channel) => channel,
            Err(error) => {
                return Self::ended_ticket(Outcome { result: Err(error), role: Role::Leader { followers: 0 } });
            }
        };
        let role = if bypasses { TicketRole::Has(Role::Bypassed(BypassReason::Requested)) } else { TicketRole::Leader };
        let ticket = self.ticket(flight, channel, role, ticket);
        match pool.submit(Box::new(DetachedJob { queued, work })) {
            Ok(()) => {}
            Err(NotTaken::Closed(job)) => drop(job),
            Err(NotTaken::Full(job)) => match self.settings.on_full_pool {
                OnOverflow::Refuse => job.refuse(),
                OnOverflow::Bypass => job.run(),
            },
        }
        ticket
    }

    fn ticket(
        self: &Arc<Self>,
        flight: FlightRef<'_, K, T, E>,
        ResultChannel { slot, receiver, number }: ResultChannel<T, E>,
        role: TicketRole,
        (label, until): (Option<Arc<str>>, Option<WaitUntil>),
    ) -> Ticket<T, E> {
        let joined = matches!(role, TicketRole::Follower { .. });
        let seat = number.map(|number| TicketSeat {
            owner: Arc::clone(self) as Arc<dyn TicketOwner<T, E>>,
            hash: flight.hash,
            flight: flight.id,
            number,
            joined,
        });
        let label = label.unwrap_or_else(|| flight.name().to_string().into());
        Ticket { slot, receiver, seat, role, label, until }
    }

    /// A ticket that has its outcome, and is in no flight.
    fn ended_ticket(outcome: Outcome<T, E>) -> Ticket<T, E> {
        let slot = Arc::new(Slot::new(0));
        drop(Arc::clone(&slot).publish(0, outcome.result));
        let ResultChannel { slot, receiver, .. } = ResultChannel::new(slot);
        Ticket { slot, receiver, seat: None, role: TicketRole::Has(outcome.role), label: "".into(), until: None }
    }
}

impl<K, T, E> FlightRef<'_, K, T, E> {
    /// Gives the flight leader number 0 until a pool thread takes it, and adds its first ticket; or returns the error
    /// with which it has ended since it began. It is one step, because without a ticket the flight could be cancelled
    /// as unwanted.
    fn queue(self) -> Result<ResultChannel<T, E>, CallError<E>> {
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

impl<K: Send, T: Send + Sync, E: Send + Sync> TicketOwner<T, E> for Flights<K, T, E> {
    fn leave(&self, seat: &TicketSeat<T, E>, slot: &Slot<T, E>) {
        let mut locked = self.table.shard(seat.hash).lock();
        // If the flight has ended, its end has counted everybody in it.
        let Some(tickets) = slot.remove_ticket(seat.number) else { return };
        let mut unwanted = false;
        if let Some((record, counters)) = locked.record(seat.hash, seat.flight) {
            if seat.joined {
                record.followers -= 1;
                record.deferred -= 1;
                counters.following -= 1;
            }
            let cancels = self.settings.cancel_when_abandoned;
            unwanted = cancels && record.detached && record.followers == 0 && tickets == 0;
        }
        let key = if unwanted { locked.cancel_unwanted(seat.hash, seat.flight) } else { None }.map(CatchDrop::new);
        let signals = unwanted.then(|| locked.watchers.of(seat.flight, Signal::Cancelled));
        drop(locked);
        if let Some(signals) = signals {
            signals.send();
        }
        self.following.give_back(u64::from(seat.joined));
        drop(key);
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
        let thread = sync::this_thread();
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
