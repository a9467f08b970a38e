//! What a call spends of the budget: its reservation, and the bill of each attempt.

use std::cell::Cell;

use crate::stack::budget::{Budget, Reservation, Spend};

pub(super) struct Spending<T> {
    pub(super) budget: Budget,
    pub(super) most: Spend,
    pub(super) cost: Box<dyn Fn(&T) -> Spend + Send + Sync>,
}

/// What a failed attempt did cost.
pub(super) type ErrorCost<E> = dyn Fn(&E) -> Spend + Send + Sync;

/// A reservation for a call whose failed attempts may be billed.
pub(super) struct Reserved<'a> {
    pub(super) reservation: Option<Reservation>,
    pub(super) billed: &'a Cell<Spend>,
}

impl Reserved<'_> {
    /// Counts what was billed for the failed attempts, and this.
    pub(super) fn commit(mut self, cost: Spend) {
        if let Some(reservation) = self.reservation.take() {
            reservation.commit(self.billed.get().saturating_add(cost));
        }
    }
}

impl Drop for Reserved<'_> {
    /// The call failed or panicked: only its failed attempts are billed, if at all.
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            reservation.commit(self.billed.get());
        }
    }
}

/// Bills an attempt that panics, if it is dropped before it is disarmed.
pub(super) struct PanicBill<'a> {
    pub(super) billed: &'a Cell<Spend>,
    pub(super) cost: Spend,
}

impl PanicBill<'_> {
    pub(super) fn disarm(mut self) {
        self.cost = Spend::default();
    }
}

impl Drop for PanicBill<'_> {
    fn drop(&mut self) {
        self.billed.set(self.billed.get().saturating_add(self.cost));
    }
}
