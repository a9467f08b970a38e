//! [`Bucket`]: one limit's tokens.

use std::time::Instant;

use super::LONGEST_PAUSE;
use super::rate::{Rate, units};
use super::throttle::Throttle;

/// A token bucket that is given the time, and charged only for what is let through. It may be in debt.
pub(super) struct Bucket {
    /// As it was set, for callers that ask.
    per_second: f64,
    full: Rate,
    burst: i128,
    /// What only urgent callers may take.
    reserve: i128,
    /// What was in it at `since`. Below 0 it is a debt.
    level: i128,
    since: Instant,
    quota: Option<Quota>,
    /// Whether a permit that says nothing else weighs 1 here, and not 0.
    pub(super) counts_calls: bool,
}

/// What a provider says is left until it counts from 0 again.
struct Quota {
    left: u64,
    until: Instant,
    /// Permits up to this number are not counted in it.
    granted: u64,
}

impl Bucket {
    /// Full at the beginning. All numbers are in their ranges.
    pub(super) fn new(per_second: f64, burst: u64, reserve: u64, counts_calls: bool, now: Instant) -> Self {
        let (full, burst, reserve) = (Rate::new(per_second), units(burst), units(reserve));
        Self { per_second, full, burst, reserve, level: burst, since: now, quota: None, counts_calls }
    }

    /// The rate in units per second.
    pub(super) fn rate(&self, now: Instant, throttle: Option<&Throttle>) -> f64 {
        match throttle.and_then(|throttle| throttle.ramp(self.full)).map(|ramp| ramp.rate(now)) {
            Some(rate) if rate < self.full => rate.per_second(),
            _ => self.per_second,
        }
    }

    /// What is in it. To look changes nothing.
    pub(super) fn level(&self, now: Instant, throttle: Option<&Throttle>) -> i128 {
        let flow = match throttle.and_then(|throttle| throttle.ramp(self.full)) {
            None => self.full.flow(now.saturating_duration_since(self.since)),
            Some(ramp) => ramp.flow(self.since, now),
        };
        self.level.saturating_add(flow).min(self.burst)
    }

    /// Whether so much may be taken, or else when to ask again; `None` for a moment that no `Instant` can represent.
    ///
    /// A weight above the burst may be taken from a full bucket, and leaves a debt. While there is a debt, or nothing is
    /// left of a quota, not even a weight of 0 may be taken.
    pub(super) fn ready(
        &self,
        now: Instant,
        throttle: Option<&Throttle>,
        weight: u64,
        is_urgent: bool,
    ) -> Result<(), Option<Instant>> {
        let reserve = if is_urgent || weight == 0 { 0 } else { self.reserve };
        let missing = units(weight).min(self.burst - reserve) + reserve - self.level(now, throttle);
        let flows_in = if missing <= 0 {
            None
        } else {
            let wait = match throttle.and_then(|throttle| throttle.ramp(self.full)) {
                None => self.full.time_for(missing),
                Some(ramp) => ramp.time_for(missing, now),
            };
            Some(now.checked_add(wait))
        };
        let quota = self.quota.as_ref().filter(|quota| now < quota.until && quota.left < weight.max(1));
        match (flows_in, quota) {
            (None, None) => Ok(()),
            (Some(until), None) => Err(until),
            (None, Some(quota)) => Err(Some(quota.until)),
            (Some(until), Some(quota)) => Err(until.map(|until| until.max(quota.until))),
        }
    }

    pub(super) fn take(&mut self, now: Instant, throttle: Option<&Throttle>, weight: u64) {
        self.fill(now, throttle);
        self.level = self.level.saturating_sub(units(weight));
        if let Some(quota) = &mut self.quota {
            quota.left = quota.left.saturating_sub(weight);
        }
    }

    /// Corrects what the permit of that number took, from `taken` to `used`.
    pub(super) fn correct(&mut self, now: Instant, throttle: Option<&Throttle>, number: u64, taken: u64, used: u64) {
        self.fill(now, throttle);
        let level = self.level.saturating_add(units(taken)).saturating_sub(units(used));
        self.level = level.clamp(-self.most_debt(), self.burst);
        if let Some(quota) = self.quota.as_mut().filter(|quota| number > quota.granted) {
            quota.left = quota.left.saturating_add(taken).saturating_sub(used);
        }
    }

    /// Brings it up to `now`, before anything changes how it fills.
    pub(super) fn fill(&mut self, now: Instant, throttle: Option<&Throttle>) {
        self.level = self.level(now, throttle);
        self.since = self.since.max(now);
    }

    pub(super) fn set_rate(&mut self, per_second: f64) {
        self.per_second = per_second;
        self.full = Rate::new(per_second);
    }

    pub(super) fn set_quota(&mut self, left: u64, until: Option<Instant>, granted: u64) {
        self.quota = until.map(|until| Quota { left, until, granted });
    }

    /// Whether a permit may weigh so much: it would be paid off in time.
    pub(super) fn carries(&self, weight: u64) -> bool {
        units(weight) <= self.burst.saturating_add(self.most_debt())
    }

    /// What flows in during the longest pause, so that no debt is a wait without an end.
    fn most_debt(&self) -> i128 {
        self.full.flow(LONGEST_PAUSE).max(self.burst)
    }
}
