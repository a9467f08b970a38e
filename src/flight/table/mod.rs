//! [`Table`]: the sharded map from keys to flights, and the lock of each shard with a hint at what is behind it.

pub(super) mod lingering;
pub(super) mod record;
mod running;
pub(super) mod shard;
pub(super) mod small_table;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;
mod unlinked;

use std::ops::{Deref, DerefMut};

use self::shard::Shard;
use self::small_table::BloomFilter;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// More shards than any machine can use. A larger number is cut down to this.
const MAX_SHARDS: usize = 1 << 12;

pub(crate) struct Table<K, T, E> {
    shards: Box<[ShardLock<K, T, E>]>,
}

impl<K, T, E> Table<K, T, E> {
    /// A table of `shards` shards, rounded up to a power of two of at least 1, which share the bound on what lingers.
    pub(crate) fn new(shards: usize, lingering: usize) -> Self {
        let count = shards.clamp(1, MAX_SHARDS).next_power_of_two();
        let shard = |index| Shard::new(index as u64, count as u64, lingering.div_ceil(count));
        Self { shards: (0..count).map(|index| ShardLock::new(shard(index))).collect() }
    }

    /// The shard for `hash`. Multiplying spreads the hashes of a weak hasher into the highest bits of the product,
    /// which are independent of the bits that the table inside the shard uses.
    pub(crate) fn shard(&self, hash: u64) -> &ShardLock<K, T, E> {
        let bits = self.shards.len().trailing_zeros();
        // In two steps, since one shard has no bits, and 64 is too far to shift.
        let index = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 >> (32 - bits);
        &self.shards[index as usize]
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &ShardLock<K, T, E>> {
        self.shards.iter()
    }
}

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
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    fn drop(&mut self) {
        self.filter.store(self.shard.filter().0, Ordering::Relaxed);
    }
}
