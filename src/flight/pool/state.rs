//! What a pool counts: its jobs and its threads.

use crate::sync::{Receiver, Sender};

/// The work of a detached flight. Dropping it ends the flight.
pub(super) trait Job: Send {
    fn run(self: Box<Self>);

    /// Ends its flight, because there is no thread for it.
    fn refuse(self: Box<Self>);
}

/// Jobs are sent under its lock. A thread that has received one takes the lock to count it.
pub(super) struct State {
    pub(super) jobs: Jobs,
    /// Jobs that were sent, and are not counted as received yet.
    pub(super) pending: usize,
    /// Threads that are not blocked in one of our waits.
    pub(super) active: usize,
    /// The active threads that wait for a job.
    pub(super) idle: usize,
    /// Threads that wait for a message and are not active: they end at an empty message, unless they are wanted again.
    pub(super) ending: usize,
    /// How many threads were started, for their names.
    pub(super) started: u64,
}

/// A job; or `None`, at which the receiving thread checks whether it has to end. There are at least as many of these in
/// the channel as there are threads that are ending.
pub(super) type Message = Option<Box<dyn Job>>;

pub(super) enum Jobs {
    /// Nothing has been detached yet.
    Unused,
    Open(Sender<Message>, Receiver<Message>),
    Closed,
}

/// Why a job was not taken.
pub(super) enum NotTaken {
    Full(Box<dyn Job>),
    Closed(Box<dyn Job>),
}

impl State {
    /// Keeps a thread that is ending, if there is one.
    pub(super) fn keep_one(&mut self) -> bool {
        if self.ending == 0 {
            return false;
        }
        self.ending -= 1;
        self.active += 1;
        self.idle += 1;
        true
    }

    /// Counts off a thread that is ending, if there is one.
    pub(super) fn end_one(&mut self) -> bool {
        if self.ending == 0 {
            return false;
        }
        self.ending -= 1;
        true
    }
}
