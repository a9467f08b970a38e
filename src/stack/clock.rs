//! [`Clock`]: where the stack's layers take their time from, so that tests need not sleep.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::{self, Monitor, Mutex};

/// Where a layer of the stack takes its time from: the system, unless it comes from a [`ManualClock`].
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<Hands>>);

/// A clock whose time is moved by hand, for tests: who waits on it waits until somebody else [`advance`]s it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::{Clock, ManualClock};
///
/// let hands = ManualClock::new();
/// let clock = Clock::from(&hands);
/// let before = clock.now();
/// hands.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now() - before, Duration::from_secs(3600));
/// ```
///
/// [`advance`]: ManualClock::advance
#[derive(Clone)]
pub struct ManualClock(Arc<Hands>);

/// Bells are rung under this lock, and it is taken under no bell's.
struct Hands(Mutex<Face>);

struct Face {
    now: Instant,
    /// Who waits until when.
    asleep: Vec<(Instant, Arc<Bell>)>,
}

/// What one thread waits for: rung once, it lets one wait pass.
pub(crate) struct Bell(Monitor<bool>);

impl Bell {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Monitor::new(false)))
    }

    pub(crate) fn ring(&self) {
        *self.0.lock() = true;
        self.0.notify_one();
    }
}

impl Clock {
    /// This moment.
    #[must_use]
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => sync::now(),
            Some(hands) => hands.0.lock().now,
        }
    }

    /// Returns when `duration` has passed on this clock.
    ///
    /// # Blocking
    ///
    /// For `duration`; for ever if its end is beyond what an [`Instant`] can tell.
    pub fn sleep(&self, duration: Duration) {
        let bell = Bell::new();
        let until = self.now().checked_add(duration);
        while until.is_none_or(|until| !self.has_passed(until)) {
            self.wait(&bell, until);
        }
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

    /// Waits until the bell is rung or `until` has passed. A ring before the wait counts.
    pub(crate) fn wait(&self, bell: &Arc<Bell>, until: Option<Instant>) {
        match &self.0 {
            None => bell.wait(|rung| rung || until.is_some_and(sync::has_passed), until),
            Some(hands) => hands.wait(bell, until),
        }
    }
}

impl Bell {
    fn wait(&self, is_over: impl Fn(bool) -> bool, until: Option<Instant>) {
        let mut rung = self.0.lock();
        while !is_over(*rung) {
            rung = self.0.wait(rung, until);
        }
        *rung = false;
    }
}

impl Hands {
    fn wait(&self, bell: &Arc<Bell>, until: Option<Instant>) {
        if let Some(until) = until {
            let mut face = self.0.lock();
            if face.now >= until {
                return;
            }
            // From here on whoever moves the time past `until` rings, and a ring before the wait counts.
            face.asleep.push((until, Arc::clone(bell)));
        }
        bell.wait(|rung| rung, None);
        // Rung by somebody else, it is still here.
        self.0.lock().asleep.retain(|(_, sleeper)| !Arc::ptr_eq(sleeper, bell));
    }
}

impl ManualClock {
    /// A clock that stands still.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Hands(Mutex::new(Face { now: sync::now(), asleep: Vec::new() }))))
    }

    /// Moves the time on and wakes those whose time has come. What is too far away for an [`Instant`] moves nothing.
    pub fn advance(&self, duration: Duration) {
        let mut face = self.0.0.lock();
        let Some(now) = face.now.checked_add(duration) else { return };
        face.now = now;
        face.asleep.retain(|(until, bell)| {
            let sleeps_on = *until > now;
            if !sleeps_on {
                bell.ring();
            }
            sleeps_on
        });
    }

    /// How long from now until the first of those who wait would wake by themselves; `None` when nobody waits for the
    /// time.
    #[must_use]
    pub fn until_next(&self) -> Option<Duration> {
        let face = self.0.0.lock();
        let next = face.asleep.iter().map(|(until, _)| *until).min()?;
        Some(next.saturating_duration_since(face.now))
    }

    /// How many threads wait for the time on this clock.
    #[must_use]
    pub fn sleeping(&self) -> usize {
        self.0.0.lock().asleep.len()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&ManualClock> for Clock {
    fn from(hands: &ManualClock) -> Self {
        Self(Some(Arc::clone(&hands.0)))
    }
}

impl From<ManualClock> for Clock {
    fn from(hands: ManualClock) -> Self {
        Self(Some(hands.0))
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
