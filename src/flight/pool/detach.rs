//! Detached flights: from `detach` to the pool, and how their tickets leave.

use std::sync::Arc;

use hashbrown::Equivalent;

use super::Pool;
use super::job::{DetachedJob, QueuedFlight};
use super::state::NotTaken;
use super::ticket::{ResultChannel, Ticket, TicketOwner, TicketRole, TicketSeat};
use crate::error::CallError;
use crate::flight::enter::{Entry, WaitMode};
use crate::flight::flight_ref::FlightRef;
use crate::flight::flights::Flights;
use crate::flight::handle::FlightHandle;
use crate::flight::lead::LeaderGuard;
use crate::flight::slot::Slot;
use crate::flight::watch::Signal;
use crate::options::CallOptions;
use crate::outcome::{BypassReason, Outcome, Role};
use crate::panic::CatchDrop;
use crate::policy::OnOverflow;
use crate::sync::{self, Ordering};
use crate::wait::limits::WaitUntil;
use crate::wait::thread::this_thread;

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
        let began = self.is_timed.then(sync::now);
        let record = locked.new_record(this_thread(), began, self.marks.load(Ordering::Acquire));
        let flight = FlightRef { flights: self, shard, hash, id: record.id };
        locked.unlinked.insert(record);
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
