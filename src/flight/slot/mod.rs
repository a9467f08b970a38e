//! [`Slot`]: where one flight's followers wait, the leader publishes, and a vacant lead is offered.

mod tickets;

use std::array;
use std::sync::Arc;

use self::tickets::Tickets;
use crate::flight::faults::Fault;
use crate::outcome::Shared;
use crate::panic::CatchDrop;
use crate::sync::{Instant, Monitor, Mutex, Sender, has_passed, only_if, step};
use crate::wait::graph::LeaderCell;

/// The number of lanes of a slot: followers that wake together take different locks. DESIGN.md has the measurements.
const LANES: usize = if cfg!(sync_coalesce_shuttle) { 2 } else { 8 };

/// How many followers share a lane before the next lane is used, so that one notification wakes a small flight.
const PER_LANE: usize = if cfg!(sync_coalesce_shuttle) { 1 } else { 64 };

/// Where the followers of one flight wait. Made by the first of them, so a lone flight pays nothing for it.
///
/// The state is set in all lanes, one after the other, under the shard's lock. So a thread that holds that lock may
/// look into any lane. A thread that does not may see a state a moment before the other lanes have it.
pub(crate) struct Slot<T, E> {
    /// Each follower waits in one of them.
    lanes: [Monitor<Lane<T, E>>; LANES],
    register: Mutex<Register<T, E>>,
    /// Names the leader in the wait-for graph.
    pub(crate) leader: LeaderCell,
}

struct Lane<T, E> {
    state: SlotState<T, E>,
    /// How many followers sleep here.
    asleep: usize,
}

/// The state of a flight.
pub(crate) enum SlotState<T, E> {
    /// A closure runs, or waits for a pool thread.
    Running,
    /// It failed, and the first follower that sees this can claim the lead.
    Vacant,
    Ended(Shared<T, E>),
}

/// Why a follower woke up.
pub(crate) enum Wake<T, E> {
    Ended(Shared<T, E>),
    Vacant,
    TimedOut,
}

/// What sleepers in the lanes need not read.
struct Register<T, E> {
    /// The failure for which the lead is offered: the result, if all followers that could claim it leave instead.
    failure: Failure<T, E>,
    /// Set on publication. Declared after the lanes in [`Slot`], so it holds the slot's last reference, and a panic in
    /// the Drop of the user's value is caught.
    result: CatchDrop<Shared<T, E>>,
    tickets: Tickets<T, E>,
}

/// The last leader's failure. Must be dropped under no lock: dropping the last reference to an error is user code.
pub(crate) type Failure<T, E> = CatchDrop<Shared<T, E>>;

/// The notification of a new state, to be sent under no lock.
#[must_use]
pub(crate) struct Wakeup<T, E> {
    slot: Arc<Slot<T, E>>,
    who: Who<T, E>,
}

enum Who<T, E> {
    /// One follower, to claim a vacant lead.
    One,
    /// All of them, of the result.
    All {
        followers: u64,
        /// The lanes in which followers slept when the result was set, one bit each.
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
    /// No follower misses [`Wakeup::notify`]: it checks and falls asleep under the lock of its lane. So it either sees
    /// the result, or is asleep before the result is set, and so before it is notified.
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

    /// Claims the lead for `thread` if it is vacant. The caller holds the shard's lock. Returns the failure for which
    /// the lead was offered.
    pub(crate) fn claim_lead(&self, thread: u64) -> Failure<T, E> {
        if !matches!(self.state(), SlotState::Vacant) {
            return CatchDrop::NONE;
        }
        step!(ElectedUnnamed, self.leader.set(thread));
        step!(LeadStaysVacant, self.set(|| SlotState::Running));
        std::mem::replace(&mut self.register.lock().failure, CatchDrop::NONE)
    }

    /// Sets the state in all lanes. Returns in which of them somebody sleeps.
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

    /// Adds a ticket, to which the result is sent too. Returns the number by which it leaves; `None` if the flight has
    /// ended.
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

    /// Removes a ticket. Returns how many are left; `None` if the flight has ended.
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

    /// The state of the flight now.
    pub(crate) fn state(&self) -> SlotState<T, E> {
        match &self.lanes[0].lock().state {
            SlotState::Ended(result) => SlotState::Ended(result.clone()),
            SlotState::Vacant => SlotState::Vacant,
            SlotState::Running => SlotState::Running,
        }
    }

    /// The failure for which the lead is offered, if it is.
    pub(crate) fn failure(&self) -> Option<Shared<T, E>> {
        self.register.lock().failure.get().cloned()
    }

    /// Blocks the follower in this seat until the flight ends, its lead is vacant, or `until` passes. A result beats a
    /// time that has passed, and that beats a vacant lead.
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

    /// How many followers get the result.
    pub(crate) fn followers(&self) -> u64 {
        match self.who {
            Who::One => 0,
            Who::All { followers, .. } => followers,
        }
    }

    /// Notifies the followers, and sends the result to every ticket.
    pub(crate) fn notify(self) {
        let Self { slot, who } = self;
        match who {
            // A follower that falls asleep in a lane after it was checked here has seen that the lead is vacant.
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
