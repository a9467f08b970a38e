//! One call through the stack: its options, its verbs and its outcome.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::Equivalent;

use super::Stack;
use super::error::StackError;
use super::lead::LeadContext;
use super::outcome::{StackFlight, StackOutcome, Via};
use super::ticket::StackTicket;
use crate::call::{Call, OneKey};
use crate::options::CallOptions;
#[cfg(feature = "budget")]
use crate::outcome::Role;
#[cfg(feature = "budget")]
use crate::stack::budget::Spend;
#[cfg(feature = "cache")]
use crate::stack::cache::{Begun, Lookup};
#[cfg(feature = "pace")]
use crate::stack::pace::Urgency;
use crate::sync;
use crate::wait::limits::WaitUntil;

/// A call about one key, through all layers of a [`Stack`]; made by [`Stack::on`].
///
/// The options are those of every [`Call`]. In a stack they mean this:
///
/// | option | in a stack |
/// |---|---|
/// | [`timeout`](Call::timeout), [`deadline`](Call::deadline) | binds every wait of the call, in a flight, in the pacer's line and between two attempts. No attempt begins after it, and one that runs is not interrupted. The error is [`TimedOut`](crate::CallError::TimedOut). A leader that gives up hands the lead to a follower, if one waits; one with a ticket cannot lead, and gets the error |
/// | [`patience`](Call::patience) | a caller that runs alone goes through all layers that a leader goes through, and does not fill the cache. A ledger refuses it because the key is in progress |
/// | [`after`](Call::after) | uses neither a flight nor a cached value from before the [mark](Stack::mark). A value that was inserted by hand has no age, and is not used either. The ledger is asked as always: what is done is not done again |
/// | [`bypass`](Call::bypass) | past the cache, the coalescer and the ledger; through the budget, the retries and the pacer |
/// | `refresh`, with the feature `cache` | runs the work whatever is cached, or joins a run in flight. The cached value stays until there is a new one |
/// | `urgent`, with the feature `pace` | if the call leads, it goes before others in the pacer's line |
/// | `at_most`, with the feature `budget` | the most that the call may cost, in place of the builder's maximum |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::Role;
/// use sync_coalesce::stack::{Stack, Via};
///
/// let stack: Stack<String, u32> = Stack::builder().build();
/// let outcome = stack.on("answer").timeout(Duration::from_secs(5)).call(|flight| {
///     assert!(!flight.is_cancelled());
///     42
/// });
/// assert_eq!(*outcome.result?, 42);
/// assert_eq!(outcome.via, Via::Flight(Role::Leader { followers: 0 }));
/// # Ok::<(), sync_coalesce::stack::StackError<std::convert::Infallible>>(())
/// ```
#[derive(Debug)]
pub struct StackKey<'a, Q: ?Sized> {
    key: &'a Q,
    #[cfg(feature = "cache")]
    refreshes: bool,
    #[cfg(feature = "budget")]
    most: Option<Spend>,
    #[cfg(feature = "pace")]
    urgency: Urgency,
}

impl<'a, Q: ?Sized> StackKey<'a, Q> {
    pub(super) fn new(key: &'a Q) -> Self {
        Self {
            key,
            #[cfg(feature = "cache")]
            refreshes: false,
            #[cfg(feature = "budget")]
            most: None,
            #[cfg(feature = "pace")]
            urgency: Urgency(false),
        }
    }

    #[cfg_attr(
        not(any(feature = "budget", feature = "cache", feature = "pace")),
        expect(clippy::unused_self, reason = "for layers that are off")
    )]
    fn context<K, T, E>(
        &self,
        #[cfg_attr(not(feature = "cache"), expect(unused_variables, reason = "for a layer that is off"))] stack: &Stack<
            K,
            T,
            E,
        >,
        #[cfg_attr(
            not(any(feature = "cache", feature = "ledger")),
            expect(unused_variables, reason = "for layers that are off")
        )]
        options: &CallOptions<'_>,
    ) -> LeadContext {
        LeadContext {
            #[cfg(any(feature = "cache", feature = "ledger"))]
            bypasses: options.bypass,
            #[cfg(feature = "cache")]
            since: stack.since(options),
            #[cfg(feature = "cache")]
            refreshes: self.refreshes,
            #[cfg(feature = "budget")]
            most: self.most,
            #[cfg(feature = "pace")]
            urgency: self.urgency,
            ..LeadContext::default()
        }
    }
}

