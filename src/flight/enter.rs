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
use super::slot::Failure;
use super::table::lingering::{LingeringResult, Lookup};
use super::table::shard::Shard;
use super::table::{ShardGuard, ShardLock};
use super::watch::{Signal, Signals};
use crate::error::CallError;
use crate::options::CallOptions;
use crate::outcome::{BypassReason, Outcome, Role};
use crate::panic::CatchDrop;
use crate::sync::{self, Instant, also_if, only_if};
use crate::wait::thread::this_thread;

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
pub(super) enum Needs {
    /// The caller would lead, and has no owned key.
    Key,
    /// The caller would follow, and it leads something, so its wait needs a label.
    Label,
}

/// One caller that is entering, and what has been made for it between two looks.
///
/// It is declared before each guard of the shard's lock, so that user values are dropped under no lock. All of them
/// catch panics in their `Drop`, or the entry that is being returned could be lost.
pub(super) struct Attempt<'a, 'q, Q: ?Sized, K, T, E> {
    pub(super) flights: &'a Flights<K, T, E>,
    shard: &'a ShardLock<K, T, E>,
    hash: u64,
    key: &'q Q,
    pub(super) mode: WaitMode,
    options: &'q CallOptions<'q>,
    owned: CatchDrop<K>,
    /// The shard's last flight id when the key was found in no flight.
    absent_since: Option<u64>,
    pub(super) label: Option<Arc<str>>,
    /// The time at which it began to enter, if results linger.
    now: Option<Instant>,
    /// The last leader's failure, if the caller claims a vacant lead. Kept here to be dropped after unlocking.
    pub(super) failure: Failure<T, E>,
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
        Entry::Lead(self.begin(&mut locked, shard, hash, owned, this_thread()))
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
            now: self.lingers.then(sync::now),
            failure: CatchDrop::NONE,
            signals: None,
            expired: Vec::new(),
        };
        attempt.enter(locked)
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
        let thread = this_thread();
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
            let after = self.options.linger_after();
            match self.now.and_then(|now| locked.lingering.find(self.hash, self.key, now, after)) {
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

    pub(super) fn flight(&self, id: u64) -> FlightRef<'a, K, T, E> {
        FlightRef { flights: self.flights, shard: self.shard, hash: self.hash, id }
    }

    fn is_new_enough(&self, mark: u64) -> bool {
        let Some(after) = self.options.after else { return true };
        also_if!(JoinsOlder, only_if!(SupersedesNewer, mark >= after.0))
    }
}

pub(super) fn refused<'a, K, T, E>(error: CallError<E>) -> Entry<'a, K, T, E> {
    Entry::Done(Outcome { result: Err(error), role: Role::Refused })
}
