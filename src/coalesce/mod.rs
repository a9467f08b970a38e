//! [`SyncCoalesce`] and its verbs.

mod batch;
pub(crate) mod builder;
mod control;
mod detach;
mod keyed;
mod verbs;

use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use hashbrown::Equivalent;

use crate::coalesce::builder::Builder;
use crate::error::CallError;
use crate::flight::flights::Flights;
use crate::flight::handle::FlightHandle;
use crate::flight::pool::Pool;
use crate::key::KeyRule;
use crate::options::CallOptions;
use crate::outcome::Outcome;
use crate::stats::{FlightInfo, Stats};

/// One call in flight per key, for threads: everyone who asks while it runs gets its result.
///
/// `K` is the key, `T` the value, `E` the error of closures that may fail, `S` the hasher. Values and errors are shared
/// as `Arc<T>` and `Arc<E>` and need no trait at all; keys need `Hash + Eq + Clone`. Use it by reference, in an
/// [`Arc`], or in a `static` [`LazyLock`](std::sync::LazyLock).
///
/// Two closures under one key are taken for the same question: **the first one wins**, and the others are dropped
/// unused. Give each kind of work its own coalescer, or put the kind into the key.
///
/// # Blocking
///
/// A caller that joins a flight blocks until the flight ends, or until its own [`timeout`](crate::Call::timeout) or
/// [`patience`](crate::Call::patience) runs out. No lock is held while a closure runs, so unrelated keys never wait for
/// each other.
///
/// # Panics
///
/// A panic in a closure goes on to the caller whose closure it was, and its followers get
/// [`CallError::LeaderPanicked`]; the next call runs again. With `panic = "abort"` the process ends, as anywhere.
///
/// A panic in the `Hash`, `Eq` or `Clone` of a key goes on to the caller in whose thread it happens, and harms no
/// flight. `Eq` runs under a lock: it must not call back into the same coalescer.
///
/// A panic in the `Drop` of a key goes on to the caller that removes the key's flight: the leader of a single call,
/// unless its closure panicked too; a caller of [`forget`](SyncCoalesce::forget) or [`cancel`](SyncCoalesce::cancel);
/// or the last follower to leave. It is caught if the key was not needed, belonged to a batch, is dropped by
/// [`close`](SyncCoalesce::close), or [lingered](Builder::linger) with its result. The same holds for that result.
///
/// # Examples
///
/// ```
/// use std::sync::Barrier;
/// use std::thread;
/// use sync_coalesce::SyncCoalesce;
///
/// let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
/// let asked = Barrier::new(2);
///
/// let (first, second) = thread::scope(|scope| {
///     let first = scope.spawn(|| {
///         coalesce.call("why is the sky blue?", || {
///             asked.wait();
///             while coalesce.stats().following == 0 {
///                 thread::yield_now();
///             }
///             "Rayleigh scattering".to_owned()
///         })
///     });
///     asked.wait();
///     let second = coalesce.call("why is the sky blue?", || unreachable!("the first call is in flight"));
///     (first.join().unwrap().unwrap(), second.unwrap())
/// });
/// assert!(std::sync::Arc::ptr_eq(&first, &second));
/// assert_eq!(coalesce.stats().underlying_calls, 1);
/// ```
pub struct SyncCoalesce<K, T, E = Infallible, S = RandomState> {
    /// Shared with its detached flights, and with the tickets.
    pub(crate) flights: Arc<Flights<K, T, E>>,
    pub(crate) hasher: S,
    /// Unused unless `K` is a [`Key`](crate::Key).
    pub(crate) key_rule: Option<KeyRule>,
    /// Ends its threads when this is dropped.
    pub(crate) pool: Pool,
}

impl<K, T, E> SyncCoalesce<K, T, E> {
    /// A coalescer with the defaults of [`Builder`].
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A [`Builder`] for a coalescer with other settings.
    pub fn builder() -> Builder<K, T, E> {
        Builder::new()
    }
}

impl<K, T, E, S> SyncCoalesce<K, T, E, S> {
    /// The counters up to now, and the live figures.
    ///
    /// # Blocking
    ///
    /// Takes the lock of one shard after the other, each for an instant.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.flights.stats()
    }

    /// Sets the counters to zero. The live figures stay as they are. Blocks like [`stats`](SyncCoalesce::stats).
    pub fn reset_stats(&self) {
        self.flights.reset_stats();
    }

    /// How many flights new callers could join right now. Blocks like [`stats`](SyncCoalesce::stats).
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.flights.in_flight()
    }

    /// Each flight that new callers could join right now, in no particular order.
    ///
    /// # Blocking
    ///
    /// Blocks like [`stats`](SyncCoalesce::stats), and clones the keys under the lock: `K: Clone` must not call back
    /// into the same coalescer.
    #[must_use]
    pub fn flights(&self) -> Vec<FlightInfo<K>>
    where
        K: Clone,
    {
        self.flights.infos()
    }

    /// The name given to the [`Builder`].
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.flights.settings.name.as_deref()
    }
}

