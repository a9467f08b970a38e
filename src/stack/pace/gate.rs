//! What lets calls through, asked by one at a time.

use std::time::{Duration, Instant};

use super::adaptive::Throttle;
use super::bucket::Bucket;

/// A provider that asks for more is not believed: waiters without a deadline would hang.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the rate comes from.
pub(super) struct Pace {
    pub(super) bucket: Bucket,
    pub(super) per_second: f64,
    pub(super) throttle: Option<Throttle>,
}

pub(super) struct Gate {
    pub(super) pace: Option<Pace>,
    pub(super) concurrency: u32,
    pub(super) running: u32,
    pub(super) paused_until: Option<Instant>,
}

/// What the gate says to the one who asks.
pub(super) enum Look {
    /// It is through, and charged.
    Go,
    /// It should ask again then, or when it is rung for.
    Wait(Option<Instant>),
}

impl Pace {
    fn rate(&self, now: Instant) -> f64 {
        self.throttle.as_ref().map_or(self.per_second, |throttle| throttle.rate(now))
    }
}

impl Gate {
    /// The bucket is asked last, for it charges.
    pub(super) fn look(&mut self, now: Instant) -> Look {
        if let Some(until) = self.paused_until.filter(|until| now < *until) {
            return Look::Wait(Some(until));
        }
        if self.running >= self.concurrency {
            return Look::Wait(None);
        }
        if let Some(pace) = &self.pace {
            if let Err(wait) = pace.bucket.take(now, pace.rate(now)) {
                return Look::Wait(now.checked_add(wait));
            }
        }
        self.running += 1;
        Look::Go
    }

    pub(super) fn leave(&mut self) {
        self.running -= 1;
    }

    pub(super) fn throttled(&mut self, now: Instant, retry_after: Option<Duration>) {
        if let Some(pause) = retry_after {
            self.paused_until = self.paused_until.max(now.checked_add(pause.min(LONGEST_PAUSE)));
        }
        if let Some(throttle) = self.pace.as_mut().and_then(|pace| pace.throttle.as_mut()) {
            throttle.cut(now);
        }
    }

    pub(super) fn rate(&self, now: Instant) -> Option<f64> {
        self.pace.as_ref().map(|pace| pace.rate(now))
    }

    pub(super) fn running(&self) -> u32 {
        self.running
    }
}
