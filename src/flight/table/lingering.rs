//! [`Lingering`]: results that are kept for a short time after their flights.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::{Equivalent, HashTable};

use super::small_table::Hashed;
use crate::flight::completion::Completion;
use crate::outcome::Mark;
use crate::outcome::Shared;
use crate::panic::CatchDrop;
use crate::shrink::shrink;
use crate::sync::Instant;

/// Room in each shard. With less, many results would be dropped while other shards have room.
const PER_SHARD: usize = 8;

/// For how long, and how many.
#[derive(Clone, Copy)]
pub(crate) struct Linger {
    pub(crate) values: Option<Duration>,
    pub(crate) errors: Option<Duration>,
    pub(crate) most: usize,
}

/// The lingering results of one shard. No thread sweeps: each result that is put in removes those that have expired.
pub(in crate::flight) struct Lingering<K, T, E> {
    pub(super) kept: HashTable<LingeringResult<K, T, E>>,
    /// The hashes of the results, by expiry and flight id.
    order: BTreeMap<(Instant, u64), u64>,
    most: usize,
}

/// A result that lingers. Must be dropped under no lock.
pub(in crate::flight) struct LingeringResult<K, T, E> {
    pub(in crate::flight) key: CatchDrop<K>,
    pub(in crate::flight) result: CatchDrop<Shared<T, E>>,
    pub(in crate::flight) hash: u64,
    /// The id of its flight.
    pub(in crate::flight) id: u64,
    /// The last mark before its flight began.
    pub(in crate::flight) mark: u64,
    pub(in crate::flight) ended: Instant,
    pub(in crate::flight) until: Instant,
}

/// What a lookup found for a key.
pub(in crate::flight) enum Lookup<K, T, E> {
    Result(Shared<T, E>, Duration),
    /// A result that has expired or is too old, taken out to be dropped under no lock.
    Expired(LingeringResult<K, T, E>),
}

impl<K, T, E> Hashed for LingeringResult<K, T, E> {
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl<K, T, E> LingeringResult<K, T, E> {
    /// Compares the hashes first, so that `Q: Eq` hardly ever runs for another key.
    fn is_for<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.hash == hash && self.key.get().is_some_and(|own| key.equivalent(own))
    }
}

impl Linger {
    pub(crate) fn is_on(&self) -> bool {
        self.values.is_some() || self.errors.is_some()
    }

    /// The number of shards that still leaves each of them room for some results, if any linger.
    pub(crate) fn most_shards(&self) -> usize {
        if self.is_on() && self.most > 0 { self.most.div_ceil(PER_SHARD) } else { usize::MAX }
    }

    /// From when until when this result lingers, if it does.
    pub(in crate::flight) fn span<T, E>(
        &self,
        completion: &Completion<T, E>,
        now: Instant,
    ) -> Option<(Instant, Instant)> {
        let linger = match completion {
            Completion::Value { .. } => self.values?,
            Completion::Error(_) => self.errors?,
            Completion::Panicked { .. } | Completion::Miscounted { .. } => return None,
        };
        // An end beyond the range of the clock becomes one about as far away as the clock can tell.
        let far = || now.checked_add(Duration::from_secs(u64::from(u32::MAX)));
        Some((now, now.checked_add(linger).or_else(far)?))
    }
}

impl<K, T, E> Lingering<K, T, E> {
    pub(in crate::flight) fn new(most: usize) -> Self {
        Self { kept: HashTable::new(), order: BTreeMap::new(), most }
    }

    /// The result for this key, unless it has expired, or its flight began before `after`. `Q: Eq` may panic here,
    /// before anything has changed.
    pub(in crate::flight) fn find<Q>(
        &mut self,
        hash: u64,
        key: &Q,
        now: Instant,
        after: Option<Mark>,
    ) -> Option<Lookup<K, T, E>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let kept = self.kept.find(hash, |kept| kept.is_for(hash, key))?;
        if now < kept.until && after.is_none_or(|mark| kept.mark >= mark.0) {
            let result = kept.result.get()?;
            return Some(Lookup::Result(result.clone(), now.saturating_duration_since(kept.ended)));
        }
        let id = kept.id;
        self.take(hash, id).map(Lookup::Expired)
    }

    /// Takes out the result for this key.
    pub(in crate::flight) fn forget<Q>(&mut self, hash: u64, key: &Q) -> Option<LingeringResult<K, T, E>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let id = self.kept.find(hash, |kept| kept.is_for(hash, key))?.id;
        self.take(hash, id)
    }

    /// Puts in the result of a flight. Its key has no other here, because beginning a flight removes that. Returns what
    /// was removed: everything that has expired, and the result that would expire first if there are too many.
    pub(in crate::flight) fn put(&mut self, kept: LingeringResult<K, T, E>) -> Vec<LingeringResult<K, T, E>> {
        let now = kept.ended;
        self.order.insert((kept.until, kept.id), kept.hash);
        self.kept.insert_unique(kept.hash, kept, Hashed::hash);
        let mut gone = Vec::new();
        while let Some((&(until, id), &hash)) = self.order.first_key_value() {
            if until > now && self.kept.len() <= self.most {
                break;
            }
            gone.extend(self.take(hash, id));
        }
        gone
    }

    /// Takes out everything.
    pub(in crate::flight) fn clear(&mut self) -> HashTable<LingeringResult<K, T, E>> {
        self.order.clear();
        std::mem::take(&mut self.kept)
    }

    fn take(&mut self, hash: u64, id: u64) -> Option<LingeringResult<K, T, E>> {
        let (kept, _) = self.kept.find_entry(hash, |kept| kept.id == id).ok()?.remove();
        self.order.remove(&(kept.until, id));
        shrink(&mut self.kept, Hashed::hash);
        Some(kept)
    }
}
