//! One flight's meeting point: the leader publishes, its followers wait, and the lead is handed over.

use std::array;

use super::waits::Leader;
use crate::outcome::Shared;
use crate::sync::{self, Fault, Instant, Monitor, has_passed, planted};

/// How many meeting points a flight has: followers that wake up together take different locks. DESIGN.md has what was
/// measured.
const LANES: usize = if cfg!(all(test, sync_coalesce_shuttle)) { 2 } else { 8 };

/// Comes into being with the first follower, so that a lone flight pays nothing for it.
pub(crate) struct Slot<T, E> {
    /// Each thread waits in one of them. They all say the same whenever the shard's lock is free.
    lanes: [Monitor<Lane<T, E>>; LANES],
    /// Who leads, for the graph of waits.
    pub(crate) leader: Leader,
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
    Free,
    Ended(Shared<T, E>),
}

/// The lanes in which somebody slept when the result was set, a bit for each.
#[must_use]
#[derive(Clone, Copy)]
pub(crate) struct Asleep(u32);

/// Why a follower woke up.
pub(crate) enum Woken<T, E> {
    Ended(Shared<T, E>),
    Free,
    Late,
}

impl<T, E> Slot<T, E> {
    /// The slot of a flight that `thread` leads.
    pub(crate) fn new(thread: u64) -> Self {
        let lane = |_| Monitor::new(Lane { state: State::Led, asleep: 0 });
        Self { lanes: array::from_fn(lane), leader: Leader::new(thread) }
    }

    /// Sets the result, and wakes nobody yet: the caller still holds the shard's lock.
    ///
    /// A follower that misses the [`wake_all`](Slot::wake_all) cannot exist: it looks and goes to sleep under the lock
    /// taken here, so it either sees the result or sleeps before it is set, and so before it is woken.
    pub(crate) fn publish(&self, result: &Shared<T, E>) -> Asleep {
        if !planted(Fault::LeaderOutlivesFlight) {
            self.leader.clear();
        }
        self.set(|| State::Ended(result.clone()))
    }

    /// Offers the lead to the followers, and wakes nobody yet.
    pub(crate) fn offer(&self) {
        self.leader.clear();
        let _ = self.set(|| State::Free);
    }

    /// Takes the lead for `thread` if it is free. The caller holds the shard's lock.
    pub(crate) fn take_lead(&self, thread: u64) {
        if matches!(self.look(), Woken::Free) {
            let _ = self.set(|| if planted(Fault::LeadStaysFree) { State::Free } else { State::Led });
            self.leader.set(if planted(Fault::ElectedUnnamed) { 0 } else { thread });
        }
    }

    fn set(&self, state: impl Fn() -> State<T, E>) -> Asleep {
        let mut asleep = 0;
        for (index, lane) in self.lanes.iter().enumerate() {
            if index > 0 && planted(Fault::SetsOneLane) {
                break;
            }
            let mut lane = lane.lock();
            lane.state = state();
            asleep |= u32::from(lane.asleep > 0) << index;
        }
        Asleep(asleep)
    }

    /// Wakes every follower, once no lock is held.
    pub(crate) fn wake_all(&self, asleep: Asleep) {
        for (index, lane) in self.lanes.iter().enumerate() {
            if asleep.0 >> index & 1 == 1 && !(index > 0 && planted(Fault::WakesOneLane)) {
                lane.notify_all();
            }
        }
    }

    /// Wakes one follower to take a lead that is free, once no lock is held. If it leaves instead, it must pass this
    /// on. Whoever falls asleep in a lane that was looked at already has seen that the lead is free.
    pub(crate) fn wake_one(&self) {
        if let Some(lane) = self.lanes.iter().find(|lane| lane.lock().asleep > 0) {
            lane.notify_one();
        }
    }

    /// What a follower would see that asked now with no time left. The caller holds the shard's lock.
    pub(crate) fn look(&self) -> Woken<T, E> {
        match &self.lanes[0].lock().state {
            State::Ended(result) => Woken::Ended(result.clone()),
            State::Free => Woken::Free,
            State::Led => Woken::Late,
        }
    }

    /// Blocks until the flight ends, its lead is free, or `until` passes. A result that is there beats a time that has
    /// passed, and a time that has passed beats a lead that is free.
    pub(crate) fn wait(&self, until: Option<Instant>) -> Woken<T, E> {
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits matter")]
        let monitor = &self.lanes[sync::me().number as usize % LANES];
        let mut lane = monitor.lock();
        loop {
            match &lane.state {
                State::Ended(result) => return Woken::Ended(result.clone()),
                State::Free if planted(Fault::LeadsLate) => return Woken::Free,
                _ if until.is_some_and(has_passed) => return Woken::Late,
                State::Free => return Woken::Free,
                State::Led => {
                    lane.asleep += 1;
                    lane = monitor.wait(lane, until);
                    lane.asleep -= 1;
                }
            }
        }
    }
}
