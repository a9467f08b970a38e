//! What is fixed when a stack is built.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
#[cfg(feature = "pace")]
use std::time::Duration;

#[cfg(feature = "ledger")]
use serde::{Serialize, de::DeserializeOwned};

use super::Stack;
use super::error::StackError;
use super::lead::Layers;
#[cfg(feature = "budget")]
use super::spending::Spending;
use super::stats::Counters;
use crate::coalesce::SyncCoalesce;
use crate::coalesce::builder::Builder;
#[cfg(feature = "ledger")]
use crate::key::Key;
#[cfg(feature = "budget")]
use crate::stack::budget::{Budget, Spend};
#[cfg(feature = "cache")]
use crate::stack::cache::Cache;
#[cfg(feature = "ledger")]
use crate::stack::ledger::Ledger;
#[cfg(feature = "pace")]
use crate::stack::pace::{Pacer, Pacing};
#[cfg(feature = "retry")]
use crate::stack::retry::Retry;

/// Builds a [`Stack`]. The order of the layers does not depend on the order of these calls. If a layer is given twice,
/// the last one counts; but every [pacer](StackBuilder#method.pace) does.
#[must_use]
pub struct StackBuilder<K, T, E> {
    coalesce: SyncCoalesce<K, Arc<T>, StackError<E>>,
    layers: Layers<K, T, E>,
}

impl<K, T, E> StackBuilder<K, T, E> {
    pub(super) fn new() -> Self {
        let layers = Layers {
            counters: Counters::new(),
            #[cfg(feature = "cache")]
            cache: None,
            #[cfg(feature = "cache")]
            serve_stale_on: None,
            #[cfg(feature = "ledger")]
            ledger: None,
            #[cfg(feature = "budget")]
            budget: None,
            #[cfg(feature = "budget")]
            error_cost: None,
            #[cfg(feature = "budget")]
            panic_cost: Spend::default(),
            #[cfg(feature = "retry")]
            retry: None,
            #[cfg(feature = "pace")]
            pace: Pacing::new(),
            types: PhantomData,
        };
        Self { coalesce: SyncCoalesce::builder().own_errors(StackError::is_own).build(), layers }
    }

    /// The coalescer, from its builder; one with the defaults if this is not called.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::SyncCoalesce;
    /// use sync_coalesce::stack::Stack;
    ///
    /// let stack: Stack<String, u32> = Stack::builder()
    ///     .coalesce(SyncCoalesce::builder().name("answers").timeout(Duration::from_secs(30)))
    ///     .build();
    /// assert_eq!(*stack.call("answer", || 42)?, 42);
    /// # Ok::<(), sync_coalesce::stack::StackError<std::convert::Infallible>>(())
    /// ```
    pub fn coalesce(mut self, builder: Builder<K, Arc<T>, StackError<E>>) -> Self {
        self.coalesce = builder.own_errors(StackError::is_own).build();
        self
    }

    /// The cache, which is asked first, and filled by the leader.
    #[cfg(feature = "cache")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
    pub fn cache(mut self, cache: Cache<K, T>) -> Self {
        self.layers.cache = Some(cache);
        self
    }

    /// Which errors of the work a call may be answered by a stale value for, if the cache
    /// [keeps](crate::stack::cache::CacheBuilder::stale_if_error) it: those that mean that the provider is down. By default
    /// all. A panic in `serves` counts as `false`.
    ///
    /// Other errors have the same answer: that of the pacer, that of the budget, and of those in
    /// [`StackError::Call`] `TimedOut`, `Overloaded` and `LeaderPanicked`. The ledger's, `Cancelled`, `Closed` and
    /// `Deadlock` are passed on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::stack::cache::Cache;
    /// use sync_coalesce::stack::{ManualClock, Stack, Via};
    ///
    /// let (clock, minute) = (ManualClock::new(), Duration::from_secs(60));
    /// let cache = Cache::builder(100).time_to_live(minute).stale_if_error(minute * 60).clock(&clock).build()?;
    /// let stack: Stack<String, u32, u16> = Stack::builder().cache(cache).serve_stale_on(|status| *status >= 500).build();
    /// assert!(stack.call("price", || 7).is_ok());
    ///
    /// clock.advance(minute * 5);
    /// let outcome = stack.on("price").try_call(|_flight| Err(503));
    /// assert_eq!((*outcome.result.unwrap(), outcome.via), (7, Via::Stale { age: minute * 5 }));
    /// assert_eq!(*outcome.stale_error.unwrap().work().unwrap().as_ref(), 503);
    /// // There is no such thing any more.
    /// assert!(stack.try_call("price", || Err(404)).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "cache")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
    pub fn serve_stale_on(mut self, serves: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.layers.serve_stale_on = Some(Box::new(serves));
        self
    }

