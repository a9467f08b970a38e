//! [`Line`]: the callers that wait at a gate. Only the first of them asks it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::gate::{Admission, Gate};
use super::limit::Weights;
use crate::stack::clock::Waiter;
use crate::stack::pace::faults::Fault;
use crate::sync::{also_if, only_if};

/// How many urgent callers are let through in a row while an ordinary one waits.
const MOST_URGENT_IN_A_ROW: u32 = 4;

/// Whoever changes who is first, or what the first one finds, notifies the one that is first then.
pub(super) struct Line {
    pub(super) gate: Gate,
    urgent: VecDeque<Arc<Waiter>>,
    ordinary: VecDeque<Arc<Waiter>>,
    /// Urgent callers let through since an ordinary one has been waiting and none was.
    in_a_row: u32,
}

impl Line {
    pub(super) fn new(gate: Gate) -> Self {
        Self { gate, urgent: VecDeque::new(), ordinary: VecDeque::new(), in_a_row: 0 }
    }

    /// Urgent callers first, but for the turn of an ordinary one.
    pub(super) fn first(&self) -> Option<&Arc<Waiter>> {
        let (urgent, ordinary) = (self.urgent.front(), self.ordinary.front());
        if also_if!(UrgentIsLast, self.ordinarys_turn()) { ordinary.or(urgent) } else { urgent.or(ordinary) }
    }

    fn ordinarys_turn(&self) -> bool {
        only_if!(NoTurnForOrdinary, self.in_a_row >= MOST_URGENT_IN_A_ROW)
    }

    pub(super) fn is_first(&self, waiter: &Arc<Waiter>) -> bool {
        self.first().is_some_and(|first| Arc::ptr_eq(first, waiter))
    }

    /// Whether a caller that is not in the line would be first in it.
    pub(super) fn would_be_first(&self, is_urgent: bool) -> bool {
        if is_urgent {
            self.urgent.is_empty() && (self.ordinary.is_empty() || !self.ordinarys_turn())
        } else {
            self.urgent.is_empty() && self.ordinary.is_empty()
        }
    }

    /// What the first caller gets, which is in the line with `waiter`, or not in it. If it is let through, it leaves the
    /// line.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        weights: &Weights,
        is_urgent: bool,
        waiter: Option<&Arc<Waiter>>,
    ) -> Admission {
        let admission = self.gate.try_admit(now, weights, is_urgent || self.ordinarys_turn());
        if let Admission::Granted(_) = admission {
            self.in_a_row = if is_urgent { self.in_a_row + 1 } else { 0 };
            if let Some(waiter) = waiter {
                self.leave(waiter, is_urgent);
            }
            self.forget_turns();
        }
        admission
    }

    pub(super) fn join(&mut self, waiter: Arc<Waiter>, is_urgent: bool) {
        self.of(is_urgent).push_back(waiter);
    }

    pub(super) fn leave(&mut self, waiter: &Arc<Waiter>, is_urgent: bool) {
        self.of(is_urgent).retain(|other| !Arc::ptr_eq(other, waiter));
        self.forget_turns();
    }

    /// With no ordinary caller in the line, there is no turn to wait for.
    fn forget_turns(&mut self) {
        if self.ordinary.is_empty() {
            self.in_a_row = 0;
        }
    }

    fn of(&mut self, is_urgent: bool) -> &mut VecDeque<Arc<Waiter>> {
        if is_urgent { &mut self.urgent } else { &mut self.ordinary }
    }

    pub(super) fn waiting(&self) -> usize {
        self.urgent.len() + self.ordinary.len()
    }

    pub(super) fn waiting_urgent(&self) -> usize {
        self.urgent.len()
    }
}
