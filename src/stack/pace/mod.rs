//! [`Pacer`]: so many calls per second, so many at once, in order of arrival.

mod adaptive;
mod bucket;
mod builder;
mod faults;
mod gate;
#[cfg(sync_coalesce_shuttle)]
mod models;

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::adaptive::Adaptive;
pub use self::builder::{PaceError, PacerBuilder};
use self::gate::{Gate, Look};
use serde::Serialize;

use crate::stack::clock::{Bell, Clock};
use crate::stack::pace::faults::Fault;
use crate::sync::{Mutex, step};

/// Lets calls through at a pace: so many per second with so many in a burst, and so many at once.
///
/// A pacer is a handle: its clones are one pacer. Make one for each provider and share it, for each new one would begin
/// with a full burst.
///
/// # Order
///
/// Waiters are served in order of arrival. One whose deadline passes leaves the line, is charged nothing and delays
/// nobody. [`try_acquire`](Pacer::try_acquire) overtakes nobody either.
///
/// # How fast it can be
///
/// A pacer begins with its whole burst. After that, in any span of one second that includes its beginning and not its
/// end, it lets through at most `rate + burst - 1` calls, with the rate rounded up to a whole number: with a burst of
/// 1, never more than the rate.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::pace::Pacer;
/// use sync_coalesce::stack::ManualClock;
///
/// let hands = ManualClock::new();
/// let pacer = Pacer::builder().per_second(0.2).concurrency(3).clock(&hands).build()?;
///
/// let permit = pacer.acquire();
/// // The call goes here, and its place among the three is free again when the permit goes.
/// drop(permit);
///
/// assert!(pacer.try_acquire().is_err(), "the next one may go after five seconds");
/// hands.advance(Duration::from_secs(5));
/// assert!(pacer.try_acquire().is_ok());
/// # Ok::<(), sync_coalesce::stack::pace::PaceError>(())
/// ```
#[derive(Clone)]
pub struct Pacer {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    line: Mutex<Line>,
}

/// Only the first of those who wait asks the gate; whoever leaves the line rings for the one who is first then.
struct Line {
    gate: Gate,
    waiting: VecDeque<Arc<Bell>>,
}

impl Line {
    fn is_first(&self, bell: &Arc<Bell>) -> bool {
        self.waiting.front().is_some_and(|first| Arc::ptr_eq(first, bell))
    }
}

/// A call that was let through. Keep it until the call has ended: it holds a place among those that may run at once.
#[must_use = "a permit that is dropped gives its place away"]
pub struct Permit {
    shared: Arc<Shared>,
    waited: Duration,
}

/// What a pacer does now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PaceStatus {
    /// Calls per second that are let through; `None` if there is no limit.
    pub rate: Option<f64>,
    /// How many callers wait for a permit.
    pub waiting: usize,
    /// How many permits there are.
    pub running: u32,
}

/// No permit was to be had in time; nothing was charged. Asking again later may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotAcquired;

impl Pacer {
    /// What builds one: without a rate and without a bound on calls at once, it lets everything through.
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
    /// Until all who came before have been served, the pace allows a call, and there is a place among those that may
    /// run at once. A thread that already holds a permit may wait for itself here: no coalescer sees this wait. Give it
    /// a [timeout](Pacer::acquire_timeout), or let the first permit go.
    pub fn acquire(&self) -> Permit {
        // Only a deadline ends a wait without a permit.
        loop {
            if let Ok(permit) = self.wait(None) {
                return permit;
            }
        }
    }

    /// A permit for one call if there is one at once and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`NotAcquired`] if not.
    pub fn try_acquire(&self) -> Result<Permit, NotAcquired> {
        self.wait(Some(self.shared.clock.now()))
    }

