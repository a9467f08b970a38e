//! [`Call`]: one call with options of its own.
//!
//! A `Call` is made by `on(&key)`, `on_many(keys)` or `on_request(&request)`. All of them have the same options, for
//! coalescers, streams and stacks alike. The last method makes the call.

use std::fmt;
use std::time::Duration;

use crate::key::KeyRule;
use crate::options::CallOptions;
use crate::outcome::Mark;
use crate::sync::Instant;
use crate::wait::limits::WaitUntil;

/// One call with options of its own. `C` is what it is made on, such as a coalescer; `X` is what it is about: one key,
/// many keys or a request.
///
/// Nothing happens until the last method, such as [`call`](Call::call).
///
/// | option | default | what it does |
/// |---|---|---|
/// | [`timeout`](Call::timeout), [`deadline`](Call::deadline) | the builder's `timeout` | how long to wait for others |
/// | [`patience`](Call::patience) | the builder's `patience` | when to stop waiting and run one's own work |
/// | [`after`](Call::after) | join any flight | join only flights begun after a mark |
/// | [`bypass`](Call::bypass) | coalesce | run alone, on purpose |
/// | [`label`](Call::label) | the builder's `key_label` | the flight's name in the chain of a deadlock |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::{Role, SyncCoalesce};
///
/// let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
/// let outcome = coalesce.on("answer").timeout(Duration::from_secs(5)).call(|_flight| 42);
/// assert_eq!(*outcome.result.unwrap(), 42);
/// assert_eq!(outcome.role, Role::Leader { followers: 0 });
/// ```
#[must_use = "a call does nothing until one of its verbs"]
pub struct Call<'a, C: ?Sized, X> {
    pub(crate) on: &'a C,
    pub(crate) about: X,
    pub(crate) options: CallOptions<'a>,
}

/// A call about one key.
#[derive(Debug)]
pub struct OneKey<'a, Q: ?Sized>(pub(crate) &'a Q);

/// A call about many keys at once.
#[derive(Debug)]
pub struct ManyKeys<'a, Q: ?Sized>(pub(crate) Vec<&'a Q>);

/// A call about the key of a request.
#[derive(Debug)]
pub struct ByRequest<'a, R: ?Sized> {
    pub(crate) request: &'a R,
    pub(crate) rule: Option<&'a KeyRule>,
}

impl<'a, C, R: ?Sized> Call<'a, C, ByRequest<'a, R>> {
    /// The rule that makes the request's key, in place of the builder's [`key_rule`](crate::Builder::key_rule).
    pub fn rule(mut self, rule: &'a KeyRule) -> Self {
        self.about.rule = Some(rule);
        self
    }
}

impl<'a, C: ?Sized, X> Call<'a, C, X> {
    pub(crate) fn new(on: &'a C, about: X) -> Self {
        Self { on, about, options: CallOptions::default() }
    }

    /// How long to wait for others. `Duration::MAX` is no limit, and zero takes a result only if it is already there.
    ///
    /// A closure that runs in this thread is not interrupted: a leader stays until its own closure returns. If the
    /// closure has a timeout of its own, this one should be longer, or followers leave just before they would get that
    /// error. It replaces an earlier [`deadline`](Call::deadline) and the builder's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.until = Some(WaitUntil::Timeout(timeout));
        self
    }

    /// Until when to wait for others. A result that is already there beats a deadline that has passed. It replaces an
    /// earlier [`timeout`](Call::timeout) and the builder's default.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.options.until = Some(WaitUntil::Deadline(deadline));
        self
    }

    /// How long to wait for another caller's work before running one's own, uncoalesced. `Duration::MAX` is no limit.
    ///
    /// It ends a wait that the wait-for graph cannot see: that for a leader which itself waits, by a join, a channel or
    /// a pool, for the thread that follows it. Each impatient caller runs alone, and at most
    /// [`max_impatient`](crate::Builder::max_impatient) of them at a time. A caller that finds the lead vacant claims
    /// it. A deadline that comes first ends the call. A [`Ticket`](crate::Ticket) has no patience: its work runs
    /// elsewhere.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.options.patience = Some(patience);
        self
    }

    /// Joins only flights that began after `mark`. An older one is forgotten, and this call leads a new one at once,
    /// which other calls after the same mark join. Its closure sees everything that was done before the mark was made.
    pub fn after(mut self, mark: Mark) -> Self {
        self.options.after = Some(mark);
        self
    }

    /// Runs this caller's own work alone, for instance to draw an independent sample from a model. It joins no flight,
    /// and nobody can join it.
    pub fn bypass(mut self) -> Self {
        self.options.bypass = true;
        self
    }

    /// The flight's name in the chain of a [`Deadlock`](crate::CallError::Deadlock), instead of the one that the
    /// builder's [`key_label`](crate::Builder::key_label) makes from the key.
    pub fn label(mut self, label: &'a str) -> Self {
        self.options.label = Some(label);
        self
    }
}

impl<C: ?Sized, X: fmt::Debug> fmt::Debug for Call<'_, C, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("about", &self.about).field("options", &self.options).finish_non_exhaustive()
    }
}
