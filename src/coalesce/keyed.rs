//! Calls whose key is made from the request.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use serde::Serialize;

use crate::call::{ByRequest, Call, OneKey};
use crate::coalesce::SyncCoalesce;
use crate::error::CallError;
use crate::flight::handle::FlightHandle;
use crate::flight::pool::ticket::Ticket;
use crate::key::{Key, KeyError, KeyFn, KeyRule};
use crate::outcome::{Outcome, Role};

impl<K, T, E, S: BuildHasher> SyncCoalesce<K, T, E, S> {
    /// A function of one argument that coalesces: `key_fn` says what makes two arguments the same, and `work` may fail.
    ///
    /// `key_fn` is a closure `Fn(&R) -> K`, or a [`KeyRule`] where `K` is a [`Key`]. The function can
    /// be called from many threads if `key_fn` and `work` can.
    ///
    /// # Blocking
    ///
    /// The function blocks as [`call`](SyncCoalesce::call). `wrap` itself takes no lock.
    ///
    /// # Panics
    ///
    /// The function panics if `key_fn` does, before anything runs, and as [`call`](SyncCoalesce::call).
    ///
    /// # Errors
    ///
    /// The function returns [`CallError::BadKey`], before anything runs, if `key_fn` has no key for the argument, and
    /// otherwise the errors of [`try_call`](SyncCoalesce::try_call).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::{Key, KeyRule, SyncCoalesce};
    ///
    /// let coalesce: SyncCoalesce<String, usize> = SyncCoalesce::new();
    /// let length = coalesce.wrap(|text: &str| text.to_owned(), |text: &str| Ok(text.len()));
    /// assert_eq!(*length("four").unwrap(), 4);
    ///
    /// let coalesce: SyncCoalesce<Key, usize> = SyncCoalesce::new();
    /// let length = coalesce.wrap(KeyRule::new("tenant a")?, |text: &str| Ok(text.len()));
    /// assert_eq!(*length("four").unwrap(), 4);
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn wrap<R: ?Sized>(
        &self,
        key_fn: impl KeyFn<R, K>,
        work: impl Fn(&R) -> Result<T, E>,
    ) -> impl Fn(&R) -> Result<Arc<T>, CallError<E>>
    where
        K: Hash + Eq + Clone,
    {
        move |request| {
            let key = key_fn.key(request).map_err(CallError::BadKey)?;
            self.try_call(&key, || work(request))
        }
    }
}

impl<T, E, S: BuildHasher> SyncCoalesce<Key, T, E, S> {
    /// The value of `work` for `request`, under a key that **all tenants share** unless the builder has a
    /// [`key_rule`](crate::Builder::key_rule) with a namespace.
    ///
    /// The key is made by that rule, or without one by [`Key::of`]. To give a rule with the call, or a timeout, see
    /// [`on_request`](SyncCoalesce::on_request).
    ///
    /// # Blocking
    ///
    /// As [`call`](SyncCoalesce::call). The key is made first, under no lock.
    ///
    /// # Panics
    ///
    /// If the request's `Serialize` panics, before anything runs, and as [`call`](SyncCoalesce::call).
    ///
    /// # Errors
    ///
    /// [`CallError::BadKey`], before anything runs, if no key can be made from the request, and otherwise those of
    /// [`try_call`](SyncCoalesce::try_call).
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use sync_coalesce::{Key, SyncCoalesce};
    ///
    /// let coalesce: SyncCoalesce<Key, String> = SyncCoalesce::new();
    /// let answer = coalesce.try_call_for(&json!({ "model": "m" }), |request| Ok(request["model"].to_string()));
    /// assert_eq!(*answer.unwrap(), "\"m\"");
    /// ```
    pub fn try_call_for<R>(&self, request: &R, work: impl FnOnce(&R) -> Result<T, E>) -> Result<Arc<T>, CallError<E>>
    where
        R: Serialize + ?Sized,
    {
        let key = self.key_of(request, None).map_err(CallError::BadKey)?;
        self.try_call(&key, || work(request))
    }

    /// A call for `request` with options of its own: a rule that makes its key, such as one with the tenant in it, a
    /// timeout, and the others; see [`Call`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use serde_json::json;
    /// use sync_coalesce::{Key, KeyRule, SyncCoalesce};
    ///
    /// let coalesce: SyncCoalesce<Key, String> = SyncCoalesce::new();
    /// let tenant = KeyRule::new("tenant a")?;
    /// let outcome = coalesce
    ///     .on_request(&json!({ "model": "m" }))
    ///     .rule(&tenant)
    ///     .timeout(Duration::from_secs(30))
    ///     .call(|request, _flight| request["model"].to_string());
    /// assert_eq!(*outcome.result.unwrap(), "\"m\"");
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn on_request<'a, R: ?Sized>(&'a self, request: &'a R) -> Call<'a, Self, ByRequest<'a, R>> {
        Call::new(self, ByRequest { request, rule: None })
    }

    fn key_of<R: Serialize + ?Sized>(&self, request: &R, rule: Option<&KeyRule>) -> Result<Key, KeyError> {
        match rule.or(self.key_rule.as_ref()) {
            Some(rule) => rule.key(request),
            None => Key::of(request),
        }
    }
}

impl<R, T, E, S> Call<'_, SyncCoalesce<Key, T, E, S>, ByRequest<'_, R>>
where
    R: Serialize + ?Sized,
    S: BuildHasher,
{
    /// The outcome of `work` for the request, which cannot fail, or of the same call if it is already in flight.
    ///
    /// Blocks, panics and fails as [`SyncCoalesce::try_call_for`], with this call's options. If no key can be made
    /// from the request, the role is [`Refused`](Role::Refused); that is not counted, because no call has begun.
    pub fn call(self, work: impl FnOnce(&R, &FlightHandle<'_, Key, T, E>) -> T) -> Outcome<T, E> {
        self.try_call(|request, flight| Ok(work(request, flight)))
    }

    /// As [`call`](Call::call), for work that may fail; errors are shared too.
    pub fn try_call(self, work: impl FnOnce(&R, &FlightHandle<'_, Key, T, E>) -> Result<T, E>) -> Outcome<T, E> {
        let Self { on, about: ByRequest { request, rule }, options } = self;
        match on.key_of(request, rule) {
            Ok(key) => on.run(&key, &options, |flight| work(request, flight), |outcome| outcome),
            Err(error) => Outcome { result: Err(CallError::BadKey(error)), role: Role::Refused },
        }
    }
}

impl<R, T, E, S> Call<'_, SyncCoalesce<Key, T, E, S>, ByRequest<'_, R>>
where
    R: Serialize + ?Sized,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    S: BuildHasher,
{
    /// A [`Ticket`] for the value of `work`, which runs on a thread of the coalescer's pool; see
    /// [`SyncCoalesce::detach`].
    ///
    /// # Errors
    ///
    /// If no key can be made from the request. Nothing has begun then.
    pub fn detach(
        self,
        work: impl FnOnce(&FlightHandle<'_, Key, T, E>) -> Result<T, E> + Send + 'static,
    ) -> Result<Ticket<T, E>, KeyError> {
        let Self { on, about: ByRequest { request, rule }, options } = self;
        let key = on.key_of(request, rule)?;
        Ok(Call { on, about: OneKey(&key), options }.detach(work))
    }
}
