//! Lead or follow? The one place that decides.
//!
//! [`Flights::enter`] looks for the caller's key under the shard's lock. What it finds decides:
//!
//! | there is | the caller |
//! |---|---|
//! | no flight | begins one and leads it |
//! | a flight with a leader | follows, unless that closes a cycle or a bound is reached |
//! | a flight whose lead is vacant | claims the lead |
//! | a flight older than the caller's mark | takes its place with a new one |
//! | a lingering result | gets it |
//!
//! User code runs only between two looks, under no lock. What it makes is kept in an [`Attempt`].

use std::sync::Arc;

use hashbrown::Equivalent;

use super::faults::Fault;
use super::flight_ref::FlightRef;
use super::flights::Flights;
use super::follow::Follower;
use super::lead::LeaderGuard;
#[cfg(sync_coalesce_shuttle)]
use super::models;
use super::slot::{Failure, Slot};
use super::table::lingering::{LingeringResult, Lookup};
use super::table::lock::{ShardGuard, ShardLock};
use super::table::record::Record;
use super::table::shard::Shard;
use super::watch::{Signal, Signals};
use crate::error::CallError;
use crate::options::CallOptions;
use crate::outcome::{BypassReason, Outcome, Role};
use crate::panic::CatchDrop;
use crate::policy::{OnDeadlock, OnOverflow};
use crate::stats::Stats;
use crate::sync::{self, Instant, ThreadToken, also_if, only_if};
use crate::wait::graph::{self, WaitEdge};

/// The role of a caller that has entered.
pub(crate) enum Entry<'a, K, T, E> {
    Lead(LeaderGuard<'a, K, T, E>),
    Follow(Follower<'a, K, T, E>),
    /// It runs its closure uncoalesced, for this reason.
    Bypass(BypassReason),
    /// It has its outcome already: a lingering result, or a refusal.
    Done(Outcome<T, E>),
}

/// When a caller that follows waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitMode {
    Now,
    /// After its batch has run, and leads nothing any more.
    AfterBatch,
    /// Its ticket waits, in any thread, and never leads.
    ByTicket,
}

/// What a caller needs before it can enter. Making it is user code.
enum Needs {
    /// The caller would lead, and has no owned key.
    Key,
    /// The caller would follow, and it leads something, so its wait needs a label.
    Label,
}

/// One caller that is entering, and what has been made for it between two looks.
///
/// It is declared before each guard of the shard's lock, so that user values are dropped under no lock. All of them
/// catch panics in their `Drop`, or the entry that is being returned could be lost.
struct Attempt<'a, 'q, Q: ?Sized, K, T, E> {
    flights: &'a Flights<K, T, E>,
    shard: &'a ShardLock<K, T, E>,
    hash: u64,
    key: &'q Q,
    mode: WaitMode,
    options: &'q CallOptions<'q>,
    owned: CatchDrop<K>,
    /// The shard's last flight id when the key was found in no flight.
    absent_since: Option<u64>,
    label: Option<Arc<str>>,
    /// The time at which it began to enter, if results linger.
    now: Option<Instant>,
    /// The last leader's failure, if the caller claims a vacant lead. Kept here to be dropped after unlocking.
    failure: Failure<T, E>,
    /// For the leader of a flight that this caller's takes the place of.
    signals: Option<Signals>,
    /// Lingering results of its key that have expired or are too old, kept here for the same reason.
    expired: Vec<LingeringResult<K, T, E>>,
}

impl<K, T, E> Flights<K, T, E> {
    /// Joins the flight for `key`, or takes the lead of a new one.
    ///
    /// User code here: `Q: Eq` under the shard's lock, before anything has changed; `Q::to_owned` and the label under
    /// no lock. If one of them panics, no flight is harmed; nor if one of the latter two calls this coalescer again.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(crate) fn enter<Q>(&self, mode: WaitMode, hash: u64, key: &Q, options: &CallOptions<'_>) -> Entry<'_, K, T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let shard = self.table.shard(hash);
        // The usual case, short and apart: there is probably no flight for this key, and then certainly none. The key
        // is made under no lock.
        if !shard.probably_absent(hash) {
            return self.enter_found(None, mode, hash, key, options);
        }
        let owned = key.to_owned();
        let mut locked = shard.lock();
        if !locked.definitely_absent(hash) {
            return self.enter_found(Some((locked, CatchDrop::new(owned))), mode, hash, key, options);
        }
        Entry::Lead(self.begin(&mut locked, shard, hash, owned, sync::this_thread()))
    }

    /// The same where there may be a flight or a lingering result. The shard may already be locked, and the key made.
    #[inline(never)]
    fn enter_found<'a, Q>(
        &'a self,
        ahead: Option<(ShardGuard<'a, K, T, E>, CatchDrop<K>)>,
        mode: WaitMode,
        hash: u64,
        key: &Q,
        options: &CallOptions<'_>,
    ) -> Entry<'a, K, T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let (locked, owned) = match ahead {
            Some((locked, owned)) => (Some(locked), owned),
            None => (None, CatchDrop::NONE),
        };
        let mut attempt = Attempt {
            flights: self,
            shard: self.table.shard(hash),
            hash,
            key,
            mode,
            options,
            owned,
            absent_since: None,
            label: options.label.map(Arc::from),
            now: self.settings.linger.is_on().then(sync::now),
            failure: CatchDrop::NONE,
            signals: None,
            expired: Vec::new(),
        };
        attempt.enter(locked)
    }

    /// Begins a flight for a key that has none.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    fn begin<'a>(
        &'a self,
        locked: &mut Shard<K, T, E>,
        shard: &'a ShardLock<K, T, E>,
        hash: u64,
        key: K,
        leader: ThreadToken,
    ) -> LeaderGuard<'a, K, T, E> {
        let record = self.new_record(locked, leader);
        let flight = FlightRef { flights: self, shard, hash, id: record.id };
        locked.insert(hash, key, record);
        LeaderGuard::new(flight)
    }

    /// Whether one more may follow, in this flight and in all of them.
    fn takes_seat(&self, record: &Record<T, E>) -> bool {
        record.followers < self.settings.max_followers && self.following.take()
    }

    /// The record of a flight that begins now, which is counted.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    fn new_record(&self, locked: &mut Shard<K, T, E>, leader: ThreadToken) -> Record<T, E> {
        locked.counters.underlying_calls += 1;
        locked.counters.running += 1;
        let began = self.settings.is_timed().then(sync::now);
        locked.new_record(leader, began, self.last_mark())
    }
}

