//! [`Cache`]: keeps values for later calls.

mod builder;
mod call;
mod error;
mod faults;
mod fills;
#[cfg(sync_coalesce_shuttle)]
mod models;
mod stale;
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
pub use self::stale::Stale;
pub(super) use self::stale::{Claim, Lookup};
pub use self::stats::CacheStats;
use self::stats::{Counters, Once};
use crate::flight::handle::FlightHandle;
use crate::outcome::Mark;
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
    shared: Arc<Shared<K, T>>,
}

struct Shared<K, T> {
    time_to_live: Option<Duration>,
    time_to_live_of: Option<Box<TimeToLive<T>>>,
    while_revalidate: Duration,
    if_error: Duration,
    weigher: Option<Box<Weigher<K, T>>>,
    /// The most that one value may weigh.
    max_weight: u64,
    clock: Clock,
    counters: Arc<Counters>,
    fills: Arc<Fills>,
    hasher: RandomState,
}

type TimeToLive<T> = dyn Fn(&T) -> Option<Duration> + Send + Sync;

type Weigher<K, T> = dyn Fn(&K, &T) -> u64 + Send + Sync;

struct Entry<T> {
    value: Arc<T>,
    weight: u32,
    /// `None` if it never expires.
    life: Option<Life>,
    /// How long it is kept, which is longer than its life if it may be served stale; `None` for always.
    kept_for: Option<Duration>,
    /// When the work for it began, by the marks of a coalescer; `None` if it was inserted.
    begun: Option<Begun>,
    expired: Once,
}

/// From an insertion to its expiry, by the cache's clock.
struct Life {
    begins: Instant,
    ends: Instant,
}

/// When a flight began, by the marks of its coalescer.
#[derive(Clone)]
pub(super) struct Begun {
    coalescer: Arc<()>,
    mark: Mark,
}

impl<K, T> Shared<K, T> {
    /// How long values are kept after their time to live.
    fn stale_for(&self) -> Duration {
        self.while_revalidate.max(self.if_error)
    }
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
    /// A builder of caches that keep at most `capacity` values, or values of this weight in all, if there is a
    /// [weigher](CacheBuilder::weigher).
    pub fn builder(capacity: u64) -> CacheBuilder<K, T> {
        CacheBuilder::new(capacity)
    }

    /// The value under `key`, if there is one that has not expired.
    pub fn get<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let value = self.lookup(key, None);
        self.shared.counters.count_lookup(value.is_some());
        value
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

    /// The value that was under `key`, which is now removed; `None` if there was none, or it had expired.
    ///
    /// A leader whose work began before does not put its value there afterwards. It can still be joined, though: to keep
    /// its value from callers that begin after this, [forget](crate::SyncCoalesce::forget) its flight next, in this order.
    pub fn remove<Q>(&self, key: &Q) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.take(key).filter(|entry| self.is_alive(entry)).map(|entry| Arc::clone(&entry.value))
    }

    /// As [`remove`](Cache::remove); whether there was a value with which a call could have been answered.
    pub(super) fn discard<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let within = self.shared.stale_for();
        self.take(key).is_some_and(|entry| self.is_alive(&entry) || self.age_if_stale(&entry, within).is_some())
    }

    fn take<Q>(&self, key: &Q) -> Option<Arc<Entry<T>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.shared.fills.supersede(self.shared.hasher.hash_one(key), || self.entries.remove(key))
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
        self.shared.counters.stats(self.entries.entry_count(), self.entries.weighted_size())
    }

    /// Sets the counters to zero. The values stay.
    pub fn reset_stats(&self) {
        self.shared.counters.reset();
    }

    fn lookup<Q>(&self, key: &Q, since: Option<&Begun>) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let entry = self.entry_since(key, since)?;
        // An expired entry is left to be swept or replaced: removing it here could remove its successor.
        self.is_alive(&entry).then(|| Arc::clone(&entry.value))
    }

    fn entry_since<Q>(&self, key: &Q, since: Option<&Begun>) -> Option<Arc<Entry<T>>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.entries.get(key).filter(|entry| since.is_none_or(|since| since.admits(entry.begun.as_ref())))
    }

    fn is_alive(&self, entry: &Entry<T>) -> bool {
        let has_passed = entry.life.as_ref().is_some_and(|life| self.shared.clock.has_passed(life.ends));
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
        let entry = self.entry(&key, value, lives, None);
        let hash = self.shared.hasher.hash_one(&key);
        let replaced = self.shared.fills.supersede(hash, || match entry {
            Some(entry) => self.put(key, entry),
            None => self.entries.remove(&key),
        });
        drop(replaced);
        self.keep_bound();
    }

    /// `None` for a time to live of 0, and for a value that is too heavy.
    fn entry(&self, key: &K, value: Arc<T>, lives: Option<Duration>, begun: Option<Begun>) -> Option<Arc<Entry<T>>> {
        let shared = &self.shared;
        let weight = shared.weigher.as_ref().map_or(1, |weigher| weigher(key, &value));
        if weight > shared.max_weight || lives.is_some_and(|lives| lives.is_zero()) {
            return None;
        }
        let life = lives.and_then(|lives| {
            let begins = shared.clock.now();
            Some(Life { begins, ends: begins.checked_add(lives)? })
        });
        let kept_for = lives.filter(|_| life.is_some()).and_then(|lives| lives.checked_add(shared.stale_for()));
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Some(Arc::new(Entry { value, weight, life, kept_for, begun, expired: Once::new() }))
    }

    /// Replaces what is under `key`, which is returned to be dropped under no lock of ours.
    fn put(&self, key: K, entry: Arc<Entry<T>>) -> Option<Arc<Entry<T>>> {
        let replaced = self.entries.get(&key);
        self.entries.insert(key, entry);
        replaced
    }

    /// Evicts at once what is above the bound on weights: a few values more than there is room for could be large.
    fn keep_bound(&self) {
        if self.shared.weigher.is_some() {
            self.entries.run_pending_tasks();
        }
    }
}

impl<K, T> Clone for Cache<K, T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<K, T> fmt::Debug for Cache<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, weight) = (self.entries.entry_count(), self.entries.weighted_size());
        f.debug_struct("Cache").field("stats", &self.shared.counters.stats(entries, weight)).finish_non_exhaustive()
    }
}
