//! What is fixed when a pacer is built.

use std::env;
use std::ffi::OsString;
use std::str::FromStr;

use super::Pacer;
use super::adaptive::Adaptive;
use super::bucket::Bucket;
use super::error::PacerBuildError;
use super::gate::Gate;
use super::limit::{Limit, Named};
use super::rate::RATES;
use super::throttle::Throttle;
use crate::stack::clock::Clock;

/// Builds a [`Pacer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PacerBuilder {
    per_second: Option<f64>,
    burst: u32,
    reserve_burst: u32,
    concurrency: u32,
    reserve_concurrency: u32,
    limits: Vec<(String, Limit)>,
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
            reserve_burst: 0,
            concurrency: u32::MAX,
            reserve_concurrency: 0,
            limits: Vec::new(),
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

    /// The maximum rate in calls per minute: a 60th of that [per second](PacerBuilder::per_second).
    pub fn per_minute(self, rate: f64) -> Self {
        self.per_second(rate / 60.0)
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

    /// The calls of the burst that only [urgent](super::PermitRequest::urgent) callers may start, fewer than the burst; 0
    /// by default.
    pub fn reserve_burst(mut self, calls: u32) -> Self {
        self.reserve_burst = calls;
        self
    }

    /// The concurrent calls that only [urgent](super::PermitRequest::urgent) callers may start, fewer than the limit on
    /// concurrent calls; 0 by default.
    pub fn reserve_concurrency(mut self, calls: u32) -> Self {
        self.reserve_concurrency = calls;
        self
    }

    /// Another limit, such as tokens per minute, with a name that no other limit of this pacer has.
    pub fn limit(mut self, name: impl Into<String>, limit: Limit) -> Self {
        self.limits.push((name.into(), limit));
        self
    }

    /// Adapts the rates of all limits to the refusals of the provider; they are constant by default. It needs a rate of
    /// calls.
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
        self.check_reserves()?;
        let limits = self.all_limits()?;
        let now = self.clock.now();
        let calls = limits.iter().find(|(name, _)| name == Pacer::CALLS).map(|(_, limit)| limit.per_second);
        let throttle = match (adaptive, calls) {
            (Some(adaptive), Some(per_second)) => Some(Throttle::new(adaptive, per_second)),
            (Some(_), None) => return Err(PacerBuildError::NoRate),
            (None, _) => None,
        };
        let (names, buckets): (Vec<_>, Vec<_>) = limits
            .into_iter()
            .map(|(name, Limit { per_second, burst, reserve, unit })| {
                let unit = unit.unwrap_or_else(|| name.clone()).into_boxed_str();
                let bucket = Bucket::new(per_second, burst, reserve, &*unit == Pacer::CALLS, now);
                (Named { name: name.into_boxed_str(), unit }, bucket)
            })
            .unzip();
        let gate = Gate::new(buckets.into(), throttle, self.concurrency, self.reserve_concurrency);
        Ok(Pacer::new(gate, names.into(), self.clock))
    }

    fn check_reserves(&self) -> Result<(), PacerBuildError> {
        if self.reserve_burst > 0 && (self.per_second.is_none() || self.reserve_burst >= self.burst) {
            return Err(PacerBuildError::Reserve { of: "burst" });
        }
        if self.reserve_concurrency > 0
            && (self.concurrency == u32::MAX || self.reserve_concurrency >= self.concurrency)
        {
            return Err(PacerBuildError::Reserve { of: "concurrency" });
        }
        Ok(())
    }

    /// The limit on calls, if there is one, and the others.
    fn all_limits(&self) -> Result<Vec<(String, Limit)>, PacerBuildError> {
        let mut limits = Vec::new();
        if let Some(per_second) = self.per_second {
            if !RATES.contains(&per_second) {
                return Err(PacerBuildError::Rate { per_second });
            }
            let limit = Limit::per_second(per_second).burst(self.burst.into()).reserve(self.reserve_burst.into());
            limits.push((Pacer::CALLS.to_owned(), limit));
        }
        for (name, limit) in &self.limits {
            limit.check(name)?;
            if limits.iter().any(|(other, _)| other == name) {
                return Err(PacerBuildError::SameName { name: name.clone() });
            }
            limits.push((name.clone(), limit.clone()));
        }
        Ok(limits)
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
