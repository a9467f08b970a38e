//! Batches: many flights for one caller. They are claimed one by one without waiting and run by one closure; after
//! that, the caller follows the flights that others lead.

use std::sync::Arc;

use hashbrown::Equivalent;

use super::bypass::BypassRun;
use super::completion::{Completion, Completions, attempt_many};
use super::enter::{Entry, WaitMode};
#[cfg(sync_coalesce_shuttle)]
use super::faults::Fault;
use super::flights::Flights;
use super::follow::Follower;
use super::lead::LeaderGuard;
use crate::error::CallError;
use crate::options::CallOptions;
use crate::outcome::{BypassReason, Outcome, Role};
use crate::panic::CatchDrop;
use crate::sync::{self, Instant};
use crate::wait::limits::WaitLimits;

/// The roles of one caller in the flights of its keys, by the keys' places.
struct Parts<'a, K, T, E> {
    leads: Vec<(usize, LeaderGuard<'a, K, T, E>)>,
    follows: Vec<(usize, Follower<'a, K, T, E>)>,
    bypasses: Vec<(usize, BypassReason)>,
}

/// The outcome of each key, at its place. Each catches panics in its Drop: two at once would end the process.
type Outcomes<T, E> = Vec<CatchDrop<Outcome<T, E>>>;

/// A batch's keys, options and closure, which can be called for any of the keys.
struct Batch<'k, 'o, Q: ?Sized, A> {
    /// All distinct, with their hashes.
    keys: &'k [(u64, &'k Q)],
    options: &'o CallOptions<'o>,
    ask: A,
}

