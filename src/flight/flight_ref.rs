//! A flight's place: joining the flight there, or taking its lead if that is free.

use std::sync::Arc;

use super::slot::{Failure, Slot};
use super::table::lock::ShardLock;
use super::table::record::Record;
use super::{Entry, Flights, Follower, LeaderGuard, Made, Missing, WaitMode};
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::observe::FlightId;
use crate::outcome::Bypass;
use crate::panic::CatchDrop;
use crate::policy::{OnDeadlock, Overflow};
use crate::stats::Stats;
use crate::sync::{ThreadToken, is_planted};
use crate::wait::graph::{self, WaitEdge};

/// Where a flight is.
pub(super) struct FlightRef<'a, K, T, E> {
    pub(super) flights: &'a Flights<K, T, E>,
    pub(super) shard: &'a ShardLock<K, T, E>,
    pub(super) hash: u64,
    pub(super) id: u64,
}

impl<K, T, E> Clone for FlightRef<'_, K, T, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, T, E> Copy for FlightRef<'_, K, T, E> {}

impl<'a, K, T, E> FlightRef<'a, K, T, E> {
    /// Joins this flight as its follower, or in a lead that is vacant; or not, for one of the reasons that there are.
    pub(super) fn join(
        self,
        record: &mut Record<T, E>,
        counters: &mut Stats,
        me: ThreadToken,
        made: &mut Made<K, T, E>,
    ) -> Result<Entry<'a, K, T, E>, Missing> {
        let settings = &self.flights.settings;
        let Made { waits, label, failure, .. } = made;
        let waits = *waits;
        let Some(leader) = record.leader else {
            let (lead, failed) = self.claim_lead(record, counters, me);
            *failure = failed;
            return Ok(Entry::Lead(lead));
        };
        if is_planted(Fault::MakesSlotAgain) {
            record.slot = None;
        }
        let slot = record.slot.get_or_insert_with(|| Arc::new(Slot::new(leader.number)));

        let take_place = || record.followers < settings.max_followers && self.flights.following.take();
        // Who waits later is looked at when it does, unless it is clear by now: this thread leads the flight itself.
        let place =
            if graph::leads_something() && (waits == WaitMode::Now || waits == WaitMode::AfterBatch && leader == me) {
                if label.is_none() && settings.key_label.is_some() {
                    return Err(Missing::Label);
                }
                let label = label.take().unwrap_or_else(|| self.name().to_string().into());
                match WaitEdge::enter(me.number, &slot.leader, label, take_place) {
                    Ok(waiting) => waiting.map(Some),
                    Err(chain) => {
                        return Ok(match settings.on_deadlock {
                            OnDeadlock::Bypass => Entry::Bypass(Bypass::Deadlock),
                            OnDeadlock::Refuse => {
                                counters.refused += 1;
                                Entry::Refused(CallError::Deadlock { chain })
                            }
                        });
                    }
                }
            } else {
                take_place().then_some(None)
            };
        let Some(waiting) = place else {
            return Ok(match settings.overflow {
                Overflow::Bypass => Entry::Bypass(Bypass::Overloaded),
                Overflow::Reject => {
                    counters.overloaded += 1;
                    Entry::Refused(CallError::Overloaded)
                }
            });
        };
        #[expect(clippy::cast_possible_truncation, reason = "as many threads wait, and they have addresses")]
        let before = record.followers as usize;
        record.followers += 1;
        record.deferred += u64::from(waits != WaitMode::Now);
        counters.coalesced_calls += 1;
        counters.following += 1;
        Ok(Entry::Follow(Follower::new(self, Arc::clone(slot), before, waiting)))
    }

    /// Takes a lead that is vacant.
    pub(super) fn claim_lead(
        self,
        record: &mut Record<T, E>,
        counters: &mut Stats,
        me: ThreadToken,
    ) -> (LeaderGuard<'a, K, T, E>, Failure<T, E>) {
        let failure = record.slot.as_ref().map_or(CatchDrop::NONE, |slot| slot.claim_lead(me.number));
        record.leader = Some(me);
        record.runs += 1;
        counters.underlying_calls += 1;
        counters.running += 1;
        (LeaderGuard::new(self), failure)
    }

    /// What this flight is called where people read it.
    pub(super) fn name(&self) -> FlightId<'a> {
        FlightId { coalescer: self.flights.settings.name.as_deref(), number: self.id }
    }
}
