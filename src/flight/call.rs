//! One call, from its key to its outcome: the one place that acts on what [`enter`](super::enter) decides.

use std::sync::Arc;

use hashbrown::Equivalent;

use super::completion::{Completion, attempt};
use super::enter::{Entry, WaitMode};
use super::flights::Flights;
use super::follow::{Follower, Waited};
use super::handle::FlightHandle;
use crate::error::CallError;
use crate::observe::RefusalReason;
use crate::options::CallOptions;
use crate::outcome::{BypassReason, Outcome, Role};
use crate::policy::OnDeadlock;
use crate::sync::{self, Instant};
use crate::wait::limits::WaitLimits;

impl<K, T, E> Flights<K, T, E> {
    /// The outcome of one call. Where the caller leads, the compiler does not even make what `project` leaves out.
    #[expect(clippy::inline_always, reason = "the way of a lone call: DESIGN.md has what it gives")]
    #[inline(always)]
    pub(crate) fn call<Q, R>(
        &self,
        hash: u64,
        key: &Q,
        options: &CallOptions<'_>,
        work: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E>,
        project: impl FnOnce(Outcome<T, E>) -> R,
    ) -> R
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let cost = self.settings.cost.as_deref();
        let run = |flight: &FlightHandle<'_, K, T, E>| attempt(|| work(flight), cost);
        if options.bypass {
            return project(self.bypass(hash, BypassReason::Requested, false, run));
        }
        match self.enter(WaitMode::Now, hash, key, options) {
            Entry::Lead(lead) => project(lead.run(run)),
            entry => project(self.act(hash, entry, || self.limits_from_now(options), || None, run)),
        }
    }

    /// Carries out what `enter` has decided. Apart from `call`, so that a lone call stays short.
    #[inline(never)]
    pub(super) fn act(
        &self,
        hash: u64,
        entry: Entry<'_, K, T, E>,
        limits: impl FnOnce() -> (Instant, WaitLimits),
        label: impl FnMut() -> Option<Arc<str>>,
        run: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Completion<T, E>,
    ) -> Outcome<T, E> {
        let waited = match entry {
            Entry::Lead(lead) => Waited::Lead(lead),
            Entry::Bypass(reason) => return self.bypass(hash, reason, false, run),
            Entry::Done(outcome) => Waited::Over(outcome),
            Entry::Follow(follower) => {
                let (joined, limits) = limits();
                self.follow(follower, joined, limits, &mut { label })
            }
        };
        match waited {
            Waited::Lead(lead) => lead.run(run),
            Waited::Bypass(reason) => self.bypass(hash, reason, true, run),
            Waited::Over(outcome) => {
                // The unused closure is dropped first: if its Drop panicked later, an outcome that is being returned
                // would leak.
                drop(run);
                outcome
            }
        }
    }

    /// Waits as a follower, unless that would close a cycle.
    fn follow<'a>(
        &self,
        mut follower: Follower<'a, K, T, E>,
        joined: Instant,
        limits: WaitLimits,
        label: &mut dyn FnMut() -> Option<Arc<str>>,
    ) -> Waited<'a, K, T, E> {
        let Err(chain) = follower.start_waiting(label) else { return follower.wait(joined, limits) };
        let bypasses = self.settings.on_deadlock == OnDeadlock::Bypass;
        follower.count_cycle(joined, bypasses);
        if bypasses {
            return Waited::Bypass(BypassReason::Deadlock);
        }
        Waited::Over(Outcome { result: Err(CallError::Deadlock { chain }), role: Role::Refused })
    }

    /// Now, and the limits of a follower with these options that begins to wait now.
    pub(super) fn limits_from_now(&self, options: &CallOptions<'_>) -> (Instant, WaitLimits) {
        let now = sync::now();
        (now, options.limits(now, self.settings.timeout, self.settings.patience))
    }

    /// The outcome of a call that was refused, and is already counted.
    pub(crate) fn refuse(&self, error: CallError<E>) -> Outcome<T, E> {
        let outcome = Outcome { result: Err(error), role: Role::Refused };
        self.observe_refusal(&outcome);
        outcome
    }

    /// Reports a refusal to the observers, under no lock.
    pub(super) fn observe_refusal(&self, outcome: &Outcome<T, E>) {
        let (Role::Refused, Err(error)) = (outcome.role, &outcome.result) else { return };
        let reason = match error {
            CallError::Deadlock { .. } => RefusalReason::Deadlock,
            CallError::Overloaded => RefusalReason::Overloaded,
            _ => RefusalReason::Closed,
        };
        self.settings.observe(&|observer| observer.refused(self.settings.name.as_deref(), reason));
    }
}
