//! The layers that people put around a paid call besides coalescing: a cache, pacing, retries, a budget, a ledger. Each
//! is a plain blocking object that can be used alone, behind a Cargo feature of its own name.
//!
//! A [`Stack`] puts those that it is given around a call, in the one order in which they fit together: the cache, the
//! coalescer, and then, for the call that leads, the ledger, the budget, retries, and in each attempt the pacer.
//! Followers pass none of these, and so spend no pace and no money.

#[cfg(feature = "budget")]
mod budget;
#[cfg(feature = "budget")]
#[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
pub use self::budget::{
    Budget, BudgetBuilder, BudgetError, BudgetStatus, CostModel, Limit, PriceError, PriceList, Reservation, Spend,
    Usage,
};

#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "cache")]
#[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
pub use self::cache::{Cache, CacheBuilder, CacheError, CacheStats};

#[cfg(any(feature = "budget", feature = "cache", feature = "pace", feature = "retry"))]
mod clock;
#[cfg(any(feature = "budget", feature = "cache", feature = "pace", feature = "retry"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "budget", feature = "cache", feature = "pace", feature = "retry"))))]
pub use self::clock::{Clock, ManualClock};

mod compose;
#[cfg(feature = "pace")]
#[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
pub use self::compose::PaceStatus;
pub use self::compose::{Stack, StackBuilder, StackError, StackOutcome, StackRequest, StackStats, Via};

#[cfg(feature = "ledger")]
mod ledger;
#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
pub use self::ledger::RedbStore;
#[cfg(feature = "ledger")]
#[cfg_attr(docsrs, doc(cfg(feature = "ledger")))]
pub use self::ledger::{Ledger, LedgerError, LedgerState, MemoryStore, Record, Recorded, Store, StoreError};

#[cfg(feature = "pace")]
mod pace;
#[cfg(feature = "pace")]
#[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
pub use self::pace::{Adaptive, NotAcquired, PaceError, Pacer, PacerBuilder, Permit};

#[cfg(feature = "retry")]
mod retry;
#[cfg(feature = "retry")]
#[cfg_attr(docsrs, doc(cfg(feature = "retry")))]
pub use self::retry::{Jitter, Retry, RetryError, retry_after, retry_after_at, retryable};
