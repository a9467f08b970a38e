//! [`Stale`]: values that have expired, and are served for want of a better one.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::Equivalent;

use super::fills::Permit;
use super::{Begun, Cache, Entry};

/// A value that has expired.
#[non_exhaustive]
pub struct Stale<T> {
    /// The value.
    pub value: Arc<T>,
    /// How long ago it was inserted.
    pub age: Duration,
}

/// The leave to refresh a stale value, which nobody else gets until this is dropped.
pub(in crate::stack) struct Claim(#[expect(dead_code, reason = "only its drop matters")] Permit);

/// What a call finds in the cache.
pub(in crate::stack) enum Lookup<T> {
    Fresh(Arc<T>),
    /// Of a value that another call refreshes, or that this one is to refresh.
    Stale(Stale<T>, Option<Claim>),
    Nothing,
}

impl<K, T> Cache<K, T>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// The value under `key`, if it has expired and may be served [in place of an error](super::CacheBuilder::stale_if_error).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::stack::ManualClock;
    /// use sync_coalesce::stack::cache::Cache;
    ///
    /// let clock = ManualClock::new();
    /// let minute = Duration::from_secs(60);
    /// let cache = Cache::builder(100).time_to_live(minute).stale_if_error(minute * 60).clock(&clock).build()?;
    /// cache.insert("capital of Peru", "Lima");
    /// clock.advance(minute * 3);
    /// assert!(cache.get("capital of Peru").is_none());
    /// let stale = cache.stale("capital of Peru").unwrap();
    /// assert_eq!((*stale.value, stale.age), ("Lima", minute * 3));
    /// # Ok::<(), sync_coalesce::stack::cache::CacheBuildError>(())
    /// ```
    #[must_use]
    pub fn stale<Q>(&self, key: &Q) -> Option<Stale<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.stale_since(key, None)
    }

    /// As [`stale`](Cache::stale), for a call that wants no value from before `since`.
    pub(in crate::stack) fn stale_since<Q>(&self, key: &Q, since: Option<&Begun>) -> Option<Stale<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        if self.shared.if_error.is_zero() {
            return None;
        }
        let entry = self.entry_since(key, since)?;
        let age = self.age_if_stale(&entry, self.shared.if_error)?;
        self.shared.counters.count_stale_hit();
        Some(Stale { value: Arc::clone(&entry.value), age })
    }

    /// Whether values are served in place of errors.
    pub(in crate::stack) fn serves_if_error(&self) -> bool {
        !self.shared.if_error.is_zero()
    }

    /// What there is for a call that wants no value from before `since`. A stale value is claimed, unless another call
    /// refreshes it already.
    pub(in crate::stack) fn lookup_or_claim<Q>(&self, key: &Q, since: Option<&Begun>) -> Lookup<T>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let counters = &self.shared.counters;
        let entry = self.entry_since(key, since);
        let is_fresh = entry.as_ref().is_some_and(|entry| self.is_alive(entry));
        counters.count_lookup(is_fresh);
        let Some(entry) = entry else { return Lookup::Nothing };
        if is_fresh {
            return Lookup::Fresh(Arc::clone(&entry.value));
        }
        let Some(age) = self.age_if_stale(&entry, self.shared.while_revalidate) else { return Lookup::Nothing };
        let claim = self.shared.fills.claim(self.shared.hasher.hash_one(key)).map(Claim);
        Lookup::Stale(Stale { value: Arc::clone(&entry.value), age }, claim)
    }

    /// A stale value is served.
    pub(in crate::stack) fn count_stale_hit(&self) {
        self.shared.counters.count_stale_hit();
    }

    /// The age of a value that has expired, no longer ago than this.
    pub(super) fn age_if_stale(&self, entry: &Entry<T>, within: Duration) -> Option<Duration> {
        let life = entry.life.as_ref().filter(|_| !within.is_zero())?;
        let now = self.shared.clock.now();
        let expired_for = now.checked_duration_since(life.ends)?;
        (expired_for < within).then(|| now.saturating_duration_since(life.begins))
    }
}

impl<T> Clone for Stale<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), age: self.age }
    }
}

impl<T: fmt::Debug> fmt::Debug for Stale<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stale").field("value", &self.value).field("age", &self.age).finish()
    }
}