    /// The ledger; `entry` makes the ledger's key and fingerprint from the key of the call. If it returns `None`, the
    /// call skips the ledger. A panic in `entry` counts as one in the work, before anything was done.
    ///
    /// The call's key should contain both, because calls that share a flight share the ledger's record.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::Key;
    /// use sync_coalesce::stack::ledger::{Ledger, LedgerError};
    /// use sync_coalesce::stack::{Stack, StackError};
    ///
    /// // The header `Idempotency-Key`, and the request that it came with.
    /// let stack: Stack<(String, Key), u32> = Stack::builder()
    ///     .ledger(Ledger::in_memory(), |(header, request): &(String, Key)| Some((header.clone(), *request)))
    ///     .build();
    /// let order = ("order 17".to_owned(), Key::of("two boxes")?);
    /// assert_eq!(*stack.call(&order, || 1)?, 1);
    /// assert_eq!(*stack.call(&order, || 2)?, 1);
    ///
    /// let other = ("order 17".to_owned(), Key::of("three boxes")?);
    /// assert!(matches!(stack.call(&other, || 3), Err(StackError::Ledger(LedgerError::OtherRequest))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "ledger")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ledger")))]
    pub fn ledger<I: AsRef<[u8]>>(
        mut self,
        ledger: Ledger,
        entry: impl Fn(&K) -> Option<(I, Key)> + Send + Sync + 'static,
    ) -> Self
    where
        T: Serialize + DeserializeOwned,
    {
        self.layers.ledger = Some(Box::new(move |key, work| {
            let (id, fingerprint) = entry(key)?;
            Some(ledger.run_once(id, &fingerprint, work))
        }));
        self
    }

    /// The budget; the most that a call may cost, unless it [sets](crate::Call::at_most) a maximum
    /// of its own; and what a call did cost, computed from its value.
    ///
    /// `most` is reserved for all attempts of a call together. If `cost` panics, all of it counts as spent.
    #[cfg(feature = "budget")]
    #[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
    pub fn budget(mut self, budget: Budget, most: Spend, cost: impl Fn(&T) -> Spend + Send + Sync + 'static) -> Self {
        self.layers.budget = Some(Spending { budget, most, cost: Box::new(cost) });
        self
    }

    /// What a failed attempt did cost, computed from its error; without this, failed attempts are free of charge.
    ///
    /// It is counted whatever becomes of the call. If `cost` panics, the most that the call may cost is counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::Stack;
    /// use sync_coalesce::stack::budget::{Budget, Spend};
    ///
    /// // An answer that was cut off, and the tokens that were billed for it.
    /// struct CutOff(u64);
    ///
    /// let budget = Budget::builder().tokens(10_000).build()?;
    /// let stack: Stack<String, String, CutOff> = Stack::builder()
    ///     .budget(budget.clone(), Spend::from_tokens(1_000), |answer: &String| Spend::from_tokens(answer.len() as u64))
    ///     .cost_of_error(|cut_off: &CutOff| Spend::from_tokens(cut_off.0))
    ///     .build();
    /// assert!(stack.try_call("question", || Err(CutOff(400))).is_err());
    /// assert_eq!(budget.status().total, Spend::from_tokens(400));
    /// # Ok::<(), sync_coalesce::stack::budget::BudgetBuildError>(())
    /// ```
    #[cfg(feature = "budget")]
    #[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
    pub fn cost_of_error(mut self, cost: impl Fn(&E) -> Spend + Send + Sync + 'static) -> Self {
        self.layers.error_cost = Some(Box::new(cost));
        self
    }

    /// What an attempt that panicked did cost; by default it is free of charge.
    ///
    /// For work that may panic when it has been paid for, as while it reads the answer. Nobody knows the cost then, so it
    /// is the same for all.
    #[cfg(feature = "budget")]
    #[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
    pub fn cost_of_panic(mut self, cost: Spend) -> Self {
        self.layers.panic_cost = cost;
        self
    }

    /// The retries after transient errors.
    #[cfg(feature = "retry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "retry")))]
    pub fn retry(mut self, retry: Retry<E>) -> Self {
        self.layers.retry = Some(retry);
        self
    }

