//! [`StackTicket`]: a place in a flight of a stack, for whoever wants its result.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::StackError;
use super::outcome::Via;
use crate::flight::pool::ticket::Ticket;
use crate::outcome::Shared;

/// A place in a flight of a [`Stack`](super::Stack), or a value from its cache; made by [`detach`](crate::Call::detach).
///
/// It can be waited for any number of times, in any thread, and given away. Dropping it leaves the flight; see
/// [`Builder::cancel_when_abandoned`](crate::Builder::cancel_when_abandoned).
#[must_use = "dropping a ticket leaves the flight"]
pub struct StackTicket<T, E>(Source<T, E>);

enum Source<T, E> {
    #[cfg(feature = "cache")]
    Cache(Arc<T>),
    Flight(Ticket<Arc<T>, StackError<E>>),
}

impl<T, E> StackTicket<T, E> {
    #[cfg(feature = "cache")]
    pub(super) fn cached(value: Arc<T>) -> Self {
        Self(Source::Cache(value))
    }

    pub(super) fn of(ticket: Ticket<Arc<T>, StackError<E>>) -> Self {
        Self(Source::Flight(ticket))
    }

    /// The result of the flight, when there is one; or the timeout of its call has passed.
    ///
    /// # Blocking
    ///
    /// Until then. The flight goes on whatever becomes of the wait.
    ///
    /// # Errors
    ///
    /// Those of [`Stack::try_call`](super::Stack::try_call), and in [`StackError::Call`] those of [`Ticket::wait`].
    pub fn wait(&self) -> Result<Arc<T>, StackError<E>> {
        self.by(Ticket::wait)
    }

    /// As [`wait`](StackTicket::wait), for `timeout` at most; `Duration::MAX` is no limit.
    ///
    /// # Errors
    ///
    /// As [`wait`](StackTicket::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Arc<T>, StackError<E>> {
        self.by(|ticket| ticket.wait_timeout(timeout))
    }

    /// As [`wait`](StackTicket::wait), until `deadline` at most. A result that is there beats a deadline that has passed.
    ///
    /// # Errors
    ///
    /// As [`wait`](StackTicket::wait).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<Arc<T>, StackError<E>> {
        self.by(|ticket| ticket.wait_deadline(deadline))
    }

    /// The result of the flight, if there is one by now.
    #[must_use]
    pub fn try_wait(&self) -> Option<Result<Arc<T>, StackError<E>>> {
        match &self.0 {
            #[cfg(feature = "cache")]
            Source::Cache(value) => Some(Ok(Arc::clone(value))),
            Source::Flight(ticket) => ticket.try_wait().map(StackError::from_shared),
        }
    }

    /// Where the result comes from: the cache, or a flight, in which this ticket's call has this role. What the leader
    /// found in the ledger, or in the cache at its second lookup, comes from its flight.
    #[must_use]
    pub fn via(&self) -> Via {
        match &self.0 {
            #[cfg(feature = "cache")]
            Source::Cache(_) => Via::Cache,
            Source::Flight(ticket) => Via::Flight(ticket.role()),
        }
    }

    /// The coalescer's ticket, for its [`receiver`](Ticket::receiver) in crossbeam's `select!`; `None` if the value is
    /// from the cache, and there already.
    #[must_use]
    pub fn ticket(&self) -> Option<&Ticket<Arc<T>, StackError<E>>> {
        match &self.0 {
            #[cfg(feature = "cache")]
            Source::Cache(_) => None,
            Source::Flight(ticket) => Some(ticket),
        }
    }

    fn by(
        &self,
        wait: impl FnOnce(&Ticket<Arc<T>, StackError<E>>) -> Shared<Arc<T>, StackError<E>>,
    ) -> Result<Arc<T>, StackError<E>> {
        match &self.0 {
            #[cfg(feature = "cache")]
            Source::Cache(value) => Ok(Arc::clone(value)),
            Source::Flight(ticket) => StackError::from_shared(wait(ticket)),
        }
    }
}

impl<T, E> fmt::Debug for StackTicket<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.0 {
            #[cfg(feature = "cache")]
            Source::Cache(_) => None,
            Source::Flight(ticket) => Some(ticket),
        };
        f.debug_tuple("StackTicket").field(&source).finish()
    }
}
