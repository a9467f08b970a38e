//! The follower's part: wait, claim the lead if elected, or leave.

use std::sync::Arc;

use super::faults::Fault;
use super::flight_ref::FlightRef;
use super::lead::{Claimed, LeaderGuard};
use super::slot::{Slot, SlotState, Wake};
use super::table::record::Record;
use super::table::shard::Shard;
use crate::error::CallError;
use crate::observe::{FollowerLeft, LeaveReason};
use crate::outcome::{BypassReason, Outcome, Role, Shared};
use crate::stats::Stats;
use crate::sync::{self, Instant, also_if};
use crate::wait::blocking::blocking;
use crate::wait::graph::{Chain, WaitEdge};
use crate::wait::limits::WaitLimits;
use crate::wait::thread::{self, this_thread};

/// A follower's place in a flight.
pub(crate) struct Follower<'a, K, T, E> {
    pub(super) flight: FlightRef<'a, K, T, E>,
    pub(super) slot: Arc<Slot<T, E>>,
    /// How many followers there were when it joined. It picks the lane.
    pub(super) seat: usize,
    /// In the wait-for graph, if this thread leads something.
    pub(super) edge: Option<WaitEdge>,
    /// What its flight is called in the chain of a deadlock, if that is known yet.
    pub(super) label: Option<Arc<str>>,
    /// It is counted, and does not wait yet. Dropped before it does, it leaves its flight.
    pub(super) is_deferred: bool,
}

/// How a wait ended.
pub(crate) enum Waited<'a, K, T, E> {
    Over(Outcome<T, E>),
    /// The follower was elected, or found the lead vacant.
    Lead(LeaderGuard<'a, K, T, E>),
    /// It has left, and runs its closure uncoalesced, for this reason.
    Bypass(BypassReason),
}

/// What happened to a follower that reached a limit.
pub(super) enum LeaveOutcome<'a, K, T, E> {
    Ended(Shared<T, E>),
    Lead(LeaderGuard<'a, K, T, E>),
    Left,
    /// Too many other callers run their own work, so this one has to stay.
    Stays,
}

impl<'a, K, T, E> Follower<'a, K, T, E> {
    /// Comes to wait, and can be elected from now on; or has left, and says which cycle its wait would close. The
    /// observers hear first that it joined: whatever they wait for, nobody waits for this thread meanwhile, nor does it
    /// wait for anybody.
    pub(super) fn start_waiting(&mut self, label: &mut dyn FnMut() -> Option<Arc<str>>) -> Result<(), Chain> {
        let settings = &self.flight.flights.settings;
        // A label is user code. If it panics, the observers have not heard of a follower that never leaves.
        let label = (self.is_deferred && thread::leads_something()).then(|| {
            let known = self.label.take().or_else(label);
            known.unwrap_or_else(|| self.flight.name().to_string().into())
        });
        settings.observe(&|observer| observer.joined(&self.flight.name()));
        if !self.is_deferred {
            return Ok(());
        }
        if let Some(label) = label {
            // It has its seat among the followers already.
            match WaitEdge::enter(this_thread().number, &self.slot.leader, &label, &|| true) {
                Ok(edge) => self.edge = edge,
                Err(chain) if self.leave_deferred() => return Err(chain),
                // The flight has ended since, and its result is there without a wait.
                Err(_) => return Ok(()),
            }
        }
        self.is_deferred = false;
        self.change_record(&|record, _| record.deferred -= 1);
        Ok(())
    }

    /// Hands its place over to a ticket: the flight, and its slot.
    pub(super) fn into_ticket(mut self) -> (FlightRef<'a, K, T, E>, Arc<Slot<T, E>>) {
        self.is_deferred = false;
        (self.flight, Arc::clone(&self.slot))
    }

