//! [`Cache`]: keeps values for later calls.

mod builder;
mod error;
mod faults;
mod fills;
#[cfg(sync_coalesce_shuttle)]
mod models;
mod stats;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::Equivalent;

pub use self::builder::CacheBuilder;
pub use self::error::CacheBuildError;
use self::fills::Fills;
pub(super) use self::fills::Permit as FillPermit;
pub use self::stats::CacheStats;
use self::stats::{Counters, Once};
use crate::coalesce::SyncCoalesce;
use crate::error::CallError;
use crate::flight::handle::FlightHandle;
use crate::flight::watch::Watcher;
use crate::outcome::Mark;
use crate::panic::catch_panic;
use crate::stack::clock::Clock;

/// Keeps values, up to a capacity and each for a limited time.
///
/// A cache is a handle: its clones share one cache. A full cache evicts the least recently used value. Any value can be
/// kept, including a `None`; errors are not kept.
///
/// Eviction happens shortly after an insertion, in the thread of one of the next callers. It may drop keys and values
/// under a lock of the cache, so their `Drop` must not call back.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::ManualClock;
/// use sync_coalesce::stack::cache::Cache;
///
/// let clock = ManualClock::new();
/// let cache = Cache::builder(1_000).time_to_live(Duration::from_secs(60)).clock(&clock).build()?;
/// cache.insert("capital of Peru", Some("Lima"));
/// cache.insert("capital of the sea", None);
/// assert_eq!(*cache.get("capital of the sea").unwrap(), None);
///
/// clock.advance(Duration::from_secs(60));
/// assert!(cache.get("capital of Peru").is_none());
/// let stats = cache.stats();
/// assert_eq!((stats.hits, stats.misses, stats.expirations), (1, 1, 1));
/// # Ok::<(), sync_coalesce::stack::cache::CacheBuildError>(())
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
    fills: Arc<Fills>,
    hasher: RandomState,
}

type TimeToLive<T> = dyn Fn(&T) -> Option<Duration> + Send + Sync;

struct Entry<T> {
    value: Arc<T>,
    lives: Option<Duration>,
    /// By the cache's clock; `None` if it never expires.
    ends: Option<Instant>,
    /// When the work for it began, by the marks of a coalescer; `None` if it was inserted.
    begun: Option<Begun>,
    expired: Once,
}

/// When a flight began, by the marks of its coalescer.
#[derive(Clone)]
pub(super) struct Begun {
    coalescer: Arc<()>,
    mark: Mark,
}

impl Begun {
    pub(super) fn new(coalescer: &Arc<()>, mark: Mark) -> Self {
        Self { coalescer: Arc::clone(coalescer), mark }
    }

    /// `None` for a call that runs alone.
    pub(super) fn of<K, T, E>(flight: &FlightHandle<'_, K, T, E>) -> Option<Self> {
        flight.began_after().map(|(coalescer, mark)| Self::new(coalescer, mark))
    }

    /// Whether a value answers a call that wants none from before this moment. Nothing is before a coalescer's first
    /// mark.
    fn admits(&self, value: Option<&Self>) -> bool {
        self.mark.0 == 0
            || value.is_some_and(|value| Arc::ptr_eq(&value.coalescer, &self.coalescer) && value.mark >= self.mark)
    }
}

