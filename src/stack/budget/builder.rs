//! What is fixed when a budget is built.

use std::sync::Arc;
use std::time::Duration;

use super::calendar::{Calendar, CalendarUnit, Zone};
use super::error::BudgetBuildError;
use super::period::{Moment, Period, Rhythm};
use super::purse::Purse;
use super::snapshot::BudgetSnapshot;
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
    rhythm: Option<Rhythm>,
    carry: Spend,
    snapshot: Option<BudgetSnapshot>,
    clock: Clock,
}

impl BudgetBuilder {
    pub(super) fn new() -> Self {
        let (rhythm, snapshot) = (None, None);
        Self { tokens: None, dollars: None, rhythm, carry: Spend::default(), snapshot, clock: Clock::default() }
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
    /// when the one before it ends. By default there are no periods. It replaces an earlier
    /// [`calendar`](BudgetBuilder::calendar).
    ///
    /// The lengths are measured by a clock that is never set; on some systems, it stands still while the machine sleeps.
    pub fn period(mut self, length: Duration) -> Self {
        self.rhythm = Some(Rhythm::Every(length));
        self
    }

    /// Periods that begin at midnight in `zone`: each day, or on the first day of each week, month or year. It replaces an
    /// earlier [`period`](BudgetBuilder::period).
    ///
    /// They follow the machine's date and time of day. If that is set back into the period before, the current one goes
    /// on, and does not begin twice. If it is set back by more, the budget follows, and what was spent stays spent.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use sync_coalesce::stack::ManualClock;
    /// use sync_coalesce::stack::budget::{Budget, CalendarUnit, Spend, Zone};
    ///
    /// // 28 February 2025, 22:30 in UTC; in Berlin, it is half an hour to midnight.
    /// let clock = ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_740_781_800));
    /// let winter = Zone::offset(60 * 60)?;
    /// let monthly = Budget::builder().dollars(100.0).calendar(CalendarUnit::Month, winter).clock(&clock);
    /// let budget = monthly.build()?;
    /// budget.reserve(Spend::from_dollars(80.0)?)?.commit(Spend::from_dollars(80.0)?);
    /// assert_eq!(budget.status().period_ends_in, Some(Duration::from_secs(30 * 60)));
    /// clock.advance(Duration::from_secs(30 * 60));
    /// assert_eq!(budget.status().dollars_left, Some(100.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn calendar(mut self, unit: CalendarUnit, zone: Zone) -> Self {
        self.rhythm = Some(Rhythm::Calendar(Calendar { unit, zone }));
        self
    }

    /// The maximum that a period inherits of what the period before it left; nothing by default.
    ///
    /// A period leaves what was not spent in it. What is reserved when it ends moves on to the next one, where it is
    /// spent or given back. All of this goes by the clock, whether anybody looks or not.
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

    /// Begins with the figures of a budget before a restart, rather than with nothing spent.
    ///
    /// Of fixed periods, the one that was under way goes on. If it has ended since then, by the date and the time of day,
    /// the budget begins as if it had been there all the time: with what is carried over, if anything. Caps, periods and
    /// the maximum to carry are those of this builder. What was reserved is given back, unless the snapshot
    /// [counts](BudgetSnapshot::count_reserved) it.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::budget::{Budget, BudgetSnapshot, CalendarUnit, Spend, Zone};
    ///
    /// let builder = Budget::builder().tokens(1_000).calendar(CalendarUnit::Year, Zone::UTC);
    /// let budget = builder.clone().build()?;
    /// budget.reserve(Spend::from_tokens(700))?.commit(Spend::from_tokens(700));
    /// let written = serde_json::to_string(&budget.snapshot())?;
    ///
    /// let read: BudgetSnapshot = serde_json::from_str(&written)?;
    /// let budget = builder.restore(read).build()?;
    /// assert_eq!(budget.status().total, Spend::from_tokens(700));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore(mut self, snapshot: BudgetSnapshot) -> Self {
        self.snapshot = Some(snapshot);
        self
    }

    /// The budget, with nothing spent, or as it was [restored](BudgetBuilder::restore).
    ///
    /// # Errors
    ///
    /// [`BudgetBuildError`] for the first setting that is out of its range.
    pub fn build(self) -> Result<Budget, BudgetBuildError> {
        let nanodollars = self.dollars.map(to_nanodollars).transpose().map_err(BudgetBuildError::Dollars)?;
        if matches!(self.rhythm, Some(Rhythm::Every(length)) if length.is_zero()) {
            return Err(BudgetBuildError::Period);
        }
        let now = Moment::now(&self.clock);
        let mut books = Books {
            tokens: Purse::new(self.tokens, self.carry.tokens),
            nanodollars: Purse::new(nanodollars, self.carry.nanodollars),
            period: None,
            total: Spend::default(),
            saved: Spend::default(),
        };
        match self.snapshot {
            None => books.period = self.rhythm.map(|rhythm| Period::new(rhythm, now)),
            Some(snapshot) => books.restore(&snapshot, self.rhythm, now),
        }
        Ok(Budget { shared: Arc::new(Shared { clock: self.clock, books: Mutex::new(books) }) })
    }
}
