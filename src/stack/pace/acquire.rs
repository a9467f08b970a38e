//! The wait for a permit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::AcquireError;
use super::gate::Admission;
use super::request::Ask;
use super::{Pacer, Permit, Shared};
use crate::stack::clock::Waiter;
use crate::stack::interrupt::{Interrupt, Interrupted};
use crate::stack::pace::faults::Fault;
use crate::sync::step;

/// Why a wait ended without a permit.
pub(in crate::stack) enum NoPermit {
    Refused(AcquireError),
    Interrupted(Interrupted),
}

/// Until when a caller waits.
struct Ends<'a> {
    /// On the pacer's clock.
    deadline: Option<Instant>,
    interrupt: Option<&'a Interrupt>,
}

/// A caller in the line.
struct Place {
    waiter: Arc<Waiter>,
    since: Instant,
}

/// How a look at the line ended.
enum Look {
    /// With this number, and since when the caller was in the line, if it was.
    Granted(u64, Option<Instant>),
    /// No permit, and the caller has left the line.
    Ended(NoPermit),
    /// The caller is in the line, and should look again then, or when it is notified.
    Wait(Place, Option<Instant>),
}

impl Pacer {
    /// Waits for a permit, in the line if it is not available at once.
    pub(super) fn wait(
        &self,
        ask: Ask,
        deadline: Option<Instant>,
        interrupt: Option<&Interrupt>,
    ) -> Result<Permit, NoPermit> {
        let clock = &self.shared.clock;
        self.check(&ask)?;
        let ends = Ends { deadline, interrupt };
        let mut place = None;
        loop {
            match self.shared.look(&ask, place.take(), &ends) {
                Look::Granted(number, since) => {
                    let waited = since.map_or(Duration::ZERO, |since| clock.now().saturating_duration_since(since));
                    return Ok(Permit::new(self, number, ask.weights, waited));
                }
                Look::Ended(none) => return Err(none),
                Look::Wait(joined, until) => {
                    // If this thread becomes first, or what the first one finds changes, or it is interrupted, between the
                    // look and this wait, the waiter is notified and remembers it.
                    let until = [until, deadline].into_iter().flatten().min();
                    clock.wait(&joined.waiter, until, interrupt.and_then(Interrupt::deadline));
                    place = Some(joined);
                }
            }
        }
    }

    /// Whether it could ever be let through. One call always can.
    fn check(&self, ask: &Ask) -> Result<(), AcquireError> {
        if ask.weights.is_one_call() {
            return Ok(());
        }
        let carries = self.shared.line.lock().gate.carries(&ask.weights);
        carries.map_err(|index| AcquireError::TooHeavy { unit: self.shared.limits[index].unit.to_string() })
    }
}

impl Shared {
    /// One look, by a caller that is in the line or not in it yet.
    fn look(&self, ask: &Ask, place: Option<Place>, ends: &Ends<'_>) -> Look {
        let interrupted = ends.interrupt.and_then(|interrupt| interrupt.check().err());
        let mut line = self.line.lock();
        let waiter = place.as_ref().map(|place| &place.waiter);
        let is_first = match waiter {
            Some(waiter) => line.is_first(waiter),
            None => line.would_be_first(ask.is_urgent),
        };
        let admission = if is_first && interrupted.is_none() {
            line.admit(self.clock.now(), &ask.weights, ask.is_urgent, waiter)
        } else {
            Admission::Wait(None)
        };
        let until = match admission {
            Admission::Granted(number) => {
                let next = line.first().cloned();
                drop(line);
                step!(PacedTellsNobody, notify(next));
                return Look::Granted(number, place.map(|place| place.since));
            }
            Admission::Wait(until) => until,
        };
        if interrupted.is_some() || ends.deadline.is_some_and(|deadline| self.clock.has_passed(deadline)) {
            if let Some(waiter) = waiter {
                line.leave(waiter, ask.is_urgent);
            }
            let next = line.first().filter(|_| is_first && waiter.is_some()).cloned();
            drop(line);
            step!(LineLeaverTellsNobody, notify(next));
            return Look::Ended(interrupted.map_or(AcquireError::Unavailable.into(), NoPermit::Interrupted));
        }
        let place = place.unwrap_or_else(|| {
            let waiter = ends.interrupt.map_or_else(Waiter::new, |interrupt| Arc::clone(interrupt.waiter()));
            line.join(Arc::clone(&waiter), ask.is_urgent);
            Place { waiter, since: self.clock.now() }
        });
        Look::Wait(place, until)
    }
}

impl From<NoPermit> for AcquireError {
    fn from(none: NoPermit) -> Self {
        match none {
            NoPermit::Refused(error) => error,
            NoPermit::Interrupted(_) => Self::Unavailable,
        }
    }
}

impl From<AcquireError> for NoPermit {
    fn from(error: AcquireError) -> Self {
        Self::Refused(error)
    }
}

pub(super) fn notify(waiter: Option<Arc<Waiter>>) {
    if let Some(waiter) = waiter {
        waiter.notify();
    }
}
