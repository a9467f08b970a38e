//! The follower's part: wait, lead if elected, or leave.

use std::sync::Arc;
use std::time::Duration;

use super::release::Released;
use super::slot::{Failure, Slot, Woken};
use super::table::record::Record;
use super::table::shard::{Removed, Shard};
use super::{FlightRef, LeaderGuard};
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::observe::{Left, LeftWith};
use crate::outcome::Shared;
use crate::outcome::{Outcome, Role};
use crate::panic::CatchDrop;
use crate::stats::Stats;
use crate::sync::{self, Instant, has_passed, is_planted};
use crate::wait::blocking::blocking;
use crate::wait::graph::{self, Chain, WaitEdge};

/// A follower's place in a flight.
pub(crate) struct Follower<'a, K, T, E> {
    at: FlightRef<'a, K, T, E>,
    slot: Arc<Slot<T, E>>,
    /// How many followers there were when it joined.
    before: usize,
    /// In the graph of waits, if this thread leads something.
    waiting: Option<WaitEdge>,
}

/// How long a follower waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WaitLimits {
    pub(crate) deadline: Option<Instant>,
    pub(crate) patience: Option<Patience>,
}

/// When a follower runs its own work, and how long after that it tries again if there are too many like it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) until: Instant,
    pub(crate) again: Duration,
}

/// What came of waiting.
pub(crate) enum Waited<'a, K, T, E> {
    Over(Outcome<T, E>),
    /// The follower was elected, or found the lead vacant.
    Lead(LeaderGuard<'a, K, T, E>),
    /// It has left, and its closure is to be run by [`bypass`](super::Flights::bypass).
    Impatient,
}

/// What became of a follower that ran out of time.
enum Leaving<'a, K, T, E> {
    Ended(Shared<T, E>),
    Lead(LeaderGuard<'a, K, T, E>),
    Left,
    /// Too many others run their own work, so this one has to stay.
    Stays,
}

/// A lead that was vacant, and why it was.
type Elected<'a, K, T, E> = (LeaderGuard<'a, K, T, E>, Failure<T, E>);

impl<'a, K, T, E> Follower<'a, K, T, E> {
    /// For a caller that is counted in the flight's record.
    pub(super) fn new(
        at: FlightRef<'a, K, T, E>,
        slot: Arc<Slot<T, E>>,
        before: usize,
        waiting: Option<WaitEdge>,
    ) -> Self {
        Self { at, slot, before, waiting }
    }

    /// Comes to wait after it was deferred, and can be elected from now on; or says which cycle the wait would close.
    pub(super) fn start_waiting(&mut self, label: impl FnOnce() -> Option<Arc<str>>) -> Result<(), Chain> {
        if graph::leads_something() {
            let label = label().unwrap_or_else(|| self.at.name().to_string().into());
            // It has its place among the followers already.
            self.waiting = WaitEdge::enter(sync::this_thread().number, &self.slot.leader, label, || true)?;
        }
        self.change_record(|record, _| record.deferred -= 1);
        Ok(())
    }

    /// Leaves its place to a ticket: which flight it is in, and where.
    pub(super) fn into_ticket(self) -> (FlightRef<'a, K, T, E>, Arc<Slot<T, E>>) {
        (self.at, self.slot)
    }

    /// Leaves while it is deferred: to run its own closure alone, or for good.
    pub(super) fn leave_deferred(&mut self, runs: bool) {
        let left = self.change_record(|record, counters| {
            record.deferred -= 1;
            record.followers -= 1;
            counters.following -= 1;
        });
        if left {
            self.at.flights.following.give_back(1);
        }
        if runs && (left || !is_planted(Fault::RunsUncounted)) {
            self.at.shard.lock().counters.impatient += 1;
        }
    }

    /// Changes what the record of its flight says of this follower, unless the flight has ended: then it says nothing.
    /// If the lead is vacant, another follower waits in the slot, so nobody is to be woken.
    fn change_record(&self, change: impl FnOnce(&mut Record<T, E>, &mut Stats)) -> bool {
        let mut locked = self.at.shard.lock();
        if matches!(self.slot.look(), Woken::Ended(_)) {
            return false;
        }
        let record = locked.record(self.at.hash, self.at.id);
        record.map(|(record, counters)| change(record, counters)).is_some()
    }

