//! [`Adaptive`]: slower when the provider says that calls were too fast, faster again after a calm.

use std::time::Duration;

use super::error::PacerBuildError;
use super::rate::RATES;

/// How a pacer adapts its rate: additive increase, multiplicative decrease (Chiu and Jain, *Analysis of the increase and
/// decrease algorithms for congestion avoidance in computer networks*, 1989).
///
/// A refusal, reported by [`throttled`](super::Permit::throttled), multiplies the rate by a factor. After a calm without
/// another one, each quiet interval adds to the rate, up to the one that the pacer was built with or was
/// [set](super::Pacer::set_rate) to. The pacer's other [limits](super::Limit) are slowed down in proportion: a refusal
/// does not say which of them the provider has counted.
///
/// # One cut for each window
///
/// Calls that went out together and were refused together are one event, and cut the rate once. As in TCP, where the
/// window is one round trip, the window ends with the calls that were out at the cut (RFC 5681, section 3.1, 2009; the
/// variable `recover` of RFC 6582, 2012): a refusal cuts the rate only if its call's permit was granted after the last
/// cut. Only such a call says anything about the new rate. A window of a fixed time would be too short for slow calls,
/// and too long for quick ones.
///
/// A refusal that is reported on the [`Permit`](super::Permit) belongs to that permit's call. One that is reported on the
/// [`Pacer`](super::Pacer) belongs to a call from before the last cut as long as the permits of those calls are held, but
/// to no more of them than there were; and if no permit was granted since the cut, it belongs to one of them in any
/// case.
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
    pub(super) decrease: f64,
    pub(super) floor: f64,
    pub(super) increase: f64,
    pub(super) interval: Duration,
    pub(super) calm: Duration,
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
    /// The factor by which a refusal multiplies the rate: above 0 and below 1.
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
