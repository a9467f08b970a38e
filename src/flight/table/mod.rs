//! [`Table`]: the sharded map from keys to flights.

pub(super) mod bloom;
mod counts;
pub(super) mod lingering;
pub(super) mod lock;
pub(super) mod record;
pub(super) mod shard;
pub(super) mod small_table;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;

use self::lock::ShardLock;
use self::shard::Shard;

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
