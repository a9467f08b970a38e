//! [`Retry`]: asking again after errors that may pass, ever more seldom.

mod after;
mod error;
pub mod retryable;

use std::fmt;
use std::time::Duration;

pub use self::after::{retry_after, retry_after_at};
pub use self::error::RetryError;
use crate::stack::clock::Clock;

/// Calls again when a call fails in a way that may pass.
///
/// What may pass is for the predicate to say that it is [made](Retry::new) with; [`retryable`] has some to build it
/// from. The waits in between double from one to the next, up to a bound, and are random below that, so that callers
/// who failed together do not come back together.
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
/// let retry = Retry::new(|error: &Refused| matches!(error, Refused::Busy { .. }))
///     .attempts(3)
///     .timeout(Duration::from_secs(60))
///     .retry_after(|error| match error {
///         Refused::Busy { retry_after } => *retry_after,
///         Refused::Forbidden => None,
///     })
///     .sleep_with(|wait| assert!(wait <= Duration::from_secs(1)));
///
/// let mut answers = [Err(Refused::Busy { retry_after: None }), Ok(42)].into_iter();
/// assert_eq!(retry.run(|| answers.next().unwrap()), Ok(42));
///
/// let given_up = retry.run(|| Err::<(), _>(Refused::Forbidden));
/// assert_eq!(given_up, Err(RetryError::NotRetryable { attempts: 1, error: Refused::Forbidden }));
/// ```
#[must_use]
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

/// How much of a wait is left to chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// All of it: from nothing to the whole wait.
    #[default]
    Full,
    /// Half of it: from one half of the wait to the whole.
    Equal,
    /// Nothing: the whole wait.
    None,
}

impl<E> Retry<E> {
    /// Retries the errors of which `is_retryable` says yes: 6 attempts, waits of 500 ms doubling up to 30 s, with full
    /// jitter and no bound on the time in all.
    pub fn new(is_retryable: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        Self {
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
        }
    }

    /// How many attempts are made at most, the first one included; 0 counts as 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The wait after the first attempt, before jitter. Each later one is twice the one before.
    pub fn base_delay(mut self, delay: Duration) -> Self {
        self.base_delay = delay;
        self
    }

    /// What no wait exceeds, unless the provider [asks](Retry::retry_after) for more.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// How much of each wait is left to chance; all of it by default.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// How long attempts and waits may take together; without this, as long as they do.
    ///
    /// A wait that would end later is not begun: the last error comes back at once. An attempt that runs is never
    /// interrupted.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What the provider asked for with an error, as by the header `Retry-After`, which
    /// [`retry_after`](self::retry_after()) reads: no wait is shorter. Without a [timeout](Retry::timeout) it can be as
    /// long as the provider likes.
    pub fn retry_after(mut self, ask: impl Fn(&E) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.ask_floor = Some(Box::new(ask));
        self
    }

    /// What waits between attempts; by default the thread sleeps, by the [clock](Retry::clock).
    pub fn sleep_with(mut self, sleep: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.sleep = Some(Box::new(sleep));
        self
    }

    /// Where chance comes from: numbers from 0 to 1. What is outside counts as the nearer end, and NaN as 1.
    pub fn random_with(mut self, random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.random = Box::new(random);
        self
    }

    /// The clock to go by; the system's by default.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The first value that `work` returns.
    ///
    /// # Blocking
    ///
    /// While `work` runs, and in between for as long as the waits take. No lock is held.
    ///
    /// # Panics
    ///
    /// A panic in `work` or in any closure that was given goes on to the caller, and nothing is tried again.
    ///
    /// # Errors
    ///
    /// [`RetryError::NotRetryable`] when the predicate says so, and [`RetryError::Exhausted`] when there are no
    /// attempts or no time left.
    pub fn run<T>(&self, mut work: impl FnMut() -> Result<T, E>) -> Result<T, RetryError<E>> {
        let end = self.timeout.and_then(|timeout| self.clock.now().checked_add(timeout));
        let mut attempts = 0;
        loop {
            let error = match work() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempts += 1;
            if !(self.is_retryable)(&error) {
                return Err(RetryError::NotRetryable { attempts, error });
            }
            if attempts >= self.attempts {
                return Err(RetryError::Exhausted { attempts, last: error });
            }
            let asked = self.ask_floor.as_ref().and_then(|ask| ask(&error));
            let wait = self.delay(attempts).max(asked.unwrap_or_default());
            let ends_in_time = match (self.clock.now().checked_add(wait), end) {
                (Some(wakes), Some(end)) => wakes <= end,
                (Some(_), None) => true,
                // Longer than any clock tells is for ever.
                (None, _) => false,
            };
            if !ends_in_time {
                return Err(RetryError::Exhausted { attempts, last: error });
            }
            match &self.sleep {
                Some(sleep) => sleep(wait),
                None => self.clock.sleep(wait),
            }
        }
    }

    /// The wait after so many attempts.
    fn delay(&self, attempts: u32) -> Duration {
        let doubled = 2_u32.checked_pow(attempts - 1).and_then(|factor| self.base_delay.checked_mul(factor));
        let whole = doubled.unwrap_or(Duration::MAX).min(self.max_delay);
        let random = || match (self.random)() {
            number if number.is_nan() => 1.0,
            number => number.clamp(0.0, 1.0),
        };
        match self.jitter {
            Jitter::None => whole,
            Jitter::Equal => whole / 2 + part(whole / 2, random()),
            Jitter::Full => part(whole, random()),
        }
    }
}

/// `part` of `whole`, from 0 to 1. Rounding may carry the longest durations past what a `Duration` holds.
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
