//! What is fixed when a cache is built.

use std::error::Error;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;

use super::stats::Counters;
use super::{Cache, Entry, Shared, TimeToLive};
use crate::stack::clock::Clock;

/// Builds a [`Cache`].
#[must_use]
pub struct CacheBuilder<K, T> {
    capacity: u64,
    time_to_live: Option<Duration>,
    time_to_live_of: Option<Box<TimeToLive<T>>>,
    clock: Clock,
    keys: PhantomData<fn(K)>,
}

/// Why there is no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheError {
    /// A capacity of 0 keeps nothing.
    Capacity,
    /// A time to live of 0 keeps nothing.
    TimeToLive,
}

/// Tells `moka` when to sweep out an entry that nobody asks for.
struct Sweep {
    /// A clock that is moved by hand is not `moka`'s.
    is_timed: bool,
}

impl<K, T> Expiry<K, Arc<Entry<T>>> for Sweep {
    fn expire_after_create(&self, _: &K, entry: &Arc<Entry<T>>, _: Instant) -> Option<Duration> {
        entry.lives.filter(|_| self.is_timed)
    }

    fn expire_after_update(&self, _: &K, entry: &Arc<Entry<T>>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        entry.lives.filter(|_| self.is_timed)
    }
}

impl<K, T> CacheBuilder<K, T>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    pub(super) fn new(capacity: u64) -> Self {
        let (time_to_live, time_to_live_of) = (None, None);
        Self { capacity, time_to_live, time_to_live_of, clock: Clock::default(), keys: PhantomData }
    }

    /// How long a value is kept, from when it came; without this, as long as there is room for it.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// How long this value is kept; `None` for as long as the others, and no time for not at all.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::stack::cache::Cache;
    ///
    /// // What was not found may be there soon.
    /// let cache = Cache::builder(100)
    ///     .time_to_live(Duration::from_secs(3600))
    ///     .time_to_live_of(|found: &Option<String>| found.is_none().then_some(Duration::from_secs(5)))
    ///     .build()?;
    /// cache.insert(17, None);
    /// assert_eq!(*cache.get(&17).unwrap(), None);
    /// # Ok::<(), sync_coalesce::stack::cache::CacheError>(())
    /// ```
    pub fn time_to_live_of(mut self, of: impl Fn(&T) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.time_to_live_of = Some(Box::new(of));
        self
    }

    /// The clock to go by; the system's by default. With a [`ManualClock`](crate::stack::ManualClock) what has passed
    /// is no longer found, and stays in memory until it is replaced or evicted.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The cache, with nothing in it.
    ///
    /// # Errors
    ///
    /// [`CacheError`] if the capacity or the time to live is 0.
    pub fn build(self) -> Result<Cache<K, T>, CacheError> {
        if self.capacity == 0 {
            return Err(CacheError::Capacity);
        }
        if self.time_to_live.is_some_and(|time| time.is_zero()) {
            return Err(CacheError::TimeToLive);
        }
        let counters = Arc::new(Counters::new());
        let told = Arc::clone(&counters);
        let entries = moka::sync::Cache::builder()
            .max_capacity(self.capacity)
            // Its default policy may turn away a value that has just come.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Sweep { is_timed: self.clock.is_system() })
            .eviction_listener(move |_, entry: Arc<Entry<T>>, cause| match cause {
                RemovalCause::Size => told.count_eviction(),
                RemovalCause::Expired => told.count_expiration(&entry.expired),
                RemovalCause::Explicit | RemovalCause::Replaced => {}
            })
            .build();
        let (time_to_live, time_to_live_of) = (self.time_to_live, self.time_to_live_of);
        Ok(Cache { entries, shared: Arc::new(Shared { time_to_live, time_to_live_of, clock: self.clock, counters }) })
    }
}

impl<K, T> fmt::Debug for CacheBuilder<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("capacity", &self.capacity)
            .field("time_to_live", &self.time_to_live)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capacity => "a cache needs room for one value",
            Self::TimeToLive => "a cache has to keep its values for some time",
        })
    }
}

impl Error for CacheError {}
