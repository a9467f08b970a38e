//! Flights on a thread of their own.

use std::hash::{BuildHasher, Hash};

use hashbrown::Equivalent;

use crate::coalesce::SyncCoalesce;
use crate::flight::handle::FlightHandle;
use crate::flight::pool::ticket::Ticket;
use crate::options::CallOptions;

impl<K, T, E, S> SyncCoalesce<K, T, E, S>
where
    K: Send + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    S: BuildHasher,
{
    /// A [`Ticket`] for the value of `work`, which runs on a thread of the coalescer's pool, or of the same call if it
    /// is already in flight. So every caller, the first one too, can wait with a deadline, leave, or wait for several.
    ///
    /// Single calls and batches join a detached flight, and this joins theirs. The threads are named after the
    /// coalescer and end with it: [`close`](SyncCoalesce::close) and dropping it drop the flights that wait for a
    /// thread, whose tickets get [`CallError::Closed`](crate::CallError::Closed), and leave those alone that run.
    ///
    /// How many run at a time, and what becomes of one too many, is said by
    /// [`pool_threads`](crate::Builder::pool_threads), [`pool_queue`](crate::Builder::pool_queue) and
    /// [`on_full_pool`](crate::Builder::on_full_pool).
    ///
    /// # Statistics
    ///
    /// A flight that is begun is an underlying call, even if the pool has no place for it or it is closed before it
    /// runs; until then it counts as running. A ticket that joins is a coalesced call, and follows until the flight
    /// ends or it is dropped; one too many is overloaded, whatever [`on_overflow`](crate::Builder::on_overflow) says.
    /// Observers are told of the flight and not of its tickets.
    ///
    /// # Blocking
    ///
    /// Not at all, unless the pool is full and [`OnOverflow::Bypass`](crate::OnOverflow::Bypass).
    ///
    /// # Panics
    ///
    /// A panic in `work` reaches every ticket, the first one too, as
    /// [`CallError::LeaderPanicked`](crate::CallError::LeaderPanicked).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::SyncCoalesce;
    ///
    /// let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
    /// let first = coalesce.detach("question", |_flight| Ok("answer".to_owned()));
    /// let other = coalesce.detach("another", |_flight| Ok("reply".to_owned()));
    /// crossbeam_channel::select! {
    ///     recv(first.receiver()) -> result => assert_eq!(*result.unwrap().unwrap(), "answer"),
    ///     recv(other.receiver()) -> result => assert_eq!(*result.unwrap().unwrap(), "reply"),
    /// }
    /// assert_eq!(*first.wait_timeout(Duration::from_secs(60)).unwrap(), "answer");
    /// ```
    pub fn detach<Q>(
        &self,
        key: &Q,
        work: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E> + Send + 'static,
    ) -> Ticket<T, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.flights.detach(&self.pool, self.hasher.hash_one(key), key, &CallOptions::default(), work)
    }
}
