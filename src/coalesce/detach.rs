//! [`SyncCoalesce::detach`]: flights on a thread of the coalescer's pool.

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
    /// A [`Ticket`] for the value of `work`, which runs on a thread of the coalescer's pool, or for the same call if it
    /// is already in flight. So every caller, the first one too, can wait with a deadline, leave, or wait for several.
    ///
    /// Single calls and batches join a detached flight, and `detach` joins theirs. The threads are named after the
    /// coalescer and end with it. [`close`](SyncCoalesce::close), or dropping the coalescer, drops the flights that
    /// wait for a thread, and their tickets get [`CallError::Closed`](crate::CallError::Closed). Closures that already
    /// run are left alone.
    ///
    /// [`pool_threads`](crate::Builder::pool_threads) bounds how many run at a time, and
    /// [`pool_queue`](crate::Builder::pool_queue) how many wait. [`on_full_pool`](crate::Builder::on_full_pool) says
    /// what becomes of the next one.
    ///
    /// # Statistics
    ///
    /// A flight that begins is an underlying call, even if the pool has no place for it or it is closed before it runs;
    /// until then it counts as running. A ticket that joins is a coalesced call, and follows until the flight ends or
    /// the ticket is dropped. A ticket beyond the bound on followers is overloaded, even with
    /// [`OnOverflow::Bypass`](crate::OnOverflow::Bypass). Observers are notified of the flight but not of its tickets.
    ///
    /// # Blocking
    ///
    /// Never, unless the pool is full and [`on_full_pool`](crate::Builder::on_full_pool) is
    /// [`OnOverflow::Bypass`](crate::OnOverflow::Bypass): then `work` runs in this call.
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
