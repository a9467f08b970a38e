//! Running a closure for its caller alone, and refusing to run it.

use super::completion::{Completion, attempt};
use super::{Flight, Flights};
use crate::error::CallError;
use crate::observe::Refused;
use crate::outcome::{Bypass, Outcome, Role};
use crate::sync;

impl<K, T, E> Flights<K, T, E> {
    /// Runs `work` for its caller alone. A panic in it goes on to the caller.
    pub(crate) fn bypass(
        &self,
        hash: u64,
        why: Bypass,
        work: impl FnOnce(&Flight<'_, K, T, E>) -> Result<T, E>,
    ) -> Outcome<T, E> {
        let run = || attempt(|| work(&Flight::none()), self.settings.cost.as_deref());
        self.bypass_as(hash, why, why == Bypass::Impatient, run)
    }

    /// The same, for a caller that has `joined` before or has not, and user code that is caught already.
    pub(super) fn bypass_as(
        &self,
        hash: u64,
        why: Bypass,
        joined: bool,
        run: impl FnOnce() -> Completion<T, E>,
    ) -> Outcome<T, E> {
        let shard = self.table.shard(hash);
        let me = sync::this_thread();
        {
            let mut locked = shard.lock();
            // Who joined was counted as a follower, and goes on although the coalescer may be closed by now.
            if !joined {
                if locked.closed {
                    locked.counters.closed += 1;
                    drop(locked);
                    return self.refuse(CallError::Closed);
                }
                locked.counters.bypassed += 1;
            }
            locked.counters.running += 1;
            locked.bypassing.push(me);
        }
        let completion = run();
        let draining = {
            let mut locked = shard.lock();
            if let Some(place) = locked.bypassing.iter().position(|alone| *alone == me) {
                locked.bypassing.swap_remove(place);
                locked.shrink_bypassing();
            }
            locked.count_end(&completion)
        };
        if why == Bypass::Impatient {
            self.impatient.give_back(1);
        }
        self.tell_drain(draining);
        Outcome { result: completion.into_result(), role: Role::Bypassed(why) }
    }

    /// The outcome of a call that was refused, and has been counted.
    pub(crate) fn refuse(&self, error: CallError<E>) -> Outcome<T, E> {
        let why = match error {
            CallError::Deadlock { .. } => Refused::Deadlock,
            CallError::Overloaded => Refused::Overloaded,
            _ => Refused::Closed,
        };
        self.settings.observe(|observer| observer.refused(self.settings.name.as_deref(), why));
        Outcome { result: Err(error), role: Role::Refused }
    }
}
