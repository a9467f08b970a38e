//! [`Limit`]: a limit beside that on calls, and what permits weigh in each.

use super::error::{AcquireError, PacerBuildError};
use super::rate::LIMIT_RATES;

/// A limit of a pacer on units of any kind, such as tokens per minute.
///
/// Each permit [weighs](super::PermitRequest::weight) some units, and takes from all limits at once or from none. By
/// default, that is one of [calls](super::Pacer::CALLS) and none of anything else.
///
/// A weight above the burst is let through when the limit is full, and leaves a debt: the next permit waits until it is
/// paid off. So the rate holds over time, whatever the weights are. While a limit is in debt it lets nobody through, not
/// even a permit that weighs nothing there. A weight that a day at the full rate would not pay off is an error.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::ManualClock;
/// use sync_coalesce::stack::pace::{Limit, Pacer};
///
/// let clock = ManualClock::new();
/// let pacer = Pacer::builder()
///     .per_second(10.0)
///     .limit("tokens", Limit::per_minute(60_000.0).burst(2_000))
///     .clock(&clock)
///     .build()?;
/// let mut permit = pacer.request().weight("tokens", 1_500).acquire()?;
/// // The answer is longer than expected: 2,300 tokens in all.
/// permit.settle("tokens", 2_300)?;
/// drop(permit);
///
/// clock.advance(Duration::from_millis(100));
/// assert!(pacer.request().weight("tokens", 100).try_acquire().is_err(), "200 tokens are still owed");
/// clock.advance(Duration::from_millis(300));
/// assert!(pacer.request().weight("tokens", 100).try_acquire().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Limit {
    pub(super) per_second: f64,
    pub(super) burst: u64,
    pub(super) reserve: u64,
    pub(super) unit: Option<String>,
}

/// The largest burst, in units.
const MOST_BURST: u64 = 1_000_000_000_000_000;

impl Limit {
    /// A limit of so many units per second, from 0.000001 to 1,000,000,000.
    pub fn per_second(units: f64) -> Self {
        Self { per_second: units, burst: 1, reserve: 0, unit: None }
    }

    /// A limit of so many units per minute. It is the same as a 60th of that per second, not a window of a minute.
    pub fn per_minute(units: f64) -> Self {
        Self::per_second(units / 60.0)
    }

    /// A limit of so many units per hour, at an even rate.
    pub fn per_hour(units: f64) -> Self {
        Self::per_second(units / 3600.0)
    }

    /// A limit of so many units per day, at an even rate.
    pub fn per_day(units: f64) -> Self {
        Self::per_second(units / 86_400.0)
    }

    /// The maximum number of units that may be taken at once after a pause, from 1 to 10^15; 1 by default. A weight above it
    /// leaves a debt.
    pub fn burst(mut self, units: u64) -> Self {
        self.burst = units;
        self
    }

    /// The units of the burst that only [urgent](super::PermitRequest::urgent) callers may take, fewer than the burst;
    /// 0 by default.
    pub fn reserve(mut self, units: u64) -> Self {
        self.reserve = units;
        self
    }

    /// The unit that is counted; the limit's name by default. With it, one unit can have several limits, such as
    /// [calls](super::Pacer::CALLS) per second and per day.
    pub fn of(mut self, unit: impl Into<String>) -> Self {
        self.unit = Some(unit.into());
        self
    }

    pub(super) fn check(&self, name: &str) -> Result<(), PacerBuildError> {
        let wrong = |setting| Err(PacerBuildError::Limit { name: name.to_owned(), setting });
        if !LIMIT_RATES.contains(&self.per_second) {
            wrong("rate")
        } else if !(1..=MOST_BURST).contains(&self.burst) {
            wrong("burst")
        } else if self.reserve >= self.burst {
            wrong("reserve")
        } else {
            Ok(())
        }
    }
}

/// The name and the unit of a limit, in the order of the pacer's buckets.
pub(super) struct Named {
    pub(super) name: Box<str>,
    pub(super) unit: Box<str>,
}

/// What a permit weighs in each limit.
pub(super) enum Weights {
    /// One call, and nothing else.
    Call,
    Each(Box<[u64]>),
}

impl Weights {
    pub(super) fn of(&self, index: usize, counts_calls: bool) -> u64 {
        match self {
            Self::Call => u64::from(counts_calls),
            Self::Each(weights) => weights[index],
        }
    }

    /// Whether it is one call and nothing else.
    pub(super) fn is_one_call(&self) -> bool {
        matches!(self, Self::Call)
    }

    /// From weights by unit. Those of the same unit are added up.
    pub(super) fn new(given: &[(&str, u64)], limits: &[Named]) -> Result<Self, AcquireError> {
        if given.is_empty() {
            return Ok(Self::Call);
        }
        for (unit, _) in given {
            if !limits.iter().any(|limit| &*limit.unit == *unit) {
                return Err(AcquireError::UnknownUnit { unit: (*unit).to_owned() });
            }
        }
        let weight = |limit: &Named| {
            let own = given.iter().filter(|(unit, _)| *unit == &*limit.unit).map(|(_, weight)| *weight);
            own.reduce(u64::saturating_add).unwrap_or(u64::from(&*limit.unit == super::Pacer::CALLS))
        };
        Ok(Self::Each(limits.iter().map(weight).collect()))
    }
}
