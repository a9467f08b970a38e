//! The layers that people put around a paid call besides coalescing: a cache, pacing, retries, a budget, a ledger. Each
//! is a plain blocking object that can be used alone, in a module and behind a Cargo feature of its own.
//!
//! A [`Stack`] puts any of them around a call, in the one order in which they fit together: the cache, the coalescer,
//! and then, for the call that leads, the ledger, the budget, retries, and in each attempt the pacer. Followers pass
//! through none of these, so they need no permit and spend no money.

#[cfg(feature = "budget")]
#[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
pub mod budget;
#[cfg(feature = "cache")]
#[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
pub mod cache;
#[cfg(feature = "ledger")]
#[cfg_attr(docsrs, doc(cfg(feature = "ledger")))]
pub mod ledger;
#[cfg(feature = "pace")]
#[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
pub mod pace;
#[cfg(feature = "retry")]
#[cfg_attr(docsrs, doc(cfg(feature = "retry")))]
pub mod retry;

mod builder;
mod call;
#[cfg(any(feature = "budget", feature = "cache", feature = "pace", feature = "retry"))]
mod clock;
mod error;
mod interrupt;
mod lead;
mod outcome;
#[cfg(feature = "budget")]
mod spending;
#[cfg(feature = "cache")]
mod stale;
mod stats;
mod ticket;

use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use hashbrown::Equivalent;

pub use self::builder::StackBuilder;
pub use self::call::StackKey;
#[cfg(any(feature = "budget", feature = "cache", feature = "pace", feature = "retry"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "budget", feature = "cache", feature = "pace", feature = "retry"))))]
pub use self::clock::{Clock, ManualClock};
pub use self::error::StackError;
use self::lead::Layers;
pub use self::outcome::{StackFlight, StackOutcome, Via};
pub use self::stats::StackStats;
pub use self::ticket::StackTicket;
use crate::call::Call;
use crate::coalesce::SyncCoalesce;
use crate::outcome::Mark;