    /// Blocks until the flight ends, this follower leads it, or a limit is reached.
    pub(crate) fn wait(mut self, joined: Instant, mut limits: WaitLimits) -> Waited<'a, K, T, E> {
        let settings = &self.at.flights.settings;
        let name = self.at.name();
        settings.observe(|observer| observer.joined(&name));
        let left = |why| {
            let waited = sync::now().saturating_duration_since(joined);
            settings.observe(|observer| observer.left(&name, &Left { waited, why }));
            waited
        };
        let result = loop {
            let patience = limits.patience.map(|patience| patience.until);
            let until = match (limits.deadline, patience) {
                (Some(deadline), Some(patience)) => Some(deadline.min(patience)),
                (one, other) => one.or(other),
            };
            match blocking(|| self.slot.wait(self.before, until)) {
                Woken::Ended(result) => break result,
                Woken::Vacant => {
                    if let Some(lead) = self.try_claim_lead(joined) {
                        return Waited::Lead(lead);
                    }
                }
                Woken::Late => {
                    let late = limits.deadline.is_some_and(has_passed);
                    match self.leave(joined, late) {
                        Leaving::Ended(result) => break result,
                        Leaving::Lead(lead) => return Waited::Lead(lead),
                        Leaving::Left if late => break Err(CallError::TimedOut),
                        Leaving::Left => {
                            left(LeftWith::Impatient);
                            return Waited::Impatient;
                        }
                        Leaving::Stays => limits.patience = limits.patience.and_then(Patience::renewed),
                    }
                }
            }
        };
        // Out of the graph before anybody is told.
        self.waiting = None;
        let waited = left(match &result {
            Err(CallError::TimedOut) => LeftWith::TimedOut,
            Err(CallError::Cancelled) => LeftWith::Cancelled,
            Err(CallError::Closed) => LeftWith::Closed,
            _ => LeftWith::Result,
        });
        Waited::Over(Outcome { result, role: Role::Follower { waited } })
    }

    /// Takes the lead, unless another follower or a new caller was faster.
    fn try_claim_lead(&mut self, joined: Instant) -> Option<LeaderGuard<'a, K, T, E>> {
        let mut locked = self.at.shard.lock();
        let (lead, _failure) = (matches!(self.slot.look(), Woken::Vacant) || is_planted(Fault::LeadsWithoutLooking))
            .then(|| self.lead(&mut locked))??;
        drop(locked);
        self.tell_elected(joined);
        Some(lead)
    }

    /// Takes the lead, which is free and stays so as long as the shard is locked. The failure is to be dropped after
    /// unlocking.
    fn lead(&self, locked: &mut Shard<K, T, E>) -> Option<Elected<'a, K, T, E>> {
        let (record, counters) = locked.record(self.at.hash, self.at.id)?;
        record.followers -= 1;
        counters.following -= 1;
        counters.elected += 1;
        Some(self.at.claim_lead(record, counters, sync::this_thread()))
    }

    fn tell_elected(&self, joined: Instant) {
        self.at.flights.following.give_back(1);
        let settings = &self.at.flights.settings;
        if settings.is_observed() {
            let waited = sync::now().saturating_duration_since(joined);
            settings.observe(|observer| observer.elected(&self.at.name(), waited));
        }
    }

    /// Leaves, or takes what came in the meantime: a result, or a lead that is vacant if there is still time. The shard's
    /// lock, which publishing takes too, settles which of these it was.
    fn leave(&mut self, joined: Instant, late: bool) -> Leaving<'a, K, T, E> {
        let FlightRef { flights, shard, hash, id } = self.at;
        let mut locked = shard.lock();
        let vacant = match self.slot.look() {
            Woken::Ended(_) if is_planted(Fault::LeavesBlindly) => false,
            Woken::Ended(result) => return Leaving::Ended(result),
            Woken::Vacant => true,
            Woken::Late => false,
        };
        if !late {
            if vacant && !is_planted(Fault::ImpatientShunsLead) {
                if let Some((lead, _failure)) = self.lead(&mut locked) {
                    drop(locked);
                    self.tell_elected(joined);
                    return Leaving::Lead(lead);
                }
            }
            if !flights.impatient.take() {
                return Leaving::Stays;
            }
        }
        let mut left = 0;
        if let Some((record, counters)) = locked.record(hash, id) {
            record.followers -= 1;
            left = record.waiting();
            counters.following -= 1;
            if late {
                counters.timed_out += 1;
            } else {
                counters.impatient += 1;
            }
        }
        // Who leaves while the lead is vacant may be the one who was woken to take it, so it wakes another; the last one
        // takes the flight away, and whoever is deferred gets what the last closure came to.
        let removed =
            if vacant && left == 0 && !is_planted(Fault::LastLeavesEntry) { locked.remove(hash, id) } else { None };
        let (key, released) = match removed {
            None => (None, None),
            Some(Removed { key, .. }) if is_planted(Fault::DeferredAreForgotten) => (key, None),
            Some(Removed { key, followers, slot, .. }) => {
                let publish = |failure| Released::publish(followers, slot, &mut locked.counters, || failure);
                (key, self.slot.failure().and_then(publish))
            }
        };
        let key = key.map(CatchDrop::new);
        drop(locked);
        if vacant {
            self.pass_on(left);
        }
        if let Some(released) = released {
            released.wake(&flights.following);
        }
        // Out of the graph, and off the bound, before the key is dropped, which is user code.
        if is_planted(Fault::LeaverKeepsEdge) {
            std::mem::forget(self.waiting.take());
        }
        self.waiting = None;
        flights.following.give_back(u64::from(!is_planted(Fault::LeaverKeepsPlace)));
        drop(key);
        Leaving::Left
    }
}

impl<K, T, E> Follower<'_, K, T, E> {
    /// Wakes another follower to take the lead that this one leaves, if there is one.
    fn pass_on(&self, others: u64) {
        if others > 0 && !is_planted(Fault::LeaverKeepsLead) {
            self.slot.wake_one();
        }
    }
}

impl Patience {
    /// A patience that begins now; none if it ends beyond what the clock can tell.
    pub(crate) fn of(patience: Duration, now: Instant) -> Option<Self> {
        Some(Self { until: now.checked_add(patience)?, again: patience.max(Duration::from_millis(1)) })
    }

    fn renewed(self) -> Option<Self> {
        Self::of(self.again, sync::now())
    }
}
