//! Where one flight's followers wait: the leader publishes, followers wait, and the lead is handed over.

mod tickets;

use std::array;
use std::sync::Arc;

use self::tickets::Tickets;
use crate::flight::faults::Fault;
use crate::outcome::Shared;
use crate::panic::CatchDrop;
use crate::sync::{Instant, Monitor, Mutex, Sender, has_passed, only_if, step};
use crate::wait::graph::LeaderCell;

/// How many lanes a slot has: followers that wake together take different locks. DESIGN.md has what was measured.
const LANES: usize = if cfg!(sync_coalesce_shuttle) { 2 } else { 8 };

/// How many followers take a lane before the next one is taken, so that a small flight is woken by one notification.
const PER_LANE: usize = if cfg!(sync_coalesce_shuttle) { 1 } else { 64 };

/// Comes into being with the first follower, so that a lone flight pays nothing for it.
///
/// The state is set in all lanes, one after the other, under the shard's lock. So whoever holds that lock may look into
/// any lane; whoever does not sees what the other lanes say a moment later.
pub(crate) struct Slot<T, E> {
    /// Each follower waits in one of them.
    lanes: [Monitor<Lane<T, E>>; LANES],
    register: Mutex<Register<T, E>>,
    /// Who leads, for the wait-for graph.
    pub(crate) leader: LeaderCell,
}

struct Lane<T, E> {
    state: SlotState<T, E>,
    /// How many sleep here.
    asleep: usize,
}

/// What has become of a flight.
pub(crate) enum SlotState<T, E> {
    /// A closure runs, or waits for a thread of the pool.
    Running,
    /// It failed, and the first follower that sees this leads next.
    Vacant,
    Ended(Shared<T, E>),
}

/// Why a follower waits no longer.
pub(crate) enum Wake<T, E> {
    Ended(Shared<T, E>),
    Vacant,
    TimedOut,
}

/// What those who sleep in the lanes need not know.
struct Register<T, E> {
    /// What the lead is offered with: if all who could claim it leave instead, this is the result.
    failure: Failure<T, E>,
    /// Set on publication. Declared after the lanes in [`Slot`], so it holds the slot's last reference, and a panic in the
    /// Drop of the user's value is caught.
    result: CatchDrop<Shared<T, E>>,
    tickets: Tickets<T, E>,
}

/// Why the last leader failed. To be dropped under no lock: the last reference to an error is dropped by user code.
pub(crate) type Failure<T, E> = CatchDrop<Shared<T, E>>;

/// Who is to be notified of a new state, under no lock.
#[must_use]
pub(crate) struct Wakeup<T, E> {
    slot: Arc<Slot<T, E>>,
    who: Who<T, E>,
}

enum Who<T, E> {
    /// One follower, to claim a vacant lead.
    One,
    /// All, for there is a result.
    All {
        followers: u64,
        /// The lanes in which somebody slept when the result was set, a bit for each.
        asleep: u32,
        tickets: Tickets<T, E>,
        _failure: Failure<T, E>,
    },
}

impl<T, E> Slot<T, E> {
    /// The slot of a flight that `thread` leads.
    pub(crate) fn new(thread: u64) -> Self {
        let lane = |_| Monitor::new(Lane { state: SlotState::Running, asleep: 0 });
        let register = Register { failure: CatchDrop::NONE, result: CatchDrop::NONE, tickets: Tickets::new() };
        Self { lanes: array::from_fn(lane), register: Mutex::new(register), leader: LeaderCell::new(thread) }
    }

    /// Sets the result for this many followers, and wakes nobody yet: the caller still holds the shard's lock.
    ///
    /// No follower misses [`Wakeup::notify`]: it looks and falls asleep under the lock of its lane, so it either sees the
    /// result, or sleeps before the result is set and so before it is notified.
    pub(crate) fn publish(self: Arc<Self>, followers: u64, result: Shared<T, E>) -> Wakeup<T, E> {
        step!(LeaderOutlivesFlight, self.leader.clear());
        let asleep = self.set(|| SlotState::Ended(result.clone()));
        let mut register = self.register.lock();
        register.result = CatchDrop::new(result);
        let tickets = register.tickets.take_all(followers);
        let failure = std::mem::replace(&mut register.failure, CatchDrop::NONE);
        drop(register);
        Wakeup { slot: self, who: Who::All { followers, asleep, tickets, _failure: failure } }
    }

    /// Offers the lead to the followers, and wakes nobody yet. `failure` is the result if all of them leave.
    pub(crate) fn offer(&self, failure: Shared<T, E>) {
        self.leader.clear();
        self.register.lock().failure = CatchDrop::new(failure);
        self.set(|| SlotState::Vacant);
    }

