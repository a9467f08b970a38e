//! [`PermitRequest`]: one permit with options of its own.

use std::time::{Duration, Instant};

use super::error::AcquireError;
use super::limit::Weights;
use super::{Pacer, Permit};
use crate::wait::limits::WaitUntil;

/// A request for one permit with a weight, an urgency or a deadline of its own; made by [`Pacer::request`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::pace::{Limit, Pacer};
///
/// let pacer = Pacer::builder().per_second(5.0).limit("tokens", Limit::per_minute(90_000.0).burst(4_000)).build()?;
/// let permit = pacer.request().weight("tokens", 1_200).timeout(Duration::from_secs(30)).acquire()?;
/// # drop(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until one of its verbs"]
pub struct PermitRequest<'a> {
    pacer: &'a Pacer,
    weights: Vec<(&'a str, u64)>,
    is_urgent: bool,
    until: Option<WaitUntil>,
}

impl<'a> PermitRequest<'a> {
    pub(super) fn new(pacer: &'a Pacer) -> Self {
        Self { pacer, weights: Vec::new(), is_urgent: false, until: None }
    }

    /// How many units of one kind the call is expected to use, in all [limits](super::Limit) that count them. By default
    /// that is one [call](Pacer::CALLS) and nothing else. Weights of one unit are added up.
    pub fn weight(mut self, unit: &'a str, units: u64) -> Self {
        self.weights.push((unit, units));
        self
    }

    /// Whether the caller goes before others, and may use what is kept free for urgent callers; see [`Pacer`].
    pub fn urgent(mut self, is_urgent: bool) -> Self {
        self.is_urgent = is_urgent;
        self
    }

    /// How long to wait. `Duration::MAX` is no limit. It replaces an earlier deadline.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.until = Some(WaitUntil::Timeout(timeout));
        self
    }

    /// Until when to wait, on the pacer's clock. A permit that is available wins over a deadline that has passed. It
    /// replaces an earlier timeout.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.until = Some(WaitUntil::Deadline(deadline));
        self
    }

    /// The permit.
    ///
    /// # Blocking
    ///
    /// As [`Pacer::acquire`], and no longer than until the deadline.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the deadline passes first, a unit is unknown, or a weight is too large. Nothing is charged then.
    pub fn acquire(self) -> Result<Permit, AcquireError> {
        let ask = self.ask()?;
        let deadline = self.until.and_then(|until| until.deadline(self.pacer.shared.clock.now()));
        Ok(self.pacer.wait(ask, deadline, None)?)
    }

    /// The permit, without waiting.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the call is not allowed now, or others wait that this caller does not go before, or as
    /// [`acquire`](PermitRequest::acquire). Nothing changes then.
    pub fn try_acquire(self) -> Result<Permit, AcquireError> {
        Ok(self.pacer.wait(self.ask()?, Some(self.pacer.shared.clock.now()), None)?)
    }

    fn ask(&self) -> Result<Ask, AcquireError> {
        Ask::new(self.pacer, &self.weights, self.is_urgent)
    }
}

/// What a caller asks of a pacer.
pub(super) struct Ask {
    pub(super) weights: Weights,
    pub(super) is_urgent: bool,
}

impl Ask {
    /// One call like any other.
    pub(super) const CALL: Self = Self { weights: Weights::Call, is_urgent: false };

    pub(super) fn new(pacer: &Pacer, weights: &[(&str, u64)], is_urgent: bool) -> Result<Self, AcquireError> {
        Ok(Self { weights: Weights::new(weights, &pacer.shared.limits)?, is_urgent })
    }
}
