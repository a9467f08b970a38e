//! Ending flights, or the joining of them, from outside: `forget`, `cancel`, `close`; and `drain`.

use std::time::Duration;

use hashbrown::Equivalent;

use super::faults::Fault;
use super::finish::AfterUnlock;
use super::flights::Flights;
use super::watch::Signal;
use crate::error::CallError;
use crate::panic::CatchDrop;
use crate::sync::{self, Instant, has_passed, only_if, step};
use crate::wait::blocking::blocking;
use crate::wait::thread::{ThreadToken, this_thread};

impl<K, T, E> Flights<K, T, E> {
    /// Unlinks the flight: later callers begin a new one, and present followers stay. Returns whether there was a
    /// flight, or a lingering result.
    pub(crate) fn forget<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.unlink(hash, key, false)
    }

    /// Unlinks the flight, and wakes its followers with `Cancelled`. Returns whether there was a flight, or a lingering
    /// result.
    pub(crate) fn cancel<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.unlink(hash, key, true)
    }

    fn unlink<Q>(&self, hash: u64, key: &Q, cancels: bool) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        // Declared before the lock is taken, so it is dropped after unlocking even if `Q: Eq` panics: dropping it is
        // user code.
        let lingering;
        let mut locked = self.table.shard(hash).lock();
        lingering = locked.lingering.forget(hash, key);
        let Some((key, id)) = locked.forget(hash, key) else {
            drop(locked);
            return lingering.is_some();
        };
        let mut after =
            if cancels { locked.release_followers(id, || Err(CallError::Cancelled)) } else { AfterUnlock::nothing() };
        after.signals = Some(locked.watchers.of(id, if cancels { Signal::Cancelled } else { Signal::Unlinked }));
        after.key = Some(key);
        let (_, key) = after.run(locked.unlock(), self);
        drop(key);
        true
    }

    /// Wakes every follower with `Closed`, and refuses calls from now on.
    pub(crate) fn close(&self) {
        // Dropped after all shards are closed: a key whose Drop panics must not keep the others open.
        let mut dropped = Vec::new();
        for shard in self.table.shards() {
            let mut locked = shard.lock();
            step!(StaysOpen, locked.closed = true);
            let keys = locked.forget_all();
            let lingering = locked.lingering.clear();
            let running = locked.unlinked.iter().filter(|_| only_if!(CloseMissesUnlinked, true));
            let ids: Vec<u64> = running.map(|record| record.id).collect();
            let after: Vec<AfterUnlock<K, T, E>> =
                ids.into_iter().map(|id| locked.release_followers(id, || Err(CallError::Closed))).collect();
            // Those of calls that run alone too.
            let signals = locked.watchers.all(Signal::Closed);
            let unlocked = locked.unlock();
            for after in after {
                let _ = after.run(unlocked, self);
            }
            signals.send();
            dropped.push((keys.into_iter().map(CatchDrop::new).collect::<Vec<_>>(), lingering));
        }
    }

    /// Blocks until no closure runs except this thread's own, and returns true; or false if `timeout` passes first.
    pub(crate) fn drain(&self, timeout: Duration) -> bool {
        let deadline = sync::now().checked_add(timeout);
        let thread = this_thread();
        blocking(|| self.wait_until_drained(deadline, thread))
    }

    fn wait_until_drained(&self, deadline: Option<Instant>, thread: ThreadToken) -> bool {
        let mut guard = self.drained.lock();
        loop {
            // Each shard is marked before it is counted, so a closure that ends after that takes the monitor's lock,
            // which this thread holds until it sleeps.
            let running: u64 = self.table.shards().map(|shard| shard.lock().running_but_for(thread)).sum();
            if running == 0 {
                return true;
            }
            if deadline.is_some_and(has_passed) {
                return false;
            }
            guard = self.drained.wait(guard, deadline);
        }
    }

    /// Notifies callers that drain: a closure has ended.
    pub(super) fn notify_drained(&self) {
        step!(TellsDrainUnlocked, drop(self.drained.lock()));
        self.drained.notify_all();
    }
}