/// A paid call with all the layers around it: one builder, one call. Any layer may be missing.
///
/// ```text
/// cache → coalesce → [ leader: cache → ledger → reserve → retry ( pace → work ) → commit → ledger → cache ] → all
/// ```
///
/// A call that finds its value in the cache, or follows, needs no permit and spends no money. The leader fills the
/// cache before its followers are released, so there is no gap between a miss and a fill. A permit of the pacer is held
/// during one attempt, and not during the delay before a retry.
///
/// `K` is the key, `T` the value, `E` the error of the work. The key must hold everything that makes two calls the
/// same: for two independent samples of one question, put a number into it.
///
/// # What happens when something fails
///
/// | event | budget | ledger | cache | the caller gets |
/// |---|---|---|---|---|
/// | the ledger has the result | unchanged | unchanged | filled | the value |
/// | the ledger refuses | unchanged | unchanged | unchanged | [`StackError::Ledger`] |
/// | the budget refuses | unchanged | absent | unchanged | [`StackError::Budget`] |
/// | the pacer refuses an attempt | [billed] or given back | absent | unchanged | [`StackError::Pace`] |
/// | the work fails, and is not retried | [billed] or given back | absent | unchanged | [`StackError::Failed`] or `Exhausted` |
/// | the work fails, and the ledger cannot be written | [billed] or given back | [unknown] | unchanged | the same, and it is [counted] |
/// | the caller's deadline passes before an attempt | [billed] or given back | absent | unchanged | [`TimedOut`]; a follower leads |
/// | the flight is cancelled or closed before an attempt | [billed] or given back | absent | unchanged | [`Cancelled`] or [`Closed`] |
/// | the flight is forgotten or superseded, or its key [invalidated] | spent | done | unchanged | the value |
/// | the work panics | [billed][panic] or given back | unknown | unchanged | its own panic; followers [`LeaderPanicked`] |
/// | the work succeeds, and its cost panics | all of the reservation spent | done | filled | the value |
/// | the work succeeds, and the ledger cannot be written | spent | unknown | filled | the value, and it is [counted] |
/// | the work succeeds, and `K: Clone` or a time to live panics | spent | done | unchanged | the value |
/// | the process dies during the work | lost | unknown | lost | |
/// | a follower leaves, or is cancelled | | | | its own error; the leader goes on |
///
/// [`LeaderPanicked`]: crate::CallError::LeaderPanicked
/// [`TimedOut`]: crate::CallError::TimedOut
/// [`Cancelled`]: crate::CallError::Cancelled
/// [`Closed`]: crate::CallError::Closed
/// [billed]: StackBuilder#method.cost_of_error
/// [panic]: StackBuilder#method.cost_of_panic
/// [unknown]: ledger::LedgerError::NotRemoved
/// [invalidated]: Stack::invalidate
/// [counted]: StackStats::uncommitted
///
/// An error of the work means that nothing was done, so with a ledger it can run again. Where that is not certain, as
/// after a timeout, the work should panic or ask the provider. A failed attempt counts as free of charge unless the
/// builder is told its cost.
///
/// # Values that have expired
///
/// A cache keeps them for longer if its builder says so, and a stack serves them then, with
/// [`Via::Stale`] and their age:
///
/// - [While they are refreshed][swr]. The first caller that finds such a value refreshes it, in its own call, and the
///   others get the old one until that has ended. With [`detach`](Call::detach) the first caller gets the old one too, and
///   the work runs on the pool.
/// - [In place of an error][sie], for the leader and each of its followers. [`StackOutcome::stale_error`] has the error.
///
/// An old value is gone with its [invalidation](Stack::invalidate), and once a newer one was shown. A call that
/// [refreshes](Call::refresh), or bypasses, gets none, and one [after](Call::after) a mark none from before it.
///
/// [swr]: cache::CacheBuilder::stale_while_revalidate
/// [sie]: cache::CacheBuilder::stale_if_error
///
/// # Blocking
///
/// The leader blocks while its work runs, in the pacer's line, and between two attempts; a follower until its flight
/// has ended. No lock is held meanwhile. A caller's timeout binds all of these waits, and `cancel` and `close` end those
/// of a leader: no attempt begins afterwards. An attempt that runs, and the ledger's store, are not interrupted, and
/// [`drain`](SyncCoalesce::drain) by itself ends nothing. The coalescer does not see waits for the pacer: if the work itself uses the
/// same pacer, set a [timeout](StackBuilder::pace_timeout).
///
/// # Examples
///
/// Each layer is behind the Cargo feature of its name.
///
/// ```
/// # #[cfg(all(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use sync_coalesce::Key;
/// use sync_coalesce::stack::budget::{Budget, Spend};
/// use sync_coalesce::stack::cache::Cache;
/// use sync_coalesce::stack::ledger::Ledger;
/// use sync_coalesce::stack::pace::Pacer;
/// use sync_coalesce::stack::retry::Retry;
/// use sync_coalesce::stack::{Stack, StackError};
///
/// let pacer = Pacer::builder().per_second(50.0).burst(5).build()?;
/// let budget = Budget::builder().dollars(1.0).build()?;
/// let stack: Stack<Key, String, u16> = Stack::builder()
///     .cache(Cache::builder(1_000).time_to_live(Duration::from_secs(60)).build()?)
///     .ledger(Ledger::in_memory(), |key: &Key| Some((*key.as_bytes(), *key)))
///     .budget(budget.clone(), Spend::from_dollars(0.10)?, |answer: &String| Spend::from_tokens(answer.len() as u64))
///     .retry(Retry::builder(|status: &u16| *status == 503).base_delay(Duration::from_millis(1)).build())
///     .pace(pacer)
///     .build();
///
/// let mut replies = [Err(503), Ok("Lima".to_owned())].into_iter();
/// let question = Key::of("What is the capital of Peru?")?;
/// for _ in 0..2 {
///     assert_eq!(*stack.try_call(&question, || replies.next().unwrap()).unwrap(), "Lima");
/// }
/// assert_eq!(stack.stats().attempts, 2);
/// assert_eq!(budget.status().total, Spend::from_tokens(4));
///
/// let forbidden = stack.try_call(&Key::of("something else")?, || Err(403));
/// assert!(matches!(forbidden, Err(StackError::Failed { attempts: 1, .. })));
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry")))]
/// # fn main() {}
/// ```
pub struct Stack<K, T, E = Infallible> {
    coalesce: SyncCoalesce<K, Arc<T>, StackError<E>>,
    layers: Arc<Layers<K, T, E>>,
}

impl<K, T, E> Stack<K, T, E> {
    /// A builder of stacks. Without any layer, a stack only coalesces.
    pub fn builder() -> StackBuilder<K, T, E> {
        StackBuilder::new()
    }

    /// The coalescer in the middle, to cancel, forget, close, drain and inspect flights.
    ///
    /// Calls made through it bypass all other layers.
    #[must_use]
    pub fn coalescer(&self) -> &SyncCoalesce<K, Arc<T>, StackError<E>> {
        &self.coalesce
    }

    /// A call for `key` with options of its own, such as a timeout or a maximum cost; see [`StackKey`].
    pub fn on<'a, Q: ?Sized>(&'a self, key: &'a Q) -> Call<'a, Self, StackKey<'a, Q>> {
        Call::new(self, StackKey::new(key))
    }

    /// This moment, for [`after`](Call::after): a call after it is answered neither by a flight nor by a cached value
    /// from before it.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.coalesce.mark()
    }
}

