//! The sharded map from keys to flights, and the counters that its locks guard too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Instant;

use hashbrown::{Equivalent, HashTable};

use super::slot::Slot;
use crate::Stats;
use crate::sync::Mutex;

/// More shards than any machine has use for; a larger wish is cut down to this.
const MAX_SHARDS: usize = 1 << 12;

/// A table this small is not worth shrinking.
const SHRINK_ABOVE: usize = 64;

/// One shard per lock, each on cache lines of its own so that neighbours do not slow each other down.
#[repr(align(128))]
struct Padded<S>(S);

pub(crate) type Lock<K, T, E> = Mutex<Shard<K, T, E>>;

pub(crate) struct Table<K, T, E> {
    shards: Box<[Padded<Lock<K, T, E>>]>,
}

/// The flights whose keys hash here. Each running flight is in exactly one of the two maps.
pub(crate) struct Shard<K, T, E> {
    /// Those that a new caller would join.
    flights: HashTable<Entry<K, T, E>>,
    /// Those that run on after `forget` or `cancel`, by flight id: their leaders find their records here.
    forgotten: BTreeMap<u64, Record<T, E>>,
    last_id: u64,
    /// Its `in_flight` is the length of `flights`, filled in by [`Shard::stats`].
    pub(crate) counters: Stats,
}

/// A flight as the map keeps it, with the key's hash, so that neither `Hash` nor `Eq` runs when it ends.
pub(crate) struct Entry<K, T, E> {
    hash: u64,
    pub(crate) key: K,
    pub(crate) record: Record<T, E>,
}

/// What is known of one running flight.
pub(crate) struct Record<T, E> {
    /// Its identity, unique in its shard for ever.
    pub(crate) id: u64,
    pub(crate) leader: ThreadId,
    pub(crate) began: Option<Instant>,
    pub(crate) followers: u64,
    pub(crate) cancelled: bool,
    /// Made by the first follower.
    pub(crate) slot: Option<Arc<Slot<T, E>>>,
}

impl<K, T, E> Table<K, T, E> {
    /// A table of `shards` shards, rounded up to a power of two of at least 1.
    pub(crate) fn new(shards: usize) -> Self {
        let count = shards.clamp(1, MAX_SHARDS).next_power_of_two();
        Self { shards: (0..count).map(|_| Padded(Mutex::new(Shard::new()))).collect() }
    }

    /// The shard for `hash`. Multiplying spreads the hashes of a weak hasher, and the high half of the product is
    /// independent of the bits that the table inside the shard looks at.
    pub(crate) fn shard(&self, hash: u64) -> &Lock<K, T, E> {
        let spread = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let index = spread as usize & (self.shards.len() - 1);
        &self.shards[index].0
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &Lock<K, T, E>> {
        self.shards.iter().map(|padded| &padded.0)
    }
}

impl<K, T, E> Shard<K, T, E> {
    fn new() -> Self {
        Self { flights: HashTable::new(), forgotten: BTreeMap::new(), last_id: 0, counters: Stats::default() }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { in_flight: self.in_flight(), ..self.counters }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.flights.len() as u64
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.flights.capacity()
    }

    pub(crate) fn flights(&self) -> impl Iterator<Item = &Entry<K, T, E>> {
        self.flights.iter()
    }

    /// The id of the flight that was begun last: as long as it stays the same, a key that was absent still is.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// The flight that a caller with this key would join. `Q: Eq` may panic here; nothing has changed by then.
    pub(crate) fn find<Q>(&mut self, hash: u64, key: &Q) -> Option<&mut Record<T, E>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let found = self.flights.find_mut(hash, same_key(hash, key));
        found.map(|entry| &mut entry.record)
    }

    /// Begins a flight for a key that is in no flight, and returns its id.
    pub(crate) fn insert(&mut self, hash: u64, key: K, leader: ThreadId, began: Option<Instant>) -> u64 {
        self.last_id += 1;
        let record = Record { id: self.last_id, leader, began, followers: 0, cancelled: false, slot: None };
        self.flights.insert_unique(hash, Entry { hash, key, record }, |entry| entry.hash);
        self.last_id
    }

    /// The record of a running flight, wherever it is.
    pub(crate) fn record(&mut self, hash: u64, id: u64) -> Option<&mut Record<T, E>> {
        match self.flights.find_mut(hash, |entry| entry.record.id == id) {
            Some(entry) => Some(&mut entry.record),
            None => self.forgotten.get_mut(&id),
        }
    }

    /// Takes a flight out by its identity, wherever it is. The key is returned to be dropped outside the lock.
    pub(crate) fn remove(&mut self, hash: u64, id: u64) -> Option<(Option<K>, Record<T, E>)> {
        match self.flights.find_entry(hash, |entry| entry.record.id == id) {
            Ok(found) => {
                let (entry, _) = found.remove();
                self.shrink();
                Some((Some(entry.key), entry.record))
            }
            Err(_) => self.forgotten.remove(&id).map(|record| (None, record)),
        }
    }

    /// Lets the flight for `key` run on where nobody can join it. The key is returned to be dropped outside the lock.
    pub(crate) fn forget<Q>(&mut self, hash: u64, key: &Q) -> Option<(K, &mut Record<T, E>)>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let found = self.flights.find_entry(hash, same_key(hash, key)).ok()?;
        let (Entry { key, record, .. }, _) = found.remove();
        self.shrink();
        Some((key, self.forgotten.entry(record.id).or_insert(record)))
    }

    /// Memory follows what is in flight: a table that is mostly empty is cut to twice what it holds.
    fn shrink(&mut self) {
        if self.flights.capacity() > SHRINK_ABOVE && self.flights.len() < self.flights.capacity() / 8 {
            self.flights.shrink_to(self.flights.len() * 2, |entry| entry.hash);
        }
    }
}

/// Compares the hashes first, so that `Q: Eq` hardly ever runs for another key.
fn same_key<K, T, E, Q>(hash: u64, key: &Q) -> impl Fn(&Entry<K, T, E>) -> bool
where
    Q: Equivalent<K> + ?Sized,
{
    move |entry| entry.hash == hash && key.equivalent(&entry.key)
}
