//! The map from keys to streams, and the counters that its lock guards too.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{Equivalent, HashTable};

use super::log::Log;
use super::stats::StreamStats;
use crate::outcome::Mark;
use crate::shrink::shrink;
use crate::wait::thread::this_thread;

/// What the table's lock guards.
pub(super) struct Streams<K, C, E> {
    /// Those that a new caller would join.
    pub(super) joinable: HashTable<Entry<K, C, E>>,
    /// Those that go on for the readers they have, by id.
    pub(super) unlinked: BTreeMap<u64, Arc<Log<C, E>>>,
    pub(super) closed: bool,
    last_id: u64,
    pub(super) counters: StreamStats,
}

/// A stream as the map keeps it. Its log has the key's hash, so that neither `Hash` nor `Eq` runs when it ends.
pub(super) struct Entry<K, C, E> {
    pub(super) key: K,
    pub(super) log: Arc<Log<C, E>>,
}

impl<K, C, E> Streams<K, C, E> {
    pub(super) fn new() -> Self {
        Self {
            joinable: HashTable::new(),
            unlinked: BTreeMap::new(),
            closed: false,
            last_id: 0,
            counters: StreamStats::default(),
        }
    }

    /// Puts in a stream that this thread is going to open, for a key that has none.
    pub(super) fn begin(&mut self, hash: u64, key: K) -> Arc<Log<C, E>> {
        let log = self.new_log(hash);
        let entry = Entry { key, log: Arc::clone(&log) };
        self.joinable.insert_unique(hash, entry, |entry| entry.log.hash);
        log
    }

    /// Puts in a stream that this thread is going to open, and that nobody can join.
    pub(super) fn begin_unlinked(&mut self, hash: u64) -> Arc<Log<C, E>> {
        let log = self.new_log(hash);
        self.unlinked.insert(log.id, Arc::clone(&log));
        log
    }

    fn new_log(&mut self, hash: u64) -> Arc<Log<C, E>> {
        self.last_id += 1;
        self.counters.opened += 1;
        self.counters.readers += 1;
        Arc::new(Log::new(self.last_id, hash, this_thread().number))
    }

    /// Streams begun up to now are older than this: their ids are smaller.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.last_id + 1)
    }

    /// Takes a stream out by its identity, if it is where new callers would find it.
    pub(super) fn take(&mut self, log: &Log<C, E>) -> Option<Entry<K, C, E>> {
        let found = self.joinable.find_entry(log.hash, |entry| entry.log.id == log.id).ok()?;
        let (entry, _) = found.remove();
        self.shrink();
        Some(entry)
    }

    pub(super) fn forget<Q>(&mut self, hash: u64, key: &Q) -> Option<(K, Arc<Log<C, E>>)>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let found = self.joinable.find_entry(hash, same_key(hash, key)).ok()?;
        let (Entry { key, log }, _) = found.remove();
        self.shrink();
        self.unlinked.insert(log.id, Arc::clone(&log));
        Some((key, log))
    }

    /// Memory follows what is in flight.
    pub(super) fn shrink(&mut self) {
        shrink(&mut self.joinable, |entry| entry.log.hash);
    }
}

/// Compares the hashes first, so that `Q: Eq` hardly ever runs for another key.
pub(super) fn same_key<K, C, E, Q>(hash: u64, key: &Q) -> impl Fn(&Entry<K, C, E>) -> bool
where
    Q: Equivalent<K> + ?Sized,
{
    move |entry| entry.log.hash == hash && key.equivalent(&entry.key)
}