impl<K, T> Cache<K, T>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// A builder of caches that keep at most `capacity` values.
    pub fn builder(capacity: u64) -> CacheBuilder<K, T> {
        CacheBuilder::new(capacity)
    }

    /// The value under `key`, if there is one that has not expired.
    pub fn get<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.get_since(key, None)
    }

    /// As [`get`](Cache::get), for a call that wants no value from before `since`.
    pub(super) fn get_since<Q>(&self, key: &Q, since: Option<&Begun>) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let value = self.lookup(key, since);
        self.shared.counters.count_lookup(value.is_some());
        value
    }

    /// As [`get`](Cache::get), for a leader whose miss is already counted. Whoever asks after a mark may join its flight
    /// if that began after the mark, so a value from before the flight's own mark will not do.
    pub(super) fn lookup_again<Q>(&self, key: &Q, since: Option<&Begun>) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let value = self.lookup(key, since)?;
        self.shared.counters.count_late_hit();
        Some(value)
    }

    /// The value of `work`: from the cache, from the same call in flight, or from running `work`.
    ///
    /// The leader of the flight looks into the cache again before it runs `work`, and fills it before its followers are
    /// released. So there is no gap in which a value is neither in flight nor in the cache, and `work` runs once for as
    /// long as the value is kept, however many callers there are. An error is shared with the followers of the flight,
    /// and not kept.
    ///
    /// A value does not come over a newer one: it is not kept if the flight was [forgotten](SyncCoalesce::forget),
    /// cancelled, superseded or closed meanwhile, or ran uncoalesced, or if its key was [removed](Cache::remove),
    /// [inserted](Cache::insert) or [cleared](Cache::clear) since `work` began.
    ///
    /// # Blocking
    ///
    /// As [`SyncCoalesce::try_call`].
    ///
    /// # Panics
    ///
    /// A panic in `work` is passed on to the caller whose closure it was. After a panic in `K: Clone`, or in the
    /// closure for the time to live, the value is returned but not kept.
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
    /// # Ok::<(), sync_coalesce::stack::cache::CacheBuildError>(())
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
        let outcome = coalesce.on(key).try_call(|flight| {
            // Before the second look: what is removed from here on is not brought back by this flight.
            let permit = self.permit(key);
            let _watch = flight.watch(Arc::clone(&permit) as Arc<dyn Watcher>);
            let begun = Begun::of(flight);
            // Between this caller's miss and its flight, another flight may have filled the cache and ended.
            if let Some(value) = self.lookup_again(key, begun.as_ref()) {
                return Ok(value);
            }
            let value = Arc::new(work()?);
            if let Some(begun) = begun {
                self.fill(&permit, || key.to_owned(), &value, begun);
            }
            Ok(value)
        });
        let shared = outcome.result?;
        Ok(Arc::clone(&shared))
    }

    /// Keeps a value, replacing any other under `key`, for the time to live that the builder sets.
    pub fn insert(&self, key: K, value: impl Into<Arc<T>>) {
        let value = value.into();
        let lives = self.time_to_live_of(&value);
        self.insert_entry(key, value, lives);
    }

    /// Keeps a value, replacing any other under `key`, for this time to live. A time of 0 only removes the other value;
    /// `Duration::MAX` never ends.
    pub fn insert_for(&self, key: K, value: impl Into<Arc<T>>, time_to_live: Duration) {
        self.insert_entry(key, value.into(), Some(time_to_live));
    }

    /// For a leader whose work is about to begin, to fill the cache with what comes of it.
    pub(super) fn permit<Q>(&self, key: &Q) -> Arc<FillPermit>
    where
        Q: Hash + ?Sized,
    {
        Arc::new(self.shared.fills.begin(self.shared.hasher.hash_one(key)))
    }

    /// Keeps a value that was paid for, unless the permit is revoked: its flight is no longer current, the key was
    /// removed, inserted or cleared since, or work that began later has filled it. A panic in user code here must not
    /// lose the value for the caller.
    pub(super) fn fill(&self, permit: &FillPermit, key: impl FnOnce() -> K, value: &Arc<T>, begun: Begun) {
        catch_panic(|| {
            let lives = self.time_to_live_of(value);
            let (key, entry) = (key(), self.entry(Arc::clone(value), lives, Some(begun)));
            drop(permit.fill(|| self.put(key, entry)));
        });
    }

    /// The value that was under `key`, which is now removed; `None` if there was none, or it had expired.
    ///
    /// A leader whose work began before does not put its value there afterwards. It can still be joined, though: to keep
    /// its value from callers that begin after this, [forget](SyncCoalesce::forget) its flight next, in this order.
    pub fn remove<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let entry = self.shared.fills.supersede(self.shared.hasher.hash_one(key), || self.entries.remove(key))?;
        self.is_alive(&entry).then(|| Arc::clone(&entry.value))
    }

    /// Removes all values. The counters stay.
    pub fn clear(&self) {
        self.shared.fills.supersede_all(|| self.entries.invalidate_all());
    }

    /// The counters.
    ///
    /// # Blocking
    ///
    /// While it removes values that are above the capacity or have expired.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.entries.run_pending_tasks();
        self.shared.counters.stats(self.entries.entry_count())
    }

    /// Sets the counters to zero. The values stay.
    pub fn reset_stats(&self) {
        self.shared.counters.reset();
    }

    fn lookup<Q>(&self, key: &Q, since: Option<&Begun>) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let entry = self.entries.get(key)?;
        if since.is_some_and(|since| !since.admits(entry.begun.as_ref())) {
            return None;
        }
        // An expired entry is left to be swept or replaced: removing it here could remove its successor.
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

    fn insert_entry(&self, key: K, value: Arc<T>, lives: Option<Duration>) {
        let entry = self.entry(value, lives, None);
        let hash = self.shared.hasher.hash_one(&key);
        drop(self.shared.fills.supersede(hash, || self.put(key, entry)));
    }

    /// `None` for a time to live of 0.
    fn entry(&self, value: Arc<T>, lives: Option<Duration>, begun: Option<Begun>) -> Option<Arc<Entry<T>>> {
        if lives.is_some_and(|lives| lives.is_zero()) {
            return None;
        }
        let ends = lives.and_then(|lives| self.shared.clock.now().checked_add(lives));
        Some(Arc::new(Entry { value, lives, ends, begun, expired: Once::new() }))
    }

    /// Replaces what is under `key`, which is returned to be dropped under no lock of ours.
    fn put(&self, key: K, entry: Option<Arc<Entry<T>>>) -> Option<Arc<Entry<T>>> {
        let Some(entry) = entry else { return self.entries.remove(&key) };
        let replaced = self.entries.get(&key);
        self.entries.insert(key, entry);
        replaced
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
