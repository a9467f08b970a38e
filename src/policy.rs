//! What a coalescer does when a call fails, would wait for itself, or meets a crowd.

/// What becomes of the followers of a closure that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// They get the error.
    #[default]
    Share,
    /// One of them runs its own closure and the others go on waiting, until one closure succeeds or this many have been
    /// run after the first; then the last error is shared. So `times: 1` means two runs at most, and 0 is
    /// [`Share`](OnFailure::Share).
    Elect {
        /// Runs after the first.
        times: u32,
    },
}

impl OnFailure {
    /// How many runs may follow the first.
    pub(crate) fn times(self) -> u32 {
        match self {
            Self::Share => 0,
            Self::Elect { times } => times,
        }
    }
}

/// What becomes of a call that would wait for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDeadlock {
    /// It gets [`CallError::Deadlock`](crate::CallError::Deadlock).
    #[default]
    Refuse,
    /// Its closure runs uncoalesced.
    Bypass,
}

/// What becomes of a call that would be one follower too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// It gets [`CallError::Overloaded`](crate::CallError::Overloaded).
    #[default]
    Reject,
    /// Its closure runs uncoalesced.
    Bypass,
}

/// What becomes of a [`detach`](crate::SyncCoalesce::detach) for which the pool has neither a thread nor a place in its
/// queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFullPool {
    /// The ticket has [`CallError::Overloaded`](crate::CallError::Overloaded). A caller that has joined the flight in
    /// the meantime runs its own closure.
    #[default]
    Reject,
    /// The closure runs on the caller's thread, before `detach` returns.
    CallerRuns,
}

/// What becomes of a detached flight when its last ticket is dropped and nobody else follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLastTicket {
    /// It goes on, and new callers may join it.
    #[default]
    Leave,
    /// It is forgotten; a closure that runs is told by [`Flight::is_cancelled`](crate::Flight::is_cancelled), and one
    /// that has not begun never does.
    Cancel,
}
