//! The protocol: who leads, who follows, and how a flight ends. `README.md` beside this file tells it step by step.

mod batch;
mod bypass;
mod completion;
mod control;
mod faults;
mod flight_ref;
mod follow;
mod handle;
mod lead;
#[cfg(sync_coalesce_shuttle)]
mod models;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod op_counts;
mod pool;
mod release;
mod settings;
mod slot;
mod stats;
mod table;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::Equivalent;

use self::flight_ref::FlightRef;
pub(crate) use self::follow::{Follower, Patience, WaitLimits, Waited};
pub use self::handle::Flight;
pub(crate) use self::lead::LeaderGuard;
pub(crate) use self::pool::Pool;
pub use self::pool::ticket::Ticket;
pub(crate) use self::settings::{Policy, Settings};
use self::slot::Failure;
use self::table::Table;
use self::table::lingering::{LingeringResult, Lookup};
use self::table::lock::{ShardGuard, ShardLock};
use self::table::record::Record;
use self::table::shard::Shard;
pub(crate) use self::table::small_table::shrink;
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::outcome::{Bypass, Mark, Shared};
use crate::panic::CatchDrop;
use crate::sync::{self, AtomicU64, Instant, Monitor, Ordering, ThreadToken, is_planted};
use crate::wait::bound::Bound;

/// All flights of one coalescer.
pub(crate) struct Flights<K, T, E> {
    table: Table<K, T, E>,
    pub(crate) settings: Settings<K, T, E>,
    /// The marks given out so far.
    marks: AtomicU64,
    following: Bound,
    impatient: Bound,
    /// Told when closures end while somebody drains.
    drained: Monitor<()>,
}

/// Which part a caller plays.
pub(crate) enum Entry<'a, K, T, E> {
    Lead(LeaderGuard<'a, K, T, E>),
    Follow(Follower<'a, K, T, E>),
    /// Its closure is to be run by [`Flights::bypass`], for this reason.
    Bypass(Bypass),
    /// The result of a flight that has ended, and how long ago that was.
    Lingering(Shared<T, E>, Duration),
    Refused(CallError<E>),
}

/// What a caller needs before it can enter. Making it is user code, which runs between two attempts, under no lock.
enum Missing {
    /// The caller would lead, if it had an owned key.
    Key,
    /// The caller would follow, and it leads something, so its wait needs a label.
    Label,
}

/// When a caller that follows waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitMode {
    Now,
    /// When the batch that it is a part of has run, and leads nothing any more.
    AfterBatch,
    /// Its ticket waits, in whatever thread that is then, and never leads.
    ByTicket,
}

/// What is known of a caller, and has been made for it between two attempts.
struct Made<K, T, E> {
    waits: WaitMode,
    key: CatchDrop<K>,
    /// The key was in no flight when this was the id of the shard's last one.
    absent_since: Option<u64>,
    label: Option<Arc<str>>,
    /// Of the last leader, if the caller takes a lead that was vacant.
    failure: Failure<T, E>,
    /// When it entered, if results linger.
    now: Option<Instant>,
    /// Results for its key that will not do any more.
    expired: Vec<LingeringResult<K, T, E>>,
}

impl<K, T, E> Flights<K, T, E> {
    pub(crate) fn new(shards: usize, settings: Settings<K, T, E>) -> Self {
        Self {
            table: Table::new(shards, settings.linger.most),
            marks: AtomicU64::new(0),
            following: Bound::new(settings.max_followers_in_all),
            impatient: Bound::new(settings.max_impatient),
            drained: Monitor::new(()),
            settings,
        }
    }

