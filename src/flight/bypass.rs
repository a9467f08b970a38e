//! Bypass: running a closure for its caller alone.

use super::completion::Completion;
use super::flights::Flights;
use super::handle::FlightHandle;
use super::table::ShardLock;
use crate::error::CallError;
use crate::outcome::{BypassReason, Outcome, Role};
use crate::wait::thread::{ThreadToken, this_thread};

/// A run that nobody can join, from the moment when it is counted until it has ended.
pub(super) struct BypassRun<'a, K, T, E> {
    flights: &'a Flights<K, T, E>,
    shard: &'a ShardLock<K, T, E>,
    thread: ThreadToken,
    reason: BypassReason,
}

impl<K, T, E> Flights<K, T, E> {
    /// Runs `run` for its caller alone, which may have `joined` a flight before and left it. A panic goes on to the caller.
    pub(super) fn bypass(
        &self,
        hash: u64,
        reason: BypassReason,
        joined: bool,
        run: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Completion<T, E>,
    ) -> Outcome<T, E> {
        match BypassRun::begin(self, hash, reason, joined) {
            Ok(bypass) => bypass.end(run(&FlightHandle::alone(self, hash))),
            Err(error) => {
                drop(run);
                self.refuse(error)
            }
        }
    }
}

impl<'a, K, T, E> BypassRun<'a, K, T, E> {
    /// Counts a run. A caller that has `joined` a flight before is counted as its follower, and runs even if the
    /// coalescer has been closed since.
    pub(super) fn begin(
        flights: &'a Flights<K, T, E>,
        hash: u64,
        reason: BypassReason,
        joined: bool,
    ) -> Result<Self, CallError<E>> {
        let shard = flights.table.shard(hash);
        let thread = this_thread();
        let mut locked = shard.lock();
        if !joined {
            if locked.closed {
                locked.counters.closed += 1;
                return Err(CallError::Closed);
            }
            locked.counters.bypassed += 1;
        }
        locked.counters.running += 1;
        locked.bypassing.push(thread);
        Ok(Self { flights, shard, thread, reason })
    }

    /// Counts its end, and makes its caller's outcome.
    pub(super) fn end(self, completion: Completion<T, E>) -> Outcome<T, E> {
        let reason = self.reason;
        self.count_end(&completion);
        Outcome { result: completion.into_result_or_resume(), role: Role::Bypassed(reason) }
    }

    pub(super) fn count_end(self, completion: &Completion<T, E>) {
        let mut locked = self.shard.lock();
        locked.remove_bypassing(self.thread);
        let drained = locked.count_end(completion);
        drop(locked);
        if self.reason == BypassReason::Impatient {
            self.flights.impatient.give_back(1);
        }
        if drained {
            self.flights.notify_drained();
        }
    }
}
