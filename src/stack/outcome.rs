//! What one call through the stack came to.

use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use super::Stack;
use super::error::StackError;
#[cfg(doc)]
use crate::call::Call;
use crate::flight::handle::FlightHandle;
use crate::outcome::Role;

/// The flight that the work in a [`Stack`] runs for, as the work sees it.
pub type StackFlight<'a, K, T, E> = FlightHandle<'a, K, Arc<T>, StackError<E>>;

/// The outcome of one [`Call`] through a [`Stack`].
#[derive(Debug)]
#[non_exhaustive]
#[must_use]
pub struct StackOutcome<T, E> {
    /// The value, or why there is none.
    pub result: Result<Arc<T>, StackError<E>>,
    /// Where it came from.
    pub via: Via,
    /// The error in whose place a [stale](Via::Stale) value is served; `None` if there was none.
    pub stale_error: Option<StackError<E>>,
}

/// Where a result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// The cache, at the first lookup or at the leader's second one.
    Cache,
    /// The cache, with a value that has expired: another call refreshes it, or there was an error in place of a new one.
    /// Only if the cache's builder says so.
    Stale {
        /// How long ago the value was put into the cache.
        age: Duration,
    },
    /// The ledger; this caller led.
    Ledger,
    /// A flight, in which this caller had this role.
    Flight(Role),
}
