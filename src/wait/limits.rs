//! How long a caller waits for others.

use std::time::Duration;

use crate::sync::{self, Instant, has_passed};

/// What a caller asked for: a span from the moment at which it begins to wait, or a point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WaitUntil {
    Timeout(Duration),
    Deadline(Instant),
}

/// How long one follower waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WaitLimits {
    pub(crate) deadline: Option<Instant>,
    pub(crate) patience: Option<Patience>,
}

/// When a follower runs its own work, and how long after that it tries again if too many others do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) until: Instant,
    pub(crate) again: Duration,
}

impl WaitUntil {
    /// The deadline of a wait that begins now. One beyond what the clock can tell is no limit.
    pub(crate) fn deadline(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Timeout(timeout) => now.checked_add(timeout),
            Self::Deadline(deadline) => Some(deadline),
        }
    }
}

impl WaitLimits {
    /// When to wake up, whichever limit that is.
    pub(crate) fn until(&self) -> Option<Instant> {
        match (self.deadline, self.patience) {
            (Some(deadline), Some(patience)) => Some(deadline.min(patience.until)),
            (deadline, patience) => deadline.or(patience.map(|patience| patience.until)),
        }
    }

    pub(crate) fn deadline_has_passed(&self) -> bool {
        self.deadline.is_some_and(has_passed)
    }

    /// The same limits for a follower whose patience has ended and that has to stay.
    pub(crate) fn with_new_patience(self) -> Self {
        let patience = self.patience.and_then(|patience| Patience::of(patience.again, sync::now()));
        Self { patience, ..self }
    }
}

impl Patience {
    /// A patience that begins now; none if it ends beyond what the clock can tell.
    pub(crate) fn of(patience: Duration, now: Instant) -> Option<Self> {
        Some(Self { until: now.checked_add(patience)?, again: patience.max(Duration::from_millis(1)) })
    }
}
