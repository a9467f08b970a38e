//! The verbs of a [`Call`] about one key.

use std::hash::{BuildHasher, Hash};

use hashbrown::Equivalent;

use crate::call::{Call, OneKey};
use crate::coalesce::SyncCoalesce;
use crate::flight::handle::FlightHandle;
use crate::flight::pool::ticket::Ticket;
use crate::outcome::Outcome;

impl<K, T, E, S> SyncCoalesce<K, T, E, S> {
    /// A call for `key` with options of its own, such as a timeout; see [`Call`].
    pub fn on<'a, Q: ?Sized>(&'a self, key: &'a Q) -> Call<'a, Self, OneKey<'a, Q>> {
        Call::new(self, OneKey(key))
    }
}

impl<Q, K, T, E, S> Call<'_, SyncCoalesce<K, T, E, S>, OneKey<'_, Q>>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    S: BuildHasher,
{
    /// The outcome of `work`, which cannot fail, or of the same call if it is already in flight. The closure gets a
    /// handle of its flight.
    ///
    /// Blocks, panics and fails as [`SyncCoalesce::call`], with this call's options.
    pub fn call(self, work: impl FnOnce(&FlightHandle<'_, K, T, E>) -> T) -> Outcome<T, E> {
        self.try_call(|flight| Ok(work(flight)))
    }

    /// The outcome of `work`, or of the same call if it is already in flight; errors are shared too. The closure gets a
    /// handle of its flight.
    ///
    /// Blocks, panics and fails as [`SyncCoalesce::try_call`], with this call's options.
    pub fn try_call(self, work: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E>) -> Outcome<T, E> {
        self.on.run(self.about.0, &self.options, work, |outcome| outcome)
    }
}

impl<Q, K, T, E, S> Call<'_, SyncCoalesce<K, T, E, S>, OneKey<'_, Q>>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    K: Send + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
    S: BuildHasher,
{
    /// A [`Ticket`] for the value of `work`, which runs on a thread of the coalescer's pool; see
    /// [`SyncCoalesce::detach`].
    ///
    /// The timeout or deadline applies to [`Ticket::wait`]. With [`bypass`](Call::bypass), no other call can join.
    pub fn detach(
        self,
        work: impl FnOnce(&FlightHandle<'_, K, T, E>) -> Result<T, E> + Send + 'static,
    ) -> Ticket<T, E> {
        let Self { on, about: OneKey(key), options } = self;
        on.flights.detach(&on.pool, on.hasher.hash_one(key), key, &options, work)
    }
}
