//! What is fixed when a cache is built.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;

use super::error::CacheBuildError;
use super::fills::Fills;
use super::stats::Counters;
use super::{Cache, Entry, Shared, TimeToLive, Weigher};
use crate::stack::clock::Clock;

/// Builds a [`Cache`].
#[must_use]
pub struct CacheBuilder<K, T> {
    capacity: u64,
    time_to_live: Option<Duration>,
    time_to_live_of: Option<Box<TimeToLive<T>>>,
    while_revalidate: Duration,
    if_error: Duration,
    weigher: Option<Box<Weigher<K, T>>>,
    clock: Clock,
}

/// Tells `moka` when to remove an entry that nobody asks for.
struct Sweep {
    /// False for a manual clock, which `moka` does not know.
    is_timed: bool,
}

impl<K, T> Expiry<K, Arc<Entry<T>>> for Sweep {
    fn expire_after_create(&self, _: &K, entry: &Arc<Entry<T>>, _: Instant) -> Option<Duration> {
        entry.kept_for.filter(|_| self.is_timed)
    }

    fn expire_after_update(&self, _: &K, entry: &Arc<Entry<T>>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        entry.kept_for.filter(|_| self.is_timed)
    }
}

impl<K, T> CacheBuilder<K, T>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            time_to_live: None,
            time_to_live_of: None,
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            weigher: None,
            clock: Clock::default(),
        }
    }

    /// How long a value is kept after its insertion, longer than 0; by default, as long as there is room for it.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// How long an individual value is kept: `None` for the time that applies to all, and 0 for not at all.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::stack::cache::Cache;
    ///
    /// // A value that was not found may exist soon.
    /// let cache = Cache::builder(100)
    ///     .time_to_live(Duration::from_secs(3600))
    ///     .time_to_live_of(|found: &Option<String>| found.is_none().then_some(Duration::from_secs(5)))
    ///     .build()?;
    /// cache.insert(17, None);
    /// assert_eq!(*cache.get(&17).unwrap(), None);
    /// # Ok::<(), sync_coalesce::stack::cache::CacheBuildError>(())
    /// ```
    pub fn time_to_live_of(mut self, of: impl Fn(&T) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.time_to_live_of = Some(Box::new(of));
        self
    }

    /// How long after its time to live a value may be served while it is refreshed, as `stale-while-revalidate` in RFC
    /// 5861 (May 2010); by default not at all. `Duration::MAX` is no limit.
    ///
    /// It is [`Stack`](crate::stack::Stack) that serves such values. [`get`](Cache::get) and
    /// [`get_or_call`](Cache::get_or_call) return none.
    pub fn stale_while_revalidate(mut self, time: Duration) -> Self {
        self.while_revalidate = time;
        self
    }

    /// How long after its time to live a value may be served when there is an error in place of a new one, as
    /// `stale-if-error` in RFC 5861 (May 2010); by default not at all. `Duration::MAX` is no limit.
    ///
    /// It is [`Stack`](crate::stack::Stack) that serves such values, or whoever asks for [`stale`](Cache::stale) ones.
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.if_error = time;
        self
    }

    /// How much room a value takes, such as its size in bytes. The capacity is then the maximum of the sum, not the
    /// number of values.
    ///
    /// What `weigher` returns is all that is counted: neither what the cache itself needs for each value, some 200 bytes
    /// and the key, nor memory of the value that it leaves out. It runs once, when the value is inserted. A value that
    /// alone is above the capacity, or above `u32::MAX`, is not kept. The bound holds whenever an insertion has returned;
    /// what was evicted is freed soon after.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::cache::Cache;
    ///
    /// let cache = Cache::builder(1_000).weigher(|key: &String, value: &String| (key.len() + value.len()) as u64).build()?;
    /// for name in ["first", "second", "third"] {
    ///     cache.insert(name.to_owned(), "x".repeat(400));
    /// }
    /// assert!(cache.get("first").is_none() && cache.get("third").is_some());
    /// assert_eq!(cache.stats().weight, 811);
    /// # Ok::<(), sync_coalesce::stack::cache::CacheBuildError>(())
    /// ```
    pub fn weigher(mut self, weigher: impl Fn(&K, &T) -> u64 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Box::new(weigher));
        self
    }

    /// The clock for times to live; the system's by default. With a [`ManualClock`](crate::stack::ManualClock), expired
    /// values are no longer found, but stay in memory until they are replaced or evicted.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The cache, with nothing in it.
    ///
    /// # Errors
    ///
    /// [`CacheBuildError`] if the capacity or the time to live is 0.
    pub fn build(self) -> Result<Cache<K, T>, CacheBuildError> {
        if self.capacity == 0 {
            return Err(CacheBuildError::Capacity);
        }
        if self.time_to_live.is_some_and(|time| time.is_zero()) {
            return Err(CacheBuildError::TimeToLive);
        }
        let counters = Arc::new(Counters::new());
        let listening = Arc::clone(&counters);
        let mut entries = moka::sync::Cache::builder()
            .max_capacity(self.capacity)
            // The default policy may reject a value that was just inserted.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Sweep { is_timed: self.clock.is_system() })
            .eviction_listener(move |_, entry: Arc<Entry<T>>, cause| match cause {
                RemovalCause::Size => listening.count_eviction(),
                RemovalCause::Expired => listening.count_expiration(&entry.expired),
                RemovalCause::Explicit | RemovalCause::Replaced => {}
            });
        if self.weigher.is_some() {
            entries = entries.weigher(|_, entry| entry.weight);
        }
        let shared = Shared {
            time_to_live: self.time_to_live,
            time_to_live_of: self.time_to_live_of,
            while_revalidate: self.while_revalidate,
            if_error: self.if_error,
            max_weight: self.capacity.min(u32::MAX.into()),
            weigher: self.weigher,
            clock: self.clock,
            counters,
            fills: Arc::new(Fills::new()),
            hasher: RandomState::new(),
        };
        Ok(Cache { entries: entries.build(), shared: Arc::new(shared) })
    }
}

impl<K, T> fmt::Debug for CacheBuilder<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("capacity", &self.capacity)
            .field("time_to_live", &self.time_to_live)
            .field("stale_while_revalidate", &self.while_revalidate)
            .field("stale_if_error", &self.if_error)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
