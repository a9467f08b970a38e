//! [`FlightHandle`]: what a closure can ask about the flight that it runs for.

use std::fmt;
#[cfg(feature = "cache")]
use std::sync::Arc;

use super::flight_ref::FlightRef;
use super::table::record::Record;
#[cfg(feature = "cache")]
use crate::outcome::Mark;

/// The flight that a closure runs for, as the closure sees it.
///
/// A long closure can ask between two steps whether anybody still wants its result.
///
/// # Blocking
///
/// Both questions take the lock of one shard for an instant. Ask between steps, not in a tight loop.
pub struct FlightHandle<'a, K, T, E> {
    pub(super) flight: Option<FlightRef<'a, K, T, E>>,
}

impl<'a, K, T, E> FlightHandle<'a, K, T, E> {
    pub(super) fn of(flight: FlightRef<'a, K, T, E>) -> Self {
        Self { flight: Some(flight) }
    }

    /// For a closure that runs without a flight.
    pub(super) fn none() -> Self {
        Self { flight: None }
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

    /// Which coalescer it is of, and that one's last mark before it began; `None` in a bypassed call.
    #[cfg(feature = "cache")]
    pub(crate) fn began_after(&self) -> Option<(&'a Arc<()>, Mark)> {
        let flights = self.flight?.flights;
        self.ask(|record| record.mark).map(|mark| (&flights.identity, Mark(mark)))
    }

    fn ask<R>(&self, question: impl FnOnce(&Record<T, E>) -> R) -> Option<R> {
        let FlightRef { shard, hash, id, .. } = self.flight?;
        shard.lock().record(hash, id).map(|(record, _)| question(record))
    }
}

impl<K, T, E> fmt::Debug for FlightHandle<'_, K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightHandle").field("id", &self.flight.map(|flight| flight.id)).finish_non_exhaustive()
    }
}
