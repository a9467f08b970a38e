//! One flight's meeting point: the leader publishes, its followers wait, and the lead is handed over.

use crate::outcome::Shared;
use crate::sync::{Fault, Instant, Monitor, has_passed, planted};

use super::waits::Leader;

/// Comes into being with the first follower, so that a lone flight pays nothing for it.
pub(crate) struct Slot<T, E> {
    state: Monitor<State<T, E>>,
    /// Who leads, for the graph of waits.
    pub(crate) leader: Leader,
}

enum State<T, E> {
    /// A closure runs.
    Led,
    /// It failed, and the first follower that sees this leads next.
    Free,
    Ended(Shared<T, E>),
}

/// Why a follower woke up.
pub(crate) enum Woken<T, E> {
    Ended(Shared<T, E>),
    Free,
    Late,
}

impl<T, E> Slot<T, E> {
    /// The slot of a flight that `thread` leads.
    pub(crate) fn new(thread: u64) -> Self {
        Self { state: Monitor::new(State::Led), leader: Leader::new(thread) }
    }

    /// Sets the result, and wakes nobody yet: the caller still holds the shard's lock.
    ///
    /// A follower that misses the [`wake_all`](Slot::wake_all) cannot exist: it looks and goes to sleep under the lock
    /// taken here, so it either sees the result or sleeps before it is set, and so before it is woken.
    pub(crate) fn publish(&self, result: Shared<T, E>) {
        if !planted(Fault::LeaderOutlivesFlight) {
            self.leader.clear();
        }
        *self.state.lock() = State::Ended(result);
    }

    /// Offers the lead to the followers, and wakes nobody yet.
    pub(crate) fn offer(&self) {
        self.leader.clear();
        *self.state.lock() = State::Free;
    }

    /// Takes the lead for `thread` if it is free. The caller holds the shard's lock.
    pub(crate) fn take_lead(&self, thread: u64) -> bool {
        let mut state = self.state.lock();
        let free = matches!(*state, State::Free);
        if free {
            *state = if planted(Fault::LeadStaysFree) { State::Free } else { State::Led };
            self.leader.set(if planted(Fault::ElectedUnnamed) { 0 } else { thread });
        }
        free
    }

    /// Wakes every follower, once no lock is held.
    pub(crate) fn wake_all(&self) {
        self.state.notify_all();
    }

    /// Wakes one follower to take a lead that is free, once no lock is held. If it leaves instead, it must pass this
    /// on.
    pub(crate) fn wake_one(&self) {
        self.state.notify_one();
    }

    /// What a follower would see that asked now with no time left.
    pub(crate) fn look(&self) -> Woken<T, E> {
        match &*self.state.lock() {
            State::Ended(result) => Woken::Ended(result.clone()),
            State::Free => Woken::Free,
            State::Led => Woken::Late,
        }
    }

    /// Blocks until the flight ends, its lead is free, or `until` passes. A result that is there beats a time that has
    /// passed, and a time that has passed beats a lead that is free.
    pub(crate) fn wait(&self, until: Option<Instant>) -> Woken<T, E> {
        let mut state = self.state.lock();
        loop {
            match &*state {
                State::Ended(result) => return Woken::Ended(result.clone()),
                State::Free if planted(Fault::LeadsLate) => return Woken::Free,
                _ if until.is_some_and(has_passed) => return Woken::Late,
                State::Free => return Woken::Free,
                State::Led => state = self.state.wait(state, until),
            }
        }
    }
}
