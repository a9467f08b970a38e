//! The layers that a leader goes through, from the outermost to the work itself.

#[cfg(feature = "budget")]
use std::cell::Cell;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use hashbrown::Equivalent;

use super::error::StackError;
use super::interrupt::{Interrupt, Interrupted};
use super::outcome::{StackFlight, Via};
#[cfg(feature = "budget")]
use super::spending::{ErrorCost, PanicBill, Reserved, Spending};
use super::stats::Counters;
use crate::flight::watch::Watcher;
#[cfg(feature = "budget")]
use crate::panic::catch_panic;
#[cfg(feature = "budget")]
use crate::stack::budget::Spend;
#[cfg(feature = "cache")]
use crate::stack::cache::{Begun, Cache, Claim};
#[cfg(feature = "ledger")]
use crate::stack::ledger::{LedgerError, LedgerOutcome};
#[cfg(feature = "pace")]
use crate::stack::pace::{NoPermit, Pacing, Urgency, Wants};
#[cfg(feature = "retry")]
use crate::stack::retry::{Retry, RetryError};
use crate::sync::Instant;

/// The work with its retries: it may run several attempts.
#[cfg(any(feature = "budget", feature = "ledger"))]
type Whole<'a, T, E> = &'a mut dyn FnMut() -> Result<T, StackError<E>>;

/// One attempt.
type Attempt<'a, T, E> = &'a mut dyn FnMut() -> Result<T, E>;

