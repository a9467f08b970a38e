//! [`Shard`]: one part of the table, with its flights and the counters that its lock guards too.

use std::mem;

use hashbrown::Equivalent;

use super::lingering::Lingering;
use super::record::Record;
use super::small_table::BloomFilter;
use super::small_table::{Hashed, SmallTable};
use super::unlinked::Unlinked;
use crate::flight::completion::Completion;
use crate::flight::faults::Fault;
use crate::flight::watch::Watchers;
use crate::stats::Stats;
use crate::sync::{Instant, also_if, step};
use crate::wait::thread::ThreadToken;

/// The flights whose keys hash here. Each running flight is in exactly one of the two maps.
pub(crate) struct Shard<K, T, E> {
    /// The flights that a new caller can join.
    flights: SmallTable<Entry<K, T, E>>,
    /// The flights that run on without being joinable: their leaders find their records here.
    pub(in crate::flight) unlinked: Unlinked<T, E>,
    /// The results that linger.
    pub(crate) lingering: Lingering<K, T, E>,
    /// The threads that run a closure for themselves alone, so that `drain` can leave them out.
    pub(crate) bypassing: Vec<ThreadToken>,
    /// Who wants to know what becomes of flights while their closures run.
    pub(in crate::flight) watchers: Watchers,
    /// The coalescer is closed: no call begins any more.
    pub(crate) closed: bool,
    /// A caller waits for closures to end.
    pub(crate) draining: bool,
    /// Each shard starts at its own number, and counts up by the number of shards, so no id is used twice.
    last_id: u64,
    id_step: u64,
    /// [`Shard::stats`] fills in `in_flight`, which is the length of `flights`.
    pub(crate) counters: Stats,
}

/// A flight in the map, with the key's hash, so that neither `Hash` nor `Eq` runs when it ends.
pub(crate) struct Entry<K, T, E> {
    hash: u64,
    pub(crate) key: K,
    pub(crate) record: Record<T, E>,
}

impl<K, T, E> Hashed for Entry<K, T, E> {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl<K, T, E> Entry<K, T, E> {
    /// Whether it is the flight with this id, and nobody has ever followed it.
    #[inline]
    fn is_lone(&self, id: u64) -> bool {
        self.record.id == id && self.record.slot.is_none()
    }
}

impl<K, T, E> Shard<K, T, E> {
    pub(in crate::flight) fn new(first_id: u64, id_step: u64, lingering: usize) -> Self {
        Self {
            flights: SmallTable::new(),
            unlinked: Unlinked::new(),
            lingering: Lingering::new(lingering),
            bypassing: Vec::new(),
            watchers: Watchers::default(),
            closed: false,
            draining: false,
            last_id: first_id,
            id_step,
            counters: Stats::default(),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { in_flight: self.in_flight(), ..self.counters }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.flights.len() as u64
    }

    /// The hashes that callers may find here. Lingering results have no filter: their callers read the clock, which
    /// costs more than the lock that a filter can save.
    #[inline]
    pub(in crate::flight) fn filter(&self) -> BloomFilter {
        if self.lingering.kept.is_empty() { self.flights.filter() } else { BloomFilter::FULL }
    }

    /// Whether there is certainly nothing here that a caller with this hash could find, and no reason to refuse it.
    #[inline]
    pub(crate) fn definitely_absent(&self, hash: u64) -> bool {
        !self.closed && self.filter().definitely_absent(hash)
    }

    #[cfg(all(test, not(sync_coalesce_shuttle)))]
    pub(crate) fn capacity(&self) -> usize {
        self.flights.capacity()
    }

    pub(crate) fn flights(&self) -> impl Iterator<Item = &Entry<K, T, E>> {
        self.flights.iter()
    }

    /// The id of the flight that began last. While it stays the same, an absent key stays absent.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// The flight that a caller with this key can join. `Q: Eq` may panic here, before anything has changed.
    pub(crate) fn find<Q>(&mut self, hash: u64, key: &Q) -> Option<(&mut Record<T, E>, &mut Stats)>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let found = self.flights.find(hash, |entry| key.equivalent(&entry.key));
        found.map(|entry| (&mut entry.record, &mut self.counters))
    }

    /// The record of a flight that begins now.
    #[inline]
    pub(crate) fn new_record(&mut self, leader: ThreadToken, began: Option<Instant>, mark: u64) -> Record<T, E> {
        self.last_id += self.id_step;
        Record {
            id: self.last_id,
            leader: Some(leader),
            began,
            mark,
            runs: 1,
            followers: 0,
            deferred: 0,
            cancelled: false,
            detached: false,
            slot: None,
        }
    }

