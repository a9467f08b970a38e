//! [`Outcome`] and [`Role`]: the result of a call, and the role that its caller played.

use std::sync::Arc;
use std::time::Duration;

use crate::error::CallError;

/// The result that everyone in a flight shares: the same value, or the same error.
pub(crate) type Shared<T, E> = Result<Arc<T>, CallError<E>>;

/// The result of one [`Call`](crate::Call), and the caller's role.
#[derive(Debug)]
#[non_exhaustive]
#[must_use]
pub struct Outcome<T, E> {
    /// The value, or why there is none.
    pub result: Result<Arc<T>, CallError<E>>,
    /// The role that this caller played.
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

/// The role that a caller played in its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Its closure ran for the flight.
    Leader {
        /// How many followers got its result. 0 also if the lead was offered to one of them, the flight was cancelled,
        /// or the coalescer was closed.
        followers: u64,
    },
    /// It waited for another caller's closure, and got the result or left before that.
    Follower {
        /// How long it waited.
        waited: Duration,
    },
    /// Its closure ran for it alone.
    Bypassed(BypassReason),
    /// It got a result that [lingers](crate::Builder::linger), of a flight that had ended before.
    Lingering {
        /// How long ago the flight ended.
        age: Duration,
    },
    /// It was refused at once, and nothing ran; the error says why.
    Refused,
}

/// Why a call ran uncoalesced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BypassReason {
    /// The caller asked for it with [`bypass`](crate::Call::bypass).
    Requested,
    /// It would have waited for itself, and the builder has [`OnDeadlock::Bypass`](crate::OnDeadlock::Bypass).
    Deadlock,
    /// The bound on followers was reached, and the builder has [`OnOverflow::Bypass`](crate::OnOverflow::Bypass).
    Overloaded,
    /// Its [`patience`](crate::Call::patience) ran out.
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
