//! Policies: what a coalescer does with a call that fails, would wait for itself, or exceeds a bound.

/// What becomes of the followers of a closure that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// They get the error.
    #[default]
    Share,
    /// One of them runs its own closure and the others go on waiting, until a closure succeeds or this many have run
    /// after the first. Then the last error is shared. So `times: 1` means two runs at most, and 0 is
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

/// What becomes of a call that exceeds a bound: a follower beyond
/// [`max_followers`](crate::Builder::max_followers), or a detached flight for which the pool has neither a thread nor a
/// place in its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOverflow {
    /// It gets [`CallError::Overloaded`](crate::CallError::Overloaded).
    #[default]
    Refuse,
    /// Its closure runs on the caller's thread: for a follower uncoalesced, and for a detached flight before `detach`
    /// returns. Other callers can join that flight meanwhile.
    Bypass,
}