    /// Inserts a flight for a key that has none.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, key: K, record: Record<T, E>) {
        self.flights.insert(Entry { hash, key, record });
    }

    /// Unlinks the flight with this id, and puts another one for the same key in its place.
    pub(crate) fn supersede(&mut self, hash: u64, id: u64, record: Record<T, E>) {
        if let Some(entry) = self.flights.find(hash, |entry| entry.record.id == id) {
            let superseded = mem::replace(&mut entry.record, record);
            step!(SupersededIsLost, self.unlinked.insert(superseded));
        }
    }

    /// Whether a new caller would join the flight with this id.
    pub(crate) fn is_joinable(&mut self, hash: u64, id: u64) -> bool {
        self.flights.find(hash, |entry| entry.record.id == id).is_some()
    }

    /// The record of a flight that has not ended, in the map or unlinked.
    pub(crate) fn record(&mut self, hash: u64, id: u64) -> Option<(&mut Record<T, E>, &mut Stats)> {
        let record = match self.flights.find(hash, |entry| entry.record.id == id) {
            Some(entry) => &mut entry.record,
            None => self.unlinked.get_mut(id)?,
        };
        Some((record, &mut self.counters))
    }

    /// Takes a flight out by its id, from the map or from the unlinked ones, which have no key.
    #[inline]
    pub(crate) fn take_out(&mut self, hash: u64, id: u64) -> Option<(Option<K>, Record<T, E>)> {
        match self.flights.remove(hash, |entry| also_if!(RemovesByKey, entry.record.id == id)) {
            Some(entry) => Some((Some(entry.key), entry.record)),
            None => self.unlinked.remove(id).map(|record| (None, record)),
        }
    }

    /// Takes out a flight that nobody has ever followed, unless it is unlinked.
    #[inline]
    pub(crate) fn remove_lone(&mut self, hash: u64, id: u64) -> Option<K> {
        match self.flights.take_first(|entry| entry.is_lone(id)) {
            Some(lone) => Some(lone.key),
            None => self.remove_other_lone(hash, id),
        }
    }

    #[inline(never)]
    fn remove_other_lone(&mut self, hash: u64, id: u64) -> Option<K> {
        self.flights.take_other(hash, |entry| entry.is_lone(id), |lone| lone.key)
    }

    /// Counts a closure that has ended. Returns whether a caller drains, and has to be notified.
    #[inline]
    pub(crate) fn count_end(&mut self, completion: &Completion<T, E>) -> bool {
        self.counters.running -= 1;
        match completion {
            Completion::Value { cost, .. } => self.counters.cost_spent += cost,
            Completion::Error(_) | Completion::Miscounted { .. } => self.counters.failed += 1,
            Completion::Panicked { .. } => self.counters.panicked += 1,
        }
        mem::take(&mut self.draining)
    }

    /// Counts a closure that will never run. Returns whether a caller drains, and has to be notified.
    pub(crate) fn count_unrun(&mut self) -> bool {
        self.counters.running -= 1;
        mem::take(&mut self.draining)
    }

    /// Unlinks the flight for `key`. The key is returned to be dropped under no lock.
    pub(crate) fn forget<Q>(&mut self, hash: u64, key: &Q) -> Option<(K, u64)>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let Entry { key, mut record, .. } = self.flights.remove(hash, |entry| key.equivalent(&entry.key))?;
        let (id, slot) = (record.id, record.slot.take());
        step!(ForgetLosesSlot, record.slot = slot);
        self.unlinked.insert(record);
        Some((key, id))
    }

    /// Unlinks a flight, and marks it as cancelled for its closure to see. The key is returned to be dropped under no
    /// lock.
    pub(crate) fn cancel_unwanted(&mut self, hash: u64, id: u64) -> Option<K> {
        let (key, mut record) = self.take_out(hash, id)?;
        record.cancelled = true;
        self.unlinked.insert(record);
        key
    }

    /// Unlinks all flights. The keys are returned to be dropped under no lock.
    pub(crate) fn forget_all(&mut self) -> Vec<K> {
        let mut keys = Vec::with_capacity(self.flights.len());
        for Entry { key, record, .. } in self.flights.drain() {
            keys.push(key);
            self.unlinked.insert(record);
        }
        keys
    }
}