    /// Claims the lead for `thread` if it is vacant. The caller holds the shard's lock. Returns what the lead was offered
    /// with.
    pub(crate) fn claim_lead(&self, thread: u64) -> Failure<T, E> {
        if !matches!(self.state(), SlotState::Vacant) {
            return CatchDrop::NONE;
        }
        step!(ElectedUnnamed, self.leader.set(thread));
        step!(LeadStaysVacant, self.set(|| SlotState::Running));
        std::mem::replace(&mut self.register.lock().failure, CatchDrop::NONE)
    }

    /// Sets the state in all lanes; says in which of them somebody sleeps.
    fn set(&self, state: impl Fn() -> SlotState<T, E>) -> u32 {
        let lanes = if only_if!(SetsOneLane, true) { LANES } else { 1 };
        let mut asleep = 0;
        for (index, lane) in self.lanes.iter().enumerate().take(lanes) {
            let mut lane = lane.lock();
            lane.state = state();
            asleep |= u32::from(lane.asleep > 0) << index;
        }
        asleep
    }

    /// Has the result sent to a ticket too, and says by which number it can leave; none if the flight has ended.
    pub(crate) fn add_ticket(&self, sender: Sender<Shared<T, E>>) -> Option<u64> {
        let mut register = self.register.lock();
        if let Some(ended) = register.result.get() {
            let ended = ended.clone();
            drop(register);
            let _ = sender.send(ended);
            return None;
        }
        Some(register.tickets.add(sender))
    }

    /// Takes a ticket out; says how many are left. None if the flight has ended.
    pub(crate) fn remove_ticket(&self, number: u64) -> Option<usize> {
        let mut register = self.register.lock();
        let ticket = register.tickets.remove(number)?;
        let left = register.tickets.len();
        drop(register);
        drop(ticket);
        Some(left)
    }

    /// How many followers were released with the result; 0 before that.
    pub(crate) fn released(&self) -> u64 {
        self.register.lock().tickets.released()
    }

    /// What has become of the flight by now.
    pub(crate) fn state(&self) -> SlotState<T, E> {
        match &self.lanes[0].lock().state {
            SlotState::Ended(result) => SlotState::Ended(result.clone()),
            SlotState::Vacant => SlotState::Vacant,
            SlotState::Running => SlotState::Running,
        }
    }

    /// What the lead is offered with, if it is.
    pub(crate) fn failure(&self) -> Option<Shared<T, E>> {
        self.register.lock().failure.get().cloned()
    }

    /// Blocks until the flight ends, its lead is vacant, or `until` passes, as the follower in this seat. A result that is
    /// there beats a time that has passed, and a time that has passed beats a vacant lead.
    pub(crate) fn wait(&self, seat: usize, until: Option<Instant>) -> Wake<T, E> {
        let monitor = &self.lanes[seat / PER_LANE % LANES];
        let mut lane = monitor.lock();
        loop {
            let is_late = || until.is_some_and(has_passed);
            match &lane.state {
                SlotState::Ended(result) => return Wake::Ended(result.clone()),
                SlotState::Vacant => return if only_if!(LeadsLate, is_late()) { Wake::TimedOut } else { Wake::Vacant },
                SlotState::Running if is_late() => return Wake::TimedOut,
                SlotState::Running => {
                    lane.asleep += 1;
                    lane = monitor.wait(lane, until);
                    lane.asleep -= 1;
                }
            }
        }
    }
}

impl<T, E> Wakeup<T, E> {
    /// For one follower, to claim a vacant lead. If it leaves instead, it must pass this on.
    pub(crate) fn one(slot: Arc<Slot<T, E>>) -> Self {
        Self { slot, who: Who::One }
    }

    /// How many followers have a result by it.
    pub(crate) fn followers(&self) -> u64 {
        match self.who {
            Who::One => 0,
            Who::All { followers, .. } => followers,
        }
    }

    /// Notifies them, and sends the result to every ticket.
    pub(crate) fn notify(self) {
        let Self { slot, who } = self;
        match who {
            // Whoever falls asleep in a lane that was looked at before has seen that the lead is vacant.
            Who::One => step!(OffersToNobody, {
                if let Some(lane) = slot.lanes.iter().find(|lane| lane.lock().asleep > 0) {
                    lane.notify_one();
                }
            }),
            Who::All { asleep, tickets, .. } => {
                let lanes = if only_if!(WakesOneLane, true) { LANES } else { 1 };
                for (index, lane) in slot.lanes.iter().enumerate().take(lanes) {
                    if asleep >> index & 1 == 1 {
                        lane.notify_all();
                    }
                }
                tickets.send(|| match slot.state() {
                    SlotState::Ended(result) => Some(result),
                    SlotState::Running | SlotState::Vacant => None,
                });
            }
        }
    }
}
