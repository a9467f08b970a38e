//! Bloom filters: which hashes a table certainly lacks, in one word.

#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;

use crate::flight::faults::Fault;
use crate::sync::also_if;

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
