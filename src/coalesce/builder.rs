//! [`Builder`]: what is fixed when a coalescer is built.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::coalesce::SyncCoalesce;
use crate::flight::flights::Flights;
use crate::flight::pool::Pool;
use crate::flight::settings::{Policy, Settings};
use crate::key::{Key, KeyRule};
use crate::observe::Observer;
use crate::policy::{OnDeadlock, OnFailure, OnOverflow};
use crate::sync;

/// Shards per thread that can run at once: enough that two threads with different keys seldom meet in one.
const SHARDS_PER_THREAD: usize = 32;

/// Enough for the threads of any machine; a shard takes 640 bytes.
const MOST_SHARDS: usize = 512;

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
    key_rule: Option<KeyRule>,
    pool_threads: usize,
    pool_queue: usize,
    settings: Settings<K, T, E>,
}

impl<K, T, E> Builder<K, T, E> {
    pub(crate) fn new() -> Self {
        let (hasher, settings) = (RandomState::new(), Settings::new());
        Self { hasher, shards: None, key_rule: None, pool_threads: 16, pool_queue: 1024, settings }
    }
}

impl<K, T, E, S> Builder<K, T, E, S> {
    /// How long a follower waits if its call has no timeout of its own; by default, as long as the flight takes.
    /// `Duration::MAX` is no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// The [`patience`](crate::Call::patience) of a follower whose call has none of its own; unlimited by default.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = Some(patience);
        self
    }

    /// How many callers may run their own closures at a time because their patience ended; unlimited by default.
    ///
    /// The next one goes on waiting, and tries again after as long as its patience was, and at least a millisecond.
    pub fn max_impatient(mut self, impatient: u64) -> Self {
        self.settings.max_impatient = Some(impatient);
        self
    }

    /// How many followers a flight may have; unlimited by default. [`on_overflow`](Builder::on_overflow) says what
    /// becomes of the next one.
    pub fn max_followers(mut self, followers: u64) -> Self {
        self.settings.max_followers = followers;
        self
    }

    /// How many followers there may be in all flights together; unlimited by default.
    ///
    /// All shards share one counter, which each join then pays for.
    pub fn max_followers_total(mut self, followers: u64) -> Self {
        self.settings.max_followers_total = Some(followers);
        self
    }

    /// What becomes of a call beyond a bound on followers; by default it is refused.
    pub fn on_overflow(mut self, on_overflow: OnOverflow) -> Self {
        self.settings.on_overflow = on_overflow;
        self
    }

    /// What becomes of a call that would wait for itself; by default it is refused.
    pub fn on_deadlock(mut self, on_deadlock: OnDeadlock) -> Self {
        self.settings.on_deadlock = on_deadlock;
        self
    }

    /// What becomes of the followers when a closure returns an error; by default they share it.
    pub fn on_error(mut self, on_failure: OnFailure) -> Self {
        self.settings.on_error = Policy::Always(on_failure);
        self
    }

    /// As [`on_error`](Builder::on_error), decided for each error.
    ///
    /// The leader calls `decide` before its followers are released, under no lock. If it panics, the error is shared.
    pub fn on_error_with(mut self, decide: impl Fn(&E) -> OnFailure + Send + Sync + 'static) -> Self {
        self.settings.on_error = Policy::Ask(Box::new(decide));
        self
    }

    /// See [`Settings::is_own_error`].
    #[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
    pub(crate) fn own_errors(mut self, is_own: fn(&E) -> bool) -> Self {
        self.settings.is_own_error = Some(is_own);
        self
    }

    /// What becomes of the followers when a closure panics; by default they share
    /// [`CallError::LeaderPanicked`](crate::CallError::LeaderPanicked).
    pub fn on_panic(mut self, on_failure: OnFailure) -> Self {
        self.settings.on_panic = Policy::Always(on_failure);
        self
    }

    /// As [`on_panic`](Builder::on_panic), decided for each panic by its message.
    pub fn on_panic_with(mut self, decide: impl Fn(&str) -> OnFailure + Send + Sync + 'static) -> Self {
        self.settings.on_panic = Policy::Ask(Box::new(decide));
        self
    }

    /// How long a value is kept after its flight, for callers that come too late to join; by default it is not kept.
    ///
    /// Such a caller's role is [`Lingering`](crate::Role::Lingering), and its closure does not run. This is for bursts
    /// that are a little spread out; to keep values longer, or by size, use a cache. The time begins when the flight
    /// ends. Calls read the clock for it. [`forget`](SyncCoalesce::forget), [`cancel`](SyncCoalesce::cancel) and
    /// [`close`](SyncCoalesce::close) drop lingering results, and a call [`after`](crate::Call::after) a mark takes
    /// none that is older. No thread sweeps: expired results are removed when another result of the same shard is kept.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger.values = Some(linger);
        self
    }

    /// As [`linger`](Builder::linger), for errors: a provider that refuses is left alone for this long. Panics never
    /// linger.
    pub fn linger_errors(mut self, linger: Duration) -> Self {
        self.settings.linger.errors = Some(linger);
        self
    }

    /// How many results linger at most; 1,000 by default. Each shard keeps its share of them, rounded up, and drops the
    /// one that would expire first. If results linger, the default number of shards is small enough that each has room
    /// for about eight.
    pub fn max_lingering(mut self, results: usize) -> Self {
        self.settings.linger.most = results;
        self
    }

    /// What a value cost, in any unit, for [`Stats::cost_spent`](crate::Stats::cost_spent) and
    /// [`cost_saved`](crate::Stats::cost_saved).
    ///
    /// The leader calls `cost` after each success and before its followers are released, under no lock. If it panics,
    /// or returns a number that is not finite, the cost counts as 0.
    pub fn cost(mut self, cost: impl Fn(&T) -> f64 + Send + Sync + 'static) -> Self {
        self.settings.cost = Some(Box::new(cost));
        self
    }

    /// How many keys one upstream call of a batch gets at most, at least 1; unlimited by default. See
    /// [`call_many`](SyncCoalesce::call_many).
    pub fn max_batch(mut self, keys: usize) -> Self {
        self.settings.max_batch = keys.max(1);
        self
    }

    /// How many threads run detached flights, at least 1; 16 by default. They start when there is work for them.
    ///
    /// A thread that blocks in a wait for a flight, a ticket or a stream, or in [`drain`](SyncCoalesce::drain), does
    /// not count: another thread takes its place, and ends when the pool is over its limit again. A thread that blocks
    /// in any other way does count: in a join, a channel, a mutex, a ticket's raw receiver, or a layer of the stack,
    /// such as `stack::pace::Pacer::acquire`.
    pub fn pool_threads(mut self, threads: usize) -> Self {
        self.pool_threads = threads.max(1);
        self
    }

    /// How many detached flights may wait for a thread of the pool; 1024 by default, and 0 for none.
    pub fn pool_queue(mut self, flights: usize) -> Self {
        self.pool_queue = flights;
        self
    }

    /// What becomes of a detached flight for which the pool has no place; by default it is refused, and its ticket gets
    /// the error.
    pub fn on_full_pool(mut self, on_full_pool: OnOverflow) -> Self {
        self.settings.on_full_pool = on_full_pool;
        self
    }

    /// Whether a detached flight is cancelled when its last ticket is dropped and nobody else follows it; by default it
    /// goes on, and new callers may join it.
    ///
    /// A cancelled flight is forgotten. A running closure can ask [`is_cancelled`](crate::FlightHandle::is_cancelled),
    /// and one that has not begun never runs.
    pub fn cancel_when_abandoned(mut self, cancels: bool) -> Self {
        self.settings.cancel_when_abandoned = cancels;
        self
    }

    /// An observer that is notified of each event. Given several times, all of them are notified, in that order.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.settings.observers.push(Box::new(observer));
        self
    }

    /// A name for people to read: in `Debug`, in the names of the pool's threads, in observers, and in the chain of a
    /// [`Deadlock`](crate::CallError::Deadlock).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into().into_boxed_str());
        self
    }

    /// What a flight is called in the chain of a [`Deadlock`](crate::CallError::Deadlock); by default its coalescer's
    /// name and its number.
    ///
    /// The label is made for each [`detach`](SyncCoalesce::detach), and for a follower whose thread leads something,
    /// just before it waits; a batch makes it when it comes to wait for the key. `label` gets an owned key, made by
    /// `to_owned`. Both run in the caller's thread and under no lock, and a panic in them goes on to the caller. A call
    /// can have a [label](crate::Call::label) of its own.
    pub fn key_label(mut self, label: fn(&K) -> String) -> Self {
        self.settings.key_label = Some(label);
        self
    }

    /// Whether [`FlightInfo::age`](crate::FlightInfo::age) is known; with an observer, or if results
    /// [linger](Builder::linger), it always is. Off by default: reading the clock costs half as much as a lone call.
    pub fn track_age(mut self, track_age: bool) -> Self {
        self.settings.track_age = track_age;
        self
    }

    /// The number of parts, each with its own lock, that the flights are divided into by key: rounded up to a power of
    /// two, from 1 to 4096. By default 32 for each thread that can run at once on this machine, at most 512, and fewer
    /// where [`max_lingering`](Builder::max_lingering) is small. A shard takes 640 bytes, and more where keys are
    /// large.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// The hasher for the keys. The default is randomly seeded, so that a client cannot choose keys that collide.
    pub fn hasher<H>(self, hasher: H) -> Builder<K, T, E, H> {
        let Self { hasher: _, shards, key_rule, pool_threads, pool_queue, settings } = self;
        Builder { hasher, shards, key_rule, pool_threads, pool_queue, settings }
    }

    /// The coalescer.
    #[must_use]
    pub fn build(self) -> SyncCoalesce<K, T, E, S> {
        let shards = self.shards.unwrap_or_else(|| {
            let for_threads = sync::parallelism().get() * SHARDS_PER_THREAD;
            for_threads.min(MOST_SHARDS).min(self.settings.linger.most_shards())
        });
        let name = self.settings.name.as_deref().unwrap_or("coalesce");
        let pool = Pool::new(name, self.pool_threads, self.pool_queue);
        let flights = Arc::new(Flights::new(shards, self.settings));
        SyncCoalesce { flights, hasher: self.hasher, key_rule: self.key_rule, pool }
    }
}

impl<T, E, S> Builder<Key, T, E, S> {
    /// The rule that makes keys from requests, for calls without [one of their own](crate::Call::rule); by default
    /// [`Key::of`], whose keys **all tenants share**.
    ///
    /// ```
    /// use serde_json::json;
    /// use sync_coalesce::{KeyRule, SyncCoalesce};
    ///
    /// let rule = KeyRule::new(&("https://api.example.com/v1/chat", "tenant a"))?.drop("/metadata")?;
    /// let coalesce: SyncCoalesce<_, String> = SyncCoalesce::builder().key_rule(rule).build();
    /// let answer = coalesce.try_call_for(&json!({"model": "m"}), |request| Ok(request["model"].to_string()));
    /// assert_eq!(*answer.unwrap(), "\"m\"");
    /// # Ok::<(), sync_coalesce::key::KeyError>(())
    /// ```
    pub fn key_rule(mut self, rule: KeyRule) -> Self {
        self.key_rule = Some(rule);
        self
    }
}

impl<K, T, E, S> fmt::Debug for Builder<K, T, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.settings.name)
            .field("shards", &self.shards)
            .field("key_rule", &self.key_rule)
            .finish_non_exhaustive()
    }
}
