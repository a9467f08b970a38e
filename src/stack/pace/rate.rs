//! Exact amounts and rates: no look at a bucket, however often, rounds anything away.

use std::time::{Duration, Instant};

/// One unit, such as one call. An amount is a whole number of these parts, so that a rate in 10^-12 units per second
/// is the same number of parts per nanosecond.
pub(super) const UNIT: i128 = 1_000_000_000 * PARTS;

const PARTS: i128 = 1_000_000_000_000;

/// In units per second, for a limit on calls: from one in eleven days to one in a microsecond.
pub(super) const RATES: std::ops::RangeInclusive<f64> = 0.000_001..=1_000_000.0;

/// For any other limit.
pub(super) const LIMIT_RATES: std::ops::RangeInclusive<f64> = 0.000_001..=1_000_000_000.0;

/// So many units, as an amount.
pub(super) fn units(count: u64) -> i128 {
    i128::from(count).saturating_mul(UNIT)
}

/// The whole units in an amount.
pub(super) fn whole_units(amount: i128) -> i64 {
    i64::try_from(amount.div_euclid(UNIT)).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

/// A rate, in 10^-12 units per second. It is above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(i128);

impl Rate {
    /// The smallest rate that is no less than `per_second`, which is in [`LIMIT_RATES`], to 15 digits: at twenty per minute, a call may
    /// go after three seconds, and not a nanosecond later.
    pub(super) fn new(per_second: f64) -> Self {
        let rate = Self::nearest(per_second);
        if rate.per_second() < per_second { Self(rate.0 + 1) } else { rate }
    }

    /// This rate times `factor`, and never 0.
    pub(super) fn times(self, factor: f64) -> Self {
        Self::nearest(self.per_second() * factor)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no rate is as high as that")]
    #[expect(clippy::cast_precision_loss, reason = "the number of parts is a power of ten that a double holds")]
    fn nearest(per_second: f64) -> Self {
        Self(((per_second * PARTS as f64).round() as i128).max(1))
    }

    #[expect(clippy::cast_precision_loss, reason = "no rate has more digits than were given")]
    pub(super) fn per_second(self) -> f64 {
        self.0 as f64 / PARTS as f64
    }

    /// What flows in during `time`.
    pub(super) fn flow(self, time: Duration) -> i128 {
        self.0.saturating_mul(nanoseconds(time))
    }

    /// After how long so much has flowed in. `Duration::MAX` if that is too long for a `Duration` in nanoseconds.
    pub(super) fn time_for(self, amount: i128) -> Duration {
        let nanoseconds = amount.div_euclid(self.0) + i128::from(amount.rem_euclid(self.0) > 0);
        u64::try_from(nanoseconds).map_or(Duration::MAX, Duration::from_nanos)
    }
}

/// A rate that was cut, stays low for a calm, and then rises by one step after each interval until it is full again.
pub(super) struct Ramp {
    pub(super) since: Instant,
    pub(super) low: Rate,
    pub(super) step: Rate,
    pub(super) calm: Duration,
    /// Not 0.
    pub(super) interval: Duration,
    pub(super) full: Rate,
}

impl Ramp {
    pub(super) fn rate(&self, now: Instant) -> Rate {
        let rising = now.saturating_duration_since(self.since).saturating_sub(self.calm);
        let steps = nanoseconds(rising) / nanoseconds(self.interval);
        Rate(self.low.0.saturating_add(self.step.0.saturating_mul(steps))).min(self.full)
    }

    /// What flows in between two moments.
    pub(super) fn flow(&self, from: Instant, to: Instant) -> i128 {
        if self.top().is_some_and(|top| from >= top) {
            // Not as the difference of two sums, which grow with the time since the cut.
            return self.full.flow(to.saturating_duration_since(from));
        }
        self.total(to).saturating_sub(self.total(from)).max(0)
    }

    /// After how long so much has flowed in, from `from` on.
    pub(super) fn time_for(&self, amount: i128, from: Instant) -> Duration {
        // It only rises: no longer than at the rate of now, and no shorter than at the full one.
        let (mut least, mut most) = (self.full.time_for(amount), self.rate(from).time_for(amount));
        while least < most {
            let middle = least + most.saturating_sub(least) / 2;
            match from.checked_add(middle) {
                Some(to) if self.flow(from, to) < amount => least = middle + Duration::from_nanos(1),
                _ => most = middle,
            }
        }
        least
    }

    /// How many steps it takes to be full.
    fn steps(&self) -> i128 {
        let missing = (self.full.0 - self.low.0).max(0);
        missing.div_euclid(self.step.0) + i128::from(missing.rem_euclid(self.step.0) > 0)
    }

    /// When it is full; `None` if that is beyond what an `Instant` can represent.
    fn top(&self) -> Option<Instant> {
        let rise = u64::try_from(self.steps().saturating_mul(nanoseconds(self.interval))).ok()?;
        self.since.checked_add(self.calm)?.checked_add(Duration::from_nanos(rise))
    }

    /// What has flowed in since the cut: the low rate all the time, and the steps on top of it, an arithmetic series.
    fn total(&self, now: Instant) -> i128 {
        let elapsed = now.saturating_duration_since(self.since);
        let (rising, interval) = (nanoseconds(elapsed.saturating_sub(self.calm)), nanoseconds(self.interval));
        let steps = (rising / interval).min(self.steps());
        let before = (steps - 1).max(0);
        let series = interval.saturating_mul(self.step.0).saturating_mul(before.saturating_mul(steps) / 2);
        // The interval that has not ended, or all the time since it is full. The step up to there may be a smaller one.
        let raised = self.step.0.saturating_mul(steps).min(self.full.0 - self.low.0);
        let last = raised.saturating_mul(rising - steps * interval);
        self.low.flow(elapsed).saturating_add(series).saturating_add(last)
    }
}

fn nanoseconds(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sync;

    const STEP: Duration = Duration::from_millis(7);

    fn ramp(low: f64, step: f64, calm: u32, full: f64) -> Ramp {
        let [low, step, full] = [low * full, step, full].map(Rate::new);
        Ramp { since: sync::now(), low, step, calm: STEP * calm, interval: STEP * 3, full }
    }

    proptest! {
        /// Over times in which the rate does not change, it is that rate times the time.
        #[test]
        fn what_flows_in_is_the_sum_of_the_rates(
            low in 0.001_f64..1.0,
            step in 0.01_f64..30.0,
            calm in 0_u32..20,
            full in 0.001_f64..100.0,
            from in 0_u32..60,
            steps in 0_u32..200,
        ) {
            let ramp = ramp(low, step, calm, full);
            let at = |step: u32| ramp.since + STEP * step;
            let sum: i128 = (from..from + steps).map(|step| ramp.rate(at(step)).flow(STEP)).sum();
            prop_assert_eq!(ramp.flow(at(from), at(from + steps)), sum);
        }

        #[test]
        fn the_time_for_an_amount_is_the_shortest_in_which_it_flows_in(
            low in 0.001_f64..1.0,
            step in 0.01_f64..30.0,
            calm in 0_u32..20,
            full in 0.001_f64..100.0,
            from in 0_u32..60,
            amount in 1_i128..5 * UNIT,
        ) {
            let ramp = ramp(low, step, calm, full);
            let from = ramp.since + STEP * from;
            let time = ramp.time_for(amount, from);
            prop_assert!(ramp.flow(from, from + time) >= amount);
            prop_assert!(ramp.flow(from, from + time.saturating_sub(Duration::from_nanos(1))) < amount);
        }

        #[test]
        fn no_rate_is_lower_than_was_given(per_second in 0.000_001_f64..1e9) {
            let rate = Rate::new(per_second).per_second();
            // A double has 15 digits, which is fewer than a high rate has.
            let is_no_lower = rate >= per_second || rate >= per_second * (1.0 - 1e-15) && per_second > 1e3;
            prop_assert!(is_no_lower && rate <= per_second * (1.0 + 1e-5), "{rate}");
        }
    }

    /// Years after a cut, with the highest of rates and the longest of intervals.
    #[test]
    fn no_setting_overflows() {
        for interval in [Duration::from_nanos(1), Duration::MAX] {
            let rates = [0.000_001, 1e9].map(Rate::new);
            let ramp = Ramp { low: rates[0], step: rates[1], full: rates[1], ..ramp(1.0, 1.0, 0, 1.0) };
            let ramp = Ramp { interval, calm: interval, ..ramp };
            let later = ramp.since + Duration::from_secs(1 << 30);
            assert!(ramp.flow(later, later + STEP) >= rates[0].flow(STEP));
            assert!(ramp.time_for(UNIT, later) <= rates[0].time_for(UNIT));
            assert!(ramp.rate(later) >= rates[0]);
        }
    }
}
