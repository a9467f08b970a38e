//! One flight's meeting point: the leader publishes, its followers wait, and the lead is handed over.

use std::array;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use crate::flight::faults::Fault;
use crate::outcome::Shared;
use crate::panic::CatchDrop;
use crate::sync::{Instant, Monitor, Mutex, Sender, has_passed, is_planted};
use crate::wait::graph::LeaderCell;

/// How many meeting points a flight has: followers that wake up together take different locks. DESIGN.md has what was
/// measured.
const LANES: usize = if cfg!(sync_coalesce_shuttle) { 2 } else { 8 };

/// How many followers take a lane before the next one is taken, so that a small flight is woken by one notification.
const PER_LANE: usize = if cfg!(sync_coalesce_shuttle) { 1 } else { 64 };

/// Comes into being with the first follower, so that a lone flight pays nothing for it.
pub(crate) struct Slot<T, E> {
    /// Each follower waits in one of them. They all say the same whenever the shard's lock is free.
    lanes: [Monitor<Lane<T, E>>; LANES],
    register: Mutex<Register<T, E>>,
    /// Who leads, for the graph of waits.
    pub(crate) leader: LeaderCell,
}

struct Lane<T, E> {
    state: State<T, E>,
    /// How many sleep here.
    asleep: usize,
}

enum State<T, E> {
    /// A closure runs.
    Led,
    /// It failed, and the first follower that sees this leads next.
    Vacant,
    Ended(Shared<T, E>),
}

/// What those who sleep in the lanes need not know.
struct Register<T, E> {
    /// What the lead is offered with: if all who could take it leave instead, this is the result.
    failure: Failure<T, E>,
    /// Once it is published. The last reference to it that the slot has, as the lanes are dropped before: so whoever has
    /// the slot last, and has other things to do, drops the user's value quietly.
    result: CatchDrop<Shared<T, E>>,
    /// Where to send the result too, by a number of each ticket's own. Emptied when there is one.
    tickets: BTreeMap<u64, Sender<Shared<T, E>>>,
    last_ticket: u64,
}

/// Why the last leader failed. To be dropped under no lock: the last reference to an error is dropped by user code.
pub(in crate::flight) type Failure<T, E> = CatchDrop<Shared<T, E>>;

/// A result that was published, and who is to be told of it under no lock.
#[must_use]
pub(in crate::flight) struct Published<T, E> {
    slot: Arc<Slot<T, E>>,
    tickets: BTreeMap<u64, Sender<Shared<T, E>>>,
    /// The lanes in which somebody slept when the result was set, a bit for each.
    asleep: u32,
    _failure: Failure<T, E>,
}

/// Why a follower woke up.
pub(crate) enum Woken<T, E> {
    Ended(Shared<T, E>),
    Vacant,
    Late,
}

impl<T, E> Slot<T, E> {
    /// The slot of a flight that `thread` leads.
    pub(crate) fn new(thread: u64) -> Self {
        let lane = |_| Monitor::new(Lane { state: State::Led, asleep: 0 });
        let register =
            Register { failure: CatchDrop::NONE, result: CatchDrop::NONE, tickets: BTreeMap::new(), last_ticket: 0 };
        Self { lanes: array::from_fn(lane), register: Mutex::new(register), leader: LeaderCell::new(thread) }
    }

    /// Sets the result, and wakes nobody yet: the caller still holds the shard's lock.
    ///
    /// A follower that misses [`wake`](Published::wake) cannot exist: it looks and goes to sleep under the lock of
    /// its lane, so it either sees the result or sleeps before it is set, and so before it is woken.
    pub(in crate::flight) fn publish(self: Arc<Self>, result: Shared<T, E>) -> Published<T, E> {
        if !is_planted(Fault::LeaderOutlivesFlight) {
            self.leader.clear();
        }
        let asleep = self.set(|| State::Ended(result.clone()));
        let mut register = self.register.lock();
        register.result = CatchDrop::new(result);
        let (tickets, failure) =
            (mem::take(&mut register.tickets), mem::replace(&mut register.failure, CatchDrop::NONE));
        drop(register);
        Published { slot: self, tickets, asleep, _failure: failure }
    }

    /// Offers the lead to the followers, and wakes nobody yet. `failure` is the result if all of them leave.
    pub(crate) fn offer(&self, failure: Shared<T, E>) {
        self.leader.clear();
        self.register.lock().failure = CatchDrop::new(failure);
        self.set(|| State::Vacant);
    }

