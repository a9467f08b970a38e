//! What is fixed when a pacer is built, and what can be wrong with it.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use super::adaptive::Throttle;
use super::bucket::{Bucket, RATES};
use super::gate::{Gate, Pace};
use super::{Adaptive, Pacer};
use crate::stack::clock::Clock;

/// Builds a [`Pacer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PacerBuilder {
    per_second: Option<f64>,
    burst: u32,
    concurrency: u32,
    adaptive: Option<Adaptive>,
    clock: Clock,
}

/// Why there is no pacer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PaceError {
    /// The rate is no number, or not between 0.000001 and 1,000,000 calls per second.
    Rate {
        /// The rate that was asked for.
        per_second: f64,
    },
    /// A burst of 0 lets nothing through.
    Burst,
    /// A bound of 0 on calls at once lets nothing through.
    Concurrency,
    /// A setting of [`Adaptive`] is outside the range that its own documentation gives.
    Adaptive {
        /// Which one.
        setting: &'static str,
    },
    /// The pacer should be adaptive and has no rate to adapt.
    NoRate,
    /// A variable of the environment is not a number in the range that its setting has.
    Environment {
        /// The variable's name.
        name: String,
        /// What it says, with what is no Unicode replaced.
        value: String,
    },
}

impl PacerBuilder {
    pub(super) fn new() -> Self {
        Self { per_second: None, burst: 1, concurrency: u32::MAX, adaptive: None, clock: Clock::default() }
    }

    /// How many calls per second are let through, 0.000001 to 1,000,000; without this, there is no limit.
    pub fn per_second(mut self, rate: f64) -> Self {
        self.per_second = Some(rate);
        self
    }

    /// How many calls may go at once after a pause that was long enough; 1 by default.
    pub fn burst(mut self, calls: u32) -> Self {
        self.burst = calls;
        self
    }

    /// How many calls may run at once; without this, there is no limit.
    pub fn concurrency(mut self, calls: u32) -> Self {
        self.concurrency = calls;
        self
    }

    /// Lets the rate follow what the provider says; without this, it stays as it is.
    pub fn adaptive(mut self, adaptive: Adaptive) -> Self {
        self.adaptive = Some(adaptive);
        self
    }

    /// The clock to go by; the system's by default.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Takes the rate from the variable `NAME_RPS`, the burst from `NAME_BURST`, and how many may run at once from
    /// `NAME_CONCURRENCY`, with `name` in the place of `NAME` as it is given. Where a variable is not set, what was
    /// said before stays.
    ///
    /// # Errors
    ///
    /// [`PaceError::Environment`] for the first variable that says no number in range; an empty one says none.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::pace::Pacer;
    ///
    /// // PROVIDER_RPS=0.5 in the environment would make it one call in two seconds.
    /// let pacer = Pacer::builder().per_second(2.0).env("PROVIDER")?.build()?;
    /// assert_eq!(pacer.rate(), Some(2.0));
    /// # Ok::<(), sync_coalesce::stack::pace::PaceError>(())
    /// ```
    pub fn env(self, name: &str) -> Result<Self, PaceError> {
        self.variables(name, |name| env::var_os(name))
    }

    fn variables(mut self, name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, PaceError> {
        let at_least_one = |calls: &u32| *calls > 0;
        if let Some(rate) = read(&variable, format!("{name}_RPS"), |rate| RATES.contains(rate))? {
            self.per_second = Some(rate);
        }
        if let Some(burst) = read(&variable, format!("{name}_BURST"), at_least_one)? {
            self.burst = burst;
        }
        if let Some(concurrency) = read(&variable, format!("{name}_CONCURRENCY"), at_least_one)? {
            self.concurrency = concurrency;
        }
        Ok(self)
    }

    /// The pacer, with its whole burst to give.
    ///
    /// # Errors
    ///
    /// [`PaceError`] for the first setting that is out of its range.
    pub fn build(self) -> Result<Pacer, PaceError> {
        if self.burst == 0 {
            return Err(PaceError::Burst);
        }
        if self.concurrency == 0 {
            return Err(PaceError::Concurrency);
        }
        let adaptive = self.adaptive.map(Adaptive::check).transpose()?;
        let pace = match self.per_second {
            Some(per_second) => Some(Pace {
                bucket: Bucket::new(per_second, self.burst, self.clock.now())?,
                per_second,
                throttle: adaptive.map(|adaptive| Throttle::new(adaptive, per_second)),
            }),
            None if adaptive.is_some() => return Err(PaceError::NoRate),
            None => None,
        };
        let gate = Gate { pace, concurrency: self.concurrency, running: 0, paused_until: None };
        Ok(Pacer::new(gate, self.clock))
    }
}

fn read<N: FromStr>(
    variable: impl Fn(&str) -> Option<OsString>,
    name: String,
    is_in_range: impl Fn(&N) -> bool,
) -> Result<Option<N>, PaceError> {
    let Some(value) = variable(&name) else { return Ok(None) };
    let value = value.to_string_lossy();
    match value.parse() {
        Ok(number) if is_in_range(&number) => Ok(Some(number)),
        _ => Err(PaceError::Environment { name, value: value.into_owned() }),
    }
}

impl fmt::Display for PaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate { per_second } => {
                write!(f, "a pacer's rate is between 0.000001 and 1,000,000 calls per second, not {per_second}")
            }
            Self::Burst => f.write_str("a burst of 0 would let nothing through"),
            Self::Concurrency => f.write_str("a bound of 0 calls at once would let nothing through"),
            Self::Adaptive { setting } => write!(f, "`{setting}` of an adaptive pacer is out of its range"),
            Self::NoRate => f.write_str("an adaptive pacer needs a rate to begin with"),
            Self::Environment { name, value } => {
                write!(f, "the environment variable {name} is not a number in range: `{value}`")
            }
        }
    }
}

impl Error for PaceError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(variables: &[(&str, &str)]) -> Result<PacerBuilder, PaceError> {
        PacerBuilder::new().per_second(9.0).variables("MISTRAL", |name| {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(OsString::from(value))
        })
    }

    #[test]
    fn variables_override_what_was_said_before() {
        let read = builder(&[("MISTRAL_RPS", "0.2"), ("MISTRAL_BURST", "2"), ("MISTRAL_CONCURRENCY", "3")]).unwrap();
        assert_eq!((read.per_second, read.burst, read.concurrency), (Some(0.2), 2, 3));
    }

    #[test]
    fn what_no_variable_says_stays() {
        let read = builder(&[("OTHER_RPS", "1"), ("MISTRAL_BURST", "2")]).unwrap();
        assert_eq!((read.per_second, read.burst, read.concurrency), (Some(9.0), 2, u32::MAX));
    }

    #[test]
    fn a_variable_that_is_no_number_in_range_is_named() {
        for (name, value) in [
            ("MISTRAL_RPS", ""),
            ("MISTRAL_RPS", "fast"),
            ("MISTRAL_RPS", "0"),
            ("MISTRAL_RPS", "-1"),
            ("MISTRAL_RPS", "NaN"),
            ("MISTRAL_RPS", "inf"),
            ("MISTRAL_BURST", "0"),
            ("MISTRAL_BURST", "1.5"),
            ("MISTRAL_CONCURRENCY", "-3"),
        ] {
            let error = builder(&[(name, value)]).unwrap_err();
            assert_eq!(error, PaceError::Environment { name: name.to_owned(), value: value.to_owned() });
            let text = format!("the environment variable {name} is not a number in range: `{value}`");
            assert_eq!(error.to_string(), text);
        }
    }
}
