//! [`Pacing`]: the pacers of a stack, and what its calls want from them.

use std::cell::OnceCell;
use std::fmt;
use std::time::Duration;

use super::request::Ask;
use super::{AcquireError, NoPermit, Pacer, PacerStatus, Permit};
use crate::panic::catch_panic;
use crate::stack::interrupt::Interrupt;
use crate::stack::pace::faults::Fault;
use crate::sync::step;

/// The layer of a stack that is next to the work.
pub(in crate::stack) struct Pacing<K, T, E> {
    pacers: Vec<Pacer>,
    pub(in crate::stack) timeout: Option<Duration>,
    pub(in crate::stack) on_error: Option<Box<OnError<E>>>,
    weights: ByUnit<K>,
    used: ByUnit<T>,
}

type OnError<E> = dyn Fn(&Pacer, &E) + Send + Sync;

/// How many units of each kind a key is expected to use, or a value shows that its call has used.
struct ByUnit<V>(Vec<(String, Box<Count<V>>)>);

type Count<V> = dyn Fn(&V) -> u64 + Send + Sync;

/// Whether a call goes before others in the line of each pacer.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::stack) struct Urgency(pub(in crate::stack) bool);

/// What the attempts of one call want.
pub(in crate::stack) struct Wants<'a> {
    urgency: Urgency,
    /// Runs closures of the user's, once for all attempts.
    weigh: &'a dyn Fn() -> Vec<(&'a str, u64)>,
    weights: OnceCell<Vec<(&'a str, u64)>>,
}

impl<'a> Wants<'a> {
    pub(in crate::stack) fn new(urgency: Urgency, weigh: &'a dyn Fn() -> Vec<(&'a str, u64)>) -> Self {
        Self { urgency, weigh, weights: OnceCell::new() }
    }
}

/// Permits for an attempt that has not begun. What they were charged is given back if it does not.
pub(in crate::stack) struct Unused(Vec<Permit>);

impl Unused {
    /// For an attempt that begins now.
    fn begin(mut self) -> Vec<Permit> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        for permit in self.0.drain(..) {
            step!(UnusedIsCharged, permit.give_back());
        }
    }
}

impl<K, T, E> Pacing<K, T, E> {
    pub(in crate::stack) fn new() -> Self {
        Self {
            pacers: Vec::new(),
            timeout: None,
            on_error: None,
            weights: ByUnit(Vec::new()),
            used: ByUnit(Vec::new()),
        }
    }

    /// A pacer that is given twice counts once. All stacks wait for pacers in one order: a leader that holds one's last
    /// permit while it waits for another's could else wait for a leader that does the reverse.
    pub(in crate::stack) fn add(&mut self, pacer: Pacer) {
        if self.pacers.iter().all(|other| other.shared.number != pacer.shared.number) {
            self.pacers.push(pacer);
            step!(PacersInAnyOrder, self.pacers.sort_by_key(|pacer| pacer.shared.number));
        }
    }

    pub(in crate::stack) fn weigh_with(&mut self, unit: String, weight: impl Fn(&K) -> u64 + Send + Sync + 'static) {
        self.weights.set(unit, Box::new(weight));
    }

    pub(in crate::stack) fn settle_with(&mut self, unit: String, used: impl Fn(&T) -> u64 + Send + Sync + 'static) {
        self.used.set(unit, Box::new(used));
    }

    pub(in crate::stack) fn is_off(&self) -> bool {
        self.pacers.is_empty()
    }

    /// What a call for this key is expected to use. A panic in a closure counts as 0.
    pub(in crate::stack) fn weigh(&self, key: impl FnOnce() -> K) -> Vec<(&str, u64)> {
        if self.weights.0.is_empty() { Vec::new() } else { self.weights.count(&key()) }
    }

    /// A permit of each pacer, for one attempt. After it, the attempt begins.
    pub(in crate::stack) fn acquire(&self, wants: &Wants<'_>, interrupt: &Interrupt) -> Result<Vec<Permit>, NoPermit> {
        let weights = wants.weights.get_or_init(wants.weigh);
        self.check_units(weights)?;
        let mut permits = Unused(Vec::with_capacity(self.pacers.len()));
        let mut left = self.timeout;
        for pacer in &self.pacers {
            let own: Vec<_> = weights.iter().filter(|(unit, _)| pacer.counts(unit)).copied().collect();
            let ask = Ask::new(pacer, &own, wants.urgency.0)?;
            let deadline = left.and_then(|left| pacer.shared.clock.now().checked_add(left));
            let permit = pacer.wait(ask, deadline, Some(interrupt))?;
            left = left.map(|left| left.saturating_sub(permit.waited()));
            permits.0.push(permit);
        }
        // What came just before the last permit was granted.
        interrupt.check().map_err(NoPermit::Interrupted)?;
        Ok(permits.begin())
    }

    /// Every unit is counted by some pacer.
    fn check_units(&self, weights: &[(&str, u64)]) -> Result<(), AcquireError> {
        let units = weights.iter().map(|(unit, _)| *unit).chain(self.used.0.iter().map(|(unit, _)| &**unit));
        let mut unknown = units.filter(|unit| !self.pacers.iter().any(|pacer| pacer.counts(unit)));
        unknown.next().map_or(Ok(()), |unit| Err(AcquireError::UnknownUnit { unit: unit.to_owned() }))
    }

    /// Tells the pacers how an attempt went. A panic in a closure changes nothing.
    pub(in crate::stack) fn learn(&self, permits: &mut [Permit], result: &Result<T, E>) {
        match (result, &self.on_error) {
            (Ok(value), _) => {
                for (unit, used) in &self.used.0 {
                    let Some(used) = catch_panic(|| Some(used(value))) else { continue };
                    for permit in &mut *permits {
                        // Pacers that do not count this unit refuse it.
                        let _ = permit.settle(unit, used);
                    }
                }
            }
            (Err(error), Some(tell)) => {
                for permit in permits {
                    catch_panic(|| tell(permit.pacer(), error));
                }
            }
            (Err(_), None) => {}
        }
    }

    /// That of all pacers together.
    pub(in crate::stack) fn status(&self) -> Option<PacerStatus> {
        self.pacers.iter().map(Pacer::status).reduce(|all, one| PacerStatus {
            rate: [all.rate, one.rate].into_iter().flatten().reduce(f64::min),
            waiting: all.waiting + one.waiting,
            waiting_urgent: all.waiting_urgent + one.waiting_urgent,
            running: all.running.max(one.running),
        })
    }
}

impl<V> ByUnit<V> {
    fn set(&mut self, unit: String, count: Box<Count<V>>) {
        self.0.retain(|(other, _)| *other != unit);
        self.0.push((unit, count));
    }

    fn count(&self, value: &V) -> Vec<(&str, u64)> {
        let counts = self.0.iter();
        counts.map(|(unit, count)| (unit.as_str(), catch_panic(|| Some(count(value))).unwrap_or(0))).collect()
    }
}

impl<K, T, E> fmt::Debug for Pacing<K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pacers.fmt(f)
    }
}
