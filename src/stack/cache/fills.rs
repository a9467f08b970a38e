//! [`Fills`]: keeps a leader from filling the cache with a value that is older than what was done to its key since, and
//! two callers from refreshing one stale value.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::faults::Fault;
use crate::flight::watch::{Signal, Watcher};
use crate::sync::{Mutex, also_if, only_if, step};

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
    /// The numbers of those that can still fill.
    live: Vec<u64>,
}

/// A leader's leave to fill the cache, from before its work began. Revoked by whatever is newer than that work.
///
/// A caller that is about to lead in order to refresh a stale value holds one too.
pub(in crate::stack) struct Permit {
    fills: Arc<Fills>,
    hash: u64,
    number: u64,
}

impl Pending {
    fn begin(&mut self) -> u64 {
        let number = self.next;
        self.permits += 1;
        self.next += 1;
        self.live.push(number);
        number
    }

    fn revoke(&mut self, number: u64) {
        self.live.retain(|live| *live != number);
    }

    /// Revokes all permits with a lower number.
    fn revoke_below(&mut self, floor: u64) {
        self.floor = floor;
        self.live.retain(|live| *live >= floor);
    }
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
        let number = self.shard(hash).lock().entry(hash).or_default().begin();
        Permit { fills: Arc::clone(self), hash, number }
    }

    /// For a caller that found a stale value; `None` if another one refreshes it.
    pub(super) fn claim(self: &Arc<Self>, hash: u64) -> Option<Permit> {
        let mut shard = self.shard(hash).lock();
        let is_refreshed = shard.get(&hash).is_some_and(|pending| !pending.live.is_empty());
        if only_if!(ClaimsTwice, is_refreshed) {
            return None;
        }
        let number = shard.entry(hash).or_default().begin();
        Some(Permit { fills: Arc::clone(self), hash, number })
    }

    /// Makes a change under the lock, after which no permit given out before it fills.
    pub(super) fn supersede<R>(&self, hash: u64, change: impl FnOnce() -> R) -> R {
        let mut shard = self.shard(hash).lock();
        if let Some(pending) = shard.get_mut(&hash) {
            pending.revoke_below(pending.next);
        }
        change()
    }

    /// The same for all keys.
    pub(super) fn supersede_all<R>(&self, change: impl FnOnce() -> R) -> R {
        let mut shards: Vec<_> = self.0.iter().map(Mutex::lock).collect();
        for pending in shards.iter_mut().flat_map(|shard| shard.values_mut()) {
            pending.revoke_below(pending.next);
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
    /// Runs `keep` under the lock, or `discard` if its flight is not current any more: nobody may join it, but the
    /// callers in it get a value that is newer than what is kept. Neither if something newer has been done to the key.
    ///
    /// Either way, it revokes the permits of all whose work began earlier.
    pub(super) fn fill<R>(&self, keep: impl FnOnce() -> Option<R>, discard: impl FnOnce() -> Option<R>) -> Option<R> {
        let mut shard = self.fills.shard(self.hash).lock();
        let pending = shard.get_mut(&self.hash)?;
        let is_newest = self.number >= pending.floor;
        if !also_if!(FillsRevoked, is_newest) {
            return None;
        }
        let is_current = pending.live.contains(&self.number);
        step!(OlderFillsLater, pending.revoke_below(self.number + 1));
        if !also_if!(FillsRevoked, is_current) {
            return if only_if!(OlderStays, true) { discard() } else { None };
        }
        #[cfg(sync_coalesce_shuttle)]
        if crate::sync::is_planted(Fault::FillsAfterLooking) {
            drop(shard);
            return keep();
        }
        keep()
    }

    /// Runs `change` under the lock, and revokes nothing.
    pub(super) fn locked<R>(&self, change: impl FnOnce() -> R) -> R {
        let _locked = self.fills.shard(self.hash).lock();
        change()
    }
}

/// Whatever becomes of a flight while its work runs, its value is not the newest any more.
impl Watcher for Permit {
    fn notify(&self, _: Signal) {
        if let Some(pending) = self.fills.shard(self.hash).lock().get_mut(&self.hash) {
            pending.revoke(self.number);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut shard = self.fills.shard(self.hash).lock();
        if let Some(pending) = shard.get_mut(&self.hash) {
            step!(ClaimStays, pending.revoke(self.number));
            pending.permits -= 1;
            if only_if!(ClaimStays, pending.permits == 0) {
                shard.remove(&self.hash);
            }
        }
    }
}
