//! Values that have expired, served in place of an error: which errors, and to whom.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::Equivalent;

use super::error::StackError;
use super::lead::{Layers, LeadContext};
use super::outcome::{StackOutcome, Via};
use crate::error::CallError;
use crate::panic::catch_panic;
use crate::stack::cache::{Begun, Cache, Stale};
use crate::sync::Mutex;

/// What a ticket gets in place of an error.
pub(super) struct Fallback<T, E> {
    look: Box<Look<T, E>>,
    /// A ticket does not change its mind.
    first: Mutex<FirstLook<T>>,
}

type Look<T, E> = dyn Fn(&StackError<E>) -> Option<Stale<T>> + Send + Sync;

enum FirstLook<T> {
    NotYet,
    Found(Option<Stale<T>>),
}

impl<T, E> Fallback<T, E> {
    pub(super) fn get(&self, error: &StackError<E>) -> Option<Stale<T>> {
        if let FirstLook::Found(found) = &*self.first.lock() {
            return found.clone();
        }
        // User code runs in the look, so it is not under the lock.
        let found = (self.look)(error);
        let mut first = self.first.lock();
        if let FirstLook::Found(found) = &*first {
            return found.clone();
        }
        *first = FirstLook::Found(found.clone());
        found
    }
}

impl<K, T, E> Layers<K, T, E>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// A stale value that another call refreshes.
    pub(super) fn serve(&self, stale: Stale<T>) -> StackOutcome<T, E> {
        self.count_stale_hit();
        StackOutcome { result: Ok(stale.value), via: Via::Stale { age: stale.age }, stale_error: None }
    }

    pub(super) fn count_stale_hit(&self) {
        if let Some(cache) = &self.cache {
            cache.count_stale_hit();
        }
    }

    /// Whether a call in this context may be answered by a stale value if there is an error.
    pub(super) fn serves_if_error(&self, context: &LeadContext) -> bool {
        !context.bypasses && !context.refreshes && self.cache.as_ref().is_some_and(Cache::serves_if_error)
    }

    /// The same outcome, or a stale value in place of its error.
    pub(super) fn serve_if_error<Q>(
        &self,
        key: &Q,
        context: &LeadContext,
        outcome: StackOutcome<T, E>,
    ) -> StackOutcome<T, E>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let Err(error) = &outcome.result else { return outcome };
        if !self.serves_if_error(context) {
            return outcome;
        }
        let Some(stale) = self.stale_for(key, context.since.as_ref(), error) else { return outcome };
        let via = Via::Stale { age: stale.age };
        StackOutcome { result: Ok(stale.value), via, stale_error: outcome.result.err() }
    }

    /// The same for a ticket, whose error comes later.
    pub(super) fn fallback(self: &Arc<Self>, key: K, since: Option<Begun>) -> Fallback<T, E>
    where
        E: Send + Sync + 'static,
    {
        let layers = Arc::clone(self);
        let look = move |error: &StackError<E>| layers.stale_for(&key, since.as_ref(), error);
        Fallback { look: Box::new(look), first: Mutex::new(FirstLook::NotYet) }
    }

    fn stale_for<Q>(&self, key: &Q, since: Option<&Begun>, error: &StackError<E>) -> Option<Stale<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let cache = self.cache.as_ref()?;
        if self.is_of_provider(error) { cache.stale_since(key, since) } else { None }
    }

    /// Whether there is no new value because the provider, or the way to it, is down or overloaded. An end from outside
    /// and a ledger's refusal are not to be covered up.
    fn is_of_provider(&self, error: &StackError<E>) -> bool {
        match error {
            #[cfg(feature = "ledger")]
            StackError::Ledger(_) => false,
            StackError::Call(error) => {
                matches!(error, CallError::TimedOut | CallError::Overloaded | CallError::LeaderPanicked { .. })
            }
            error => match (error.work(), &self.serve_stale_on) {
                (Some(error), Some(serves)) => catch_panic(|| serves(error)),
                _ => true,
            },
        }
    }
}
