//! What is fixed when a budget is built.

use std::sync::Arc;
use std::time::Duration;

use super::error::BudgetBuildError;
use super::period::Period;
use super::purse::Purse;
use super::spend::{Spend, to_nanodollars};
use super::{Books, Budget, Shared};
use crate::stack::clock::Clock;
use crate::sync::Mutex;

/// Builds a [`Budget`].
#[derive(Clone, Debug)]
#[must_use]
pub struct BudgetBuilder {
    tokens: Option<u64>,
    dollars: Option<f64>,
    period: Option<Duration>,
    carry: Spend,
    clock: Clock,
}

impl BudgetBuilder {
    pub(super) fn new() -> Self {
        Self { tokens: None, dollars: None, period: None, carry: Spend::default(), clock: Clock::default() }
    }

    /// The maximum number of tokens in each period, or in total if there are no periods; unlimited by default.
    pub fn tokens(mut self, cap: u64) -> Self {
        self.tokens = Some(cap);
        self
    }

    /// The maximum number of dollars in each period, or in total if there are no periods, from 0 to 18,000,000,000;
    /// unlimited by default.
    pub fn dollars(mut self, cap: f64) -> Self {
        self.dollars = Some(cap);
        self
    }

    /// The length of a period, which is not 0. The first one begins when the budget is built, and each of the others
    /// when the one before it ends. By default there are no periods.
    pub fn period(mut self, length: Duration) -> Self {
        self.period = Some(length);
        self
    }

    /// The maximum that a period inherits of what the period before it left; nothing by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::stack::ManualClock;
    /// use sync_coalesce::stack::budget::{Budget, Spend};
    ///
    /// let clock = ManualClock::new();
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let daily = Budget::builder().tokens(1_000).period(day).clock(&clock);
    /// let budget = daily.carry_over(Spend::from_tokens(400)).build()?;
    /// budget.reserve(Spend::from_tokens(700))?.commit(Spend::from_tokens(700));
    /// clock.advance(day);
    /// assert_eq!(budget.status().tokens_left, Some(1_300));
    /// clock.advance(day);
    /// assert_eq!(budget.status().tokens_left, Some(1_400));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn carry_over(mut self, most: Spend) -> Self {
        self.carry = most;
        self
    }

    /// The clock that periods follow; the system's by default.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The budget, with nothing spent.
    ///
    /// # Errors
    ///
    /// [`BudgetBuildError`] for the first setting that is out of its range.
    pub fn build(self) -> Result<Budget, BudgetBuildError> {
        let nanodollars = self.dollars.map(to_nanodollars).transpose().map_err(BudgetBuildError::Dollars)?;
        if self.period.is_some_and(|period| period.is_zero()) {
            return Err(BudgetBuildError::Period);
        }
        let books = Books {
            tokens: Purse::new(self.tokens, self.carry.tokens),
            nanodollars: Purse::new(nanodollars, self.carry.nanodollars),
            period: self.period.map(|length| Period::new(self.clock.now(), length)),
            total: Spend::default(),
            saved: Spend::default(),
        };
        Ok(Budget { shared: Arc::new(Shared { clock: self.clock, books: Mutex::new(books) }) })
    }
}
