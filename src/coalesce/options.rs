//! One caller's options.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::{Duration, Instant};

use hashbrown::Equivalent;

use crate::coalesce::SyncCoalesce;
use crate::flight::handle::Flight;
use crate::options::CallOptions;
use crate::outcome::{Mark, Outcome};
use crate::wait::limits::WaitUntil;

/// One call with options of its own, made by [`SyncCoalesce::request`]. Nothing happens until one of the two verbs at
/// the end.
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::{Role, SyncCoalesce};
///
/// let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
/// let outcome = coalesce
///     .request("answer")
///     .timeout(Duration::from_secs(5))
///     .call(|_flight| 42);
/// assert_eq!(*outcome.result.unwrap(), 42);
/// assert_eq!(outcome.role, Role::Leader { followers: 0 });
/// ```
#[must_use = "a request does nothing until `call` or `try_call`"]
pub struct Request<'a, Q: ?Sized, K, T, E, S> {
    coalesce: &'a SyncCoalesce<K, T, E, S>,
    key: &'a Q,
    options: CallOptions<'a>,
}

impl<'a, Q: ?Sized, K, T, E, S> Request<'a, Q, K, T, E, S> {
    pub(crate) fn new(coalesce: &'a SyncCoalesce<K, T, E, S>, key: &'a Q) -> Self {
        let options = CallOptions::default();
        Self { coalesce, key, options }
    }

    /// How long to wait as a follower; `Duration::MAX` is no limit, zero takes a result only if it is there.
    ///
    /// A closure that is running is not interrupted: as the leader, the caller stays until its own closure returns.
    /// Where the closure has a time-out of its own, this one should be longer, or followers leave just before they
    /// would learn of that error. Replaces an earlier [`deadline`](Request::deadline), and the builder's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.until = Some(WaitUntil::Timeout(timeout));
        self
    }

    /// Until when to wait as a follower. A result that is there beats a deadline that has passed. Replaces an earlier
    /// [`timeout`](Request::timeout), and the builder's default.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.options.until = Some(WaitUntil::Deadline(deadline));
        self
    }

    /// How long to wait as a follower before running the closure uncoalesced; `Duration::MAX` is endless.
    ///
    /// It is the way out of a wait that no thread graph can see: a leader that waits by a join, a channel or a pool of
    /// its own for the very thread that follows it. Each impatient caller runs alone, as many at a time as
    /// [`max_impatient`](crate::Builder::max_impatient) allows; one that finds the lead free takes it. A deadline that
    /// comes first ends the call.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.options.patience = Some(patience);
        self
    }

    /// Joins only flights begun after `mark`. An older one is forgotten, and this call leads at once; other calls after
    /// the same mark join it. What was done before the mark was made, its closure sees.
    pub fn after(mut self, mark: Mark) -> Self {
        self.options.after = Some(mark);
        self
    }

    /// Runs the closure for this caller alone, for instance to draw an independent sample from a model: it neither
    /// joins a flight nor can be joined.
    pub fn bypass(mut self) -> Self {
        self.options.bypass = true;
        self
    }
}

impl<Q, K, T, E, S> Request<'_, Q, K, T, E, S>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    S: BuildHasher,
{
    /// As [`SyncCoalesce::call`]; the closure is told about its flight.
    ///
    /// # Blocking
    ///
    /// As [`SyncCoalesce::call`], by the timeout, deadline and patience of this request where it has them. With
    /// [`bypass`](Request::bypass), only while its own closure runs.
    ///
    /// # Panics
    ///
    /// As [`SyncCoalesce::call`].
    ///
    /// # Errors
    ///
    /// In the outcome's [`result`](Outcome::result): those of [`SyncCoalesce::call`].
    pub fn call(self, work: impl FnOnce(&Flight<'_, K, T, E>) -> T) -> Outcome<T, E> {
        self.try_call(|flight| Ok(work(flight)))
    }

    /// As [`SyncCoalesce::try_call`]; the closure is told about its flight.
    ///
    /// # Blocking
    ///
    /// As [`call`](Request::call).
    ///
    /// # Panics
    ///
    /// As [`SyncCoalesce::call`].
    ///
    /// # Errors
    ///
    /// In the outcome's [`result`](Outcome::result): those of [`SyncCoalesce::try_call`].
    pub fn try_call(self, work: impl FnOnce(&Flight<'_, K, T, E>) -> Result<T, E>) -> Outcome<T, E> {
        self.coalesce.run(self.key, &self.options, work, |outcome| outcome)
    }
}

impl<Q: fmt::Debug + ?Sized, K, T, E, S> fmt::Debug for Request<'_, Q, K, T, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("key", &self.key).field("options", &self.options).finish_non_exhaustive()
    }
}
