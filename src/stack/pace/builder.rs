//! What is fixed when a pacer is built.

use std::env;
use std::ffi::OsString;
use std::str::FromStr;

use super::Pacer;
use super::adaptive::{Adaptive, Throttle};
use super::bucket::{Bucket, RATES};
use super::error::PacerBuildError;
use super::gate::{Gate, Pace};
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
    /// The first variable that could not be read.
    bad_variable: Option<PacerBuildError>,
}

impl PacerBuilder {
    pub(super) fn new() -> Self {
        Self {
            per_second: None,
            burst: 1,
            concurrency: u32::MAX,
            adaptive: None,
            clock: Clock::default(),
            bad_variable: None,
        }
    }

    /// The maximum rate in calls per second, from 0.000001 to 1,000,000; unlimited by default.
    pub fn per_second(mut self, rate: f64) -> Self {
        self.per_second = Some(rate);
        self
    }

    /// The maximum number of calls that may start at once after a pause, at least 1; 1 by default.
    pub fn burst(mut self, calls: u32) -> Self {
        self.burst = calls;
        self
    }

    /// The maximum number of concurrent calls, at least 1; unlimited by default.
    pub fn concurrency(mut self, calls: u32) -> Self {
        self.concurrency = calls;
        self
    }

    /// Adapts the rate to the refusals of the provider; the rate is constant by default.
    pub fn adaptive(mut self, adaptive: Adaptive) -> Self {
        self.adaptive = Some(adaptive);
        self
    }

    /// The clock that the rate and all deadlines follow; the system's by default.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Reads the rate from the environment variable `NAME_RPS`, the burst from `NAME_BURST`, and the limit on
    /// concurrent calls from `NAME_CONCURRENCY`, where `NAME` stands for `name` exactly as given. A variable that is
    /// not set changes nothing. [`build`](PacerBuilder::build) fails if one is set and is not a number in range.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::pace::Pacer;
    ///
    /// // PROVIDER_RPS=0.5 in the environment would make it one call in two seconds.
    /// let pacer = Pacer::builder().per_second(2.0).env("PROVIDER").build()?;
    /// assert_eq!(pacer.status().rate, Some(2.0));
    /// # Ok::<(), sync_coalesce::stack::pace::PacerBuildError>(())
    /// ```
    pub fn env(self, name: &str) -> Self {
        self.variables(name, |name| env::var_os(name))
    }

    fn variables(mut self, name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if let Err(error) = self.read(name, variable) {
            self.bad_variable.get_or_insert(error);
        }
        self
    }

    fn read(&mut self, name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<(), PacerBuildError> {
        let at_least_one = |calls: &u32| *calls > 0;
        if let Some(rate) = parse(&variable, format!("{name}_RPS"), |rate| RATES.contains(rate))? {
            self.per_second = Some(rate);
        }
        if let Some(burst) = parse(&variable, format!("{name}_BURST"), at_least_one)? {
            self.burst = burst;
        }
        if let Some(concurrency) = parse(&variable, format!("{name}_CONCURRENCY"), at_least_one)? {
            self.concurrency = concurrency;
        }
        Ok(())
    }

    /// The pacer, with its whole burst available.
    ///
    /// # Errors
    ///
    /// [`PacerBuildError`] for the first setting that is out of its range.
    pub fn build(self) -> Result<Pacer, PacerBuildError> {
        if let Some(error) = self.bad_variable {
            return Err(error);
        }
        if self.burst == 0 {
            return Err(PacerBuildError::Burst);
        }
        if self.concurrency == 0 {
            return Err(PacerBuildError::Concurrency);
        }
        let adaptive = self.adaptive.map(Adaptive::check).transpose()?;
        let pace = match self.per_second {
            Some(per_second) => Some(Pace {
                bucket: Bucket::new(per_second, self.burst, self.clock.now())?,
                per_second,
                throttle: adaptive.map(|adaptive| Throttle::new(adaptive, per_second)),
            }),
            None if adaptive.is_some() => return Err(PacerBuildError::NoRate),
            None => None,
        };
        let gate = Gate { pace, concurrency: self.concurrency, running: 0, paused_until: None };
        Ok(Pacer::new(gate, self.clock))
    }
}

fn parse<N: FromStr>(
    variable: impl Fn(&str) -> Option<OsString>,
    name: String,
    is_in_range: impl Fn(&N) -> bool,
) -> Result<Option<N>, PacerBuildError> {
    let Some(value) = variable(&name) else { return Ok(None) };
    let value = value.to_string_lossy();
    match value.parse() {
        Ok(number) if is_in_range(&number) => Ok(Some(number)),
        _ => Err(PacerBuildError::Environment { name, value: value.into_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(variables: &[(&str, &str)]) -> PacerBuilder {
        PacerBuilder::new().per_second(9.0).variables("MISTRAL", |name| {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(OsString::from(value))
        })
    }

    #[test]
    fn variables_override_earlier_settings() {
        let read = builder(&[("MISTRAL_RPS", "0.2"), ("MISTRAL_BURST", "2"), ("MISTRAL_CONCURRENCY", "3")]);
        assert_eq!((read.per_second, read.burst, read.concurrency), (Some(0.2), 2, 3));
    }

    #[test]
    fn a_setting_without_a_variable_stays() {
        let read = builder(&[("OTHER_RPS", "1"), ("MISTRAL_BURST", "2")]);
        assert_eq!((read.per_second, read.burst, read.concurrency), (Some(9.0), 2, u32::MAX));
    }

    #[test]
    fn a_variable_that_is_not_a_number_in_range_is_named() {
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
            let error = builder(&[(name, value)]).build().unwrap_err();
            assert_eq!(error, PacerBuildError::Environment { name: name.to_owned(), value: value.to_owned() });
            let text = format!("environment variable {name} is not a number in range: `{value}`");
            assert_eq!(error.to_string(), text);
        }
        let twice = builder(&[("MISTRAL_RPS", "fast")]).variables("OTHER", |_| Some(OsString::from("fast")));
        let name = "MISTRAL_RPS".to_owned();
        assert_eq!(
            twice.per_second(1.0).build().unwrap_err(),
            PacerBuildError::Environment { name, value: "fast".to_owned() },
            "the first one, whatever comes after it"
        );
    }
}