impl<'a, Q, K, T, E> Attempt<'a, '_, Q, K, T, E>
where
    Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
{
    /// Looks, makes what is needed under no lock, and looks again, until it has entered.
    fn enter(&mut self, mut ahead: Option<ShardGuard<'a, K, T, E>>) -> Entry<'a, K, T, E> {
        loop {
            let mut locked = ahead.take().unwrap_or_else(|| self.shard.lock());
            let found = self.look(&mut locked);
            drop(locked);
            // Before this caller's closure begins, so that the old leader does not put its result where the new one's is.
            if let Some(signals) = self.signals.take() {
                signals.send();
            }
            match found {
                Ok(entry) => {
                    if let Entry::Done(outcome) = &entry {
                        self.flights.observe_refusal(outcome);
                    }
                    return entry;
                }
                Err(Needs::Key) => self.owned = CatchDrop::new(self.key.to_owned()),
                Err(Needs::Label) => {
                    self.label = self.flights.settings.key_label.map(|label| label(&self.key.to_owned()).into());
                }
            }
        }
    }

    /// One look under the shard's lock: the caller's role, or what it needs first.
    fn look(&mut self, locked: &mut Shard<K, T, E>) -> Result<Entry<'a, K, T, E>, Needs> {
        if locked.closed {
            locked.counters.closed += 1;
            return Ok(refused(CallError::Closed));
        }
        let thread = sync::this_thread();
        // Another caller may have taken the lead while the key was made. If the shard has begun no flight, none has.
        let unchanged = also_if!(LeadsUnseen, self.absent_since == Some(locked.last_id()));
        if self.absent_since.is_none() || !unchanged {
            if let Some((record, counters)) = locked.find(self.hash, self.key) {
                if self.is_new_enough(record.mark) {
                    return self.join(record, counters, thread);
                }
                let old = record.id;
                let record = self.flights.new_record(locked, thread);
                let flight = self.flight(record.id);
                locked.supersede(self.hash, old, record);
                self.signals = Some(locked.watchers.of(old, Signal::Unlinked));
                return Ok(Entry::Lead(LeaderGuard::new(flight)));
            }
            match self.now.and_then(|now| locked.lingering.find(self.hash, self.key, now, self.options.after)) {
                Some(Lookup::Result(result, age)) => {
                    locked.counters.lingered += 1;
                    return Ok(Entry::Done(Outcome { result, role: Role::Lingering { age } }));
                }
                Some(Lookup::Expired(expired)) => self.expired.push(expired),
                None => {}
            }
        }
        let Some(owned) = self.owned.take() else {
            self.absent_since = Some(locked.last_id());
            return Err(Needs::Key);
        };
        Ok(Entry::Lead(self.flights.begin(locked, self.shard, self.hash, owned, thread)))
    }

    /// Joins the flight of this record as a follower, or claims its lead if that is vacant.
    fn join(
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
        let edge = if is_checked && graph::leads_something() {
            if self.label.is_none() && self.flights.settings.key_label.is_some() {
                return Err(Needs::Label);
            }
            let label = self.label.get_or_insert_with(|| flight.name().to_string().into());
            let take_seat = || self.flights.takes_seat(record);
            let entered = if is_deferred {
                graph::check(thread.number, &slot.leader, label).map(|()| take_seat().then_some(None))
            } else {
                WaitEdge::enter(thread.number, &slot.leader, label, take_seat).map(|edge| edge.map(Some))
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

    fn flight(&self, id: u64) -> FlightRef<'a, K, T, E> {
        FlightRef { flights: self.flights, shard: self.shard, hash: self.hash, id }
    }

    fn is_new_enough(&self, mark: u64) -> bool {
        let Some(after) = self.options.after else { return true };
        also_if!(JoinsOlder, only_if!(SupersedesNewer, mark >= after.0))
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

fn refused<'a, K, T, E>(error: CallError<E>) -> Entry<'a, K, T, E> {
    Entry::Done(Outcome { result: Err(error), role: Role::Refused })
}
