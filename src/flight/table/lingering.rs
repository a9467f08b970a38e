//! Results that are kept for a short time after their flights.

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

/// Room in each shard: with less, many results would go while other shards have room.
const PER_SHARD: usize = 8;

/// For how long, and how many.
#[derive(Clone, Copy)]
pub(crate) struct Linger {
    pub(crate) values: Option<Duration>,
    pub(crate) errors: Option<Duration>,
    pub(crate) most: usize,
}

/// The results of one shard. Nobody sweeps them but those who come by: each that is put in takes out what has expired.
pub(in crate::flight) struct Lingering<K, T, E> {
    kept: HashTable<LingeringResult<K, T, E>>,
    /// The hashes of those that are kept, by when they expire, and by their flights' ids.
    order: BTreeMap<(Instant, u64), u64>,
    most: usize,
}

/// A result that is kept. To be dropped under no lock.
pub(in crate::flight) struct LingeringResult<K, T, E> {
    pub(in crate::flight) key: CatchDrop<K>,
    pub(in crate::flight) result: CatchDrop<Shared<T, E>>,
    pub(in crate::flight) hash: u64,
    /// Of its flight.
    pub(in crate::flight) id: u64,
    /// The last mark before its flight began.
    pub(in crate::flight) mark: u64,
    pub(in crate::flight) ended: Instant,
    pub(in crate::flight) until: Instant,
}

/// What there was for a key.
pub(in crate::flight) enum Lookup<K, T, E> {
    Result(Shared<T, E>, Duration),
    /// One that will not do any more, taken out to be dropped under no lock.
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

    /// How many shards leave each room for some results, if any linger.
    pub(crate) fn most_shards(&self) -> usize {
        if self.is_on() && self.most > 0 { self.most.div_ceil(PER_SHARD) } else { usize::MAX }
    }

    /// From when until when a result that is there now is kept, if it is.
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
        // What is too far away for the clock is kept for as long as the clock can tell, more or less.
        let far = || now.checked_add(Duration::from_secs(u64::from(u32::MAX)));
        Some((now, now.checked_add(linger).or_else(far)?))
    }
}

impl<K, T, E> Lingering<K, T, E> {
    pub(in crate::flight) fn new(most: usize) -> Self {
        Self { kept: HashTable::new(), order: BTreeMap::new(), most }
    }

    pub(in crate::flight) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The result for this key, unless it has expired, or is that of a flight begun before `after`. `Q: Eq` may panic
    /// here; nothing has changed by then.
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

    /// Puts in the result of a flight whose key has no other here; what begins a flight has seen to that. Returns what
    /// had to go for it: all that has expired, and the one that would expire first if there are too many.
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
