//! [`Cache`]: values that are kept for the calls to come.

mod builder;
mod stats;

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::Equivalent;

pub use self::builder::{CacheBuilder, CacheError};
pub use self::stats::CacheStats;
use self::stats::{Counters, Once};
use crate::coalesce::SyncCoalesce;
use crate::error::CallError;
use crate::panic::catch_panic;
use crate::stack::clock::Clock;

/// Keeps values: so many, and each for so long.
///
/// A cache is a handle: its clones are one cache. Where there is no room, the value goes that was asked for least
/// recently. Any value can be kept, a `None` too, and errors are not.
///
/// What is above the capacity goes a moment later, in the thread of one of the next callers. There it can be dropped
/// under a lock of the cache, so the `Drop` of a key or a value must not call back.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::cache::Cache;
/// use sync_coalesce::stack::ManualClock;
///
/// let hands = ManualClock::new();
/// let cache = Cache::builder(1_000).time_to_live(Duration::from_secs(60)).clock(&hands).build()?;
/// cache.insert("capital of Peru", Some("Lima"));
/// cache.insert("capital of the sea", None);
/// assert_eq!(*cache.get("capital of the sea").unwrap(), None);
///
/// hands.advance(Duration::from_secs(60));
/// assert!(cache.get("capital of Peru").is_none());
/// let stats = cache.stats();
/// assert_eq!((stats.hits, stats.misses, stats.expirations), (1, 1, 1));
/// # Ok::<(), sync_coalesce::stack::cache::CacheError>(())
/// ```
pub struct Cache<K, T> {
    entries: moka::sync::Cache<K, Arc<Entry<T>>>,
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    time_to_live: Option<Duration>,
    time_to_live_of: Option<Box<TimeToLive<T>>>,
    clock: Clock,
    counters: Arc<Counters>,
}

type TimeToLive<T> = dyn Fn(&T) -> Option<Duration> + Send + Sync;

struct Entry<T> {
    value: Arc<T>,
    lives: Option<Duration>,
    /// By the cache's clock. What is beyond it never ends.
    ends: Option<Instant>,
    expired: Once,
}

impl<K, T> Cache<K, T>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// What builds one that keeps this many values at most.
    pub fn builder(capacity: u64) -> CacheBuilder<K, T> {
        CacheBuilder::new(capacity)
    }

    /// The value under `key`, if there is one and its time has not passed.
    pub fn get<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let value = self.look(key);
        self.shared.counters.count_look(value.is_some());
        value
    }

    /// As [`get`](Cache::get), for a leader whose miss is counted already.
    pub(super) fn look_again<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let value = self.look(key)?;
        self.shared.counters.count_late_hit();
        Some(value)
    }

    /// The value of `work`, from the cache, from the same call in flight, or from running it.
    ///
    /// Whoever leads the flight looks again before it runs `work`, and keeps the value before its followers are
    /// released. So there is no moment at which a value is neither in flight nor in the cache, and of any number of
    /// callers `work` runs once for as long as the value is kept. An error is shared with who waits for it, and not
    /// kept.
    ///
    /// # Blocking
    ///
    /// As [`SyncCoalesce::try_call`].
    ///
    /// # Panics
    ///
    /// A panic in `work` goes on to the caller whose closure it was. One in `K: Clone`, or in the time to live of the
    /// value, loses the place in the cache and not the value.
    ///
    /// # Errors
    ///
    /// As [`SyncCoalesce::try_call`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use sync_coalesce::SyncCoalesce;
    /// use sync_coalesce::stack::cache::Cache;
    ///
    /// let cache: Cache<String, u16> = Cache::builder(100).build()?;
    /// let coalesce: SyncCoalesce<String, Arc<u16>, std::num::ParseIntError> = SyncCoalesce::new();
    /// for _ in 0..2 {
    ///     let port = cache.get_or_call(&coalesce, "port", || "80".parse());
    ///     assert_eq!(*port.unwrap(), 80);
    /// }
    /// assert_eq!(coalesce.stats().underlying_calls, 1);
    /// # Ok::<(), sync_coalesce::stack::cache::CacheError>(())
    /// ```
    pub fn get_or_call<Q, E, S>(
        &self,
        coalesce: &SyncCoalesce<K, Arc<T>, E, S>,
        key: &Q,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, CallError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        S: BuildHasher,
    {
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        let shared = coalesce.try_call(key, || {
            // Between this caller's look and its flight, another flight may have begun, filled the cache and ended.
            if let Some(value) = self.look_again(key) {
                return Ok(value);
            }
            let value = Arc::new(work()?);
            self.fill(|| key.to_owned(), &value);
            Ok(value)
        })?;
        Ok(Arc::clone(&shared))
    }

    /// Keeps a value, in place of the one that is there, for as long as the builder says.
    pub fn insert(&self, key: K, value: impl Into<Arc<T>>) {
        let value = value.into();
        let lives = self.time_to_live_of(&value);
        self.put(key, value, lives);
    }

    /// Keeps a value, in place of the one that is there, for this long. No time at all removes what is there, and
    /// `Duration::MAX` does not end.
    pub fn insert_for(&self, key: K, value: impl Into<Arc<T>>, time_to_live: Duration) {
        self.put(key, value.into(), Some(time_to_live));
    }

    /// Keeps what was paid for, if user code lets it: its panic must not cost the value.
    pub(super) fn fill(&self, key: impl FnOnce() -> K, value: &Arc<T>) {
        catch_panic(|| self.insert(key(), Arc::clone(value)));
    }

    /// Removes the value under `key`, and returns it if its time has not passed.
    pub fn remove<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let entry = self.entries.remove(key)?;
        self.is_alive(&entry).then(|| Arc::clone(&entry.value))
    }

    /// Removes all values. What was counted stays.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// What was counted up to now.
    ///
    /// # Blocking
    ///
    /// While it sweeps out what is above the capacity or past its time.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.entries.run_pending_tasks();
        self.shared.counters.stats(self.entries.entry_count())
    }

    /// Sets the counters to zero, and leaves the values.
    pub fn reset_stats(&self) {
        self.shared.counters.reset();
    }

    fn look<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let entry = self.entries.get(key)?;
        // An entry whose time has passed is left to be swept or replaced: to remove it here could hit its successor.
        self.is_alive(&entry).then(|| Arc::clone(&entry.value))
    }

    fn is_alive(&self, entry: &Entry<T>) -> bool {
        let has_passed = entry.ends.is_some_and(|end| self.shared.clock.has_passed(end));
        if has_passed {
            self.shared.counters.count_expiration(&entry.expired);
        }
        !has_passed
    }

    fn time_to_live_of(&self, value: &T) -> Option<Duration> {
        let own = self.shared.time_to_live_of.as_ref().and_then(|time_to_live| time_to_live(value));
        own.or(self.shared.time_to_live)
    }

    fn put(&self, key: K, value: Arc<T>, lives: Option<Duration>) {
        if lives.is_some_and(|lives| lives.is_zero()) {
            self.entries.invalidate(&key);
            return;
        }
        let ends = lives.and_then(|lives| self.shared.clock.now().checked_add(lives));
        self.entries.insert(key, Arc::new(Entry { value, lives, ends, expired: Once::new() }));
    }
}

impl<K, T> Clone for Cache<K, T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<K, T> fmt::Debug for Cache<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.entry_count();
        f.debug_struct("Cache").field("stats", &self.shared.counters.stats(entries)).finish_non_exhaustive()
    }
}
