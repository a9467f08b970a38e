//! [`Budget`]: a cap on the tokens and the money that all callers together spend.

mod builder;
mod calendar;
mod error;
mod meter;
mod period;
mod price;
mod purse;
mod snapshot;
mod spend;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use self::builder::BudgetBuilder;
pub use self::calendar::{CalendarUnit, Zone, ZoneError};
pub use self::error::{BudgetBuildError, BudgetExceeded, Cap};
pub use self::meter::Metered;
use self::period::{Moment, Period, Rhythm};
pub use self::price::{CostModel, PriceError, PriceList, Usage};
use self::purse::Purse;
pub use self::snapshot::BudgetSnapshot;
pub use self::spend::{InvalidAmount, Spend};
use crate::stack::clock::Clock;
use crate::sync::Mutex;

/// A cap on the tokens and the money that all callers together spend, in total or in each period.
///
/// A budget is a handle: its clones share one budget. Before a call, [reserve](Budget::reserve) the most that it may
/// cost; after it, [commit](Reservation::commit) what it did cost. As long as no call costs more than was reserved for
/// it, no number of threads exceeds the cap. A reservation that is dropped without a commit, by a panic too, is given
/// back. For a stream, which may be left at any moment, [meter](Reservation::meter) its source.
///
/// Amounts are whole tokens and whole billionths of a dollar, so sums are exact.
///
/// # Examples
///
/// ```
/// use sync_coalesce::stack::budget::{Budget, Spend};
///
/// let budget = Budget::builder().dollars(0.10).tokens(20_000).build()?;
///
/// let reservation = budget.reserve(Spend::new(9_000, 0.08)?)?;
/// // While the call runs, the rest is for the others.
/// let refused = budget.reserve(Spend::from_dollars(0.03)?).unwrap_err();
/// assert_eq!(refused.to_string(), "budget exceeded: $0.03 requested, $0.02 left");
/// reservation.commit(Spend::new(4_000, 0.04)?);
///
/// let status = budget.status();
/// assert_eq!((status.dollars_left, status.tokens_left), (Some(0.06), Some(16_000)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
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

/// What a [`Budget`] has left, and where the rest went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BudgetStatus {
    /// Spent in the current period.
    pub used: Spend,
    /// Reserved, and neither committed nor given back yet.
    pub reserved: Spend,
    /// Spent since the budget was built, or [reset](Budget::reset).
    pub total: Spend,
    /// What followers would have spent since then if they had not shared a leader's call.
    pub saved: Spend,
    /// Tokens that can be reserved now; `None` if there is no cap on them.
    pub tokens_left: Option<u64>,
    /// Dollars that can be reserved now; `None` if there is no cap on them.
    pub dollars_left: Option<f64>,
    /// The time until the next period begins; `None` if there are no periods.
    pub period_ends_in: Option<Duration>,
}

/// A part of a [`Budget`] that is reserved for one call. Dropping it without a [commit](Reservation::commit) gives it
/// back.
#[must_use = "a reservation that is dropped is given back"]
pub struct Reservation {
    shared: Arc<Shared>,
    held: Spend,
}

impl Shared {
    /// Visits the books after periods that have ended are accounted for. The visit runs under the lock.
    fn visit<R>(&self, visit: impl FnOnce(&mut Books) -> R) -> R {
        self.visit_at(|books, _| visit(books))
    }

    /// The same, for a visit that asks what time it is.
    fn visit_at<R>(&self, visit: impl FnOnce(&mut Books, Moment) -> R) -> R {
        let now = Moment::now(&self.clock);
        let mut books = self.books.lock();
        let passed = books.period.as_mut().map_or(0, |period| period.roll(now));
        books.begin_period(passed);
        visit(&mut books, now)
    }
}

impl Books {
    /// The figures of an earlier process, up to now.
    fn restore(&mut self, snapshot: &BudgetSnapshot, rhythm: Option<Rhythm>, now: Moment) {
        let BudgetSnapshot { used, inherited, total, saved, made, elapsed, .. } = *snapshot;
        self.tokens.restore(used.tokens, inherited.tokens);
        self.nanodollars.restore(used.nanodollars, inherited.nanodollars);
        (self.total, self.saved) = (total, saved);
        if let Some(rhythm) = rhythm {
            let (period, passed) = Period::since(rhythm, made, elapsed, now);
            self.period = Some(period);
            self.begin_period(passed);
        }
    }

    /// Accounts for `passed` periods that have ended.
    fn begin_period(&mut self, passed: u64) {
        if passed > 0 {
            self.tokens.begin_period(passed);
            self.nanodollars.begin_period(passed);
        }
    }

