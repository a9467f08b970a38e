//! [`Pacer`]: limits calls per second and concurrent calls, in order of arrival.

mod adaptive;
mod bucket;
mod builder;
mod error;
mod faults;
mod gate;
#[cfg(sync_coalesce_shuttle)]
mod models;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

pub use self::adaptive::Adaptive;
pub use self::builder::PacerBuilder;
pub use self::error::{AcquireError, PacerBuildError};
use self::gate::{Admission, Gate};
use crate::stack::clock::{Clock, Waiter};
use crate::stack::interrupt::{Interrupt, Interrupted};
use crate::stack::pace::faults::Fault;
use crate::sync::{Mutex, step};

/// Limits the rate of calls, with bursts, and the number of concurrent calls.
///
/// A pacer is a handle: its clones share one pacer. Make one for each provider and share it, since each new one begins
/// with a full burst.
///
/// # Order
///
/// Waiters are served in order of arrival. A waiter whose deadline passes leaves the line, is charged nothing and
/// delays nobody. [`try_acquire`](Pacer::try_acquire) does not overtake waiters either.
///
/// # How fast it can be
///
/// A pacer begins with its whole burst. After that, in any half-open interval of one second, it lets through at most
/// `rate + burst - 1` calls, where the rate is rounded up to a whole number. With a burst of 1 that is never more than
/// the rate.
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
#[derive(Clone)]
pub struct Pacer {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    line: Mutex<Line>,
}

/// Only the first waiter in the line asks the gate. Whoever leaves the line notifies the one that is first then.
struct Line {
    gate: Gate,
    waiting: VecDeque<Arc<Waiter>>,
}

impl Line {
    fn is_first(&self, waiter: &Arc<Waiter>) -> bool {
        self.waiting.front().is_some_and(|first| Arc::ptr_eq(first, waiter))
    }
}

/// Permission for one call. Keep it until the call has ended: it counts as a concurrent call until it is dropped.
#[must_use = "a permit that is dropped at once does not limit concurrent calls"]
pub struct Permit {
    shared: Arc<Shared>,
    waited: Duration,
}

/// The state of a [`Pacer`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PacerStatus {
    /// The current rate in calls per second; `None` if there is no limit.
    pub rate: Option<f64>,
    /// The number of callers that wait for a permit.
    pub waiting: usize,
    /// The number of permits that are held.
    pub running: u32,
}

impl Pacer {
    /// A builder of pacers. Without a rate and without a limit on concurrent calls, a pacer lets everything through.
    pub fn builder() -> PacerBuilder {
        PacerBuilder::new()
    }

    fn new(gate: Gate, clock: Clock) -> Self {
        let line = Mutex::new(Line { gate, waiting: VecDeque::new() });
        Self { shared: Arc::new(Shared { clock, line }) }
    }

    /// A permit for one call.
    ///
    /// # Blocking
    ///
    /// Until all earlier callers have been served and both the rate and the limit on concurrent calls allow one more
    /// call. A thread that already holds a permit may wait for itself here, and no coalescer sees this wait. Use a
    /// [timeout](Pacer::acquire_timeout), or drop the first permit before.
    pub fn acquire(&self) -> Permit {
        // Only a deadline ends a wait without a permit.
        loop {
            if let Ok(permit) = self.wait(None, None) {
                return permit;
            }
        }
    }

    /// A permit for one call, without waiting.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the call is not allowed now, or others wait.
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
        Ok(self.wait(self.shared.clock.now().checked_add(timeout), None)?)
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
        Ok(self.wait(Some(deadline), None)?)
    }

    /// As [`acquire_timeout`](Pacer::acquire_timeout), for a leader whose wait may be interrupted.
    pub(super) fn acquire_unless(&self, timeout: Option<Duration>, interrupt: &Interrupt) -> Result<Permit, NoPermit> {
        self.wait(timeout.and_then(|timeout| self.shared.clock.now().checked_add(timeout)), Some(interrupt))
    }

    /// Reports that the provider refused a call for being too fast, as with a status 429, and the delay that it asked
    /// for, if any.
    ///
    /// No call is let through before `retry_after` has passed, and after that the usual limits decide. Of several such
    /// pauses the one that ends last counts, and none is longer than a day. An [adaptive](PacerBuilder::adaptive) pacer
    /// also becomes slower.
    pub fn throttled(&self, retry_after: Option<Duration>) {
        let now = self.shared.clock.now();
        // The first waiter wakes when it would have been let through, and finds that it must wait longer.
        self.shared.line.lock().gate.throttled(now, retry_after);
    }

    /// A consistent snapshot of the pacer.
    #[must_use]
    pub fn status(&self) -> PacerStatus {
        let now = self.shared.clock.now();
        let line = self.shared.line.lock();
        PacerStatus { rate: line.gate.rate(now), waiting: line.waiting.len(), running: line.gate.running() }
    }

    fn wait(&self, deadline: Option<Instant>, interrupt: Option<&Interrupt>) -> Result<Permit, NoPermit> {
        let clock = &self.shared.clock;
        let began = clock.now();
        let waiter = interrupt.map_or_else(Waiter::new, |interrupt| Arc::clone(interrupt.waiter()));
        self.shared.line.lock().waiting.push_back(Arc::clone(&waiter));
        loop {
            let interrupted = interrupt.and_then(|interrupt| interrupt.check().err());
            let until = {
                let mut line = self.shared.line.lock();
                let is_first = line.is_first(&waiter);
                let admission = if is_first && interrupted.is_none() {
                    line.gate.try_admit(clock.now())
                } else {
                    Admission::Wait(None)
                };
                match admission {
                    Admission::Granted => {
                        line.waiting.pop_front();
                        let next = line.waiting.front().cloned();
                        drop(line);
                        step!(PacedTellsNobody, notify(next));
                        let shared = Arc::clone(&self.shared);
                        return Ok(Permit { shared, waited: clock.now().saturating_duration_since(began) });
                    }
                    Admission::Wait(_)
                        if interrupted.is_some() || deadline.is_some_and(|deadline| clock.has_passed(deadline)) =>
                    {
                        line.waiting.retain(|other| !Arc::ptr_eq(other, &waiter));
                        let next = line.waiting.front().filter(|_| is_first).cloned();
                        drop(line);
                        step!(LineLeaverTellsNobody, notify(next));
                        return Err(interrupted.map_or(NoPermit::Late, NoPermit::Interrupted));
                    }
                    Admission::Wait(until) => [until, deadline].into_iter().flatten().min(),
                }
            };
            // If this thread becomes first, a permit is dropped, or it is interrupted, between the unlock and this wait,
            // the waiter is notified and remembers it.
            clock.wait(&waiter, until, interrupt.and_then(Interrupt::deadline));
        }
    }
}

/// Why a wait ended without a permit.
pub(super) enum NoPermit {
    Late,
    Interrupted(Interrupted),
}

impl From<NoPermit> for AcquireError {
    fn from(_: NoPermit) -> Self {
        Self
    }
}

fn notify(waiter: Option<Arc<Waiter>>) {
    if let Some(waiter) = waiter {
        waiter.notify();
    }
}

impl Permit {
    /// How long the caller waited for this permit.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let first = {
            let mut line = self.shared.line.lock();
            line.gate.leave();
            line.waiting.front().cloned()
        };
        step!(PermitDropIsMissed, notify(first));
    }
}

impl fmt::Debug for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pacer").field(&self.status()).finish()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("waited", &self.waited).finish_non_exhaustive()
    }
}
