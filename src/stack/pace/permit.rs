//! [`Permit`]: permission for one call, and what it was charged.

use std::fmt;
use std::time::Duration;

use super::Pacer;
use super::acquire::notify;
use super::error::LimitError;
use super::limit::Weights;
use crate::stack::pace::faults::Fault;
use crate::sync::step;

/// Permission for one call. Keep it until the call has ended: it counts as a concurrent call until it is dropped.
#[must_use = "a permit that is dropped at once does not limit concurrent calls"]
pub struct Permit {
    /// A handle of this permit's own, which knows its number.
    pacer: Pacer,
    number: u64,
    weights: Weights,
    waited: Duration,
}

impl Permit {
    pub(super) fn new(pacer: &Pacer, number: u64, weights: Weights, waited: Duration) -> Self {
        Self { pacer: pacer.about(number), number, weights, waited }
    }

    /// How long the caller waited for this permit.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The pacer. Through this handle, and not its clones, [`throttled`](Pacer::throttled) is about this permit's call.
    #[must_use]
    pub fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    /// Reports that the provider refused this permit's call for being too fast, as with a status 429, and the delay that
    /// it asked for, if any.
    ///
    /// As [`Pacer::throttled`], which has to guess whose call it was.
    pub fn throttled(&self, retry_after: Option<Duration>) {
        self.pacer.throttled(retry_after);
    }

    /// Corrects what this permit weighs, once it is known what the call has used: `used` units in all. What was not used
    /// is given back, and what was used beyond the weight is a debt, though never one that a day at the full rate does
    /// not pay off. If it is called again, the last time counts.
    ///
    /// # Errors
    ///
    /// [`LimitError::Unknown`] if no limit of the pacer counts `unit`. Then nothing changes.
    pub fn settle(&mut self, unit: &str, used: u64) -> Result<(), LimitError> {
        let shared = &self.pacer.shared;
        if !self.pacer.counts(unit) {
            return Err(LimitError::Unknown { name: unit.to_owned() });
        }
        let mut line = shared.line.lock();
        let now = shared.clock.now();
        let mut weights: Box<[u64]> =
            (0..shared.limits.len()).map(|index| self.weights.of(index, line.gate.counts_calls(index))).collect();
        for (index, weight) in weights.iter_mut().enumerate().filter(|(index, _)| &*shared.limits[*index].unit == unit)
        {
            line.gate.correct(now, index, self.number, *weight, used);
            *weight = used;
        }
        let first = line.first().cloned();
        drop(line);
        self.weights = Weights::Each(weights);
        step!(SettledUnheard, notify(first));
        Ok(())
    }

    /// Gives back all that this permit was charged, for a call that was not made after all.
    pub fn give_back(self) {
        let shared = &self.pacer.shared;
        let mut line = shared.line.lock();
        let now = shared.clock.now();
        for index in 0..shared.limits.len() {
            let taken = self.weights.of(index, line.gate.counts_calls(index));
            line.gate.correct(now, index, self.number, taken, 0);
        }
        // Being dropped notifies.
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let first = {
            let mut line = self.pacer.shared.line.lock();
            line.gate.leave(self.number);
            line.first().cloned()
        };
        step!(PermitDropIsMissed, notify(first));
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("waited", &self.waited).finish_non_exhaustive()
    }
}