impl<K, T, E> Flights<K, T, E> {
    /// The outcome of each of the `keys`, which are all distinct and come with their hashes.
    ///
    /// While `work` runs for the claimed keys, this thread leads all of them and waits for nothing. When it begins to
    /// wait for what others lead, it leads none of them any more. So two batches never wait for each other, whichever
    /// keys they share.
    ///
    /// User code here: that of [`enter`](Flights::enter) for each key, `work`, and that of the end of a flight.
    /// Whichever panics, each lead ends its flight and each follower leaves.
    pub(crate) fn call_many<Q, R>(
        &self,
        keys: &[(u64, &Q)],
        options: &CallOptions<'_>,
        mut work: impl FnMut(&[&Q]) -> Result<Vec<R>, E>,
        part: fn(R) -> Result<T, E>,
    ) -> Vec<Outcome<T, E>>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let cost = self.settings.cost.as_deref();
        let ask = |keys: &[&Q]| attempt_many(keys.len(), || work(keys), part, cost);
        let mut batch = Batch { keys, options, ask };
        let mut outcomes: Outcomes<T, E> = keys.iter().map(|_| CatchDrop::NONE).collect();
        if options.bypass {
            self.bypass_many(&mut batch, &mut outcomes);
        } else {
            let parts = self.claim(&batch, &mut outcomes);
            self.act_many(&mut batch, parts, &mut outcomes);
        }
        // Each place has an outcome by now.
        let missing = || Outcome { result: Err(CallError::Cancelled), role: Role::Refused };
        outcomes.into_iter().map(|mut outcome| outcome.take().unwrap_or_else(missing)).collect()
    }

    /// Enters the flight of each key, without waiting.
    fn claim<Q, A>(&self, batch: &Batch<'_, '_, Q, A>, outcomes: &mut Outcomes<T, E>) -> Parts<'_, K, T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let mut parts =
            Parts { leads: Vec::with_capacity(batch.keys.len()), follows: Vec::new(), bypasses: Vec::new() };
        for (place, &(hash, key)) in batch.keys.iter().enumerate() {
            match self.enter(WaitMode::AfterBatch, hash, key, batch.options) {
                Entry::Lead(lead) => parts.leads.push((place, lead)),
                #[cfg(sync_coalesce_shuttle)]
                Entry::Follow(follower) if sync::is_planted(Fault::WaitsWhileClaiming) => {
                    let super::follow::Waited::Over(outcome) = follower.wait(sync::now(), WaitLimits::default()) else {
                        unreachable!()
                    };
                    outcomes[place] = CatchDrop::new(outcome);
                }
                Entry::Follow(follower) => parts.follows.push((place, follower)),
                Entry::Bypass(reason) => parts.bypasses.push((place, reason)),
                Entry::Done(outcome) => outcomes[place] = CatchDrop::new(outcome),
            }
        }
        parts
    }

    /// First runs the closure for what this caller leads, then for what bypasses; and then, leading nothing, waits for
    /// the rest.
    fn act_many<Q, A>(&self, batch: &mut Batch<'_, '_, Q, A>, parts: Parts<'_, K, T, E>, outcomes: &mut Outcomes<T, E>)
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        A: FnMut(&[&Q]) -> Completions<T, E>,
    {
        let (places, leads): (Vec<usize>, Vec<_>) = parts.leads.into_iter().unzip();
        let keys: Vec<&Q> = places.iter().map(|&place| batch.keys[place].1).collect();
        for (place, outcome) in places.into_iter().zip(self.lead_many(leads, &keys, &mut batch.ask)) {
            outcomes[place] = outcome;
        }
        let nothing = || (sync::now(), WaitLimits::default());
        for (place, reason) in parts.bypasses {
            let (hash, key) = batch.keys[place];
            let outcome = self.act(hash, Entry::Bypass(reason), nothing, || None, |_| one(&mut batch.ask, key));
            outcomes[place] = CatchDrop::new(outcome);
        }
        if !parts.follows.is_empty() {
            let limits = self.limits_from_now(batch.options);
            for (place, follower) in parts.follows {
                outcomes[place] = CatchDrop::new(self.follow_later(batch, place, follower, limits));
            }
        }
    }

    /// Calls the closure for the `keys` of these leads, and ends each flight with its part of the answer. A panic goes
    /// on to the caller after all flights have ended.
    fn lead_many<Q: ?Sized>(
        &self,
        leads: Vec<LeaderGuard<'_, K, T, E>>,
        keys: &[&Q],
        ask: &mut impl FnMut(&[&Q]) -> Completions<T, E>,
    ) -> Outcomes<T, E> {
        let mut outcomes = Vec::with_capacity(keys.len());
        // Dropping keys is user code, so they are dropped when nobody waits for this thread any more.
        let mut owned = Vec::with_capacity(keys.len());
        let mut leads = leads.into_iter();
        for keys in keys.chunks(self.settings.max_batch) {
            let mut began = None;
            for lead in leads.as_slice().iter().take(keys.len()) {
                began = lead.begin();
            }
            let asked = ask(keys);
            let ran_for = began.map(|began| sync::now().saturating_duration_since(began));
            match asked {
                Ok(completions) => {
                    for (completion, lead) in completions.into_iter().zip(leads.by_ref()) {
                        let (followers, key) = lead.finish(&completion, ran_for);
                        owned.push(key.map(CatchDrop::new));
                        let role = Role::Leader { followers };
                        outcomes.push(CatchDrop::new(Outcome { result: completion.into_result_or_resume(), role }));
                    }
                }
                Err(panicked) => {
                    #[cfg(sync_coalesce_shuttle)]
                    if sync::is_planted(Fault::PanicReleasesOne) {
                        leads.by_ref().skip(1).for_each(|lead| _ = lead.hand_to_pool());
                    }
                    for (place, lead) in leads.enumerate() {
                        let (_, key) = lead.finish(&panicked, ran_for.filter(|_| place < keys.len()));
                        owned.push(key.map(CatchDrop::new));
                    }
                    drop(owned);
                    panicked.resume_panic();
                    return outcomes;
                }
            }
        }
        outcomes
    }

    /// Calls the closure for all keys, for this caller alone.
    fn bypass_many<Q, A>(&self, batch: &mut Batch<'_, '_, Q, A>, outcomes: &mut Outcomes<T, E>)
    where
        Q: ?Sized,
        A: FnMut(&[&Q]) -> Completions<T, E>,
    {
        let mut runs = Vec::with_capacity(batch.keys.len());
        for (place, &(hash, key)) in batch.keys.iter().enumerate() {
            match BypassRun::begin(self, hash, BypassReason::Requested, false) {
                Ok(run) => runs.push((place, key, run)),
                Err(error) => outcomes[place] = CatchDrop::new(self.refuse(error)),
            }
        }
        let keys: Vec<&Q> = runs.iter().map(|&(_, key, _)| key).collect();
        let mut runs = runs.into_iter();
        for keys in keys.chunks(self.settings.max_batch) {
            match (batch.ask)(keys) {
                Ok(completions) => {
                    for (completion, (place, _, run)) in completions.into_iter().zip(runs.by_ref()) {
                        outcomes[place] = CatchDrop::new(run.end(completion));
                    }
                }
                Err(panicked) => {
                    for (_, _, run) in runs {
                        run.count_end(&panicked);
                    }
                    panicked.resume_panic();
                    return;
                }
            }
        }
    }

    /// Waits for one key, now that this caller leads no other.
    fn follow_later<Q, A>(
        &self,
        batch: &mut Batch<'_, '_, Q, A>,
        place: usize,
        follower: Follower<'_, K, T, E>,
        limits: (Instant, WaitLimits),
    ) -> Outcome<T, E>
    where
        Q: ToOwned<Owned = K> + ?Sized,
        A: FnMut(&[&Q]) -> Completions<T, E>,
    {
        let (hash, key) = batch.keys[place];
        let own = batch.options.label;
        let label = || {
            let of_key = || self.settings.key_label.map(|label| label(&key.to_owned()).into());
            own.map(Arc::from).or_else(of_key)
        };
        let ask = &mut batch.ask;
        self.act(hash, Entry::Follow(follower), || limits, label, |_| one(ask, key))
    }
}

/// How a batch's closure ends for one key.
fn one<Q: ?Sized, T, E>(ask: &mut impl FnMut(&[&Q]) -> Completions<T, E>, key: &Q) -> Completion<T, E> {
    match ask(&[key]) {
        Ok(mut completions) => completions.pop().unwrap_or(Completion::Miscounted { expected: 1, got: 0 }),
        Err(panicked) => panicked,
    }
}
