//! [`Budget`]: a cap on tokens and money that callers together do not pass.

mod builder;
mod error;
mod period;
mod price;
mod purse;
mod spend;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use self::builder::BudgetBuilder;
pub use self::error::{BudgetError, Limit};
use self::period::Period;
pub use self::price::{CostModel, PriceError, PriceList, Usage};
use self::purse::Purse;
pub use self::spend::Spend;
use crate::stack::clock::Clock;
use crate::sync::Mutex;

/// A cap on the tokens and the money that its callers spend together, in all or in each period.
///
/// A budget is a handle: its clones are one budget. Who is about to spend [reserves](Budget::reserve) what the call may
/// cost at most, and [commits](Reservation::commit) what it did cost. As long as no call costs more than was reserved
/// for it, no number of threads passes the cap together. What is reserved and not committed is given back when the
/// reservation goes, by a panic too.
///
/// Amounts are whole tokens and whole billionths of a dollar, so that sums are exact.
///
/// # Examples
///
/// ```
/// use sync_coalesce::stack::budget::{Budget, BudgetError, Spend};
///
/// let budget = Budget::builder().dollars(0.10)?.tokens(20_000).build()?;
///
/// let reservation = budget.reserve(Spend::new(9_000, 0.08)?)?;
/// // While the call runs, the rest is for the others.
/// assert!(matches!(budget.reserve(Spend::of_dollars(0.03)?), Err(BudgetError::Exceeded { .. })));
/// reservation.commit(Spend::new(4_000, 0.04)?);
///
/// let status = budget.status();
/// assert_eq!((status.dollars_left, status.tokens_left), (Some(0.06), Some(16_000)));
/// # Ok::<(), BudgetError>(())
/// ```
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    books: Mutex<Books>,
}

struct Books {
    tokens: Purse,
    nanodollars: Purse,
    period: Option<Period>,
    total: Spend,
    saved: Spend,
}

/// What a budget has and what became of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BudgetStatus {
    /// Spent in this period.
    pub used: Spend,
    /// Reserved and neither committed nor given back.
    pub reserved: Spend,
    /// Spent since the budget was built, or [reset](Budget::reset).
    pub total: Spend,
    /// What followers would have spent since then, had they not shared a leader's call.
    pub saved: Spend,
    /// Tokens that can be reserved now; `None` if there is no cap on them.
    pub tokens_left: Option<u64>,
    /// Dollars that can be reserved now; `None` if there is no cap on them.
    pub dollars_left: Option<f64>,
    /// After how long the next period begins; `None` if there is but one.
    pub period_ends_in: Option<Duration>,
}

/// A part of a [`Budget`] that is set aside for one call. It is given back when it is dropped, unless it is committed.
#[must_use = "a reservation that is dropped is given back"]
pub struct Reservation {
    shared: Arc<Shared>,
    held: Spend,
}

impl Shared {
    /// Visits the books as they are now. The visit runs under the lock.
    fn visit<R>(&self, visit: impl FnOnce(&mut Books) -> R) -> R {
        let now = self.clock.now();
        let mut books = self.books.lock();
        let passed = books.period.as_mut().map_or(0, |period| period.roll(now));
        if passed > 0 {
            books.tokens.begin_period(passed);
            books.nanodollars.begin_period(passed);
        }
        visit(&mut books)
    }
}

impl Books {
    fn give_back(&mut self, held: Spend) {
        self.tokens.reserved -= held.tokens;
        self.nanodollars.reserved -= held.nanodollars;
    }
}

impl Budget {
    /// What builds one: without a cap, it only counts.
    pub fn builder() -> BudgetBuilder {
        BudgetBuilder::new()
    }

