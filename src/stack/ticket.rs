//! [`StackTicket`]: a place in a flight of a stack, for whoever wants its result.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::StackError;
use super::outcome::Via;
#[cfg(feature = "cache")]
use super::stale::Fallback;
use crate::flight::pool::ticket::Ticket;
use crate::outcome::Shared;
#[cfg(feature = "cache")]
use crate::stack::cache::Stale;

/// A place in a flight of a [`Stack`](super::Stack), or a value from its cache; made by [`detach`](crate::Call::detach).
///
/// It can be waited for any number of times, in any thread, and given away. Dropping it leaves the flight; see
/// [`Builder::cancel_when_abandoned`](crate::Builder::cancel_when_abandoned).
#[must_use = "dropping a ticket leaves the flight"]
pub struct StackTicket<T, E> {
    source: Source<T, E>,
    /// For a flight that may end with an error.
    #[cfg(feature = "cache")]
    fallback: Option<Fallback<T, E>>,
}

enum Source<T, E> {
    #[cfg(feature = "cache")]
    Cache(Arc<T>),
    #[cfg(feature = "cache")]
    Stale(Stale<T>),
    Flight(Ticket<Arc<T>, StackError<E>>),
}

impl<T, E> StackTicket<T, E> {
    #[cfg(feature = "cache")]
    pub(super) fn cached(value: Arc<T>) -> Self {
        Self { source: Source::Cache(value), fallback: None }
    }

    #[cfg(feature = "cache")]
    pub(super) fn stale(stale: Stale<T>) -> Self {
        Self { source: Source::Stale(stale), fallback: None }
    }

    pub(super) fn of(
        ticket: Ticket<Arc<T>, StackError<E>>,
        #[cfg(feature = "cache")] fallback: Option<Fallback<T, E>>,
    ) -> Self {
        Self {
            source: Source::Flight(ticket),
            #[cfg(feature = "cache")]
            fallback,
        }
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
        match &self.source {
            #[cfg(feature = "cache")]
            Source::Cache(value) => Some(Ok(Arc::clone(value))),
            #[cfg(feature = "cache")]
            Source::Stale(stale) => Some(Ok(Arc::clone(&stale.value))),
            Source::Flight(ticket) => Some(self.or_stale(ticket, ticket.try_wait()?)),
        }
    }

    /// Where the result comes from: the cache, or a flight, in which this ticket's call has this role. What the leader
    /// found in the ledger, or in the cache at its second lookup, comes from its flight.
    ///
    /// If the flight has ended with an error, and a [stale](Via::Stale) value is served in its place, it comes from there.
    #[must_use]
    pub fn via(&self) -> Via {
        match &self.source {
            #[cfg(feature = "cache")]
            Source::Cache(_) => Via::Cache,
            #[cfg(feature = "cache")]
            Source::Stale(stale) => Via::Stale { age: stale.age },
            Source::Flight(ticket) => {
                #[cfg(feature = "cache")]
                if let Some(stale) = self.stale_in_place_of_error(ticket) {
                    return Via::Stale { age: stale.age };
                }
                Via::Flight(ticket.role())
            }
        }
    }

    /// The coalescer's ticket, for its [`receiver`](Ticket::receiver) in crossbeam's `select!`; `None` if the value is
    /// from the cache, and there already. It knows of no stale values: its error is that of the flight.
    #[must_use]
    pub fn ticket(&self) -> Option<&Ticket<Arc<T>, StackError<E>>> {
        match &self.source {
            #[cfg(feature = "cache")]
            Source::Cache(_) | Source::Stale(_) => None,
            Source::Flight(ticket) => Some(ticket),
        }
    }

    fn by(
        &self,
        wait: impl FnOnce(&Ticket<Arc<T>, StackError<E>>) -> Shared<Arc<T>, StackError<E>>,
    ) -> Result<Arc<T>, StackError<E>> {
        match &self.source {
            #[cfg(feature = "cache")]
            Source::Cache(value) => Ok(Arc::clone(value)),
            #[cfg(feature = "cache")]
            Source::Stale(stale) => Ok(Arc::clone(&stale.value)),
            Source::Flight(ticket) => self.or_stale(ticket, wait(ticket)),
        }
    }

    /// This result, or a stale value if it is the error that the flight has ended with.
    #[cfg_attr(not(feature = "cache"), expect(clippy::unused_self, reason = "for a layer that is off"))]
    fn or_stale(
        &self,
        #[cfg_attr(not(feature = "cache"), expect(unused_variables, reason = "for a layer that is off"))]
        ticket: &Ticket<Arc<T>, StackError<E>>,
        result: Shared<Arc<T>, StackError<E>>,
    ) -> Result<Arc<T>, StackError<E>> {
        #[cfg(feature = "cache")]
        if result.is_err() {
            if let Some(stale) = self.stale_in_place_of_error(ticket) {
                return Ok(stale.value);
            }
        }
        StackError::from_shared(result)
    }

    #[cfg(feature = "cache")]
    fn stale_in_place_of_error(&self, ticket: &Ticket<Arc<T>, StackError<E>>) -> Option<Stale<T>> {
        let fallback = self.fallback.as_ref()?;
        let error = StackError::from_shared(ticket.try_wait()?).err()?;
        fallback.get(&error)
    }
}

impl<T, E> fmt::Debug for StackTicket<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            #[cfg(feature = "cache")]
            Source::Cache(_) | Source::Stale(_) => None,
            Source::Flight(ticket) => Some(ticket),
        };
        f.debug_tuple("StackTicket").field(&source).finish()
    }
}
