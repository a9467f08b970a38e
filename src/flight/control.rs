//! What ends flights, or the joining of them, from outside: forget, cancel, close; and waiting for closures to end.

use std::time::Duration;

use hashbrown::Equivalent;

use super::Flights;
use super::release::Released;
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::panic::CatchDrop;
use crate::sync::{self, Instant, ThreadToken, has_passed, is_planted};
use crate::wait::blocking::blocking;

impl<K, T, E> Flights<K, T, E> {
    /// Lets later callers start afresh; present followers stay. Says whether there was a flight, or a result that
    /// lingered.
    pub(crate) fn forget<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        // Keys and results outlive the lock, whatever happens: their Drop is user code.
        let (lingering, unlinked);
        let mut locked = self.table.shard(hash).lock();
        lingering = locked.lingering.forget(hash, key);
        unlinked = locked.forget(hash, key);
        drop(locked);
        unlinked.is_some() || lingering.is_some()
    }

    /// Forgets the flight and wakes its followers with `Cancelled`. Says whether there was a flight.
    pub(crate) fn cancel<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        let lingering;
        let mut locked = self.table.shard(hash).lock();
        lingering = locked.lingering.forget(hash, key);
        let Some((key, id)) = locked.forget(hash, key) else {
            drop(locked);
            return lingering.is_some();
        };
        let released = locked.release_followers(id, || Err(CallError::Cancelled));
        drop(locked);
        if let Some(released) = released {
            released.wake(&self.following);
        }
        drop(key);
        true
    }

    /// Wakes every follower with `Closed`, and refuses calls from now on.
    pub(crate) fn close(&self) {
        // Dropped when all shards are closed: a key whose Drop panics must not keep the others open.
        let mut dropped = Vec::new();
        for shard in self.table.shards() {
            let mut locked = shard.lock();
            locked.closed = !is_planted(Fault::StaysOpen);
            let missed = if is_planted(Fault::CloseMissesUnlinked) { locked.unlinked.len() } else { 0 };
            let keys = locked.forget_all();
            let lingering = locked.lingering.clear();
            let ids: Vec<u64> = locked.unlinked.keys().copied().skip(missed).collect();
            let released: Vec<Released<T, E>> =
                ids.into_iter().filter_map(|id| locked.release_followers(id, || Err(CallError::Closed))).collect();
            drop(locked);
            for released in released {
                released.wake(&self.following);
            }
            dropped.push((keys.into_iter().map(CatchDrop::new).collect::<Vec<_>>(), lingering));
        }
    }

    /// Blocks until no closure runs but this thread's own, or `timeout` has passed; says which of the two it was.
    pub(crate) fn drain(&self, timeout: Duration) -> bool {
        let deadline = sync::now().checked_add(timeout);
        let me = sync::this_thread();
        blocking(|| self.wait_until_drained(deadline, me))
    }

    fn wait_until_drained(&self, deadline: Option<Instant>, me: ThreadToken) -> bool {
        let mut guard = self.drained.lock();
        loop {
            // Each shard is told before it is looked at, so a closure that ends after the look takes the monitor's
            // lock, which this thread holds until it sleeps.
            let running: u64 = self.table.shards().map(|shard| shard.lock().running_but_for(me)).sum();
            if running == 0 {
                return true;
            }
            if deadline.is_some_and(has_passed) {
                return false;
            }
            guard = self.drained.wait(guard, deadline);
        }
    }

    /// Tells those who drain that a closure has ended.
    pub(super) fn tell_drain(&self, draining: bool) {
        if draining {
            if !is_planted(Fault::TellsDrainUnlocked) {
                drop(self.drained.lock());
            }
            self.drained.notify_all();
        }
    }
}
