//! What ends flights, or the joining of them, from outside; and waiting for closures to end.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use hashbrown::Equivalent;

use crate::coalesce::SyncCoalesce;
use crate::outcome::Mark;

impl<K, T, E, S: BuildHasher> SyncCoalesce<K, T, E, S> {
    /// Lets later callers for `key` start afresh, while the flight goes on for those who are in it, and drops a result
    /// that lingers. True if there was one of the two.
    ///
    /// # Blocking
    ///
    /// Takes the lock of one shard for an instant.
    ///
    /// # Panics
    ///
    /// With a panic in the `Hash` or `Eq` of the key, when nothing has changed, or in the `Drop` of the flight's key,
    /// when it is forgotten.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::SyncCoalesce;
    ///
    /// let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
    /// let first = coalesce.call("key", || {
    ///     assert!(coalesce.forget("key"));
    ///     // The first flight goes on, and this one is another.
    ///     assert_eq!(*coalesce.call("key", || 2).unwrap(), 2);
    ///     1
    /// });
    /// assert_eq!(*first.unwrap(), 1);
    /// assert!(!coalesce.forget("key"));
    /// ```
    pub fn forget<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.flights.forget(self.hasher.hash_one(key), key)
    }

    /// Forgets the flight for `key` and wakes its followers with
    /// [`CallError::Cancelled`](crate::CallError::Cancelled), and drops a result that lingers. True if there was one of
    /// the two.
    ///
    /// The closure runs on, and its own caller gets what it returns;
    /// [`FlightHandle::is_cancelled`](crate::FlightHandle::is_cancelled) tells it. A flight that was forgotten before is out of
    /// reach.
    ///
    /// # Blocking
    ///
    /// Takes the lock of one shard for an instant, and does not wait for the closure.
    ///
    /// # Panics
    ///
    /// As [`forget`](SyncCoalesce::forget); a panic in `Drop` comes when the followers have been woken.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::SyncCoalesce;
    ///
    /// let coalesce: SyncCoalesce<String, bool> = SyncCoalesce::new();
    /// let outcome = coalesce.on("key").call(|flight| {
    ///     assert!(coalesce.cancel("key"));
    ///     flight.is_cancelled()
    /// });
    /// assert!(*outcome.result.unwrap());
    /// ```
    pub fn cancel<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.flights.cancel(self.hasher.hash_one(key), key)
    }

    /// This moment, for [`Call::after`](crate::Call::after): flights begun up to now are older than it.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::SyncCoalesce;
    ///
    /// let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
    /// coalesce.call("key", || {
    ///     // Something has changed, which the flight that is on may not have seen.
    ///     let mark = coalesce.mark();
    ///     let fresh = coalesce.on("key").after(mark).call(|_| 2);
    ///     assert_eq!(*fresh.result.unwrap(), 2);
    ///     1
    /// }).unwrap();
    /// ```
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.flights.mark()
    }

    /// Wakes every follower with [`CallError::Closed`](crate::CallError::Closed) and refuses calls from now on, for
    /// good. Closures that run go on, and their own callers get what they return;
    /// [`FlightHandle::is_cancelled`](crate::FlightHandle::is_cancelled) tells them. Detached flights that wait for a thread are
    /// dropped, and the pool's threads end. Results that linger are dropped too.
    ///
    /// # Blocking
    ///
    /// Takes the lock of one shard after the other, each for an instant, and waits for no closure;
    /// [`drain`](SyncCoalesce::drain) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::{CallError, SyncCoalesce};
    ///
    /// let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
    /// let last = coalesce.call("key", || {
    ///     coalesce.close();
    ///     1
    /// });
    /// assert_eq!(*last.unwrap(), 1);
    /// assert!(matches!(coalesce.call("key", || 2), Err(CallError::Closed)));
    /// ```
    pub fn close(&self) {
        self.flights.close();
        // After it: a flight that is queued in between finds the queue closed, or is thrown out of it here.
        self.pool.close();
    }

    /// Waits until no closure runs, those of forgotten and bypassed calls included and this thread's own left out. True
    /// if that came before `timeout` had passed. Calls may go on to begin unless the coalescer is closed.
    ///
    /// # Blocking
    ///
    /// For `timeout` at most; `Duration::MAX` is no limit.
    ///
    /// **This wait is in no graph of waits**, so it is never refused. If this thread leads a flight that another
    /// running closure waits for, or drains in its closure while another closure drains too, only the timeout ends it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::SyncCoalesce;
    ///
    /// let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
    /// let ticket = coalesce.detach("key", |_flight| Ok(1));
    /// assert!(coalesce.drain(Duration::from_secs(60)));
    /// assert_eq!(**ticket.try_wait().unwrap().as_ref().unwrap(), 1);
    /// ```
    #[must_use]
    pub fn drain(&self, timeout: Duration) -> bool {
        self.flights.drain(timeout)
    }
}
