//! What came of one call, and which part its caller played.

use std::sync::Arc;
use std::time::Duration;

use crate::error::CallError;

/// What everyone in a flight gets: the same value, or the same error.
pub(crate) type Shared<T, E> = Result<Arc<T>, CallError<E>>;

/// What came of one [`Call`](crate::Call).
#[derive(Debug)]
#[non_exhaustive]
#[must_use]
pub struct Outcome<T, E> {
    /// The value, or why there is none.
    pub result: Result<Arc<T>, CallError<E>>,
    /// Which part this caller played.
    pub role: Role,
}

impl<T, E> Outcome<T, E> {
    /// The value, or why there is none, without the role.
    ///
    /// # Errors
    ///
    /// As [`result`](Outcome::result).
    pub fn into_result(self) -> Result<Arc<T>, CallError<E>> {
        self.result
    }
}

impl<T, E> Clone for Outcome<T, E> {
    fn clone(&self) -> Self {
        Self { result: self.result.clone(), role: self.role }
    }
}

/// Which part a caller played in its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Its closure ran, and this many callers got the result from it.
    Leader {
        /// How many followers were given this result; 0 also if the lead was handed over to one of them, the flight was
        /// cancelled, or the coalescer closed.
        followers: u64,
    },
    /// It waited for another caller's closure, or left before that returned.
    Follower {
        /// How long it waited.
        waited: Duration,
    },
    /// Its closure ran for it alone.
    Bypassed(BypassReason),
    /// It got the result of a flight that had ended before, and that [lingers](crate::Builder::linger).
    Lingering {
        /// How long ago the flight had ended.
        age: Duration,
    },
    /// It was refused at once, and nothing ran; the error says why.
    Refused,
}

/// Why a call ran uncoalesced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BypassReason {
    /// The caller asked for it by [`bypass`](crate::Call::bypass).
    Requested,
    /// It would have waited for itself, and the builder says [`OnDeadlock::Bypass`](crate::OnDeadlock::Bypass).
    Deadlock,
    /// There were too many followers, and the builder says [`OnOverflow::Bypass`](crate::OnOverflow::Bypass).
    Overloaded,
    /// Its [`patience`](crate::Call::patience) ended.
    Impatient,
}

/// A moment in the life of a coalescer, made by [`SyncCoalesce::mark`](crate::SyncCoalesce::mark); meaningless in
/// another coalescer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(crate) u64);

impl Role {
    /// Whether this caller's own closure ran.
    #[must_use]
    pub fn ran(self) -> bool {
        matches!(self, Self::Leader { .. } | Self::Bypassed(_))
    }
}
