//! Calls whose key is made of the request.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use serde::Serialize;

use crate::coalesce::SyncCoalesce;
use crate::error::CallError;
use crate::key::{Key, KeyFn};

impl<K, T, E, S: BuildHasher> SyncCoalesce<K, T, E, S> {
    /// A function of one argument that coalesces: `key_fn` says what makes two arguments the same, and `work` does the
    /// work, which may fail.
    ///
    /// `key_fn` is a closure `Fn(&R) -> K`, or a [`KeyRule`](crate::KeyRule) where `K` is a [`Key`]. The function can be
    /// called from many threads if `key_fn` and `work` can.
    ///
    /// # Blocking
    ///
    /// Of the function: as [`call`](SyncCoalesce::call). To wrap takes no lock.
    ///
    /// # Panics
    ///
    /// Of the function: with a panic in `key_fn`, before anything runs, and as [`call`](SyncCoalesce::call).
    ///
    /// # Errors
    ///
    /// Of the function: [`CallError::BadKey`], before anything runs, if `key_fn` has no key for the argument; else
    /// those of [`try_call`](SyncCoalesce::try_call).
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
    /// The value of `work` for `request`, by a key that **all tenants share** unless the builder was given a
    /// [`key_rule`](crate::Builder::key_rule) with a namespace.
    ///
    /// The key is made by that rule, or without one by [`Key::of`].
    ///
    /// # Blocking
    ///
    /// As [`call`](SyncCoalesce::call). The key is made before, under no lock.
    ///
    /// # Panics
    ///
    /// With a panic in the request's `Serialize`, before anything runs, and as [`call`](SyncCoalesce::call).
    ///
    /// # Errors
    ///
    /// [`CallError::BadKey`], before anything runs, if no key can be made of the request; else those of
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
        let key = match &self.key_rule {
            Some(rule) => rule.key(request),
            None => Key::of(request),
        };
        let key = key.map_err(CallError::BadKey)?;
        self.try_call(&key, || work(request))
    }
}