    fn used(&self) -> Spend {
        Spend { tokens: self.tokens.used, nanodollars: self.nanodollars.used }
    }

    fn reserved(&self) -> Spend {
        Spend { tokens: self.tokens.reserved, nanodollars: self.nanodollars.reserved }
    }

    fn give_back(&mut self, held: Spend) {
        self.tokens.reserved -= held.tokens;
        self.nanodollars.reserved -= held.nanodollars;
    }
}

impl Budget {
    /// A builder of budgets. Without a cap, a budget only counts.
    pub fn builder() -> BudgetBuilder {
        BudgetBuilder::new()
    }

    /// A reservation of `most`, for one call that costs no more than that.
    ///
    /// A reservation that is held when a period ends counts against the next period alone, until it is committed there or
    /// given back. Never blocks: a budget that is used up refuses at once.
    ///
    /// # Errors
    ///
    /// [`BudgetExceeded`] if less than `most` is left. Nothing is reserved then.
    pub fn reserve(&self, most: Spend) -> Result<Reservation, BudgetExceeded> {
        self.shared.visit(|books| {
            for (cap, purse, amount) in
                [(Cap::Tokens, &books.tokens, most.tokens), (Cap::Dollars, &books.nanodollars, most.nanodollars)]
            {
                if !purse.has_room_for(amount) {
                    let left = Spend {
                        tokens: books.tokens.left().unwrap_or(u64::MAX),
                        nanodollars: books.nanodollars.left().unwrap_or(u64::MAX),
                    };
                    return Err(BudgetExceeded { cap, requested: most, left });
                }
            }
            books.tokens.reserved += most.tokens;
            books.nanodollars.reserved += most.nanodollars;
            Ok(Reservation { shared: Arc::clone(&self.shared), held: most })
        })
    }

    /// Counts as saved what `followers` followers would have spent if each had made the call, which cost `spend`, on
    /// its own. The amount that is left does not change.
    ///
    /// A leader learns the number of its followers from [`Role::Leader`](crate::Role::Leader).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::budget::{Budget, Spend};
    /// use sync_coalesce::{Role, SyncCoalesce};
    ///
    /// let budget = Budget::builder().dollars(1.0).build()?;
    /// let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
    /// let cost = Spend::from_dollars(0.25)?;
    /// let outcome = coalesce.on("question").call(|_| {
    ///     budget.reserve(cost).expect("there is enough").commit(cost);
    ///     "answer".to_owned()
    /// });
    /// if let Role::Leader { followers } = outcome.role {
    ///     budget.count_saved(cost, followers);
    /// }
    /// assert_eq!(budget.status().total, cost);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count_saved(&self, spend: Spend, followers: u64) {
        self.shared.visit(|books| books.saved = books.saved.saturating_add(spend.saturating_mul(followers)));
    }

    /// What the budget has left, and where the rest went, all at one moment.
    #[must_use]
    pub fn status(&self) -> BudgetStatus {
        self.shared.visit_at(|books, now| BudgetStatus {
            used: books.used(),
            reserved: books.reserved(),
            total: books.total,
            saved: books.saved,
            tokens_left: books.tokens.left(),
            dollars_left: books.nanodollars.left().map(spend::to_dollars),
            period_ends_in: books.period.as_ref().map(|period| period.left(now)),
        })
    }

    /// The figures at this moment, to be written down and [restored](BudgetBuilder::restore) after a restart.
    ///
    /// What is spent after the last one that was written is lost with the process. So make one from time to time, and one
    /// at the end.
    #[must_use]
    pub fn snapshot(&self) -> BudgetSnapshot {
        self.shared.visit_at(|books, now| BudgetSnapshot {
            used: books.used(),
            inherited: Spend { tokens: books.tokens.inherited, nanodollars: books.nanodollars.inherited },
            reserved: books.reserved(),
            total: books.total,
            saved: books.saved,
            made: now.of_day,
            elapsed: books.period.as_ref().map(|period| period.elapsed(now)).unwrap_or_default(),
        })
    }

    /// Sets what was spent and saved to zero, and discards what was carried over from earlier periods. Reservations
    /// stay, because their calls still run.
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
    /// The amount that is reserved.
    #[must_use]
    pub fn amount(&self) -> Spend {
        self.held
    }

    /// Counts `actual` as spent, and gives back the rest of the reservation.
    ///
    /// If `actual` is more than was reserved, all of it is counted. That may exceed the cap, and then nothing more can
    /// be reserved. So reserve the most that a call may cost.
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
