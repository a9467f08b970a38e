//! [`ShardLock`]: a shard's lock, and a hint at what is behind it.

use std::ops::{Deref, DerefMut};

use super::bloom::BloomFilter;
use super::shard::Shard;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// A shard's lock, on cache lines of its own, so that neighbours do not slow each other down. The filter comes first:
/// the lock, which is taken next, is then in the same line.
#[repr(C, align(128))]
pub(crate) struct ShardLock<K, T, E> {
    /// What callers could find when it was last unlocked.
    filter: AtomicU64,
    shard: Mutex<Shard<K, T, E>>,
}

/// Proof that this thread has just unlocked a shard, so user code may run, and others may be notified.
#[derive(Clone, Copy)]
pub(crate) struct Unlocked(());

/// A shard that is locked.
pub(crate) struct ShardGuard<'a, K, T, E> {
    filter: &'a AtomicU64,
    shard: MutexGuard<'a, Shard<K, T, E>>,
}

impl<K, T, E> ShardLock<K, T, E> {
    pub(in crate::flight) fn new(shard: Shard<K, T, E>) -> Self {
        Self { filter: AtomicU64::new(BloomFilter::EMPTY.0), shard: Mutex::new(shard) }
    }

    pub(crate) fn lock(&self) -> ShardGuard<'_, K, T, E> {
        ShardGuard { filter: &self.filter, shard: self.shard.lock() }
    }

    /// Whether a caller with this hash could have found nothing a moment ago: only a hint, but one that costs no lock.
    pub(crate) fn probably_absent(&self, hash: u64) -> bool {
        BloomFilter(self.filter.load(Ordering::Relaxed)).definitely_absent(hash)
    }
}

impl<K, T, E> ShardGuard<'_, K, T, E> {
    pub(crate) fn unlock(self) -> Unlocked {
        drop(self);
        Unlocked(())
    }
}

impl<K, T, E> Deref for ShardGuard<'_, K, T, E> {
    type Target = Shard<K, T, E>;

    fn deref(&self) -> &Self::Target {
        &self.shard
    }
}

impl<K, T, E> DerefMut for ShardGuard<'_, K, T, E> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.shard
    }
}

impl<K, T, E> Drop for ShardGuard<'_, K, T, E> {
    #[inline]
    fn drop(&mut self) {
        self.filter.store(self.shard.filter().0, Ordering::Relaxed);
    }
}
