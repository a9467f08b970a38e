//! What is fixed when a coalescer is built.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::SyncCoalesce;
use crate::flight::{Cost, Flights};
use crate::sync;

/// Shards per thread that can run at once: enough that two threads with different keys seldom meet in one.
const SHARDS_PER_THREAD: usize = 8;

/// Builds a [`SyncCoalesce`]. No combination of settings is invalid.
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::SyncCoalesce;
///
/// let coalesce: SyncCoalesce<String, String> = SyncCoalesce::builder()
///     .name("answers")
///     .timeout(Duration::from_secs(30))
///     .cost(|answer: &String| answer.len() as f64)
///     .build();
/// coalesce.call("2 + 2", || "four".to_owned()).unwrap();
/// assert_eq!(coalesce.stats().cost_spent, 4.0);
/// ```
#[must_use]
pub struct Builder<K, T, E, S = RandomState> {
    hasher: S,
    shards: Option<usize>,
    name: Option<Box<str>>,
    timeout: Option<Duration>,
    track_age: bool,
    cost: Option<Box<Cost<T>>>,
    builds: PhantomData<fn() -> (K, E)>,
}

impl<K, T, E> Builder<K, T, E> {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: None,
            name: None,
            timeout: None,
            track_age: false,
            cost: None,
            builds: PhantomData,
        }
    }
}

impl<K, T, E, S> Builder<K, T, E, S> {
    /// How long a follower waits when its request says nothing; without this, as long as the flight takes.
    /// `Duration::MAX` is no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What a value cost, in any unit, for [`Stats::cost_spent`](crate::Stats::cost_spent) and
    /// [`cost_saved`](crate::Stats::cost_saved).
    ///
    /// The leader calls it after each success and before its followers are released, under no lock. If it panics, or
    /// what it returns is not finite, the cost counts as 0.
    pub fn cost(mut self, cost: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Self {
        self.cost = Some(Box::new(cost));
        self
    }

    /// A name for people: it shows in `Debug`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// Whether [`FlightInfo::age`](crate::FlightInfo::age) is known. Off by default: reading the clock costs as much as
    /// half a lone call.
    pub fn track_age(mut self, track_age: bool) -> Self {
        self.track_age = track_age;
        self
    }

    /// Into how many parts, each with its own lock, the flights are divided by key: rounded up to a power of two, from 1
    /// to 4096. By default eight for each thread that can run at once on this machine.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// The hasher for the keys. The default is randomly seeded, so that a client cannot choose keys that collide.
    pub fn hasher<H>(self, hasher: H) -> Builder<K, T, E, H> {
        Builder {
            hasher,
            shards: self.shards,
            name: self.name,
            timeout: self.timeout,
            track_age: self.track_age,
            cost: self.cost,
            builds: PhantomData,
        }
    }

    /// The coalescer.
    #[must_use]
    pub fn build(self) -> SyncCoalesce<K, T, E, S> {
        let shards = self.shards.unwrap_or_else(|| sync::parallelism().get() * SHARDS_PER_THREAD);
        SyncCoalesce {
            flights: Flights::new(shards, self.track_age),
            hasher: self.hasher,
            name: self.name,
            timeout: self.timeout,
            cost: self.cost,
        }
    }
}

impl<K, T, E, S> fmt::Debug for Builder<K, T, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("shards", &self.shards)
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("track_age", &self.track_age)
            .finish_non_exhaustive()
    }
}
