//! [`Pacer`]: limits calls per second and concurrent calls, in order of arrival.

mod acquire;
mod adaptive;
mod bucket;
mod builder;
mod error;
mod faults;
mod gate;
mod limit;
mod line;
#[cfg(sync_coalesce_shuttle)]
mod models;
mod pacing;
mod permit;
mod rate;
mod request;
mod status;
mod throttle;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use self::acquire::NoPermit;
use self::acquire::notify;
pub use self::adaptive::Adaptive;
pub use self::builder::PacerBuilder;
pub use self::error::{AcquireError, LimitError, PacerBuildError};
use self::gate::Gate;
pub use self::limit::Limit;
use self::limit::Named;
use self::line::Line;
pub(super) use self::pacing::{Pacing, Urgency, Wants};
pub use self::permit::Permit;
use self::rate::{LIMIT_RATES, RATES, whole_units};
use self::request::Ask;
pub use self::request::PermitRequest;
pub use self::status::{LimitStatus, PacerStatus};
use crate::stack::clock::Clock;
use crate::stack::pace::faults::Fault;
use crate::sync::{AtomicU64, Mutex, Ordering, global, step};

/// A longer pause is cut to this, so that waiters without a deadline do not hang.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Limits the rate of calls, with bursts, the number of concurrent calls, and units of other kinds, such as tokens per
/// minute.
///
/// A pacer is a handle: its clones share one pacer. Make one for each provider and share it, since each new one begins
/// with a full burst.
///
/// # Order
///
/// Waiters are served in order of arrival. A waiter whose deadline passes leaves the line, is charged nothing and
/// delays nobody. [`try_acquire`](Pacer::try_acquire) does not overtake waiters either, and changes nothing if it fails.
/// Who is first in the line takes from all limits at once or from none, and until then nobody behind it is served: a heavy
/// call is not starved by light ones.
///
/// [Urgent](PermitRequest::urgent) callers have a line of their own, which goes first. Ordinary callers are not starved by
/// it: while one waits, at most four urgent callers in a row go before it. The next permit is the ordinary caller's, which
/// may then use what is kept free for urgent ones: concurrent calls
/// ([`reserve_concurrency`](PacerBuilder::reserve_concurrency)) and parts of a burst
/// ([`reserve_burst`](PacerBuilder::reserve_burst), [`Limit::reserve`]).
///
/// # How fast it can be
///
/// A pacer begins with its whole burst. After that, in any half-open interval of one second, it lets through at most
/// `rate + burst - 1` calls, where the rate is rounded up to a whole number. With a burst of 1 that is never more than
/// the rate. Time is counted exactly: however often a pacer is asked, nothing is rounded away.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::ManualClock;
/// use sync_coalesce::stack::pace::Pacer;
///
/// let clock = ManualClock::new();
/// let pacer = Pacer::builder().per_second(0.2).concurrency(3).clock(&clock).build()?;
///
/// let permit = pacer.acquire();
/// // The call goes here. Dropping the permit makes room for another of the three concurrent calls.
/// drop(permit);
///
/// assert!(pacer.try_acquire().is_err(), "the next call may start after five seconds");
/// clock.advance(Duration::from_secs(5));
/// assert!(pacer.try_acquire().is_ok());
/// # Ok::<(), sync_coalesce::stack::pace::PacerBuildError>(())
/// ```
pub struct Pacer {
    shared: Arc<Shared>,
    /// The number of the permit that this handle belongs to.
    about: Option<u64>,
}

struct Shared {
    /// In the order in which pacers were built.
    number: u64,
    clock: Clock,
    limits: Box<[Named]>,
    line: Mutex<Line>,
}

impl Pacer {
    /// The name of the limit that is set by [`per_second`](PacerBuilder::per_second), and its unit, of which each permit
    /// weighs one.
    pub const CALLS: &'static str = "calls";

    /// A builder of pacers. Without a rate and without a limit on concurrent calls, a pacer lets everything through.
    pub fn builder() -> PacerBuilder {
        PacerBuilder::new()
    }

