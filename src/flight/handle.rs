//! [`FlightHandle`]: what a closure can ask about the flight that it runs for.

use std::fmt;
#[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
use std::sync::Arc;

use super::flight_ref::{ALONE, FlightRef};
use super::flights::Flights;
use super::table::record::Record;
#[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
use super::watch::{Signal, Watcher};
#[cfg(feature = "cache")]
use crate::outcome::Mark;

/// The flight that a closure runs for, as the closure sees it.
///
/// A long closure can ask between two steps whether anybody still wants its result.
///
/// # Blocking
///
/// Each question takes the lock of one shard for an instant. Ask between steps, not in a tight loop.
pub struct FlightHandle<'a, K, T, E> {
    pub(super) flight: FlightRef<'a, K, T, E>,
}

impl<'a, K, T, E> FlightHandle<'a, K, T, E> {
    /// For a closure that runs without a flight.
    pub(super) fn alone(flights: &'a Flights<K, T, E>, hash: u64) -> Self {
        Self { flight: FlightRef { flights, shard: flights.table.shard(hash), hash, id: ALONE } }
    }

    pub(super) fn is_alone(&self) -> bool {
        self.flight.id == ALONE
    }

    /// How many callers wait for the result right now, the leader itself not counted; 0 in a bypassed call.
    #[must_use]
    pub fn followers(&self) -> u64 {
        self.ask(|record| record.followers).unwrap_or(0)
    }

    /// Whether the flight was cancelled or the coalescer closed. Then the followers have gone, and no new caller can
    /// join; the leader's own caller still gets what the closure returns. False in a bypassed call.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.ask(|record| record.cancelled).unwrap_or(false)
    }

    /// Whether new callers still join the flight: it was not forgotten, cancelled or superseded by a call
    /// [after](crate::Call::after) a mark, and the coalescer is open. False in a bypassed call.
    ///
    /// What it says may be out of date at once. Where that matters, as for a cache that is filled by hand, do by what it
    /// says and ask again afterwards.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let FlightRef { shard, hash, id, .. } = self.flight;
        shard.lock().is_joinable(hash, id)
    }

    /// Has `watcher` notified of what becomes of the flight, and at once of what has become of it already, until the
    /// returned value is dropped. In a bypassed call, of the coalescer's close.
    #[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
    pub(crate) fn watch(&self, watcher: Arc<dyn Watcher>) -> Watch<'a, K, T, E> {
        let FlightRef { shard, hash, id, .. } = self.flight;
        let mut locked = shard.lock();
        let is_cancelled = locked.record(hash, id).is_some_and(|(record, _)| record.cancelled);
        let signal = if locked.closed {
            Some(Signal::Closed)
        } else if is_cancelled {
            Some(Signal::Cancelled)
        } else if locked.is_joinable(hash, id) {
            None
        } else {
            Some(Signal::Unlinked)
        };
        locked.watchers.add(id, Arc::clone(&watcher));
        drop(locked);
        if let Some(signal) = signal {
            watcher.notify(signal);
        }
        Watch { flight: self.flight, watcher }
    }

    /// Which coalescer it is of, and that one's last mark before it began; `None` in a bypassed call.
    #[cfg(feature = "cache")]
    pub(crate) fn began_after(&self) -> Option<(&'a Arc<()>, Mark)> {
        self.ask(|record| record.mark).map(|mark| (&self.flight.flights.identity, Mark(mark)))
    }

    fn ask<R>(&self, question: impl FnOnce(&Record<T, E>) -> R) -> Option<R> {
        let FlightRef { shard, hash, id, .. } = self.flight;
        shard.lock().record(hash, id).map(|(record, _)| question(record))
    }
}

impl<K, T, E> fmt::Debug for FlightHandle<'_, K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightHandle")
            .field("id", &Some(self.flight.id).filter(|_| !self.is_alone()))
            .finish_non_exhaustive()
    }
}

/// A watcher of a flight, until it is dropped.
#[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
pub(crate) struct Watch<'a, K, T, E> {
    flight: FlightRef<'a, K, T, E>,
    watcher: Arc<dyn Watcher>,
}

#[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
impl<K, T, E> Drop for Watch<'_, K, T, E> {
    fn drop(&mut self) {
        let removed = self.flight.shard.lock().watchers.remove(&self.watcher);
        drop(removed);
    }
}