    /// Changes the entry of this follower in its flight's record. If the flight has ended, there is none.
    ///
    /// Nobody has to be notified, even if the lead is vacant: a lead is offered only while a follower waits in the
    /// slot. This one does not, and the last one that does ends the flight when it leaves.
    pub(super) fn change_record(&self, change: &dyn Fn(&mut Record<T, E>, &mut Stats)) -> bool {
        let mut locked = self.flight.shard.lock();
        if matches!(self.slot.state(), SlotState::Ended(_)) {
            return false;
        }
        let record = locked.record(self.flight.hash, self.flight.id);
        record.map(|(record, counters)| change(record, counters)).is_some()
    }

    /// Blocks until the flight ends, this follower leads it, or a limit is reached.
    pub(crate) fn wait(mut self, joined: Instant, mut limits: WaitLimits) -> Waited<'a, K, T, E> {
        let result = loop {
            match blocking(|| self.slot.wait(self.seat, limits.until())) {
                Wake::Ended(result) => break result,
                Wake::Vacant => {
                    if let Some(lead) = self.try_claim_lead(joined) {
                        return Waited::Lead(lead);
                    }
                }
                Wake::TimedOut => {
                    let deadline_passed = limits.deadline_has_passed();
                    match self.leave(joined, deadline_passed) {
                        LeaveOutcome::Ended(result) => break result,
                        LeaveOutcome::Lead(lead) => return Waited::Lead(lead),
                        LeaveOutcome::Left if deadline_passed => break Err(CallError::TimedOut),
                        LeaveOutcome::Left => {
                            self.observe_left(joined, LeaveReason::Impatient);
                            return Waited::Bypass(BypassReason::Impatient);
                        }
                        LeaveOutcome::Stays => limits = limits.with_new_patience(),
                    }
                }
            }
        };
        // Out of the graph before the observers run, which may wait themselves.
        self.edge = None;
        let waited = self.observe_left(
            joined,
            match &result {
                Err(CallError::TimedOut) => LeaveReason::TimedOut,
                Err(CallError::Cancelled) => LeaveReason::Cancelled,
                Err(CallError::Closed) => LeaveReason::Closed,
                _ => LeaveReason::Result,
            },
        );
        Waited::Over(Outcome { result, role: Role::Follower { waited } })
    }

    /// Claims the lead, unless another follower or a new caller was faster.
    fn try_claim_lead(&mut self, joined: Instant) -> Option<LeaderGuard<'a, K, T, E>> {
        let mut locked = self.flight.shard.lock();
        if !also_if!(LeadsWithoutLooking, matches!(self.slot.state(), SlotState::Vacant)) {
            return None;
        }
        let (lead, _failure) = self.claim_lead(&mut locked)?;
        drop(locked);
        self.observe_elected(joined);
        Some(lead)
    }

    /// Claims the lead, which is vacant and stays so while the shard is locked. The failure must be dropped after
    /// unlocking.
    pub(super) fn claim_lead(&mut self, locked: &mut Shard<K, T, E>) -> Option<Claimed<'a, K, T, E>> {
        // Out of the graph before it leads: whoever becomes a leader waits for nobody.
        self.edge = None;
        let (record, counters) = locked.record(self.flight.hash, self.flight.id)?;
        record.followers -= 1;
        counters.following -= 1;
        counters.elected += 1;
        Some(self.flight.claim_lead(record, counters, this_thread()))
    }

    pub(super) fn observe_elected(&self, joined: Instant) {
        self.flight.flights.following.give_back(1);
        let settings = &self.flight.flights.settings;
        if settings.is_observed() {
            let waited = sync::now().saturating_duration_since(joined);
            settings.observe(&|observer| observer.elected(&self.flight.name(), waited));
        }
    }

    /// Notifies the observers that it has left. Returns how long it waited.
    pub(super) fn observe_left(&self, joined: Instant, reason: LeaveReason) -> std::time::Duration {
        let waited = sync::now().saturating_duration_since(joined);
        let left = FollowerLeft { waited, reason };
        self.flight.flights.settings.observe(&|observer| observer.left(&self.flight.name(), &left));
        waited
    }
}