/// A ledger that can write a `T`. `None` if the key skips the ledger, and then nothing ran.
#[cfg(feature = "ledger")]
pub(super) type Once<K, T, E> =
    dyn Fn(&K, Whole<'_, T, E>) -> Option<Result<LedgerOutcome<T>, LedgerError<StackError<E>>>> + Send + Sync;

/// Which errors of the work are the provider's.
#[cfg(feature = "cache")]
pub(super) type ServeStaleOn<E> = dyn Fn(&E) -> bool + Send + Sync;

/// All layers but the coalescer. Detached flights keep them alive, and not the coalescer, whose end ends those flights.
pub(super) struct Layers<K, T, E> {
    pub(super) counters: Counters,
    #[cfg(feature = "cache")]
    pub(super) cache: Option<Cache<K, T>>,
    #[cfg(feature = "cache")]
    pub(super) serve_stale_on: Option<Box<ServeStaleOn<E>>>,
    #[cfg(feature = "ledger")]
    pub(super) ledger: Option<Box<Once<K, T, E>>>,
    #[cfg(feature = "budget")]
    pub(super) budget: Option<Spending<T>>,
    #[cfg(feature = "budget")]
    pub(super) error_cost: Option<Box<ErrorCost<E>>>,
    #[cfg(feature = "budget")]
    pub(super) panic_cost: Spend,
    #[cfg(feature = "retry")]
    pub(super) retry: Option<Retry<E>>,
    #[cfg(feature = "pace")]
    pub(super) pace: Pacing<K, T, E>,
    /// For layers that are off.
    pub(super) types: PhantomData<fn(K, E) -> T>,
}

/// What a caller passes to the layers if it leads, and gets from them besides its result.
#[derive(Default)]
pub(super) struct LeadContext {
    /// Until when an attempt may begin.
    pub(super) deadline: Option<Instant>,
    /// Past the cache and the ledger, on purpose.
    #[cfg(any(feature = "cache", feature = "ledger"))]
    pub(super) bypasses: bool,
    /// The mark that the caller's value must not be from before.
    #[cfg(feature = "cache")]
    pub(super) since: Option<Begun>,
    /// It is not to be answered by the cache, and fills it.
    #[cfg(feature = "cache")]
    pub(super) refreshes: bool,
    /// For a stale value, until this call leads.
    #[cfg(feature = "cache")]
    pub(super) claim: Option<Claim>,
    /// Where its value came from, if not from the work.
    pub(super) via: Option<Via>,
    #[cfg(feature = "pace")]
    pub(super) urgency: Urgency,
    #[cfg(feature = "budget")]
    pub(super) most: Option<Spend>,
    #[cfg(feature = "budget")]
    pub(super) spent: Option<Spend>,
}

impl<K, T, E> Layers<K, T, E>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    pub(super) fn lead<Q>(
        &self,
        #[cfg_attr(
            not(any(feature = "cache", feature = "ledger", feature = "pace")),
            expect(unused_variables, reason = "for layers that are off")
        )]
        key: &Q,
        flight: &StackFlight<'_, K, T, E>,
        context: &mut LeadContext,
        mut work: impl FnMut(&StackFlight<'_, K, T, E>) -> Result<T, E>,
    ) -> Result<Arc<T>, StackError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        #[cfg(feature = "cache")]
        let cache = self.cache.as_ref().filter(|_| !context.bypasses);
        // Before the second look: what is invalidated from here on is not brought back by this call.
        #[cfg(feature = "cache")]
        let permit = cache.map(|cache| cache.permit(key));
        #[cfg(feature = "cache")]
        drop(context.claim.take());
        #[cfg(feature = "cache")]
        let _watch = permit.as_ref().map(|permit| flight.watch(Arc::clone(permit) as Arc<dyn Watcher>));
        #[cfg(feature = "cache")]
        let begun = Begun::of(flight);
        // Between this caller's miss and its flight, another flight may have filled the cache and ended. A flight is no
        // older than its leader's mark; a caller that runs alone has only that.
        #[cfg(feature = "cache")]
        if let Some(value) = cache
            .filter(|_| !context.refreshes)
            .and_then(|cache| cache.lookup_again(key, begun.as_ref().or(context.since.as_ref())))
        {
            context.via = Some(Via::Cache);
            return Ok(value);
        }
        let interrupt = Interrupt::new(context.deadline);
        let _interrupts = flight.watch(Arc::clone(&interrupt) as Arc<dyn Watcher>);
        self.check(&interrupt)?;
        #[cfg(feature = "budget")]
        let (billed, most) = (Cell::new(Spend::default()), context.most);
        let mut attempt = || {
            self.counters.attempts.add();
            #[cfg(feature = "budget")]
            let bill = PanicBill { billed: &billed, cost: self.panic_cost };
            let result = work(flight);
            #[cfg(feature = "budget")]
            bill.disarm();
            #[cfg(feature = "budget")]
            if let Err(error) = &result {
                billed.set(billed.get().saturating_add(self.cost_of_error(error, most)));
            }
            result
        };
        #[cfg(feature = "pace")]
        let weigh = || self.pace.weigh(|| key.to_owned());
        #[cfg(feature = "pace")]
        let wants = Wants::new(context.urgency, &weigh);
        let mut whole = || {
            self.retried(
                &mut attempt,
                &interrupt,
                #[cfg(feature = "pace")]
                &wants,
            )
        };
        #[cfg(feature = "budget")]
        let mut whole = || self.within_budget(most, &billed, &mut context.spent, &mut whole);
        #[cfg(feature = "ledger")]
        let mut whole = || {
            if context.bypasses { whole() } else { self.once(&key.to_owned(), &mut context.via, &mut whole) }
        };
        let value = Arc::new(whole()?);
        #[cfg(feature = "cache")]
        if let (Some(cache), Some(permit)) = (cache, permit) {
            cache.fill(&permit, key, &value, begun);
        }
        Ok(value)
    }

    #[cfg(feature = "ledger")]
    fn once(&self, key: &K, via: &mut Option<Via>, whole: Whole<'_, T, E>) -> Result<T, StackError<E>> {
        let Some(recorded) = self.ledger.as_ref().and_then(|once| once(key, whole)) else {
            return whole();
        };
        match recorded {
            Ok(recorded) => {
                if recorded.is_replay {
                    *via = Some(Via::Ledger);
                    self.counters.replayed.add();
                }
                if recorded.committed.is_err() {
                    self.counters.uncommitted.add();
                }
                Ok(recorded.value)
            }
            Err(error) => {
                if matches!(error, LedgerError::NotRemoved { .. }) {
                    self.counters.uncommitted.add();
                }
                let error = StackError::from_ledger(error);
                if matches!(error, StackError::Ledger(_)) {
                    self.counters.refused_by_ledger.add();
                }
                Err(error)
            }
        }
    }

    #[cfg(feature = "budget")]
    fn within_budget(
        &self,
        most: Option<Spend>,
        billed: &Cell<Spend>,
        spent: &mut Option<Spend>,
        whole: Whole<'_, T, E>,
    ) -> Result<T, StackError<E>> {
        let Some(spending) = &self.budget else { return whole() };
        let most = most.unwrap_or(spending.most);
        let reservation = spending.budget.reserve(most).map_err(|error| {
            self.counters.refused_by_budget.add();
            StackError::Budget(error)
        })?;
        let reserved = Reserved { reservation: Some(reservation), billed };
        let value = whole()?;
        // The call is done and will be billed: a panic in its cost must not make it free.
        let cost = catch_panic(|| Some((spending.cost)(&value))).unwrap_or(most);
        reserved.commit(cost);
        *spent = Some(cost);
        Ok(value)
    }

    /// What is billed for a failed attempt. As for a value, a panic must not make it free.
    #[cfg(feature = "budget")]
    fn cost_of_error(&self, error: &E, most: Option<Spend>) -> Spend {
        match (&self.error_cost, &self.budget) {
            (Some(cost), Some(spending)) => {
                catch_panic(|| Some(cost(error))).unwrap_or_else(|| most.unwrap_or(spending.most))
            }
            _ => Spend::default(),
        }
    }

    /// Counts what the followers of a flight would have spent.
    #[cfg(feature = "budget")]
    pub(super) fn count_saved(&self, context: &LeadContext, followers: u64) {
        if let (Some(spending), Some(spent)) = (&self.budget, context.spent) {
            spending.budget.count_saved(spent, followers);
        }
    }

    /// Whether the caller still wants an attempt to begin.
    fn check(&self, interrupt: &Interrupt) -> Result<(), StackError<E>> {
        interrupt.check().map_err(|interrupted| self.interrupted(interrupted))
    }

    fn interrupted(&self, interrupted: Interrupted) -> StackError<E> {
        let counters = &self.counters;
        match interrupted {
            Interrupted::TimedOut => counters.timed_out.add(),
            Interrupted::Cancelled | Interrupted::Closed => counters.interrupted.add(),
        }
        interrupted.into()
    }

    fn retried(
        &self,
        attempt: Attempt<'_, T, E>,
        interrupt: &Interrupt,
        #[cfg(feature = "pace")] wants: &Wants<'_>,
    ) -> Result<T, StackError<E>> {
        let mut attempt = || {
            self.paced(
                attempt,
                interrupt,
                #[cfg(feature = "pace")]
                wants,
            )
        };
        #[cfg(feature = "retry")]
        if let Some(retry) = &self.retry {
            // A refusal by the pacer is not an error of the work: like a value, it ends the retries.
            let attempt = || match attempt() {
                Ok(result) => result.map(Ok),
                Err(refused) => Ok(Err(refused)),
            };
            let ended = retry.run_unless(attempt, interrupt).map_err(|interrupted| self.interrupted(interrupted))?;
            return match ended {
                Ok(result) => result,
                Err(RetryError::Exhausted { attempts, error }) => {
                    Err(StackError::Exhausted { attempts, error: Arc::new(error) })
                }
                Err(RetryError::NotRetryable { attempts, error }) => {
                    Err(StackError::Failed { attempts, error: Arc::new(error) })
                }
            };
        }
        attempt()?.map_err(|error| StackError::Failed { attempts: 1, error: Arc::new(error) })
    }

    fn paced(
        &self,
        attempt: Attempt<'_, T, E>,
        interrupt: &Interrupt,
        #[cfg(feature = "pace")] wants: &Wants<'_>,
    ) -> Result<Result<T, E>, StackError<E>> {
        #[cfg(feature = "pace")]
        if !self.pace.is_off() {
            let mut permits = self.pace.acquire(wants, interrupt).map_err(|none| match none {
                NoPermit::Interrupted(interrupted) => self.interrupted(interrupted),
                NoPermit::Refused(error) => {
                    self.counters.refused_by_pace.add();
                    StackError::Pace(error)
                }
            })?;
            let result = attempt();
            self.pace.learn(&mut permits, &result);
            return Ok(result);
        }
        self.check(interrupt)?;
        Ok(attempt())
    }
}