impl<K, T, E, S: BuildHasher> SyncCoalesce<K, T, E, S> {
    /// The value of `work`, which cannot fail, or of the same call if it is already in flight.
    ///
    /// # Blocking
    ///
    /// While the closure runs: the leader in it, a follower for its result. A follower waits no longer than the
    /// builder's [`timeout`](Builder::timeout), and after the builder's [`patience`](Builder::patience) it runs its own
    /// closure, unless [too many](Builder::max_impatient) do.
    ///
    /// # Panics
    ///
    /// If its own closure panics, or the `Hash`, `Eq` or `to_owned` of the key does, before anything runs. For `Drop`,
    /// see [`SyncCoalesce`](SyncCoalesce#panics).
    ///
    /// # Errors
    ///
    /// None if this caller's own closure ran. Otherwise:
    ///
    /// - [`Failed`](CallError::Failed), [`LeaderPanicked`](CallError::LeaderPanicked) or, of a batch,
    ///   [`WrongCount`](CallError::WrongCount): the result of the call that was in flight, or that lingers.
    /// - [`TimedOut`](CallError::TimedOut): the builder's timeout passed first.
    /// - [`Cancelled`](CallError::Cancelled): [`cancel`](SyncCoalesce::cancel) came first.
    /// - [`Closed`](CallError::Closed): [`close`](SyncCoalesce::close) came first, or before the call.
    /// - [`Deadlock`](CallError::Deadlock), at once: waiting would close a cycle of waits. See
    ///   [`on_deadlock`](Builder::on_deadlock).
    /// - [`Overloaded`](CallError::Overloaded), at once: there are too many followers. See
    ///   [`on_overflow`](Builder::on_overflow).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::SyncCoalesce;
    ///
    /// let coalesce: SyncCoalesce<String, usize> = SyncCoalesce::new();
    /// assert_eq!(*coalesce.call("four", || "four".len()).unwrap(), 4);
    /// ```
    pub fn call<Q>(&self, key: &Q, work: impl FnOnce() -> T) -> Result<Arc<T>, CallError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.run(key, &CallOptions::default(), |_| Ok(work()), |outcome| outcome.result)
    }

    /// The value of `work`, or of the same call if it is already in flight; errors are shared too.
    ///
    /// # Blocking
    ///
    /// As [`call`](SyncCoalesce::call).
    ///
    /// # Panics
    ///
    /// As [`call`](SyncCoalesce::call).
    ///
    /// # Errors
    ///
    /// [`CallError::Failed`] with the closure's error, for the leader and each follower alike; and if this caller's own
    /// closure did not run, those of [`call`](SyncCoalesce::call).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::{CallError, SyncCoalesce};
    ///
    /// let coalesce: SyncCoalesce<String, u16, std::num::ParseIntError> = SyncCoalesce::new();
    /// assert_eq!(*coalesce.try_call("80", || "80".parse()).unwrap(), 80);
    /// assert!(matches!(coalesce.try_call("http", || "http".parse()), Err(CallError::Failed(_))));
    /// ```
    pub fn try_call<Q>(&self, key: &Q, work: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, CallError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.run(key, &CallOptions::default(), |_| work(), |outcome| outcome.result)
    }

    /// Every call for one key ends up here.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(crate) fn run<Q, R>(
        &self,
        key: &Q,
        options: &CallOptions<'_>,
        work: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E>,
        project: impl FnOnce(Outcome<T, E>) -> R,
    ) -> R
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.flights.call(self.hasher.hash_one(key), key, options, work, project)
    }
}

impl<K, T, E> Default for SyncCoalesce<K, T, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, T, E, S> fmt::Debug for SyncCoalesce<K, T, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncCoalesce").field("name", &self.name()).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A caught panic leaves no flight half done.
impl<K, T, E, S> UnwindSafe for SyncCoalesce<K, T, E, S> {}
impl<K, T, E, S> RefUnwindSafe for SyncCoalesce<K, T, E, S> {}