    /// A pacer that every attempt waits for.
    ///
    /// There may be several, such as one for a model and one for the whole account: an attempt holds a permit of each. It
    /// gets them one after the other, in an order that is the same in all stacks, and keeps those that it has while it
    /// waits for the next; so they cannot wait for each other. If it gets no permit from one, or is interrupted, all that
    /// it was charged is given back. A pacer that is given twice counts once. Limits that belong together are better in one
    /// pacer, which takes from all of its limits at the same moment.
    #[cfg(feature = "pace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
    pub fn pace(mut self, pacer: Pacer) -> Self {
        self.layers.pace.add(pacer);
        self
    }

    /// How many units of one kind, such as tokens, an attempt is expected to use: what its permit
    /// [weighs](crate::stack::pace::PermitRequest::weight) in each pacer that counts them. Computed from the key, once for
    /// each call that leads; a panic in it counts as 0. If a unit is given twice, the last one counts. If no pacer counts
    /// the unit, every attempt is refused with
    /// [`UnknownUnit`](crate::stack::pace::AcquireError::UnknownUnit).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::Stack;
    /// use sync_coalesce::stack::pace::{Limit, Pacer};
    ///
    /// let pacer = Pacer::builder().per_second(10.0).limit("tokens", Limit::per_minute(60_000.0).burst(1_000)).build()?;
    /// let stack: Stack<String, String> = Stack::builder()
    ///     .pace(pacer.clone())
    ///     .pace_weight("tokens", |question: &String| question.len() as u64 / 4 + 500)
    ///     .pace_used("tokens", |answer: &String| answer.len() as u64 / 4)
    ///     .build();
    /// stack.call("question", || "answer".repeat(100))?;
    /// assert!(pacer.limits()[1].available >= 850, "150 tokens were used");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "pace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
    pub fn pace_weight(mut self, unit: impl Into<String>, weight: impl Fn(&K) -> u64 + Send + Sync + 'static) -> Self {
        self.layers.pace.weigh_with(unit.into(), weight);
        self
    }

    /// How many units of one kind an attempt has used, computed from its value: its permit is
    /// [settled](crate::stack::pace::Permit::settle) with it. A failed attempt keeps the weight that was expected, and so
    /// does one for whose value this panics. Otherwise as [`pace_weight`](StackBuilder::pace_weight).
    #[cfg(feature = "pace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
    pub fn pace_used(mut self, unit: impl Into<String>, used: impl Fn(&T) -> u64 + Send + Sync + 'static) -> Self {
        self.layers.pace.settle_with(unit.into(), used);
        self
    }

    /// The maximum time that an attempt waits for all its pacers together; unlimited by default.
    #[cfg(feature = "pace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
    pub fn pace_timeout(mut self, timeout: Duration) -> Self {
        self.layers.pace.timeout = Some(timeout);
        self
    }

    /// Called with the error of each failed attempt, to [throttle](Pacer::throttled) the pacer if the provider refused
    /// the call for being too fast, as with a status 429. With several pacers it is called for each of them. A panic in it
    /// is ignored.
    ///
    /// The handle that it is given knows which attempt failed, so that calls that were refused together cut an adaptive
    /// rate once; see [`Permit::pacer`](crate::stack::pace::Permit::pacer).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::Stack;
    /// use sync_coalesce::stack::pace::{Adaptive, Pacer};
    ///
    /// let pacer = Pacer::builder().per_second(10.0).adaptive(Adaptive::default()).build()?;
    /// let stack: Stack<String, String, u16> = Stack::builder()
    ///     .pace(pacer.clone())
    ///     .on_error_throttle(|pacer, status| {
    ///         if *status == 429 {
    ///             pacer.throttled(None);
    ///         }
    ///     })
    ///     .build();
    /// assert!(stack.try_call("question", || Err(429)).is_err());
    /// assert_eq!(pacer.status().rate, Some(7.0));
    /// # Ok::<(), sync_coalesce::stack::pace::PacerBuildError>(())
    /// ```
    #[cfg(feature = "pace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
    pub fn on_error_throttle(mut self, on_error: impl Fn(&Pacer, &E) + Send + Sync + 'static) -> Self {
        self.layers.pace.on_error = Some(Box::new(on_error));
        self
    }

    /// The stack.
    #[must_use]
    pub fn build(self) -> Stack<K, T, E> {
        Stack { coalesce: self.coalesce, layers: Arc::new(self.layers) }
    }
}

impl<K, T, E> fmt::Debug for StackBuilder<K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackBuilder").field("coalesce", &self.coalesce).finish_non_exhaustive()
    }
}
