//! What is fixed when a budget is built.

use std::sync::Arc;
use std::time::Duration;

use super::period::Period;
use super::purse::Purse;
use super::spend::from_dollars;
use super::{Books, Budget, BudgetError, Shared, Spend};
use crate::stack::clock::Clock;
use crate::sync::Mutex;

/// Builds a [`Budget`].
#[derive(Clone, Debug)]
#[must_use]
pub struct BudgetBuilder {
    tokens: Option<u64>,
    nanodollars: Option<u64>,
    period: Option<Duration>,
    carry: Spend,
    clock: Clock,
}

impl BudgetBuilder {
    pub(super) fn new() -> Self {
        Self { tokens: None, nanodollars: None, period: None, carry: Spend::default(), clock: Clock::default() }
    }

    /// How many tokens may be spent, in each period if there are periods; without this, any number.
    pub fn tokens(mut self, cap: u64) -> Self {
        self.tokens = Some(cap);
        self
    }

    /// How many dollars may be spent, in each period if there are periods; without this, any number.
    ///
    /// # Errors
    ///
    /// [`BudgetError::Amount`] if it is NaN, negative, infinite, or above 18,000,000,000.
    pub fn dollars(mut self, cap: f64) -> Result<Self, BudgetError> {
        self.nanodollars = Some(from_dollars(cap)?);
        Ok(self)
    }

    /// How long a period is. The first one begins when the budget is built, and each next one when the one before ends,
    /// whether anybody looks or not. Without this there is one, and it does not end.
    pub fn period(mut self, length: Duration) -> Self {
        self.period = Some(length);
        self
    }

    /// How much of what one period leaves over is added to the next one, at most; without this, nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::stack::budget::{Budget, Spend};
    /// use sync_coalesce::stack::ManualClock;
    ///
    /// let hands = ManualClock::new();
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let daily = Budget::builder().tokens(1_000).period(day).clock(&hands);
    /// let budget = daily.carry_over(Spend::of_tokens(400)).build()?;
    /// budget.reserve(Spend::of_tokens(700))?.commit(Spend::of_tokens(700));
    /// hands.advance(day);
    /// assert_eq!(budget.status().tokens_left, Some(1_300));
    /// hands.advance(day);
    /// assert_eq!(budget.status().tokens_left, Some(1_400));
    /// # Ok::<(), sync_coalesce::stack::budget::BudgetError>(())
    /// ```
    pub fn carry_over(mut self, most: Spend) -> Self {
        self.carry = most;
        self
    }

    /// The clock to go by; the system's by default.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The budget, with nothing spent.
    ///
    /// # Errors
    ///
    /// [`BudgetError::Period`] if periods have no length.
    pub fn build(self) -> Result<Budget, BudgetError> {
        if self.period.is_some_and(|period| period.is_zero()) {
            return Err(BudgetError::Period);
        }
        let books = Books {
            tokens: Purse::new(self.tokens, self.carry.tokens),
            nanodollars: Purse::new(self.nanodollars, self.carry.nanodollars),
            period: self.period.map(|length| Period::new(self.clock.now(), length)),
            total: Spend::default(),
            saved: Spend::default(),
        };
        Ok(Budget { shared: Arc::new(Shared { clock: self.clock, books: Mutex::new(books) }) })
    }
}