impl<K, T, E> Stack<K, T, E>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// The value of `work`, which cannot fail, through all layers.
    ///
    /// # Blocking
    ///
    /// See [`Stack`].
    ///
    /// # Panics
    ///
    /// As [`try_call`](Stack::try_call).
    ///
    /// # Errors
    ///
    /// As [`try_call`](Stack::try_call).
    pub fn call<Q>(&self, key: &Q, mut work: impl FnMut() -> T) -> Result<Arc<T>, StackError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.try_call(key, || Ok(work()))
    }

    /// The value of `work`, through all layers. `work` runs once per attempt. Work that wants to know of its flight, such
    /// as whether it was cancelled, is given it by [`on`](Stack::on).
    ///
    /// # Blocking
    ///
    /// See [`Stack`].
    ///
    /// # Panics
    ///
    /// A panic in `work` is passed on to the caller whose closure it was.
    ///
    /// # Errors
    ///
    /// [`StackError`] says which layer refused the call, or holds the error of the work.
    pub fn try_call<Q>(&self, key: &Q, mut work: impl FnMut() -> Result<T, E>) -> Result<Arc<T>, StackError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.on(key).try_call(|_flight| work()).result
    }

    /// The value of `work`, through all layers but the cache's lookup, or of a run that is in flight. It replaces the cached
    /// value, which stays until then, and if there is an error.
    ///
    /// As [`try_call`](Stack::try_call) on a call that [refreshes](Call::refresh).
    ///
    /// # Errors
    ///
    /// As [`try_call`](Stack::try_call).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::Stack;
    /// use sync_coalesce::stack::cache::Cache;
    ///
    /// let stack: Stack<String, u32, u16> = Stack::builder().cache(Cache::builder(100).build()?).build();
    /// assert_eq!(*stack.call("price", || 7).unwrap(), 7);
    /// assert!(stack.refresh("price", || Err(503)).is_err());
    /// assert_eq!(*stack.call("price", || 8).unwrap(), 7);
    /// assert_eq!(*stack.refresh("price", || Ok(9)).unwrap(), 9);
    /// assert_eq!(*stack.call("price", || 10).unwrap(), 9);
    /// # Ok::<(), sync_coalesce::stack::cache::CacheBuildError>(())
    /// ```
    #[cfg(feature = "cache")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
    pub fn refresh<Q>(&self, key: &Q, mut work: impl FnMut() -> Result<T, E>) -> Result<Arc<T>, StackError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.on(key).refresh().try_call(|_flight| work()).result
    }

    /// The counters of all layers. Each layer is read at a slightly different time.
    #[must_use]
    pub fn stats(&self) -> StackStats {
        StackStats::of(self)
    }
}

impl<K, T, E> Stack<K, T, E>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// Whether there was a cached value, which may be stale, a flight or a result that lingers for `key`. From now on calls get none of
    /// them: for use when what the answer is made of has changed.
    ///
    /// A call that begins after this has returned never gets a value whose work began before this was called: not by
    /// joining its flight, whose present followers still get it, nor from the cache, which that work does not fill any
    /// more. A ledger is not asked: what is done is not done again until it is forgotten there.
    ///
    /// # Blocking
    ///
    /// Takes two locks, one after the other, each for an instant.
    ///
    /// # Panics
    ///
    /// With a panic in the `Hash` or `Eq` of the key, or in the `Drop` of one that is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::Stack;
    ///
    /// let stack: Stack<String, u32> = Stack::builder().build();
    /// let old = stack.call("price", || {
    ///     // The price changes while the old one is being read.
    ///     assert!(stack.invalidate("price"));
    ///     assert_eq!(*stack.call("price", || 2).unwrap(), 2);
    ///     1
    /// });
    /// assert_eq!(*old?, 1);
    /// # Ok::<(), sync_coalesce::stack::StackError<std::convert::Infallible>>(())
    /// ```
    pub fn invalidate<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        // The cache first. The other way round, a flight could begin in between, find the old value at its second look,
        // and share it with callers that come when this has returned:
        //
        // invalidate          leader                                   a later caller
        // forgets the flight
        //                     begins a flight, finds the old value
        // removes the value
        // returns
        //                                                              misses, joins that flight
        //
        // As it is, whoever finds the old value began its flight before it was removed, and so before that flight is
        // forgotten.
        #[cfg(feature = "cache")]
        let was_cached = self.layers.cache.as_ref().is_some_and(|cache| cache.discard(key));
        #[cfg(not(feature = "cache"))]
        let was_cached = false;
        self.coalesce.forget(key) || was_cached
    }
}

impl<K, T, E> fmt::Debug for Stack<K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Stack");
        text.field("coalesce", &self.coalesce);
        #[cfg(feature = "cache")]
        text.field("cache", &self.layers.cache);
        #[cfg(feature = "ledger")]
        text.field("ledger", &self.layers.ledger.is_some());
        #[cfg(feature = "budget")]
        text.field("budget", &self.layers.budget.as_ref().map(|spending| &spending.budget));
        #[cfg(feature = "retry")]
        text.field("retry", &self.layers.retry);
        #[cfg(feature = "pace")]
        text.field("pace", &self.layers.pace);
        text.finish_non_exhaustive()
    }
}
