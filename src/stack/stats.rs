//! The counters of a stack and its layers.

use std::hash::Hash;

use serde::Serialize;

use super::Stack;
#[cfg(feature = "budget")]
use crate::stack::budget::BudgetStatus;
#[cfg(feature = "cache")]
use crate::stack::cache::{Cache, CacheStats};
#[cfg(feature = "pace")]
use crate::stack::pace::PacerStatus;
use crate::stats::Stats;
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// The counters of a [`Stack`] and its layers.
///
/// With `serde` it becomes one JSON object, with an object for each layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StackStats {
    /// Runs of the work, including those that failed.
    pub attempts: u64,
    /// Calls that led and were refused by the budget.
    pub refused_by_budget: u64,
    /// Calls that led and were refused by the pacer.
    pub refused_by_pace: u64,
    /// Calls that led and were refused by the ledger.
    pub refused_by_ledger: u64,
    /// Calls that led, or ran alone, and whose own deadline passed before an attempt could begin.
    pub timed_out: u64,
    /// Calls that led, or ran alone, and were cancelled or closed before an attempt could begin.
    pub interrupted: u64,
    /// Calls that led and found their result in the ledger.
    pub replayed: u64,
    /// Results that the ledger could not commit, and failed calls whose beginning it could not remove: their keys are
    /// unknown now.
    pub uncommitted: u64,
    /// The counters of the coalescer. It does not see calls that the cache answered.
    pub coalesce: Stats,
    /// The counters of the cache, for all its users; `None` if there is no cache.
    #[cfg(feature = "cache")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
    pub cache: Option<CacheStats>,
    /// The status of the budget, for all its users; `None` if there is no budget.
    #[cfg(feature = "budget")]
    #[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
    pub budget: Option<BudgetStatus>,
    /// The status of the pacer, for all its users; `None` if there is no pacer. Of several pacers it is the lowest rate,
    /// all that wait, and the largest number of permits that are held of one.
    #[cfg(feature = "pace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
    pub pace: Option<PacerStatus>,
}

pub(super) struct Counter(AtomicU64);

pub(super) struct Counters {
    pub(super) attempts: Counter,
    pub(super) refused_by_budget: Counter,
    pub(super) refused_by_pace: Counter,
    pub(super) refused_by_ledger: Counter,
    pub(super) timed_out: Counter,
    pub(super) interrupted: Counter,
    pub(super) replayed: Counter,
    pub(super) uncommitted: Counter,
}

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    pub(super) fn new() -> Self {
        let zero = || Counter(AtomicU64::new(0));
        Self {
            attempts: zero(),
            refused_by_budget: zero(),
            refused_by_pace: zero(),
            refused_by_ledger: zero(),
            timed_out: zero(),
            interrupted: zero(),
            replayed: zero(),
            uncommitted: zero(),
        }
    }
}

impl StackStats {
    pub(super) fn of<K, T, E>(stack: &Stack<K, T, E>) -> Self
    where
        K: Hash + Eq + Send + Sync + 'static,
        T: Send + Sync + 'static,
    {
        let layers = &stack.layers;
        let counters = &layers.counters;
        Self {
            attempts: counters.attempts.get(),
            refused_by_budget: counters.refused_by_budget.get(),
            refused_by_pace: counters.refused_by_pace.get(),
            refused_by_ledger: counters.refused_by_ledger.get(),
            timed_out: counters.timed_out.get(),
            interrupted: counters.interrupted.get(),
            replayed: counters.replayed.get(),
            uncommitted: counters.uncommitted.get(),
            coalesce: stack.coalesce.stats(),
            #[cfg(feature = "cache")]
            cache: layers.cache.as_ref().map(Cache::stats),
            #[cfg(feature = "budget")]
            budget: layers.budget.as_ref().map(|spending| spending.budget.status()),
            #[cfg(feature = "pace")]
            pace: layers.pace.status(),
        }
    }
}
