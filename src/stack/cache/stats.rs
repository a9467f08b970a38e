//! The counters of a cache.

use serde::Serialize;

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// The counters of a [`Cache`](super::Cache).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// Lookups that found a value.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Part of the misses: the leader's second lookup found a value that another flight had inserted meanwhile.
    pub late_hits: u64,
    /// Part of the misses: the call was answered with a value that had expired.
    pub stale_hits: u64,
    /// Values that were removed to make room.
    pub evictions: u64,
    /// Values that had expired when they were looked up or removed.
    pub expirations: u64,
    /// Live: values that are kept now. An expired value counts until it is removed or replaced.
    pub entries: u64,
    /// Live: the sum of what the [weigher](super::CacheBuilder::weigher) returned for them; without one, their number.
    pub weight: u64,
}

impl CacheStats {
    /// Hits, including late ones, divided by lookups; 0 if there were no lookups.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio need not be exact")]
    pub fn hit_ratio(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            lookups => (self.hits + self.late_hits) as f64 / lookups as f64,
        }
    }
}

pub(super) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    late_hits: AtomicU64,
    stale_hits: AtomicU64,
    evictions: AtomicU64,
    expirations: AtomicU64,
}

/// An event that is counted once, by the first thread that sees it.
pub(super) struct Once(AtomicU64);

impl Once {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Counters {
    pub(super) fn new() -> Self {
        let [hits, misses, late_hits, stale_hits, evictions, expirations] = [0; 6].map(AtomicU64::new);
        Self { hits, misses, late_hits, stale_hits, evictions, expirations }
    }

    pub(super) fn count_lookup(&self, has_found: bool) {
        let counter = if has_found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn count_late_hit(&self) {
        self.late_hits.fetch_add(1, Relaxed);
    }

    pub(super) fn count_stale_hit(&self) {
        self.stale_hits.fetch_add(1, Relaxed);
    }

    pub(super) fn count_eviction(&self) {
        self.evictions.fetch_add(1, Relaxed);
    }

    pub(super) fn count_expiration(&self, expired: &Once) {
        if expired.0.fetch_add(1, Relaxed) == 0 {
            self.expirations.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn stats(&self, entries: u64, weight: u64) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            late_hits: self.late_hits.load(Relaxed),
            stale_hits: self.stale_hits.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            expirations: self.expirations.load(Relaxed),
            entries,
            weight,
        }
    }

    pub(super) fn reset(&self) {
        let Self { hits, misses, late_hits, stale_hits, evictions, expirations } = self;
        for counter in [hits, misses, late_hits, stale_hits, evictions, expirations] {
            counter.store(0, Relaxed);
        }
    }
}
