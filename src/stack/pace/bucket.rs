//! `ratelimit`'s token bucket, which gets the time and the rate with each call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ratelimit::{Builder, Ratelimiter, TryWaitError};

use super::error::PacerBuildError;
use crate::sync::{AtomicU64, Ordering};

/// From one call in eleven days to one in a microsecond. The lower end keeps ratelimit's rate, which is a whole number,
/// above 0, which would mean no limit.
pub(super) const RATES: std::ops::RangeInclusive<f64> = 0.000_001..=1_000_000.0;

/// Rates are given to ratelimit as tokens per this time, so that they may have six decimals.
const PERIOD: Duration = Duration::from_secs(1_000_000);

/// The shortest time after which ratelimit refills.
const SHORTEST_WAIT: Duration = Duration::from_micros(1);

pub(super) struct Bucket {
    limiter: Ratelimiter<Elapsed>,
    elapsed: Arc<AtomicU64>,
    began: Instant,
}

/// Nanoseconds since the bucket was made, as of the last call.
struct Elapsed(Arc<AtomicU64>);

impl ratelimit::Clock for Elapsed {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Bucket {
    /// Full at the beginning.
    pub(super) fn new(per_second: f64, burst: u32, began: Instant) -> Result<Self, PacerBuildError> {
        if !RATES.contains(&per_second) {
            return Err(PacerBuildError::Rate { per_second });
        }
        let elapsed = Arc::new(AtomicU64::new(0));
        let limiter = Builder::with_clock(tokens_per_period(per_second), Elapsed(Arc::clone(&elapsed)))
            .period(PERIOD)
            .max_tokens(burst.into())
            .initial_available(burst.into())
            .build()
            .map_err(|_| PacerBuildError::Burst)?;
        Ok(Self { limiter, elapsed, began })
    }

    /// Takes one token, or returns after how long to ask again.
    ///
    /// Tokens since the last call are counted at the new rate: too few after a cut, and slightly too many after a
    /// recovery, but never more than at the full rate.
    pub(super) fn take(&self, now: Instant, per_second: f64) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.began).as_nanos();
        self.elapsed.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.limiter.set_rate(tokens_per_period(per_second));
        self.limiter.try_wait().map_err(|error| match error {
            TryWaitError::Insufficient(wait) => wait.max(SHORTEST_WAIT),
            // Cannot happen for one token of a bucket that holds at least one.
            _ => PERIOD,
        })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10^12, see RATES")]
fn tokens_per_period(per_second: f64) -> u64 {
    (per_second.clamp(*RATES.start(), *RATES.end()) * PERIOD.as_secs_f64()).round() as u64
}
