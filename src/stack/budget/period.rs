//! Consecutive periods of equal length.

use std::time::{Duration, Instant};

pub(super) struct Period {
    began: Instant,
    length: Duration,
}

impl Period {
    /// `length` must not be 0.
    pub(super) fn new(began: Instant, length: Duration) -> Self {
        Self { began, length }
    }

    /// The number of periods that have ended since the last call; 0 for a `now` that was read before another thread's
    /// call.
    pub(super) fn roll(&mut self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.began).as_nanos();
        let passed = u64::try_from(elapsed / self.length.as_nanos()).unwrap_or(u64::MAX);
        if passed > 0 {
            self.began = now.checked_sub(nanoseconds(elapsed % self.length.as_nanos())).unwrap_or(now);
        }
        passed
    }

    pub(super) fn left(&self, now: Instant) -> Duration {
        self.length.saturating_sub(now.saturating_duration_since(self.began))
    }
}

fn nanoseconds(count: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    Duration::new(u64::try_from(count / SECOND).unwrap_or(u64::MAX), (count % SECOND) as u32)
}