    fn new(gate: Gate, limits: Box<[Named]>, clock: Clock) -> Self {
        global! {
            static PACERS: AtomicU64 = AtomicU64::new(0);
        }
        let line = Mutex::new(Line::new(gate));
        let number = PACERS.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::new(Shared { number, clock, limits, line }), about: None }
    }

    fn about(&self, number: u64) -> Self {
        Self { shared: Arc::clone(&self.shared), about: Some(number) }
    }

    /// A permit for one call.
    ///
    /// # Blocking
    ///
    /// Until all earlier callers have been served and both the rate and the limit on concurrent calls allow one more
    /// call. A thread that already holds a permit may wait for itself here, and no coalescer sees this wait. Use a
    /// [timeout](Pacer::acquire_timeout), or drop the first permit before. If the thread belongs to a coalescer's pool,
    /// another one takes its place meanwhile.
    pub fn acquire(&self) -> Permit {
        // Only a deadline ends a wait for one call without a permit.
        loop {
            if let Ok(permit) = self.wait(Ask::CALL, None, None) {
                return permit;
            }
        }
    }

    /// A permit for one call, without waiting.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the call is not allowed now, or others wait. Nothing changes then.
    pub fn try_acquire(&self) -> Result<Permit, AcquireError> {
        self.acquire_deadline(self.shared.clock.now())
    }

    /// As [`acquire`](Pacer::acquire), for at most `timeout`. `Duration::MAX` means no limit.
    ///
    /// # Blocking
    ///
    /// As [`acquire`](Pacer::acquire), but no longer than `timeout` on the pacer's clock.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the timeout passes first.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit, AcquireError> {
        Ok(self.wait(Ask::CALL, self.shared.clock.now().checked_add(timeout), None)?)
    }

    /// As [`acquire`](Pacer::acquire), until `deadline` on the pacer's clock. A permit that is available wins over a
    /// deadline that has passed.
    ///
    /// # Blocking
    ///
    /// As [`acquire`](Pacer::acquire), but no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the deadline passes first.
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<Permit, AcquireError> {
        Ok(self.wait(Ask::CALL, Some(deadline), None)?)
    }

    /// A request for a permit with a weight, an urgency or a deadline of its own.
    pub fn request(&self) -> PermitRequest<'_> {
        PermitRequest::new(self)
    }

    /// Reports that the provider refused a call for being too fast, as with a status 429, and the delay that it asked
    /// for, if any.
    ///
    /// No call is let through before `retry_after` has passed, and after that the usual limits decide. Of several such
    /// pauses the one that ends last counts, and none is longer than a day. An [adaptive](PacerBuilder::adaptive) pacer
    /// also becomes slower, once for all calls that were out together: see [`Adaptive`]. Report it while the permit is
    /// held, or better [on the permit](Permit::throttled).
    pub fn throttled(&self, retry_after: Option<Duration>) {
        let mut line = self.shared.line.lock();
        // The first waiter wakes when it would have been let through, and finds that it must wait longer.
        line.gate.refused(self.shared.clock.now(), retry_after, self.about);
    }

    /// Sets the rate of a limit at run time, in units per second. For [`CALLS`](Pacer::CALLS) that is the full rate of an
    /// adaptive pacer, which stays slowed down in proportion. Who waits goes by the new rate at once; what flowed in
    /// before is kept.
    ///
    /// # Errors
    ///
    /// [`LimitError`] if there is no such limit, or the rate is not in its range. Then nothing changes.
    pub fn set_rate(&self, limit: &str, per_second: f64) -> Result<(), LimitError> {
        let index = self.limit(limit)?;
        let is_calls = limit == Self::CALLS;
        if !(if is_calls { RATES } else { LIMIT_RATES }).contains(&per_second) {
            return Err(LimitError::Rate { per_second });
        }
        self.change(|gate, now| gate.set_rate(now, index, per_second, is_calls));
        Ok(())
    }

    /// Takes over what a provider says about a limit, as in the headers of a response: `remaining` units are left until
    /// it counts from zero, after `reset`.
    ///
    /// No more than these are let through before `reset` has passed, and none of them faster than the limit's own rate and
    /// burst allow. Each report replaces the one before, and `reset` is at most a day; zero means that there is nothing to
    /// keep to. Calls that were still on their way when the provider counted are not in its number: leave some room for
    /// them. A permit that weighs nothing in the limit waits too when nothing remains.
    ///
    /// # Errors
    ///
    /// [`LimitError`] if there is no such limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::stack::ManualClock;
    /// use sync_coalesce::stack::pace::Pacer;
    ///
    /// let clock = ManualClock::new();
    /// let pacer = Pacer::builder().per_second(10.0).burst(10).clock(&clock).build()?;
    /// // x-ratelimit-remaining-requests: 2, x-ratelimit-reset-requests: 6s
    /// pacer.set_remaining(Pacer::CALLS, 2, Duration::from_secs(6))?;
    /// assert!(pacer.try_acquire().is_ok() && pacer.try_acquire().is_ok());
    /// assert!(pacer.try_acquire().is_err());
    /// clock.advance(Duration::from_secs(6));
    /// assert!(pacer.try_acquire().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_remaining(&self, limit: &str, remaining: u64, reset: Duration) -> Result<(), LimitError> {
        let index = self.limit(limit)?;
        self.change(|gate, now| gate.set_quota(now, index, remaining, reset));
        Ok(())
    }

    /// Changes the limits, and has the first waiter look again: it may have less to wait for.
    fn change(&self, change: impl FnOnce(&mut Gate, Instant)) {
        let mut line = self.shared.line.lock();
        change(&mut line.gate, self.shared.clock.now());
        let first = line.first().cloned();
        drop(line);
        step!(ChangeIsMissed, notify(first));
    }

    fn counts(&self, unit: &str) -> bool {
        self.shared.limits.iter().any(|limit| &*limit.unit == unit)
    }

    fn limit(&self, name: &str) -> Result<usize, LimitError> {
        let position = self.shared.limits.iter().position(|limit| &*limit.name == name);
        position.ok_or_else(|| LimitError::Unknown { name: name.to_owned() })
    }

    /// A consistent snapshot of the pacer. To look changes nothing.
    #[must_use]
    pub fn status(&self) -> PacerStatus {
        let calls = self.limit(Self::CALLS).ok();
        let line = self.shared.line.lock();
        let now = self.shared.clock.now();
        PacerStatus {
            rate: calls.map(|index| line.gate.limit(index, now).0),
            waiting: line.waiting(),
            waiting_urgent: line.waiting_urgent(),
            running: line.gate.running(),
        }
    }

    /// A consistent snapshot of all limits, in the order in which the builder was given them. To look changes nothing.
    #[must_use]
    pub fn limits(&self) -> Vec<LimitStatus> {
        let line = self.shared.line.lock();
        let now = self.shared.clock.now();
        let status = |(index, limit): (usize, &Named)| {
            let (rate, available) = line.gate.limit(index, now);
            LimitStatus { name: limit.name.to_string(), rate, available: whole_units(available) }
        };
        self.shared.limits.iter().enumerate().map(status).collect()
    }
}

impl Clone for Pacer {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), about: None }
    }
}

impl fmt::Debug for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pacer").field(&self.status()).finish()
    }
}
