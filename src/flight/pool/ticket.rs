//! [`Ticket`]: a place in a flight that any thread can wait in.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::CallError;
use crate::flight::slot::{Slot, SlotState};
use crate::outcome::{Role, Shared};
use crate::sync::{self, Receiver};
use crate::wait::blocking::blocking;
use crate::wait::graph::WaitEdge;
use crate::wait::limits::WaitUntil;
use crate::wait::thread::{self, this_thread};

/// A place in a flight, and a way to wait for its result: made by [`SyncCoalesce::detach`](crate::SyncCoalesce::detach).
///
/// It can be waited for any number of times, in any thread, and moved to another one. It is never elected: the closure
/// that it came with has been dropped, or runs on the pool.
///
/// Dropping it leaves the flight. A flight that nobody is left in goes on, unless the builder says
/// [`cancel_when_abandoned`](crate::Builder::cancel_when_abandoned).
#[must_use = "dropping a ticket leaves the flight"]
pub struct Ticket<T, E> {
    pub(in crate::flight) slot: Arc<Slot<T, E>>,
    pub(in crate::flight) receiver: Receiver<Shared<T, E>>,
    /// Where it is in the flight; nowhere if it was refused.
    pub(in crate::flight) seat: Option<TicketSeat<T, E>>,
    pub(in crate::flight) role: TicketRole,
    /// What the flight is called in a chain of waits.
    pub(in crate::flight) label: Arc<str>,
    /// How long [`wait`](Ticket::wait) waits.
    pub(in crate::flight) until: Option<WaitUntil>,
}

/// The part that the caller of `detach` plays.
pub(in crate::flight) enum TicketRole {
    /// It began the flight.
    Leader,
    Follower {
        joined: Instant,
    },
    /// It is over.
    Has(Role),
}

pub(in crate::flight) struct TicketSeat<T, E> {
    pub(in crate::flight) owner: Arc<dyn TicketOwner<T, E>>,
    pub(in crate::flight) hash: u64,
    pub(in crate::flight) flight: u64,
    pub(in crate::flight) number: u64,
    /// It joined a flight that was there, and is counted as a follower.
    pub(in crate::flight) joined: bool,
}

/// Where one ticket receives the result of its flight.
pub(in crate::flight) struct ResultChannel<T, E> {
    pub(in crate::flight) slot: Arc<Slot<T, E>>,
    pub(in crate::flight) receiver: Receiver<Shared<T, E>>,
    /// Identifies the ticket when it leaves; `None` if the flight has ended.
    pub(in crate::flight) number: Option<u64>,
}

/// The flights that a ticket belongs to, whatever their keys are.
pub(in crate::flight) trait TicketOwner<T, E>: Send + Sync {
    fn leave(&self, seat: &TicketSeat<T, E>, slot: &Slot<T, E>);
}

impl<T, E> ResultChannel<T, E> {
    pub(in crate::flight) fn new(slot: Arc<Slot<T, E>>) -> Self {
        let (sender, receiver) = sync::bounded(1);
        let number = slot.add_ticket(sender);
        Self { slot, receiver, number }
    }
}

impl<T, E> Ticket<T, E> {
    /// The result of the flight.
    ///
    /// # Blocking
    ///
    /// Until there is a result, or the call's timeout or deadline has passed, or else the builder's
    /// [`timeout`](crate::Builder::timeout). The flight goes on however the wait ends, and the ticket stays valid.
    ///
    /// # Errors
    ///
    /// Those of a follower of [`try_call`](crate::SyncCoalesce::try_call), [`CallError::LeaderPanicked`] among them.
    /// [`CallError::Overloaded`] if there was no thread to run the closure, and [`CallError::Closed`] if the coalescer
    /// was closed or dropped before it began. [`CallError::Deadlock`] if this thread leads something that the flight waits for;
    /// that is an error of this wait alone.
    pub fn wait(&self) -> Result<Arc<T>, CallError<E>> {
        self.wait_until(self.until.and_then(|until| until.deadline(sync::now())))
    }

    /// As [`wait`](Ticket::wait), for `timeout` at most; `Duration::MAX` is no limit.
    ///
    /// # Errors
    ///
    /// [`CallError::TimedOut`], and those of [`wait`](Ticket::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Arc<T>, CallError<E>> {
        self.wait_until(sync::now().checked_add(timeout))
    }

    /// As [`wait`](Ticket::wait), until `deadline` at most. A result that is there beats a deadline that has passed.
    ///
    /// # Errors
    ///
    /// [`CallError::TimedOut`], and those of [`wait`](Ticket::wait).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<Arc<T>, CallError<E>> {
        self.wait_until(Some(deadline))
    }

    /// The result of the flight, if there is one by now.
    #[must_use]
    pub fn try_wait(&self) -> Option<Result<Arc<T>, CallError<E>>> {
        match self.slot.state() {
            SlotState::Ended(result) => Some(result),
            SlotState::Running | SlotState::Vacant => None,
        }
    }

    /// The part that this ticket's call plays.
    ///
    /// One that began the flight is its [`Leader`](Role::Leader), with the number of followers once there is a result.
    /// One that joined it is a [`Follower`](Role::Follower), and has waited since then.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.role {
            TicketRole::Leader => Role::Leader { followers: self.slot.released() },
            TicketRole::Follower { joined } => Role::Follower { waited: sync::now().saturating_duration_since(joined) },
            TicketRole::Has(role) => role,
        }
    }

    /// A channel that receives the result too, once: for crossbeam's `select!` over several tickets, or over a ticket
    /// and something else. The other ways of waiting do not consume the message.
    ///
    /// A wait on it is not in the wait-for graph, so it is never refused. Keep the ticket while you wait: dropping it
    /// closes the channel.
    #[cfg(not(sync_coalesce_shuttle))]
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Result<Arc<T>, CallError<E>>> {
        &self.receiver
    }

    /// Gives the ticket away. A flight that it began goes on, even if nobody else wants it.
    #[cfg(feature = "cache")]
    pub(crate) fn release(mut self) {
        // A ticket that never leaves is counted until the flight ends. One that joined must not look like a follower.
        self.seat = self.seat.take().filter(|seat| seat.joined);
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Shared<T, E> {
        if let Some(result) = self.try_wait() {
            return result;
        }
        let waiting = if thread::leads_something() {
            match WaitEdge::enter(this_thread().number, &self.slot.leader, &self.label, &|| true) {
                Ok(waiting) => waiting,
                Err(chain) => return Err(CallError::Deadlock { chain }),
            }
        } else {
            None
        };
        blocking(|| sync::ready(&self.receiver, deadline));
        drop(waiting);
        self.try_wait().unwrap_or(Err(CallError::TimedOut))
    }
}

impl<T, E> Drop for Ticket<T, E> {
    fn drop(&mut self) {
        if let Some(seat) = &self.seat {
            seat.owner.leave(seat, &self.slot);
        }
    }
}

impl<T, E> fmt::Debug for Ticket<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("flight", &self.label).finish_non_exhaustive()
    }
}
