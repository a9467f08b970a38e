//! [`Retry`]: transient errors are retried, with exponential backoff and jitter.

mod after;
mod builder;
mod error;
pub mod retryable;

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

pub use self::after::{retry_after, retry_after_at};
pub use self::builder::RetryBuilder;
pub(in crate::stack) use self::error::Attempts;
pub use self::error::RetryError;
use crate::stack::clock::Clock;
use crate::stack::interrupt::{Interrupt, Interrupted};

/// Retries calls that fail with a transient error.
///
/// The predicate that it is [built](Retry::builder) with says which errors are transient; [`retryable`] has predicates
/// to build on. The delays between attempts double, up to a maximum, and are random below that, so that callers that
/// failed together do not come back together.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::retry::{Retry, RetryError};
///
/// #[derive(Debug, PartialEq)]
/// enum Refused {
///     Busy { retry_after: Option<Duration> },
///     Forbidden,
/// }
///
/// let retry = Retry::builder(|error: &Refused| matches!(error, Refused::Busy { .. }))
///     .attempts(3)
///     .timeout(Duration::from_secs(60))
///     .retry_after(|error| match error {
///         Refused::Busy { retry_after } => *retry_after,
///         Refused::Forbidden => None,
///     })
///     .sleep_with(|delay| assert!(delay <= Duration::from_secs(1)))
///     .build();
///
/// let mut answers = [Err(Refused::Busy { retry_after: None }), Ok(42)].into_iter();
/// assert_eq!(retry.run(|| answers.next().unwrap()), Ok(42));
///
/// let given_up = retry.run(|| Err::<(), _>(Refused::Forbidden));
/// assert_eq!(given_up, Err(RetryError::NotRetryable { attempts: 1, error: Refused::Forbidden }));
/// ```
pub struct Retry<E> {
    attempts: u32,
    base_delay: Duration,
    max_delay: Duration,
    jitter: Jitter,
    timeout: Option<Duration>,
    is_retryable: AskError<E, bool>,
    ask_floor: Option<AskError<E, Option<Duration>>>,
    sleep: Option<Box<dyn Fn(Duration) + Send + Sync>>,
    random: Box<dyn Fn() -> f64 + Send + Sync>,
    clock: Clock,
}

type AskError<E, R> = Box<dyn Fn(&E) -> R + Send + Sync>;

/// How much of a delay is random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// All of it: the delay is from 0 to the whole.
    #[default]
    Full,
    /// Half of it: the delay is from one half to the whole.
    Equal,
    /// None of it: the delay is the whole.
    None,
}

impl<E> Retry<E> {
    /// A builder of retries for the errors that `is_retryable` accepts: 6 attempts, with delays of 500 ms that double
    /// up to 30 s, full jitter, and no limit on the total time.
    pub fn builder(is_retryable: impl Fn(&E) -> bool + Send + Sync + 'static) -> RetryBuilder<E> {
        RetryBuilder::new(is_retryable)
    }

    /// The first value that `work` returns.
    ///
    /// # Blocking
    ///
    /// While `work` runs, and during the delays in between. No lock is held.
    ///
    /// # Panics
    ///
    /// A panic in `work`, or in a closure given to the builder, is passed on to the caller, and nothing is retried.
    ///
    /// # Errors
    ///
    /// [`RetryError::NotRetryable`] if the predicate rejects an error, and [`RetryError::Exhausted`] if no attempts or
    /// no time are left.
    pub fn run<T>(&self, work: impl FnMut() -> Result<T, E>) -> Result<T, RetryError<E>> {
        self.run_with(work, |wait| {
            self.sleep(wait);
            Ok(())
        })
        .unwrap_or_else(|never: Infallible| match never {})
    }

    /// The same for a leader whose pauses may be interrupted. A pause that would end after its deadline does not begin.
    pub(super) fn run_unless<T>(
        &self,
        work: impl FnMut() -> Result<T, E>,
        interrupt: &Interrupt,
    ) -> Result<Result<T, RetryError<E>>, Interrupted> {
        self.run_with(work, |wait| {
            interrupt.check()?;
            let ends_too_late = |deadline| self.clock.ends_after(wait, deadline);
            if interrupt.deadline().is_some_and(ends_too_late) {
                return Err(Interrupted::TimedOut);
            }
            match &self.sleep {
                Some(sleep) => sleep(wait),
                None => self
                    .clock
                    .sleep_unless(wait, interrupt.waiter(), interrupt.deadline(), || interrupt.check().is_err()),
            }
            interrupt.check()
        })
    }

    fn sleep(&self, wait: Duration) {
        match &self.sleep {
            Some(sleep) => sleep(wait),
            None => self.clock.sleep(wait),
        }
    }

    fn run_with<T, I>(
        &self,
        mut work: impl FnMut() -> Result<T, E>,
        pause: impl Fn(Duration) -> Result<(), I>,
    ) -> Result<Result<T, RetryError<E>>, I> {
        let end = self.timeout.and_then(|timeout| self.clock.now().checked_add(timeout));
        let mut attempts = 0;
        loop {
            let error = match work() {
                Ok(value) => return Ok(Ok(value)),
                Err(error) => error,
            };
            attempts += 1;
            if !(self.is_retryable)(&error) {
                return Ok(Err(RetryError::NotRetryable { attempts, error }));
            }
            if attempts >= self.attempts {
                return Ok(Err(RetryError::Exhausted { attempts, error }));
            }
            let asked = self.ask_floor.as_ref().and_then(|ask| ask(&error));
            let wait = self.delay(attempts, asked.unwrap_or_default());
            let ends_in_time = match (self.clock.now().checked_add(wait), end) {
                (Some(wakes), Some(end)) => wakes <= end,
                (Some(_), None) => true,
                // Beyond what an `Instant` can represent.
                (None, _) => false,
            };
            if !ends_in_time {
                return Ok(Err(RetryError::Exhausted { attempts, error }));
            }
            pause(wait)?;
        }
    }

    /// The delay after this many attempts. It is no shorter than `asked`, and what is random comes on top of that: those
    /// who were asked to wait equally long do not come back together.
    fn delay(&self, attempts: u32, asked: Duration) -> Duration {
        let whole = doubled(self.base_delay, attempts - 1, self.max_delay);
        let random = || match (self.random)() {
            number if number.is_nan() => 1.0,
            number => number.clamp(0.0, 1.0),
        };
        let (fixed, spread) = match self.jitter {
            Jitter::None => (whole, Duration::ZERO),
            Jitter::Equal => (whole / 2, part(whole / 2, random())),
            Jitter::Full => (Duration::ZERO, part(whole, random())),
        };
        fixed.max(asked).saturating_add(spread)
    }
}

/// `delay` doubled so many times, and `most` at most.
fn doubled(delay: Duration, times: u32, most: Duration) -> Duration {
    let mut doubled = delay;
    for _ in 0..times {
        // From here on it stays the same.
        if doubled.is_zero() || doubled >= most {
            break;
        }
        doubled = doubled.saturating_mul(2);
    }
    doubled.min(most)
}

/// A `part` of `whole`, from 0 to 1. Rounding may carry the longest durations past what a `Duration` holds.
fn part(whole: Duration, part: f64) -> Duration {
    Duration::try_from_secs_f64(whole.as_secs_f64() * part).map_or(whole, |product| product.min(whole))
}

impl<E> fmt::Debug for Retry<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("base_delay", &self.base_delay)
            .field("max_delay", &self.max_delay)
            .field("jitter", &self.jitter)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
