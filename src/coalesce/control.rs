//! Ending flights, or the joining of them, from outside: `forget`, `cancel`, `mark`, `close`; and `drain`.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use hashbrown::Equivalent;

use crate::coalesce::SyncCoalesce;
use crate::outcome::Mark;

impl<K, T, E, S: BuildHasher> SyncCoalesce<K, T, E, S> {
    /// True if there was a flight for `key`, or a lingering result. Later callers begin a new flight; this one goes on
    /// for the callers that are in it. A lingering result is dropped.
    ///
    /// # Blocking
    ///
    /// Takes the lock of one shard for an instant.
    ///
    /// # Panics
    ///
    /// If the `Hash` or `Eq` of the key panics, before anything has changed; or if the `Drop` of the flight's key does,
    /// after the flight is forgotten.
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

    /// True if there was a flight for `key`, or a lingering result. The flight is [forgotten](SyncCoalesce::forget),
    /// and its followers get [`CallError::Cancelled`](crate::CallError::Cancelled). A lingering result is dropped.
    ///
    /// The closure runs on, and its own caller gets what it returns. It can ask
    /// [`FlightHandle::is_cancelled`](crate::FlightHandle::is_cancelled). A flight that was forgotten before cannot be
    /// cancelled.
    ///
    /// # Blocking
    ///
    /// Takes the lock of one shard for an instant, and does not wait for the closure.
    ///
    /// # Panics
    ///
    /// As [`forget`](SyncCoalesce::forget); a panic in `Drop` comes after the followers have been woken.
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

    /// A mark of this moment, for [`Call::after`](crate::Call::after): flights that began before it are older.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::SyncCoalesce;
    ///
    /// let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
    /// coalesce.call("key", || {
    ///     // Something has changed, and the running flight may not have seen it.
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

    /// Refuses calls from now on, and wakes every follower with [`CallError::Closed`](crate::CallError::Closed). It
    /// cannot be undone.
    ///
    /// Running closures go on, and their own callers get what they return. They can ask
    /// [`FlightHandle::is_cancelled`](crate::FlightHandle::is_cancelled). Detached flights that wait for a thread are
    /// dropped, and the pool's threads end. Lingering results are dropped too.
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

    /// True once no closure runs; false if `timeout` passes first.
    ///
    /// The closures of forgotten and bypassed calls count, and this thread's own do not. New calls can begin meanwhile,
    /// unless the coalescer is closed.
    ///
    /// # Blocking
    ///
    /// For `timeout` at most; `Duration::MAX` is no limit.
    ///
    /// **This wait is not in the wait-for graph**, so it is never refused. If this thread leads a flight that another
    /// running closure waits for, or two closures drain at once, only the timeout ends it.
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
