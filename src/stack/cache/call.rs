//! A cache before a coalescer: a leader looks again, and fills it before its followers are released.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::Equivalent;

use super::fills::Permit as FillPermit;
use super::{Begun, Cache};
use crate::coalesce::SyncCoalesce;
use crate::error::CallError;
use crate::flight::watch::Watcher;
use crate::panic::catch_panic;

impl<K, T> Cache<K, T>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// The value of `work`: from the cache, from the same call in flight, or from running `work`.
    ///
    /// The leader of the flight looks into the cache again before it runs `work`, and fills it before its followers are
    /// released. So there is no gap in which a value is neither in flight nor in the cache, and `work` runs once for as
    /// long as the value is kept, however many callers there are. An error is shared with the followers of the flight,
    /// and not kept.
    ///
    /// A value does not come over a newer one: it is not kept if the flight was [forgotten](SyncCoalesce::forget),
    /// cancelled, superseded or closed meanwhile, or ran uncoalesced, or if its key was [removed](Cache::remove),
    /// [inserted](Cache::insert) or [cleared](Cache::clear) since `work` began.
    ///
    /// # Blocking
    ///
    /// As [`SyncCoalesce::try_call`].
    ///
    /// # Panics
    ///
    /// A panic in `work` is passed on to the caller whose closure it was. After a panic in `K: Clone`, or in the
    /// closure for the time to live, the value is returned but not kept.
    ///
    /// # Errors
    ///
    /// As [`SyncCoalesce::try_call`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use sync_coalesce::SyncCoalesce;
    /// use sync_coalesce::stack::cache::Cache;
    ///
    /// let cache: Cache<String, u16> = Cache::builder(100).build()?;
    /// let coalesce: SyncCoalesce<String, Arc<u16>, std::num::ParseIntError> = SyncCoalesce::new();
    /// for _ in 0..2 {
    ///     let port = cache.get_or_call(&coalesce, "port", || "80".parse());
    ///     assert_eq!(*port.unwrap(), 80);
    /// }
    /// assert_eq!(coalesce.stats().underlying_calls, 1);
    /// # Ok::<(), sync_coalesce::stack::cache::CacheBuildError>(())
    /// ```
    pub fn get_or_call<Q, E, S>(
        &self,
        coalesce: &SyncCoalesce<K, Arc<T>, E, S>,
        key: &Q,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, CallError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        S: BuildHasher,
    {
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        self.lead(coalesce, key, true, work)
    }

    /// The value of `work`, or of the same call if it is in flight, whatever is cached; it replaces the cached value.
    ///
    /// Until then, and if there is an error, the old value stays, and others get it. To join no flight that has begun
    /// before, [remove](Cache::remove) the value and [forget](SyncCoalesce::forget) the flight instead.
    ///
    /// Blocks, panics and fails as [`get_or_call`](Cache::get_or_call).
    ///
    /// # Errors
    ///
    /// As [`get_or_call`](Cache::get_or_call).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use sync_coalesce::SyncCoalesce;
    /// use sync_coalesce::stack::cache::Cache;
    ///
    /// let cache: Cache<String, u16> = Cache::builder(100).build()?;
    /// let coalesce: SyncCoalesce<String, Arc<u16>, std::num::ParseIntError> = SyncCoalesce::new();
    /// cache.insert("port".to_owned(), 80);
    /// assert!(cache.refresh(&coalesce, "port", || "none".parse()).is_err());
    /// assert_eq!(*cache.get("port").unwrap(), 80);
    /// assert_eq!(*cache.refresh(&coalesce, "port", || "8080".parse()).unwrap(), 8080);
    /// assert_eq!(*cache.get("port").unwrap(), 8080);
    /// # Ok::<(), sync_coalesce::stack::cache::CacheBuildError>(())
    /// ```
    pub fn refresh<Q, E, S>(
        &self,
        coalesce: &SyncCoalesce<K, Arc<T>, E, S>,
        key: &Q,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, CallError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        S: BuildHasher,
    {
        self.lead(coalesce, key, false, work)
    }

    /// Leads or follows; a leader may look again before it runs `work`.
    fn lead<Q, E, S>(
        &self,
        coalesce: &SyncCoalesce<K, Arc<T>, E, S>,
        key: &Q,
        looks_again: bool,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, CallError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        S: BuildHasher,
    {
        let outcome = coalesce.on(key).try_call(|flight| {
            // Before the second look: what is removed from here on is not brought back by this flight.
            let permit = self.permit(key);
            let _watch = flight.watch(Arc::clone(&permit) as Arc<dyn Watcher>);
            let begun = Begun::of(flight);
            // Between this caller's miss and its flight, another flight may have filled the cache and ended.
            let found = if looks_again { self.lookup_again(key, begun.as_ref()) } else { None };
            if let Some(value) = found {
                return Ok(value);
            }
            let value = Arc::new(work()?);
            self.fill(&permit, key, &value, begun);
            Ok(value)
        });
        let shared = outcome.result?;
        Ok(Arc::clone(&shared))
    }

    /// As [`get`](Cache::get), for a leader whose miss is already counted. Whoever asks after a mark may join its flight
    /// if that began after the mark, so a value from before the flight's own mark will not do.
    pub(in crate::stack) fn lookup_again<Q>(&self, key: &Q, since: Option<&Begun>) -> Option<Arc<T>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let value = self.lookup(key, since)?;
        self.shared.counters.count_late_hit();
        Some(value)
    }

    /// For a leader whose work is about to begin, to fill the cache with what comes of it.
    pub(in crate::stack) fn permit<Q>(&self, key: &Q) -> Arc<FillPermit>
    where
        Q: Hash + ?Sized,
    {
        Arc::new(self.shared.fills.begin(self.shared.hasher.hash_one(key)))
    }

    /// Keeps a value that was paid for, unless the permit is revoked: its flight is no longer current, the key was
    /// removed, inserted or cleared since, or work that began later has filled it. A panic in user code here must not
    /// lose the value for the caller.
    ///
    /// Where the value is not kept, but shown to callers, no older one stays.
    pub(in crate::stack) fn fill<Q>(&self, permit: &FillPermit, key: &Q, value: &Arc<T>, begun: Option<Begun>)
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        // A call that ran alone is ordered with nothing; but it was only made because what had expired was not enough.
        let Some(begun) = begun else {
            if self.shared.stale_for().is_zero() {
                return;
            }
            let is_over = || self.entries.get(key).is_some_and(|entry| !self.is_alive(&entry));
            let expired = catch_panic(|| permit.locked(|| if is_over() { self.entries.remove(key) } else { None }));
            catch_panic(|| drop(expired));
            return;
        };
        let made = catch_panic(|| {
            let lives = self.time_to_live_of(value);
            let key = key.to_owned();
            let entry = self.entry(&key, Arc::clone(value), lives, Some(begun))?;
            Some((key, entry))
        });
        catch_panic(|| {
            let discard = || self.entries.remove(key);
            let replaced = match made {
                Some((key, entry)) => permit.fill(|| self.put(key, entry), discard),
                None => permit.fill(discard, discard),
            };
            drop(replaced);
            self.keep_bound();
        });
    }
}
