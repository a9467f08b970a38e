//! [`Clock`]: the time that the layers follow, so that tests need not sleep.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::sync::{self, Monitor, Mutex};
use crate::wait::blocking::blocking;

/// The clock that a layer follows: the system's, unless it is made from a [`ManualClock`].
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<ManualTime>>);

/// A clock for tests, whose time stands still until it is [advanced](ManualClock::advance). Threads that wait on it
/// wait until another thread advances it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::{Clock, ManualClock};
///
/// let manual = ManualClock::new();
/// let clock = Clock::from(&manual);
/// let before = clock.now();
/// manual.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now() - before, Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<ManualTime>);

/// Lock order: waiters are notified under this lock, and it is never taken under a waiter's.
struct ManualTime(Mutex<State>);

struct State {
    now: Instant,
    of_day: SystemTime,
    /// The threads that wait, and until when.
    waiters: Vec<(Instant, Arc<Waiter>)>,
}

/// What one thread waits on. A notification ends one wait, the current one or the next.
pub(crate) struct Waiter(Monitor<bool>);

impl Waiter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Monitor::new(false)))
    }

    pub(crate) fn notify(&self) {
        *self.0.lock() = true;
        self.0.notify_one();
    }
}

impl Clock {
    /// The current time.
    #[must_use]
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => sync::now(),
            Some(time) => time.0.lock().now,
        }
    }

    /// The current date and time of day. Unlike [`now`](Clock::now), it can be set back.
    #[must_use]
    pub fn system_time(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::now(),
            Some(time) => time.0.lock().of_day,
        }
    }

    /// Returns after `duration` has passed on this clock.
    ///
    /// # Blocking
    ///
    /// For `duration`; forever if its end is beyond what an [`Instant`] can represent.
    pub fn sleep(&self, duration: Duration) {
        self.sleep_unless(duration, &Waiter::new(), None, || false);
    }

    /// The same, or until `is_over` says so when `waiter` is notified or `deadline` has passed on the system's clock.
    pub(crate) fn sleep_unless(
        &self,
        duration: Duration,
        waiter: &Arc<Waiter>,
        deadline: Option<Instant>,
        is_over: impl Fn() -> bool,
    ) {
        let until = self.now().checked_add(duration);
        while until.is_none_or(|until| !self.has_passed(until)) && !is_over() {
            self.wait(waiter, until, deadline);
        }
    }

    /// Whether a wait that begins now ends after `deadline` on the system's clock. A manual clock may be advanced at any
    /// moment.
    #[cfg(feature = "retry")]
    pub(crate) fn ends_after(&self, wait: Duration, deadline: Instant) -> bool {
        self.0.is_none() && sync::now().checked_add(wait).is_none_or(|end| end > deadline)
    }

    #[cfg(feature = "cache")]
    pub(crate) fn is_system(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn has_passed(&self, moment: Instant) -> bool {
        match &self.0 {
            None => sync::has_passed(moment),
            Some(_) => self.now() >= moment,
        }
    }

    /// Waits until `waiter` is notified, `until` has passed on this clock, or `deadline` on the system's. A notification
    /// before the wait counts. If this thread belongs to a pool, another one takes its place meanwhile.
    pub(crate) fn wait(&self, waiter: &Arc<Waiter>, until: Option<Instant>, deadline: Option<Instant>) {
        blocking(|| match &self.0 {
            None => waiter.wait_until([until, deadline].into_iter().flatten().min()),
            Some(time) => time.wait(waiter, until, deadline),
        });
    }
}

impl Waiter {
    /// By the system's clock.
    fn wait_until(&self, until: Option<Instant>) {
        let mut is_notified = self.0.lock();
        while !*is_notified && !until.is_some_and(sync::has_passed) {
            is_notified = self.0.wait(is_notified, until);
        }
        *is_notified = false;
    }
}

impl ManualTime {
    fn wait(&self, waiter: &Arc<Waiter>, until: Option<Instant>, deadline: Option<Instant>) {
        if let Some(until) = until {
            let mut state = self.0.lock();
            if state.now >= until {
                return;
            }
            // From here on, advancing the clock past `until` notifies, and a notification before the wait counts.
            state.waiters.push((until, Arc::clone(waiter)));
        }
        waiter.wait_until(deadline);
        // If something other than the clock notified it, the entry is still here.
        self.0.lock().waiters.retain(|(_, other)| !Arc::ptr_eq(other, waiter));
    }
}

impl ManualClock {
    /// A clock that stands still at the current date and time of day.
    #[must_use]
    pub fn new() -> Self {
        Self::at(SystemTime::now())
    }

    /// A clock that stands still at this date and time of day.
    #[must_use]
    pub fn at(of_day: SystemTime) -> Self {
        Self(Arc::new(ManualTime(Mutex::new(State { now: sync::now(), of_day, waiters: Vec::new() }))))
    }

    /// Sets the date and time of day, as an administrator or a time server sets those of a machine. No time passes by
    /// that, so it wakes no thread.
    pub fn set_system_time(&self, of_day: SystemTime) {
        self.0.0.lock().of_day = of_day;
    }

    /// Moves the time forward and wakes the threads whose time has come. Does nothing if the new time is beyond what an
    /// [`Instant`] or a [`SystemTime`] can represent.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.0.0.lock();
        let (Some(now), Some(of_day)) = (state.now.checked_add(duration), state.of_day.checked_add(duration)) else {
            return;
        };
        (state.now, state.of_day) = (now, of_day);
        state.waiters.retain(|(until, waiter)| {
            let sleeps_on = *until > now;
            if !sleeps_on {
                waiter.notify();
            }
            sleeps_on
        });
    }

    /// The time until the first waiting thread would wake without another notification; `None` if no thread waits for
    /// the time.
    #[must_use]
    pub fn until_next(&self) -> Option<Duration> {
        let state = self.0.0.lock();
        let next = state.waiters.iter().map(|(until, _)| *until).min()?;
        Some(next.saturating_duration_since(state.now))
    }

    /// The number of threads that wait for the time on this clock.
    #[must_use]
    pub fn sleeping(&self) -> usize {
        self.0.0.lock().waiters.len()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&ManualClock> for Clock {
    fn from(clock: &ManualClock) -> Self {
        Self(Some(Arc::clone(&clock.0)))
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Self(Some(clock.0))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(manual)" } else { "Clock(system)" })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("sleeping", &self.sleeping()).finish_non_exhaustive()
    }
}
