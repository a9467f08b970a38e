//! [`Adaptive`]: slower when the provider says that it was too fast, faster again after a calm.

use std::time::{Duration, Instant};

use super::PaceError;
use super::bucket::RATES;

/// How a pacer changes its rate by what the provider says: a product down, sums up again.
///
/// Each [`throttled`](super::Pacer::throttled) multiplies the rate. When the calm has passed without another one, each
/// quiet interval adds to it, up to the rate that the pacer was built with.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::pace::{Adaptive, Pacer};
/// use sync_coalesce::stack::ManualClock;
///
/// let hands = ManualClock::new();
/// let pacer = Pacer::builder().per_second(10.0).adaptive(Adaptive::default()).clock(&hands).build()?;
/// pacer.throttled(None);
/// assert_eq!(pacer.rate(), Some(7.0));
/// hands.advance(Duration::from_secs(60 + 5));
/// assert_eq!(pacer.rate(), Some(7.5));
/// # Ok::<(), sync_coalesce::stack::pace::PaceError>(())
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
    /// × 0.7, not below 0.2 calls per second; after 60 seconds of calm + 0.1 calls per second for each second.
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
    /// What the rate is multiplied by each time that the provider says it was too fast: above 0 and below 1.
    pub fn decrease(mut self, factor: f64) -> Self {
        self.decrease = factor;
        self
    }

    /// The rate, in calls per second, that it does not fall below. Where the pacer's own rate is lower, that one.
    pub fn floor(mut self, per_second: f64) -> Self {
        self.floor = per_second;
        self
    }

    /// What each quiet interval adds to the rate, in calls per second: above 0.
    pub fn increase(mut self, per_second: f64) -> Self {
        self.increase = per_second;
        self
    }

    /// How long a quiet interval is: not 0.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long it has to be quiet before the first such interval begins.
    pub fn calm(mut self, calm: Duration) -> Self {
        self.calm = calm;
        self
    }

    pub(super) fn check(self) -> Result<Self, PaceError> {
        let wrong = |setting| Err(PaceError::Adaptive { setting });
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

/// The rate of one pacer. Nothing happens as time passes: it is worked out when it is asked for.
pub(super) struct Throttle {
    adaptive: Adaptive,
    full: f64,
    /// The last cut, and the rate just after it.
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
