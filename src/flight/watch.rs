//! Telling a leader, while it waits elsewhere or has its result to put away, what became of its flight.

#[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
use std::ptr;
use std::sync::Arc;

use super::faults::Fault;
use crate::sync::step;

/// What became of a flight whose closure runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It was forgotten or superseded: no new caller joins it.
    Unlinked,
    /// It was cancelled, or nobody wants it any more.
    Cancelled,
    /// The coalescer was closed.
    Closed,
}

/// Notified by whoever causes a [`Signal`], under no lock of a shard, and before that call returns. It runs no user code.
pub(crate) trait Watcher: Send + Sync {
    fn notify(&self, signal: Signal);
}

/// Who watches the flights of one shard, each with the id of its flight. Empty unless a stack's leaders run.
#[derive(Default)]
pub(super) struct Watchers(Vec<(u64, Arc<dyn Watcher>)>);

/// What is to be told to whom, once the shard is unlocked.
#[must_use = "leaders wait elsewhere until it is sent"]
pub(super) struct Signals {
    signal: Signal,
    watchers: Vec<Arc<dyn Watcher>>,
}

impl Watchers {
    #[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
    pub(super) fn add(&mut self, flight: u64, watcher: Arc<dyn Watcher>) {
        self.0.push((flight, watcher));
    }

    /// The watcher is returned to be dropped outside the lock.
    #[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
    pub(super) fn remove(&mut self, watcher: &Arc<dyn Watcher>) -> Option<Arc<dyn Watcher>> {
        let place = self.0.iter().position(|(_, other)| is_same(other, watcher))?;
        let (_, removed) = self.0.swap_remove(place);
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
        Some(removed)
    }

    /// A signal for those who watch this flight.
    pub(super) fn of(&self, flight: u64, signal: Signal) -> Signals {
        let watching = self.0.iter().filter(|(id, _)| *id == flight);
        Signals { signal, watchers: watching.map(|(_, watcher)| Arc::clone(watcher)).collect() }
    }

    /// A signal for all.
    pub(super) fn all(&self, signal: Signal) -> Signals {
        Signals { signal, watchers: self.0.iter().map(|(_, watcher)| Arc::clone(watcher)).collect() }
    }
}

#[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
fn is_same(one: &Arc<dyn Watcher>, other: &Arc<dyn Watcher>) -> bool {
    ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

impl Signals {
    pub(super) fn send(self) {
        for watcher in self.watchers {
            step!(WatchersAreNotNotified, watcher.notify(self.signal));
        }
    }
}
