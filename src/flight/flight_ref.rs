//! [`FlightRef`]: a flight's identity, and where its record is.

use super::flights::Flights;
use super::table::ShardLock;
use crate::observe::FlightId;

/// A flight's identity, and the shard in which its record is.
pub(super) struct FlightRef<'a, K, T, E> {
    pub(super) flights: &'a Flights<K, T, E>,
    pub(super) shard: &'a ShardLock<K, T, E>,
    pub(super) hash: u64,
    pub(super) id: u64,
}

/// The id of no flight, for calls that run alone.
pub(super) const ALONE: u64 = 0;

impl<K, T, E> Clone for FlightRef<'_, K, T, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, T, E> Copy for FlightRef<'_, K, T, E> {}

impl<'a, K, T, E> FlightRef<'a, K, T, E> {
    /// The flight's name, for people to read.
    pub(super) fn name(&self) -> FlightId<'a> {
        FlightId { coalescer: self.flights.settings.name.as_deref(), number: self.id }
    }
}
