//! [`SmallTable`]: a hash table that keeps its first value beside the table, because most shards hold one flight at a time
//! or none; and [`BloomFilter`]: which hashes it certainly lacks, in one word.

#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;

use hashbrown::HashTable;

use crate::flight::faults::Fault;
use crate::shrink::shrink;
use crate::sync::also_if;

/// Values by a hash that each of them stores.
pub(in crate::flight) struct SmallTable<V> {
    first: Option<V>,
    others: HashTable<V>,
    /// The hashes of the others.
    filter: CountingBloomFilter,
}

pub(in crate::flight) trait Hashed {
    fn hash(&self) -> u64;
}

impl<V: Hashed> SmallTable<V> {
    pub(in crate::flight) fn new() -> Self {
        Self { first: None, others: HashTable::new(), filter: CountingBloomFilter::EMPTY }
    }

    /// The hashes that may be in it.
    #[inline]
    pub(in crate::flight) fn filter(&self) -> BloomFilter {
        let first = self.first.as_ref().map_or(BloomFilter::EMPTY, |first| BloomFilter::of(first.hash()));
        self.filter.filter().with(first)
    }

    #[inline]
    pub(in crate::flight) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    #[cfg(all(test, not(sync_coalesce_shuttle)))]
    pub(in crate::flight) fn capacity(&self) -> usize {
        self.others.capacity()
    }

    pub(in crate::flight) fn iter(&self) -> impl Iterator<Item = &V> {
        self.first.iter().chain(&self.others)
    }

    /// The value with this hash for which `is_it` is true; values with other hashes are not passed to it.
    #[inline]
    pub(in crate::flight) fn find(&mut self, hash: u64, is_it: impl Fn(&V) -> bool) -> Option<&mut V> {
        let is_it = |value: &V| value.hash() == hash && is_it(value);
        if self.first.as_ref().is_some_and(&is_it) {
            return self.first.as_mut();
        }
        if self.others.is_empty() { None } else { self.others.find_mut(hash, is_it) }
    }

    /// Inserts a value that is not in it.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(in crate::flight) fn insert(&mut self, value: V) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.filter.insert(value.hash());
            self.others.insert_unique(value.hash(), value, V::hash);
        }
    }

    /// Removes what [`find`](SmallTable::find) would find.
    #[inline]
    pub(in crate::flight) fn remove(&mut self, hash: u64, is_it: impl Fn(&V) -> bool) -> Option<V> {
        let first = self.take_first(|first| first.hash() == hash && is_it(first));
        first.or_else(|| self.take_other(hash, is_it, |other| other))
    }

    /// Removes the first value, if `is_it` is true for it.
    #[inline]
    pub(in crate::flight) fn take_first(&mut self, is_it: impl Fn(&V) -> bool) -> Option<V> {
        self.first.take_if(|first| is_it(first))
    }

    /// Removes one of the others, and returns the `part` of it that is wanted: moving the whole takes time.
    #[inline]
    pub(in crate::flight) fn take_other<P>(
        &mut self,
        hash: u64,
        is_it: impl Fn(&V) -> bool,
        part: impl FnOnce(V) -> P,
    ) -> Option<P> {
        if self.others.is_empty() {
            return None;
        }
        let other = self.others.find_entry(hash, |value| value.hash() == hash && is_it(value)).ok()?;
        let part = part(other.remove().0);
        self.filter.remove(hash);
        shrink(&mut self.others, V::hash);
        Some(part)
    }

    /// Removes everything.
    pub(in crate::flight) fn drain(&mut self) -> impl Iterator<Item = V> {
        self.filter = CountingBloomFilter::EMPTY;
        self.first.take().into_iter().chain(std::mem::take(&mut self.others))
    }
}

/// A Bloom filter of 64 bits with one hash function, the lowest bits of the hash (Bloom, "Space/Time Trade-offs in Hash
/// Coding with Allowable Errors", 1970).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flight) struct BloomFilter(pub(in crate::flight) u64);

/// A filter from which hashes can be removed again, as in Fan, Cao, Almeida and Broder, "Summary Cache", 2000.
pub(in crate::flight) struct CountingBloomFilter {
    filter: BloomFilter,
    /// How many hashes there are for each bit. A count that has reached its maximum stays there, and its bit stays set.
    counts: [u16; 64],
}

impl BloomFilter {
    pub(in crate::flight) const EMPTY: Self = Self(0);
    /// No hash is certainly absent.
    pub(in crate::flight) const FULL: Self = Self(u64::MAX);

    #[inline]
    pub(in crate::flight) fn of(hash: u64) -> Self {
        Self(1 << index(hash))
    }

    #[inline]
    pub(in crate::flight) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether this hash is certainly not in it.
    #[inline]
    pub(in crate::flight) fn definitely_absent(self, hash: u64) -> bool {
        self.0 & Self::of(hash).0 == 0
    }
}

impl CountingBloomFilter {
    pub(in crate::flight) const EMPTY: Self = Self { filter: BloomFilter::EMPTY, counts: [0; 64] };

    #[inline]
    pub(in crate::flight) fn filter(&self) -> BloomFilter {
        self.filter
    }

    #[inline]
    pub(in crate::flight) fn insert(&mut self, hash: u64) {
        let count = &mut self.counts[index(hash)];
        *count = count.saturating_add(1);
        self.filter = self.filter.with(BloomFilter::of(hash));
    }

    /// Removes a hash that was inserted.
    #[inline]
    pub(in crate::flight) fn remove(&mut self, hash: u64) {
        let count = &mut self.counts[index(hash)];
        if *count != u16::MAX {
            *count -= 1;
        }
        if also_if!(FilterLosesOthers, *count == 0) {
            self.filter.0 &= !BloomFilter::of(hash).0;
        }
    }
}

/// The bit that stands for a hash.
#[inline]
fn index(hash: u64) -> usize {
    (hash % 64) as usize
}
