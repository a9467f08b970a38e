//! A shard's lock, and a hint of what is behind it.

use std::ops::{Deref, DerefMut};

use super::table::Shard;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// A shard's lock, on cache lines of its own so that neighbours do not slow each other down.
#[repr(align(128))]
pub(crate) struct Lock<K, T, E> {
    /// As many as there were joinable flights and lingering results when it was last unlocked.
    filled: AtomicU64,
    shard: Mutex<Shard<K, T, E>>,
}

/// A shard that is locked.
pub(crate) struct Locked<'a, K, T, E> {
    filled: &'a AtomicU64,
    shard: MutexGuard<'a, Shard<K, T, E>>,
}

impl<K, T, E> Lock<K, T, E> {
    pub(super) fn new(shard: Shard<K, T, E>) -> Self {
        Self { filled: AtomicU64::new(0), shard: Mutex::new(shard) }
    }

    pub(crate) fn lock(&self) -> Locked<'_, K, T, E> {
        Locked { filled: &self.filled, shard: self.shard.lock() }
    }

    /// Whether there was nothing to be found a moment ago: only a hint, but one that costs no lock.
    pub(crate) fn seems_empty(&self) -> bool {
        self.filled.load(Ordering::Relaxed) == 0
    }
}

impl<K, T, E> Deref for Locked<'_, K, T, E> {
    type Target = Shard<K, T, E>;

    fn deref(&self) -> &Self::Target {
        &self.shard
    }
}

impl<K, T, E> DerefMut for Locked<'_, K, T, E> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.shard
    }
}

impl<K, T, E> Drop for Locked<'_, K, T, E> {
    #[inline]
    fn drop(&mut self) {
        let filled = self.shard.in_flight() + self.shard.lingering.len() as u64;
        self.filled.store(filled, Ordering::Relaxed);
    }
}