    /// Takes the lead for `thread` if it is free. The caller holds the shard's lock. Returns what the lead was offered
    /// with.
    pub(in crate::flight) fn claim_lead(&self, thread: u64) -> Failure<T, E> {
        if !matches!(self.look(), Woken::Vacant) {
            return CatchDrop::NONE;
        }
        self.leader.set(if is_planted(Fault::ElectedUnnamed) { 0 } else { thread });
        if is_planted(Fault::LeadStaysVacant) {
            return CatchDrop::NONE;
        }
        self.set(|| State::Led);
        mem::replace(&mut self.register.lock().failure, CatchDrop::NONE)
    }

    /// Sets the state in all lanes; says in which of them somebody sleeps.
    fn set(&self, state: impl Fn() -> State<T, E>) -> u32 {
        let lanes = if is_planted(Fault::SetsOneLane) { 1 } else { LANES };
        let mut asleep = 0;
        for (index, lane) in self.lanes.iter().enumerate().take(lanes) {
            let mut lane = lane.lock();
            lane.state = state();
            asleep |= u32::from(lane.asleep > 0) << index;
        }
        asleep
    }

    /// Wakes one follower to take a lead that is vacant, once no lock is held. If it leaves instead, it must pass this
    /// on. Whoever falls asleep in a lane that was looked at already has seen that the lead is vacant.
    pub(crate) fn wake_one(&self) {
        if let Some(lane) = self.lanes.iter().find(|lane| lane.lock().asleep > 0) {
            lane.notify_one();
        }
    }

    /// Has the result sent to a ticket too, and says by which number it can leave; none if the flight has ended.
    pub(crate) fn add_ticket(&self, result: Sender<Shared<T, E>>) -> Option<u64> {
        let mut register = self.register.lock();
        if let Some(ended) = register.result.get() {
            let ended = ended.clone();
            drop(register);
            let _ = result.send(ended);
            return None;
        }
        register.last_ticket += 1;
        let number = register.last_ticket;
        register.tickets.insert(number, result);
        Some(number)
    }

    /// Takes a ticket out; says how many are left. None if the flight has ended.
    pub(crate) fn remove_ticket(&self, number: u64) -> Option<usize> {
        let mut register = self.register.lock();
        let ticket = register.tickets.remove(&number)?;
        let left = register.tickets.len();
        drop(register);
        drop(ticket);
        Some(left)
    }

    /// What a follower would see that asked now with no time left. Without the shard's lock, it may be what other lanes
    /// say a moment later.
    pub(crate) fn look(&self) -> Woken<T, E> {
        match &self.lanes[0].lock().state {
            State::Ended(result) => Woken::Ended(result.clone()),
            State::Vacant => Woken::Vacant,
            State::Led => Woken::Late,
        }
    }

    /// What the lead is offered with, if it is.
    pub(in crate::flight) fn failure(&self) -> Option<Shared<T, E>> {
        self.register.lock().failure.get().cloned()
    }

    /// Blocks until the flight ends, its lead is vacant, or `until` passes, as the follower that joined after `before`
    /// others. A result that is there beats a time that has passed, and a time that has passed beats a lead that is
    /// free.
    pub(crate) fn wait(&self, before: usize, until: Option<Instant>) -> Woken<T, E> {
        let monitor = &self.lanes[before / PER_LANE % LANES];
        let mut lane = monitor.lock();
        loop {
            match &lane.state {
                State::Ended(result) => return Woken::Ended(result.clone()),
                State::Vacant if is_planted(Fault::LeadsLate) => return Woken::Vacant,
                _ if until.is_some_and(has_passed) => return Woken::Late,
                State::Vacant => return Woken::Vacant,
                State::Led => {
                    lane.asleep += 1;
                    lane = monitor.wait(lane, until);
                    lane.asleep -= 1;
                }
            }
        }
    }
}

impl<T, E> Published<T, E> {
    /// Wakes every follower, and sends the result to every ticket.
    pub(in crate::flight) fn wake(self) {
        let lanes = if is_planted(Fault::WakesOneLane) { 1 } else { LANES };
        for (index, lane) in self.slot.lanes.iter().enumerate().take(lanes) {
            if self.asleep >> index & 1 == 1 {
                lane.notify_all();
            }
        }
        for ticket in self.tickets.into_values() {
            if let Woken::Ended(result) = self.slot.look() {
                // Nobody listens any more where a ticket is being dropped.
                let _ = ticket.send(result);
            }
        }
    }
}
