//! [`Adaptive`]: slower when the provider says that calls were too fast, faster again after a calm.

use std::time::{Duration, Instant};

use super::bucket::RATES;
use super::error::PacerBuildError;

/// How a pacer adapts its rate: additive increase, multiplicative decrease.
///
/// Each [`throttled`](super::Pacer::throttled) multiplies the rate by a factor. After a calm without another one, each
/// quiet interval adds to the rate, up to the one that the pacer was built with.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::ManualClock;
/// use sync_coalesce::stack::pace::{Adaptive, Pacer};
///
/// let clock = ManualClock::new();
/// let pacer = Pacer::builder().per_second(10.0).adaptive(Adaptive::default()).clock(&clock).build()?;
/// pacer.throttled(None);
/// assert_eq!(pacer.status().rate, Some(7.0));
/// clock.advance(Duration::from_secs(60 + 5));
/// assert_eq!(pacer.status().rate, Some(7.5));
/// # Ok::<(), sync_coalesce::stack::pace::PacerBuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Adaptive {
    decrease: f64,
    floor: f64,
    increase: f64,
    interval: Duration,
    calm: Duration,
}

impl Default for Adaptive {
    /// A factor of 0.7, a floor of 0.2 calls per second, and after a calm of 60 seconds 0.1 calls per second more each
    /// second.
    fn default() -> Self {
        Self {
            decrease: 0.7,
            floor: 0.2,
            increase: 0.1,
            interval: Duration::from_secs(1),
            calm: Duration::from_secs(60),
        }
    }
}

impl Adaptive {
    /// The factor by which each report of a refusal multiplies the rate: above 0 and below 1.
    pub fn decrease(mut self, factor: f64) -> Self {
        self.decrease = factor;
        self
    }

    /// The lowest rate, in calls per second. If the pacer's own rate is lower, that is the floor.
    pub fn floor(mut self, per_second: f64) -> Self {
        self.floor = per_second;
        self
    }

    /// The increase of the rate after each quiet interval, in calls per second: above 0.
    pub fn increase(mut self, per_second: f64) -> Self {
        self.increase = per_second;
        self
    }

    /// The length of a quiet interval: not 0.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The time without a refusal before the first quiet interval begins.
    pub fn calm(mut self, calm: Duration) -> Self {
        self.calm = calm;
        self
    }

    pub(super) fn check(self) -> Result<Self, PacerBuildError> {
        let wrong = |setting| Err(PacerBuildError::Adaptive { setting });
        if !(self.decrease > 0.0 && self.decrease < 1.0) {
            wrong("decrease")
        } else if !RATES.contains(&self.floor) {
            wrong("floor")
        } else if !(self.increase > 0.0 && self.increase.is_finite()) {
            wrong("increase")
        } else if self.interval.is_zero() {
            wrong("interval")
        } else {
            Ok(self)
        }
    }
}

/// The rate of one pacer. It is computed when it is asked for; nothing happens as time passes.
pub(super) struct Throttle {
    adaptive: Adaptive,
    full: f64,
    /// When the rate was last cut, and the rate just after that.
    cut: Option<(Instant, f64)>,
}

impl Throttle {
    pub(super) fn new(adaptive: Adaptive, full: f64) -> Self {
        Self { adaptive, full, cut: None }
    }

    pub(super) fn cut(&mut self, now: Instant) {
        let floor = self.adaptive.floor.min(self.full);
        self.cut = Some((now, (self.rate(now) * self.adaptive.decrease).max(floor)));
    }

    #[expect(clippy::cast_precision_loss, reason = "the full rate is reached long before")]
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let Some((at, rate)) = self.cut else { return self.full };
        let quiet = now.saturating_duration_since(at).saturating_sub(self.adaptive.calm);
        let intervals = quiet.as_nanos() / self.adaptive.interval.as_nanos();
        (rate + self.adaptive.increase * intervals as f64).min(self.full)
    }
}