    /// A part of the budget for one call that may cost so much at most.
    ///
    /// A reservation is kept over the end of a period, and takes its part of the next one until it is committed there
    /// or given back.
    ///
    /// # Blocking
    ///
    /// Never: a budget that is used up says so.
    ///
    /// # Errors
    ///
    /// [`BudgetError::Exceeded`] if less is left; nothing is set aside then.
    pub fn reserve(&self, most: Spend) -> Result<Reservation, BudgetError> {
        self.shared.visit(|books| {
            for (limit, purse, amount) in
                [(Limit::Tokens, &books.tokens, most.tokens), (Limit::Dollars, &books.nanodollars, most.nanodollars)]
            {
                if !purse.has_room_for(amount) {
                    let left = Spend {
                        tokens: books.tokens.left().unwrap_or(u64::MAX),
                        nanodollars: books.nanodollars.left().unwrap_or(u64::MAX),
                    };
                    return Err(BudgetError::Exceeded { limit, wanted: most, left });
                }
            }
            books.tokens.reserved += most.tokens;
            books.nanodollars.reserved += most.nanodollars;
            Ok(Reservation { shared: Arc::clone(&self.shared), held: most })
        })
    }

    /// Counts what `followers` followers would have spent, had each made the call that cost `spend` by itself. It does
    /// not touch what is left.
    ///
    /// A leader is told how many there were by [`Role::Leader`](crate::Role::Leader).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::budget::{Budget, Spend};
    /// use sync_coalesce::{Role, SyncCoalesce};
    ///
    /// let budget = Budget::builder().dollars(1.0)?.build()?;
    /// let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
    /// let cost = Spend::of_dollars(0.25)?;
    /// let outcome = coalesce.request("question").call(|_| {
    ///     budget.reserve(cost).expect("there is enough").commit(cost);
    ///     "answer".to_owned()
    /// });
    /// if let Role::Leader { followers } = outcome.role {
    ///     budget.count_saved(cost, followers);
    /// }
    /// assert_eq!(budget.status().total, cost);
    /// # Ok::<(), sync_coalesce::stack::budget::BudgetError>(())
    /// ```
    pub fn count_saved(&self, spend: Spend, followers: u64) {
        self.shared.visit(|books| books.saved = books.saved.saturating_add(spend.saturating_mul(followers)));
    }

    /// What there is now, all of one moment.
    #[must_use]
    pub fn status(&self) -> BudgetStatus {
        let now = self.shared.clock.now();
        self.shared.visit(|books| BudgetStatus {
            used: Spend { tokens: books.tokens.used, nanodollars: books.nanodollars.used },
            reserved: Spend { tokens: books.tokens.reserved, nanodollars: books.nanodollars.reserved },
            total: books.total,
            saved: books.saved,
            tokens_left: books.tokens.left(),
            dollars_left: books.nanodollars.left().map(spend::to_dollars),
            period_ends_in: books.period.as_ref().map(|period| period.left(now)),
        })
    }

    /// Forgets what was spent and saved; what a period before has left over goes too. Reservations stay, for their
    /// calls still run.
    pub fn reset(&self) {
        self.shared.visit(|books| {
            books.tokens.reset();
            books.nanodollars.reset();
            books.total = Spend::default();
            books.saved = Spend::default();
        });
    }
}

impl Reservation {
    /// How much is set aside.
    #[must_use]
    pub fn amount(&self) -> Spend {
        self.held
    }

    /// Counts what the call did cost as spent, and gives back the rest.
    ///
    /// What was spent is spent: more than was reserved is counted too, and may pass the cap, after which nothing can be
    /// reserved. Reserve what a call costs at most.
    pub fn commit(mut self, actual: Spend) {
        let held = mem::take(&mut self.held);
        self.shared.visit(|books| {
            books.give_back(held);
            books.tokens.spend(actual.tokens);
            books.nanodollars.spend(actual.nanodollars);
            books.total = books.total.saturating_add(actual);
        });
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let held = mem::take(&mut self.held);
        self.shared.visit(|books| books.give_back(held));
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Budget").field(&self.status()).finish()
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reservation").field(&self.held).finish()
    }
}
