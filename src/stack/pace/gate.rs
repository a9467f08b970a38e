//! The limits of a pacer, asked by one thread at a time.

use std::time::{Duration, Instant};

use super::adaptive::Throttle;
use super::bucket::Bucket;

/// A longer pause is cut to this, so that waiters without a deadline do not hang.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// The limit on the rate.
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

/// The answer of the gate.
pub(super) enum Admission {
    /// The caller is let through, and charged.
    Granted,
    /// The caller should ask again then, or when it is notified.
    Wait(Option<Instant>),
}

impl Pace {
    fn rate(&self, now: Instant) -> f64 {
        self.throttle.as_ref().map_or(self.per_second, |throttle| throttle.rate(now))
    }
}

impl Gate {
    /// Asks the bucket last, because that one charges.
    pub(super) fn try_admit(&mut self, now: Instant) -> Admission {
        if let Some(until) = self.paused_until.filter(|until| now < *until) {
            return Admission::Wait(Some(until));
        }
        if self.running >= self.concurrency {
            return Admission::Wait(None);
        }
        if let Some(pace) = &self.pace {
            if let Err(wait) = pace.bucket.take(now, pace.rate(now)) {
                return Admission::Wait(now.checked_add(wait));
            }
        }
        self.running += 1;
        Admission::Granted
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
