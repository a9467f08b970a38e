//! Many flights for one caller: claimed one by one without waiting, run by one closure; those that others lead are
//! followed when that is over.

use std::sync::Arc;

use hashbrown::Equivalent;

use super::completion::{Completion, attempt_many};
use super::{Entry, Flights, Follower, LeaderGuard, WaitLimits, WaitMode, Waited};
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::outcome::Shared;
use crate::outcome::{Bypass, Mark};
use crate::panic::CatchDrop;
use crate::policy::OnDeadlock;
use crate::sync::{self, Instant, is_planted};
use crate::wait::graph::Chain;

/// What came of a batch's closure for each key, or for all of them together if it panicked.
type Completions<T, E> = Result<Vec<Completion<T, E>>, Completion<T, E>>;

/// A follower that waits later. Dropped before, it leaves its flight.
struct DeferredFollower<'a, K, T, E>(Option<Follower<'a, K, T, E>>);

/// The parts that one caller plays in the flights of its keys, by the keys' places.
struct Parts<'a, K, T, E> {
    leads: Vec<(usize, LeaderGuard<'a, K, T, E>)>,
    follows: Vec<(usize, DeferredFollower<'a, K, T, E>)>,
    bypasses: Vec<(usize, Bypass)>,
}

impl<K, T, E> Flights<K, T, E> {
    /// What came of each of the `keys`, which are all different and come with their hashes.
    ///
    /// While `work` runs for what was claimed, this thread leads all of that and waits for nothing. When it comes to
    /// wait for what others lead, it leads nothing of it any more. So two batches never wait for each other, whichever
    /// keys they share.
    ///
    /// User code here: that of [`enter`](Flights::enter) for each key, `work`, and what goes with the end of a flight.
    /// Whatever panics, each lead ends its flight and each follower leaves.
    pub(crate) fn call_many<Q, R>(
        &self,
        keys: &[(u64, &Q)],
        after: Option<Mark>,
        limits: impl FnOnce(Instant) -> WaitLimits,
        mut work: impl FnMut(&[&Q]) -> Result<Vec<R>, E>,
        part: fn(R) -> Result<T, E>,
    ) -> Vec<Shared<T, E>>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let mut ask = |keys: &[&Q]| attempt_many(keys.len(), || work(keys), part, self.settings.cost.as_deref());
        // Dropped quietly if the closure panics: a second panic would end the process.
        let mut results: Vec<CatchDrop<Shared<T, E>>> = keys.iter().map(|_| CatchDrop::NONE).collect();

        let Parts { leads, follows, bypasses } = self.claim(keys, after, &mut results);
        let places: Vec<usize> = leads.iter().map(|(place, _)| *place).collect();
        let missing: Vec<&Q> = places.iter().map(|&place| keys[place].1).collect();
        let leads = leads.into_iter().map(|(_, lead)| lead).collect();
        for (place, result) in places.into_iter().zip(self.lead_many(leads, &missing, &mut ask)) {
            results[place] = result;
        }
        for (place, why) in bypasses {
            results[place] = CatchDrop::new(self.bypass_one(keys[place], why, false, &mut ask));
        }
        if !follows.is_empty() {
            let began = sync::now();
            let limits = limits(began);
            for (place, deferred) in follows {
                results[place] = CatchDrop::new(self.follow_later(deferred, keys[place], began, limits, &mut ask));
            }
        }
        // Each place has had its part.
        results.into_iter().map(|mut result| result.take().unwrap_or(Err(CallError::Cancelled))).collect()
    }

    /// Enters the flight of each key, and waits for none.
    fn claim<Q>(
        &self,
        keys: &[(u64, &Q)],
        after: Option<Mark>,
        results: &mut [CatchDrop<Shared<T, E>>],
    ) -> Parts<'_, K, T, E>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let mut parts = Parts { leads: Vec::with_capacity(keys.len()), follows: Vec::new(), bypasses: Vec::new() };
        for (place, &(hash, key)) in keys.iter().enumerate() {
            match self.enter_waiting(WaitMode::AfterBatch, hash, key, after) {
                Entry::Lead(lead) => parts.leads.push((place, lead)),
                Entry::Follow(follow) if is_planted(Fault::WaitsWhileClaiming) => {
                    let Waited::Over(outcome) = follow.wait(sync::now(), WaitLimits::default()) else { unreachable!() };
                    results[place] = CatchDrop::new(outcome.result);
                }
                Entry::Follow(follow) => parts.follows.push((place, DeferredFollower(Some(follow)))),
                Entry::Bypass(why) => parts.bypasses.push((place, why)),
                Entry::Lingering(result, _) => results[place] = CatchDrop::new(result),
                Entry::Refused(error) => results[place] = CatchDrop::new(self.refuse(error).result),
            }
        }
        parts
    }

    /// Asks for the `keys` that these are the leads of, and ends each flight with its part of the answer. A panic goes
    /// on to the caller when all have ended.
    fn lead_many<Q: ?Sized>(
        &self,
        leads: Vec<LeaderGuard<'_, K, T, E>>,
        keys: &[&Q],
        ask: &mut impl FnMut(&[&Q]) -> Completions<T, E>,
    ) -> Vec<CatchDrop<Shared<T, E>>> {
        let mut results = Vec::with_capacity(keys.len());
        // Dropping keys is user code: when nobody waits for this thread any more, and catch_panic, for two that panic would
        // end the process.
        let mut owned = Vec::with_capacity(keys.len());
        let mut leads = leads.into_iter();
        for keys in keys.chunks(self.settings.max_batch) {
            let mut began = None;
            for lead in leads.as_slice().iter().take(keys.len()) {
                began = lead.begin();
            }
            let completion = ask(keys);
            let ran_for = began.map(|began| sync::now().saturating_duration_since(began));
            match completion {
                Ok(completions) => {
                    for (completion, lead) in completions.into_iter().zip(leads.by_ref()) {
                        owned.push(lead.finish(&completion, ran_for).map(CatchDrop::new));
                        results.push(CatchDrop::new(completion.into_result()));
                    }
                }
                Err(panicked) => {
                    if is_planted(Fault::PanicReleasesOne) {
                        leads.by_ref().skip(1).for_each(|lead| _ = lead.hand_to_pool());
                    }
                    for (place, lead) in leads.enumerate() {
                        owned.push(lead.finish(&panicked, ran_for.filter(|_| place < keys.len())).map(CatchDrop::new));
                    }
                    drop(owned);
                    // It goes on from here.
                    results.push(CatchDrop::new(panicked.into_result()));
                    return results;
                }
            }
        }
        results
    }

    /// Runs the closure for one key, for its caller alone.
    fn bypass_one<Q: ?Sized>(
        &self,
        (hash, key): (u64, &Q),
        why: Bypass,
        joined: bool,
        ask: &mut impl FnMut(&[&Q]) -> Completions<T, E>,
    ) -> Shared<T, E> {
        let run = || match ask(&[key]) {
            Ok(mut completions) => completions.pop().unwrap_or(Completion::Miscounted { expected: 1, got: 0 }),
            Err(panicked) => panicked,
        };
        self.bypass_as(hash, why, joined, run).result
    }

    /// What comes of waiting for one key, now that nothing is led for the others.
    fn follow_later<Q>(
        &self,
        deferred: DeferredFollower<'_, K, T, E>,
        (hash, key): (u64, &Q),
        began: Instant,
        limits: WaitLimits,
        ask: &mut impl FnMut(&[&Q]) -> Completions<T, E>,
    ) -> Shared<T, E>
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let label = || self.settings.key_label.map(|label| label(&key.to_owned()).into());
        let bypasses = self.settings.on_deadlock == OnDeadlock::Bypass;
        let follow = match deferred.start_waiting(label, bypasses) {
            Ok(follow) => follow,
            Err(_) if bypasses => return self.bypass_one((hash, key), Bypass::Deadlock, true, ask),
            Err(chain) => return self.refuse(CallError::Deadlock { chain }).result,
        };
        match follow.wait(began, limits) {
            Waited::Over(outcome) => outcome.result,
            Waited::Lead(lead) => {
                let result = self.lead_many(vec![lead], &[key], ask).pop();
                result
                    .and_then(|mut result| result.take())
                    .unwrap_or(Err(CallError::WrongCount { expected: 1, got: 0 }))
            }
            Waited::Impatient => self.bypass_one((hash, key), Bypass::Impatient, true, ask),
        }
    }
}

impl<'a, K, T, E> DeferredFollower<'a, K, T, E> {
    /// Comes to wait; or leaves, if its wait would close a cycle, and says which. It may then run its closure alone.
    fn start_waiting(
        mut self,
        label: impl FnOnce() -> Option<Arc<str>>,
        bypasses: bool,
    ) -> Result<Follower<'a, K, T, E>, Chain> {
        // If the label panics, it leaves as it is dropped.
        let sat = self.0.as_mut().expect("it is taken out below or in drop").start_waiting(label);
        let mut follow = self.0.take().expect("it is taken out here or in drop");
        match sat {
            Ok(()) => Ok(follow),
            Err(chain) => {
                follow.leave_deferred(bypasses);
                Err(chain)
            }
        }
    }
}

impl<K, T, E> Drop for DeferredFollower<'_, K, T, E> {
    fn drop(&mut self) {
        if let Some(mut follow) = self.0.take() {
            follow.leave_deferred(false);
        }
    }
}
