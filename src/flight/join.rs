//! How a caller joins a flight that is there: as a follower, as the leader if the lead is vacant, or not at all.

use std::sync::Arc;

use hashbrown::Equivalent;

use super::enter::{Attempt, Entry, Needs, WaitMode, refused};
use super::faults::Fault;
use super::flights::Flights;
use super::follow::Follower;
#[cfg(sync_coalesce_shuttle)]
use super::models;
use super::slot::Slot;
use super::table::record::Record;
use crate::error::CallError;
use crate::outcome::BypassReason;
use crate::policy::{OnDeadlock, OnOverflow};
use crate::stats::Stats;
use crate::sync::only_if;
use crate::wait::graph::{self, WaitEdge};
use crate::wait::thread::{self, ThreadToken};

impl<'a, Q, K, T, E> Attempt<'a, '_, Q, K, T, E>
where
    Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
{
    /// Joins the flight of this record as a follower, or claims its lead if that is vacant.
    pub(super) fn join(
        &mut self,
        record: &mut Record<T, E>,
        counters: &mut Stats,
        thread: ThreadToken,
    ) -> Result<Entry<'a, K, T, E>, Needs> {
        let flight = self.flight(record.id);
        let Some(leader) = record.leader else {
            let (lead, failure) = flight.claim_lead(record, counters, thread);
            self.failure = failure;
            return Ok(Entry::Lead(lead));
        };
        #[cfg(sync_coalesce_shuttle)]
        models::lose_slot(Fault::MakesSlotAgain, record);
        let slot = Arc::clone(record.slot.get_or_insert_with(|| Arc::new(Slot::new(leader.number))));
        // A wait that begins later is checked then, unless it is certain now that it would close a cycle: this thread
        // leads the flight.
        let is_checked = self.mode == WaitMode::Now || self.mode == WaitMode::AfterBatch && leader == thread;
        let is_deferred = self.is_deferred();
        let edge = if is_checked && thread::leads_something() {
            if self.label.is_none() && self.flights.settings.key_label.is_some() {
                return Err(Needs::Label);
            }
            let label = self.label.get_or_insert_with(|| flight.name().to_string().into());
            let take_seat = || self.flights.takes_seat(record);
            let entered = if is_deferred {
                graph::check(thread.number, &slot.leader, label).map(|()| take_seat().then_some(None))
            } else {
                WaitEdge::enter(thread.number, &slot.leader, label, &take_seat).map(|edge| edge.map(Some))
            };
            match entered {
                Ok(Some(edge)) => edge,
                Ok(None) => return Ok(self.overloaded(counters)),
                Err(chain) => return Ok(self.deadlocked(counters, chain)),
            }
        } else if self.flights.takes_seat(record) {
            None
        } else {
            return Ok(self.overloaded(counters));
        };
        #[expect(clippy::cast_possible_truncation, reason = "as many threads wait, and they have addresses")]
        let seat = record.followers as usize;
        record.followers += 1;
        record.deferred += u64::from(is_deferred);
        counters.coalesced_calls += 1;
        counters.following += 1;
        Ok(Entry::Follow(Follower { flight, slot, seat, edge, label: self.label.take(), is_deferred }))
    }

    /// Whether the caller waits later, and so neither can be elected nor is in the wait-for graph yet: a part of a batch,
    /// a ticket, or a caller whose observers have to hear first that it joined. They may wait themselves.
    fn is_deferred(&self) -> bool {
        self.mode != WaitMode::Now || only_if!(WaitsBeforeObservers, self.flights.settings.is_observed())
    }

    fn overloaded(&self, counters: &mut Stats) -> Entry<'a, K, T, E> {
        match self.flights.settings.on_overflow {
            // A ticket has no closure of its own to run.
            OnOverflow::Bypass if self.mode != WaitMode::ByTicket => Entry::Bypass(BypassReason::Overloaded),
            _ => {
                counters.overloaded += 1;
                refused(CallError::Overloaded)
            }
        }
    }

    fn deadlocked(&self, counters: &mut Stats, chain: graph::Chain) -> Entry<'a, K, T, E> {
        match self.flights.settings.on_deadlock {
            OnDeadlock::Bypass => Entry::Bypass(BypassReason::Deadlock),
            OnDeadlock::Refuse => {
                counters.deadlocks += 1;
                refused(CallError::Deadlock { chain })
            }
        }
    }
}

impl<K, T, E> Flights<K, T, E> {
    /// Whether one more may follow, in this flight and in all of them.
    fn takes_seat(&self, record: &Record<T, E>) -> bool {
        record.followers < self.settings.max_followers && self.following.take()
    }
}