#[cfg(feature = "budget")]
impl<K, T, E, Q: ?Sized> Call<'_, Stack<K, T, E>, StackKey<'_, Q>> {
    /// The most that the call may cost, in place of the maximum set by the builder.
    #[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
    pub fn at_most(mut self, most: Spend) -> Self {
        self.about.most = Some(most);
        self
    }
}

#[cfg(feature = "pace")]
impl<K, T, E, Q: ?Sized> Call<'_, Stack<K, T, E>, StackKey<'_, Q>> {
    /// Whether the call goes before others in the line of each pacer, and may use what is kept free for
    /// [urgent](crate::stack::pace::PermitRequest::urgent) callers, if it leads. A call that joins a flight waits as its
    /// leader does.
    #[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
    pub fn urgent(mut self, is_urgent: bool) -> Self {
        self.about.urgency = Urgency(is_urgent);
        self
    }
}

#[cfg(feature = "cache")]
impl<K, T, E> Stack<K, T, E> {
    fn since(&self, options: &CallOptions<'_>) -> Option<Begun> {
        options.after.map(|mark| Begun::new(&self.coalesce.flights.identity, mark))
    }
}

#[cfg(feature = "cache")]
impl<K, T, E, Q: ?Sized> Call<'_, Stack<K, T, E>, StackKey<'_, Q>> {
    /// Runs the work whatever is cached, or joins a run that is in flight, and replaces the cached value. Until then, and
    /// if there is an error, the cached value stays, and other calls get it.
    ///
    /// Several calls that refresh at once share one run. To join no run that began before this moment, add
    /// [`after`](Call::after). If the old value must not be served any more, [`invalidate`](Stack::invalidate) it instead.
    #[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
    pub fn refresh(mut self) -> Self {
        self.about.refreshes = true;
        self
    }
}

#[cfg(feature = "cache")]
impl<Q: ?Sized> StackKey<'_, Q> {
    /// What the cache has for a call with these options.
    fn lookup<K, T, E>(&self, stack: &Stack<K, T, E>, options: &CallOptions<'_>) -> Lookup<T>
    where
        Q: Hash + Equivalent<K>,
        K: Hash + Eq + Send + Sync + 'static,
        T: Send + Sync + 'static,
    {
        match stack.layers.cache.as_ref().filter(|_| !options.bypass && !self.refreshes) {
            Some(cache) => cache.lookup_or_claim(self.key, stack.since(options).as_ref()),
            None => Lookup::Nothing,
        }
    }
}

