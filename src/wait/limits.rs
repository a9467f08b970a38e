//! [`WaitLimits`]: how long a caller waits for others.

use std::time::Duration;

use crate::sync::{self, Instant, has_passed};

/// A caller's option: a duration from the moment when it begins to wait, or a point in time.
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

/// When a follower runs its own work, and how much later it tries again if too many others do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) until: Instant,
    pub(crate) again: Duration,
}

impl WaitUntil {
    /// The deadline of a wait that begins now. A deadline beyond the range of the clock is no limit.
    pub(crate) fn deadline(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Timeout(timeout) => now.checked_add(timeout),
            Self::Deadline(deadline) => Some(deadline),
        }
    }
}

impl WaitLimits {
    /// When to wake up for whichever limit comes first.
    pub(crate) fn until(&self) -> Option<Instant> {
        match (self.deadline, self.patience) {
            (Some(deadline), Some(patience)) => Some(deadline.min(patience.until)),
            (deadline, patience) => deadline.or(patience.map(|patience| patience.until)),
        }
    }

    pub(crate) fn deadline_has_passed(&self) -> bool {
        self.deadline.is_some_and(has_passed)
    }

    /// The same limits for a follower whose patience has run out and that has to stay.
    pub(crate) fn with_new_patience(self) -> Self {
        let patience = self.patience.and_then(|patience| Patience::of(patience.again, sync::now()));
        Self { patience, ..self }
    }
}

impl Patience {
    /// A patience that begins now; `None` if it ends beyond the range of the clock.
    pub(crate) fn of(patience: Duration, now: Instant) -> Option<Self> {
        Some(Self { until: now.checked_add(patience)?, again: patience.max(Duration::from_millis(1)) })
    }
}