    /// As [`acquire`](Pacer::acquire), for at most `timeout`; `Duration::MAX` is no limit.
    ///
    /// # Blocking
    ///
    /// As [`acquire`](Pacer::acquire), until `timeout` has passed on the pacer's clock at the latest.
    ///
    /// # Errors
    ///
    /// [`NotAcquired`] when the time has passed.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit, NotAcquired> {
        self.wait(self.shared.clock.now().checked_add(timeout))
    }

    /// As [`acquire`](Pacer::acquire), until `deadline` by the pacer's clock. A permit that is there beats a deadline
    /// that has passed.
    ///
    /// # Blocking
    ///
    /// As [`acquire`](Pacer::acquire), until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`NotAcquired`] when the deadline has passed.
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<Permit, NotAcquired> {
        self.wait(Some(deadline))
    }

    /// Tells that the provider refused a call because of its pace, as by a status 429, and after how long it wants to
    /// be asked again, if it said so.
    ///
    /// Nobody is let through before `retry_after` has passed, nor is the wait longer than that where the pace allows
    /// the call; of several such pauses the one that ends last counts, and none lasts longer than a day. An
    /// [adaptive](PacerBuilder::adaptive) pacer also becomes slower.
    pub fn throttled(&self, retry_after: Option<Duration>) {
        let now = self.shared.clock.now();
        // Who is first wakes when it would have been let through, and finds that it has to wait longer.
        self.shared.line.lock().gate.throttled(now, retry_after);
    }

    /// Calls per second that are let through now; `None` if there is no limit.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let now = self.shared.clock.now();
        self.shared.line.lock().gate.rate(now)
    }

    /// How many callers wait for a permit.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.line.lock().waiting.len()
    }

    /// How many permits there are.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.shared.line.lock().gate.running()
    }

    /// What there is now, all of one moment.
    #[must_use]
    pub fn status(&self) -> PaceStatus {
        let now = self.shared.clock.now();
        let line = self.shared.line.lock();
        PaceStatus { rate: line.gate.rate(now), waiting: line.waiting.len(), running: line.gate.running() }
    }

    fn wait(&self, deadline: Option<Instant>) -> Result<Permit, NotAcquired> {
        let clock = &self.shared.clock;
        let began = clock.now();
        let bell = Bell::new();
        self.shared.line.lock().waiting.push_back(Arc::clone(&bell));
        loop {
            let until = {
                let mut line = self.shared.line.lock();
                let is_first = line.is_first(&bell);
                let look = if is_first { line.gate.look(clock.now()) } else { Look::Wait(None) };
                match look {
                    Look::Go => {
                        line.waiting.pop_front();
                        let next = line.waiting.front().cloned();
                        drop(line);
                        step!(PacedTellsNobody, ring(next));
                        let waited = clock.now().saturating_duration_since(began);
                        return Ok(Permit { shared: Arc::clone(&self.shared), waited });
                    }
                    Look::Wait(_) if deadline.is_some_and(|deadline| clock.has_passed(deadline)) => {
                        line.waiting.retain(|other| !Arc::ptr_eq(other, &bell));
                        let next = line.waiting.front().filter(|_| is_first).cloned();
                        drop(line);
                        step!(LineLeaverTellsNobody, ring(next));
                        return Err(NotAcquired);
                    }
                    Look::Wait(until) => [until, deadline].into_iter().flatten().min(),
                }
            };
            // Who becomes first, or whose place becomes free, between the unlock and this wait has been rung for: the
            // bell keeps it.
            clock.wait(&bell, until);
        }
    }
}

fn ring(bell: Option<Arc<Bell>>) {
    if let Some(bell) = bell {
        bell.ring();
    }
}

impl Permit {
    /// How long its caller waited for it.
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
        step!(PlaceToldToNobody, ring(first));
    }
}

impl fmt::Debug for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, waiting, running) = (self.rate(), self.waiting(), self.running());
        let mut text = f.debug_struct("Pacer");
        text.field("rate", &rate).field("waiting", &waiting).field("running", &running).finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("waited", &self.waited).finish_non_exhaustive()
    }
}

impl fmt::Display for NotAcquired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pacer let nothing more through in time")
    }
}

impl Error for NotAcquired {}