impl<Q, K, T, E> Call<'_, Stack<K, T, E>, StackKey<'_, Q>>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// The outcome of `work`, which cannot fail, through all layers. The closure is given its flight.
    ///
    /// Blocks, panics and fails as [`Stack::call`], with this call's options.
    pub fn call(self, mut work: impl FnMut(&StackFlight<'_, K, T, E>) -> T) -> StackOutcome<T, E> {
        self.try_call(|flight| Ok(work(flight)))
    }

    /// The outcome of `work`, through all layers. The closure is given its flight, and runs once per attempt.
    ///
    /// Blocks, panics and fails as [`Stack::try_call`], with this call's options.
    pub fn try_call(self, work: impl FnMut(&StackFlight<'_, K, T, E>) -> Result<T, E>) -> StackOutcome<T, E> {
        let Self { on: stack, about, mut options } = self;
        let key = about.key;
        #[cfg(feature = "cache")]
        let claim = match about.lookup(stack, &options) {
            Lookup::Fresh(value) => return StackOutcome { result: Ok(value), via: Via::Cache, stale_error: None },
            Lookup::Stale(stale, None) => return stack.layers.serve(stale),
            Lookup::Stale(_, claim) => claim,
            Lookup::Nothing => None,
        };
        let layers = &stack.layers;
        let mut context = about.context(stack, &options);
        #[cfg(feature = "cache")]
        {
            options.refresh = about.refreshes || claim.is_some();
            context.claim = claim;
        }
        // One moment for all waits, in a flight and in the layers.
        let until = options.until.or(stack.coalesce.flights.settings.timeout.map(WaitUntil::Timeout));
        context.deadline = until.and_then(|until| until.deadline(sync::now()));
        options.until = context.deadline.map(WaitUntil::Deadline).or(until);
        let lead = |flight: &StackFlight<'_, K, T, E>| layers.lead(key, flight, &mut context, work);
        let outcome = stack.coalesce.run(key, &options, lead, |outcome| outcome);
        let via = context.via.unwrap_or(Via::Flight(outcome.role));
        #[cfg(feature = "budget")]
        if let Role::Leader { followers } = outcome.role {
            layers.count_saved(&context, followers);
        }
        let outcome = StackOutcome { result: StackError::from_shared(outcome.result), via, stale_error: None };
        #[cfg(feature = "cache")]
        let outcome = layers.serve_if_error(key, &context, outcome);
        outcome
    }

    /// A [`StackTicket`] for the value of `work`, which goes through all layers on a thread of the coalescer's pool; see
    /// [`SyncCoalesce::detach`](crate::SyncCoalesce::detach).
    ///
    /// The timeout or deadline is that of [`StackTicket::wait`]. Nobody waits in the layers meanwhile, so it does not bind
    /// those. What the budget counts as saved are the followers that are there when the work has ended.
    ///
    /// With a cache that serves values [while they are refreshed](crate::stack::cache::CacheBuilder::stale_while_revalidate),
    /// the ticket of a stale value has that value at once, and the first of them has it refreshed on the pool.
    ///
    /// # Blocking
    ///
    /// Not at all, unless the pool is full and [`OnOverflow::Bypass`](crate::OnOverflow::Bypass).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::stack::Stack;
    ///
    /// let stack: Stack<String, u32> = Stack::builder().build();
    /// let ticket = stack.on("answer").detach(|_flight| Ok(42));
    /// assert_eq!(*ticket.wait_timeout(Duration::from_secs(60))?, 42);
    /// # Ok::<(), sync_coalesce::stack::StackError<std::convert::Infallible>>(())
    /// ```
    pub fn detach(
        self,
        work: impl FnMut(&StackFlight<'_, K, T, E>) -> Result<T, E> + Send + 'static,
    ) -> StackTicket<T, E>
    where
        K: Clone,
        E: Send + Sync + 'static,
    {
        let Self { on: stack, about, options } = self;
        #[cfg(feature = "cache")]
        let (stale, claim) = match about.lookup(stack, &options) {
            Lookup::Fresh(value) => return StackTicket::cached(value),
            Lookup::Stale(stale, claim) => (Some(stale), claim),
            Lookup::Nothing => (None, None),
        };
        #[cfg(feature = "cache")]
        if let (Some(stale), None) = (&stale, &claim) {
            stack.layers.count_stale_hit();
            return StackTicket::stale(stale.clone());
        }
        let layers = Arc::clone(&stack.layers);
        let (owned, mut context) = (about.key.to_owned(), about.context(stack, &options));
        #[cfg(feature = "cache")]
        let fallback = if stale.is_none() && layers.serves_if_error(&context) {
            Some(layers.fallback(about.key.to_owned(), context.since.clone()))
        } else {
            None
        };
        #[cfg(feature = "cache")]
        let options = CallOptions { refresh: about.refreshes || claim.is_some(), ..options };
        #[cfg(feature = "cache")]
        {
            context.claim = claim;
        }
        let coalesced = Call { on: &stack.coalesce, about: OneKey(about.key), options };
        let ticket = coalesced.detach(move |flight| {
            let result = layers.lead(&owned, flight, &mut context, work);
            #[cfg(feature = "budget")]
            layers.count_saved(&context, flight.followers());
            result
        });
        #[cfg(feature = "cache")]
        if let Some(stale) = stale {
            // The refresh is for later callers, whatever becomes of this ticket.
            ticket.release();
            stack.layers.count_stale_hit();
            return StackTicket::stale(stale);
        }
        StackTicket::of(
            ticket,
            #[cfg(feature = "cache")]
            fallback,
        )
    }
}
