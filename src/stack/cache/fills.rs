//! [`Fills`]: keeps a leader from filling the cache with a value that is older than what was done to its key since.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::faults::Fault;
use crate::flight::watch::{Signal, Watcher};
use crate::sync::{AtomicU64, Mutex, Ordering, also_if, step};

const SHARDS: usize = 16;

/// The leaders that may fill the cache, by the hash of their keys. Two keys with the same hash cost each other a fill at
/// worst. There is an entry for each hash for which work runs, and none for the others.
///
/// A leader looks whether it may fill and fills under one lock, and whoever changes its key's entry does that under the
/// same lock, so nothing comes in between:
///
/// ```text
/// leader, without the lock        another
/// looks: nothing was removed
///                                 removes the value, returns; the next caller is to have a new one
/// fills with the old value
/// ```
pub(super) struct Fills(Box<[Mutex<BTreeMap<u64, Pending>>]>);

/// What is known of the leaders for one hash.
#[derive(Default)]
struct Pending {
    permits: u64,
    /// The number of the next permit.
    next: u64,
    /// Permits with a lower number are revoked.
    floor: u64,
}

/// A leader's leave to fill the cache, from before its work began. Revoked by whatever is newer than that work.
pub(in crate::stack) struct Permit {
    fills: Arc<Fills>,
    hash: u64,
    number: u64,
    /// 1 if its flight is not current any more; written and read under the lock.
    revoked: AtomicU64,
}

impl Fills {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::new(BTreeMap::new())).collect())
    }

    fn shard(&self, hash: u64) -> &Mutex<BTreeMap<u64, Pending>> {
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        &self.0[index]
    }

    /// For work that begins now.
    pub(super) fn begin(self: &Arc<Self>, hash: u64) -> Permit {
        let mut shard = self.shard(hash).lock();
        let pending = shard.entry(hash).or_default();
        pending.permits += 1;
        pending.next += 1;
        Permit { fills: Arc::clone(self), hash, number: pending.next - 1, revoked: AtomicU64::new(0) }
    }

    /// Makes a change under the lock, after which no permit given out before it fills.
    pub(super) fn supersede<R>(&self, hash: u64, change: impl FnOnce() -> R) -> R {
        let mut shard = self.shard(hash).lock();
        if let Some(pending) = shard.get_mut(&hash) {
            pending.floor = pending.next;
        }
        change()
    }

    /// The same for all keys.
    pub(super) fn supersede_all<R>(&self, change: impl FnOnce() -> R) -> R {
        let mut shards: Vec<_> = self.0.iter().map(Mutex::lock).collect();
        for pending in shards.iter_mut().flat_map(|shard| shard.values_mut()) {
            pending.floor = pending.next;
        }
        change()
    }

    /// How many hashes have leaders.
    #[cfg(sync_coalesce_shuttle)]
    pub(super) fn pending(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().len()).sum()
    }
}

impl Permit {
    /// Runs `keep` under the lock, unless this was revoked. It revokes the permits of all whose work began earlier.
    pub(super) fn fill<R>(&self, keep: impl FnOnce() -> Option<R>) -> Option<R> {
        let mut shard = self.fills.shard(self.hash).lock();
        let pending = shard.get_mut(&self.hash)?;
        let is_newest = self.number >= pending.floor && self.revoked.load(Ordering::Relaxed) == 0;
        if !also_if!(FillsRevoked, is_newest) {
            return None;
        }
        step!(OlderFillsLater, pending.floor = self.number + 1);
        #[cfg(sync_coalesce_shuttle)]
        if crate::sync::is_planted(Fault::FillsAfterLooking) {
            drop(shard);
            return keep();
        }
        keep()
    }

    fn revoke(&self) {
        let _locked = self.fills.shard(self.hash).lock();
        self.revoked.store(1, Ordering::Relaxed);
    }
}

/// Whatever becomes of a flight while its work runs, its value is not the newest any more.
impl Watcher for Permit {
    fn notify(&self, _: Signal) {
        self.revoke();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut shard = self.fills.shard(self.hash).lock();
        if let Some(pending) = shard.get_mut(&self.hash) {
            pending.permits -= 1;
            if pending.permits == 0 {
                shard.remove(&self.hash);
            }
        }
    }
}
