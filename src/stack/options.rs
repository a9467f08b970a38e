//! The options of one call through the stack, and its outcome.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::Equivalent;

use super::Stack;
use super::error::StackError;
use super::lead::LeadContext;
use crate::call::{Call, OneKey};
use crate::coalesce::SyncCoalesce;
use crate::outcome::Role;
#[cfg(feature = "budget")]
use crate::stack::budget::Spend;

/// One call with options of its own, made by [`Stack::request`]. Nothing happens until `call` or `try_call`.
#[must_use = "a request does nothing until `call` or `try_call`"]
pub struct StackRequest<'a, Q: ?Sized, K, T, E> {
    stack: &'a Stack<K, T, E>,
    key: &'a Q,
    request: Call<'a, SyncCoalesce<K, Arc<T>, StackError<E>, RandomState>, OneKey<'a, Q>>,
    context: LeadContext,
}

/// The outcome of one call made by a [`StackRequest`].
#[derive(Debug)]
#[non_exhaustive]
#[must_use]
pub struct StackOutcome<T, E> {
    /// The value, or why there is none.
    pub result: Result<Arc<T>, StackError<E>>,
    /// Where it came from.
    pub via: Via,
}

/// Where a result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// The cache, at the first lookup or at the leader's second one.
    Cache,
    /// The ledger; this caller led.
    Ledger,
    /// A flight, in which this caller had this role.
    Flight(Role),
}

impl<'a, Q: ?Sized, K, T, E> StackRequest<'a, Q, K, T, E> {
    pub(super) fn new(stack: &'a Stack<K, T, E>, key: &'a Q) -> Self {
        let request = stack.coalesce.on(key);
        Self { stack, key, request, context: LeadContext::default() }
    }

    /// As [`Call::timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request = self.request.timeout(timeout);
        self
    }

    /// As [`Call::deadline`].
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.request = self.request.deadline(deadline);
        self
    }

    /// As [`Call::patience`]. A caller that runs alone goes through all layers that a leader goes through, and a
    /// ledger refuses it because the key is [in progress](crate::stack::ledger::LedgerError::InProgress).
    pub fn patience(mut self, patience: Duration) -> Self {
        self.request = self.request.patience(patience);
        self
    }

    /// The most that the call may cost, instead of the maximum set by the builder.
    #[cfg(feature = "budget")]
    #[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
    pub fn at_most(mut self, most: Spend) -> Self {
        self.context.most = Some(most);
        self
    }
}

impl<Q, K, T, E> StackRequest<'_, Q, K, T, E>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// As [`Stack::call`].
    ///
    /// # Blocking
    ///
    /// As [`Stack`] says; as a follower, within the timeout, deadline and patience of this request.
    ///
    /// # Panics
    ///
    /// As [`Stack::try_call`].
    ///
    /// # Errors
    ///
    /// In the outcome's [`result`](StackOutcome::result): those of [`Stack::try_call`].
    pub fn call(self, mut work: impl FnMut() -> T) -> StackOutcome<T, E> {
        self.try_call(|| Ok(work()))
    }

    /// As [`Stack::try_call`].
    ///
    /// # Blocking
    ///
    /// As [`call`](StackRequest::call).
    ///
    /// # Panics
    ///
    /// As [`Stack::try_call`].
    ///
    /// # Errors
    ///
    /// In the outcome's [`result`](StackOutcome::result): those of [`Stack::try_call`].
    pub fn try_call(self, work: impl FnMut() -> Result<T, E>) -> StackOutcome<T, E> {
        let Self { stack, key, request, mut context } = self;
        #[cfg(feature = "cache")]
        if let Some(value) = stack.cache.as_ref().and_then(|cache| cache.get(key)) {
            return StackOutcome { result: Ok(value), via: Via::Cache };
        }
        let outcome = request.try_call(|_| stack.lead(key, &mut context, work));
        let via = Via::Flight(outcome.role);
        #[cfg(feature = "ledger")]
        let via = if context.is_replay { Via::Ledger } else { via };
        #[cfg(feature = "cache")]
        let via = if context.is_cached { Via::Cache } else { via };
        #[cfg(feature = "budget")]
        if let (Some(spending), Some(spent), Role::Leader { followers }) = (&stack.budget, context.spent, outcome.role)
        {
            spending.budget.count_saved(spent, followers);
        }
        let result = match outcome.result {
            Ok(shared) => Ok(Arc::clone(&*shared)),
            Err(error) => Err(StackError::from_call(error)),
        };
        StackOutcome { result, via }
    }
}

impl<Q: fmt::Debug + ?Sized, K, T, E> fmt::Debug for StackRequest<'_, Q, K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackRequest").field("request", &self.request).finish_non_exhaustive()
    }
}
