//! What is fixed when retries are set up.

use std::fmt;
use std::time::Duration;

use super::{Jitter, Retry};
use crate::stack::clock::Clock;

/// Builds a [`Retry`].
#[must_use]
pub struct RetryBuilder<E> {
    retry: Retry<E>,
}

impl<E> RetryBuilder<E> {
    pub(super) fn new(is_retryable: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        let retry = Retry {
            attempts: 6,
            base_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            jitter: Jitter::Full,
            timeout: None,
            is_retryable: Box::new(is_retryable),
            ask_floor: None,
            sleep: None,
            random: Box::new(fastrand::f64),
            clock: Clock::default(),
        };
        Self { retry }
    }

    /// The maximum number of attempts, including the first one; 6 by default, and 0 counts as 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.retry.attempts = attempts.max(1);
        self
    }

    /// The delay after the first attempt, before jitter; 500 ms by default. Each later delay is twice the one before.
    pub fn base_delay(mut self, delay: Duration) -> Self {
        self.retry.base_delay = delay;
        self
    }

    /// The maximum delay, unless the provider [asks](RetryBuilder::retry_after) for a longer one; 30 s by default.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.retry.max_delay = delay;
        self
    }

    /// How much of each delay is random; [`Jitter::Full`] by default.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.retry.jitter = jitter;
        self
    }

    /// The maximum time for all attempts and delays together; unlimited by default.
    ///
    /// A delay that would end later does not begin: the last error is returned at once. A running attempt is never
    /// interrupted.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.retry.timeout = Some(timeout);
        self
    }

    /// Reads from an error the delay that the provider asks for, as with the header `Retry-After`, which
    /// [`retry_after`](super::retry_after()) parses. No delay is shorter than that, and its random part comes on top, so that callers
    /// that were refused together do not come back together. Without a
    /// [timeout](RetryBuilder::timeout) it can be as long as the provider likes.
    pub fn retry_after(mut self, ask: impl Fn(&E) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.retry.ask_floor = Some(Box::new(ask));
        self
    }

    /// Replaces what waits between attempts; by default the thread sleeps, by the [clock](RetryBuilder::clock).
    pub fn sleep_with(mut self, sleep: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.retry.sleep = Some(Box::new(sleep));
        self
    }

    /// The source of random numbers from 0 to 1. A number outside that range counts as the nearer end, and NaN as 1.
    pub fn random_with(mut self, random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.retry.random = Box::new(random);
        self
    }

    /// The clock for delays and the timeout; the system's by default.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.retry.clock = clock.into();
        self
    }

    /// The retries.
    #[must_use]
    pub fn build(self) -> Retry<E> {
        self.retry
    }
}

impl<E> fmt::Debug for RetryBuilder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RetryBuilder").field(&self.retry).finish()
    }
}