    /// Joins the flight for `key`, or takes the lead of a new one. Flights begun before `after` are unlinked.
    ///
    /// User code here: `Q: Eq` under the shard's lock, before anything has changed, and `Q::to_owned` and the label
    /// under none. If one of them panics, or asks this coalescer again, no flight is harmed.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(crate) fn enter<Q>(&self, hash: u64, key: &Q, after: Option<Mark>) -> Entry<'_, K, T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.enter_waiting(WaitMode::Now, hash, key, after)
    }

    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    fn enter_waiting<Q>(&self, waits: WaitMode, hash: u64, key: &Q, after: Option<Mark>) -> Entry<'_, K, T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let shard = self.table.shard(hash);
        // The usual case, short and apart: there seems to be nothing for this key, and is nothing. The key is made under
        // no lock.
        if !shard.probably_absent(hash) {
            return self.enter_found(shard, None, waits, hash, key, after);
        }
        let owned = key.to_owned();
        let mut locked = shard.lock();
        if !locked.definitely_absent(hash) {
            return self.enter_found(shard, Some((locked, CatchDrop::new(owned))), waits, hash, key, after);
        }
        Entry::Lead(self.begin(&mut locked, shard, hash, owned, sync::this_thread()))
    }

    /// The same where there may be a flight, or a result that lingers. The shard may be locked and the key made already.
    #[inline(never)]
    fn enter_found<'a, Q>(
        &'a self,
        shard: &'a ShardLock<K, T, E>,
        ahead: Option<(ShardGuard<'a, K, T, E>, CatchDrop<K>)>,
        waits: WaitMode,
        hash: u64,
        key: &Q,
        after: Option<Mark>,
    ) -> Entry<'a, K, T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let (mut locked, owned) = match ahead {
            Some((locked, owned)) => (Some(locked), owned),
            None => (None, CatchDrop::NONE),
        };
        // What is made here outlives each guard and is dropped catch_panic, as it must: a key's Drop is user code.
        let mut made = Made {
            waits,
            key: owned,
            absent_since: None,
            label: None,
            failure: CatchDrop::NONE,
            now: self.settings.linger.is_on().then(sync::now),
            expired: Vec::new(),
        };
        loop {
            let mut locked = locked.take().unwrap_or_else(|| shard.lock());
            let missing = match self.try_enter(shard, &mut locked, hash, key, after, &mut made) {
                Ok(entered) => return entered,
                Err(missing) => missing,
            };
            drop(locked);
            match missing {
                Missing::Key => made.key = CatchDrop::new(key.to_owned()),
                Missing::Label => made.label = self.settings.key_label.map(|label| label(&key.to_owned()).into()),
            }
        }
    }

    fn try_enter<'a, Q>(
        &'a self,
        shard: &'a ShardLock<K, T, E>,
        locked: &mut Shard<K, T, E>,
        hash: u64,
        key: &Q,
        after: Option<Mark>,
        made: &mut Made<K, T, E>,
    ) -> Result<Entry<'a, K, T, E>, Missing>
    where
        Q: Equivalent<K> + ?Sized,
    {
        if locked.closed {
            locked.counters.closed += 1;
            return Ok(Entry::Refused(CallError::Closed));
        }
        let me = sync::this_thread();
        // Another caller may have taken the lead while the key was made; if the shard has begun no flight, none has.
        let unseen = is_planted(Fault::LeadsUnseen) && made.absent_since.is_some();
        if made.absent_since != Some(locked.last_id()) && !unseen {
            if let Some((record, counters)) = locked.find(hash, key) {
                let at = FlightRef { flights: self, shard, hash, id: record.id };
                let is_new = |mark: Mark| record.mark >= mark.0 && !is_planted(Fault::SupersedesNewer);
                if after.is_none_or(|mark| is_new(mark) || is_planted(Fault::JoinsOlder)) {
                    return at.join(record, counters, me, made);
                }
                let record = self.record(locked, me);
                let at_new = FlightRef { id: record.id, ..at };
                locked.supersede(hash, at.id, record);
                return Ok(Entry::Lead(LeaderGuard::new(at_new)));
            }
            match made.now.and_then(|now| locked.lingering.find(hash, key, now, after)) {
                Some(Lookup::Result(result, age)) => {
                    locked.counters.lingered += 1;
                    return Ok(Entry::Lingering(result, age));
                }
                Some(Lookup::Expired(kept)) => made.expired.push(kept),
                None => {}
            }
        }
        let Some(owned) = made.key.take() else {
            made.absent_since = Some(locked.last_id());
            return Err(Missing::Key);
        };
        Ok(Entry::Lead(self.begin(locked, shard, hash, owned, me)))
    }

    /// Begins a flight for a key that is in none.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    fn begin<'a>(
        &'a self,
        locked: &mut Shard<K, T, E>,
        shard: &'a ShardLock<K, T, E>,
        hash: u64,
        key: K,
        me: ThreadToken,
    ) -> LeaderGuard<'a, K, T, E> {
        let record = self.record(locked, me);
        let at = FlightRef { flights: self, shard, hash, id: record.id };
        locked.insert(hash, key, record);
        LeaderGuard::new(at)
    }

    /// The record of a flight that begins now, which is counted.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    fn record(&self, locked: &mut Shard<K, T, E>, me: ThreadToken) -> Record<T, E> {
        locked.counters.underlying_calls += 1;
        locked.counters.running += 1;
        let began = self.settings.is_timed().then(sync::now);
        locked.begin(me, began, self.marks.load(Ordering::Acquire))
    }

    /// Flights begun up to now are older than this.
    pub(crate) fn mark(&self) -> Mark {
        // Release, and Acquire in `begin`: what was done before the mark is seen by the closures of flights begun after
        // it.
        Mark(self.marks.fetch_add(1, Ordering::AcqRel) + 1)
    }
}
