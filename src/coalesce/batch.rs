//! Many keys at once.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{Equivalent, HashTable};

use crate::call::{Call, ManyKeys};
use crate::coalesce::SyncCoalesce;
use crate::error::CallError;
use crate::outcome::Outcome;

impl<K, T, E, S: BuildHasher> SyncCoalesce<K, T, E, S> {
    /// The value of each key, in the order of the keys; `work` is asked, in one call, for those that are not in flight.
    ///
    /// `work` gets the keys that need a value, each of them once, and returns one value for each, in the same order. It
    /// is not called if every key is already in flight. Single calls and batches coalesce with each other, key by key.
    ///
    /// First the batch claims its keys without waiting, then `work` runs for the claimed ones, and only then does it
    /// wait for the keys that other callers lead. So batches that overlap never wait for each other in a cycle. `work`
    /// may be called several times: for the parts of a large batch, with [`max_batch`](crate::Builder::max_batch); for
    /// one key whose leader failed, if this caller is elected; and for one key that bypasses coalescing or whose
    /// [`patience`](Call::patience) has ended. This caller can be elected for a key only while it waits for that key.
    ///
    /// # Statistics
    ///
    /// Each distinct key of a batch counts as one call in [`Stats`](crate::Stats): an underlying call if the batch
    /// claimed it, a coalesced one if it was in flight, whatever happens to it after that. The closure counts as
    /// running, failed or panicked once for each key that it runs for. A key for which it runs uncoalesced, because of
    /// a bound or a cycle, is counted when it does: not if it panicked before.
    ///
    /// # Blocking
    ///
    /// While `work` runs, and then until each key that another caller leads has its result, or the builder's
    /// [`timeout`](crate::Builder::timeout) or [`patience`](crate::Builder::patience), counted from the end of `work`,
    /// has run out.
    ///
    /// # Panics
    ///
    /// A panic in `work` goes on to the caller after every key that it had claimed is released: followers get
    /// [`CallError::LeaderPanicked`]. The same holds for a panic in the `Hash`, `Eq` or `to_owned` of a key.
    ///
    /// # Errors
    ///
    /// For each key: [`CallError::WrongCount`] if `work` returned more or fewer values than there were keys, and those
    /// of [`call`](SyncCoalesce::call).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::SyncCoalesce;
    ///
    /// let coalesce: SyncCoalesce<String, usize> = SyncCoalesce::new();
    /// let texts = ["one".to_owned(), "three".to_owned(), "one".to_owned()];
    /// let lengths = coalesce.call_many(&texts, |missing| {
    ///     assert_eq!(missing, ["one", "three"]);
    ///     missing.iter().map(|text| text.len()).collect()
    /// });
    /// let lengths: Vec<usize> = lengths.into_iter().map(|length| *length.unwrap()).collect();
    /// assert_eq!(lengths, [3, 5, 3]);
    /// ```
    pub fn call_many<'k, Q>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
        work: impl FnMut(&[&Q]) -> Vec<T>,
    ) -> Vec<Result<Arc<T>, CallError<E>>>
    where
        Q: Hash + Eq + Equivalent<K> + ToOwned<Owned = K> + ?Sized + 'k,
    {
        results(self.on_many(keys).call(work))
    }

    /// As [`call_many`](SyncCoalesce::call_many), for work that may fail as a whole: each key that it was called for
    /// gets its error, as one `Arc`.
    ///
    /// With [`max_batch`](crate::Builder::max_batch), an error concerns one part of the batch, and `work` is still
    /// called for the other parts.
    ///
    /// # Errors
    ///
    /// For each key: [`CallError::Failed`] with the closure's error, and those of
    /// [`call_many`](SyncCoalesce::call_many).
    pub fn try_call_many<'k, Q>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
        work: impl FnMut(&[&Q]) -> Result<Vec<T>, E>,
    ) -> Vec<Result<Arc<T>, CallError<E>>>
    where
        Q: Hash + Eq + Equivalent<K> + ToOwned<Owned = K> + ?Sized + 'k,
    {
        results(self.on_many(keys).try_call(work))
    }

    /// As [`call_many`](SyncCoalesce::call_many), for work that may fail for each key separately.
    ///
    /// # Errors
    ///
    /// For each key: [`CallError::Failed`] with its own error, and those of
    /// [`call_many`](SyncCoalesce::call_many).
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::{CallError, SyncCoalesce};
    ///
    /// let coalesce: SyncCoalesce<String, u16, std::num::ParseIntError> = SyncCoalesce::new();
    /// let ports = coalesce.try_call_many_each(["80", "http"], |missing| missing.iter().map(|port| port.parse()).collect());
    /// assert_eq!(**ports[0].as_ref().unwrap(), 80);
    /// assert!(matches!(ports[1], Err(CallError::Failed(_))));
    /// ```
    pub fn try_call_many_each<'k, Q>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
        work: impl FnMut(&[&Q]) -> Vec<Result<T, E>>,
    ) -> Vec<Result<Arc<T>, CallError<E>>>
    where
        Q: Hash + Eq + Equivalent<K> + ToOwned<Owned = K> + ?Sized + 'k,
    {
        results(self.on_many(keys).try_call_each(work))
    }

    /// A call for many keys with options of its own, such as a timeout; see [`Call`].
    ///
    /// The options apply to the keys that other callers lead: the batch waits for those after its own upstream call.
    /// All of them share one timeout, counted from then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sync_coalesce::SyncCoalesce;
    ///
    /// let coalesce: SyncCoalesce<String, usize> = SyncCoalesce::new();
    /// let lengths = coalesce
    ///     .on_many(["one", "three"])
    ///     .timeout(Duration::from_secs(5))
    ///     .call(|texts| texts.iter().map(|text| text.len()).collect());
    /// assert_eq!(*lengths[1].result.as_ref().unwrap().as_ref(), 5);
    /// assert!(lengths[1].role.ran());
    /// ```
    pub fn on_many<'a, 'k: 'a, Q: ?Sized + 'k>(
        &'a self,
        keys: impl IntoIterator<Item = &'k Q>,
    ) -> Call<'a, Self, ManyKeys<'a, Q>> {
        Call::new(self, ManyKeys(keys.into_iter().map(|key| -> &'a Q { key }).collect()))
    }
}

impl<Q, K, T, E, S> Call<'_, SyncCoalesce<K, T, E, S>, ManyKeys<'_, Q>>
where
    Q: Hash + Eq + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    S: BuildHasher,
{
    /// The outcome for each key, in the order of the keys.
    ///
    /// Blocks, panics and fails as [`SyncCoalesce::call_many`], with this call's options.
    pub fn call(self, mut work: impl FnMut(&[&Q]) -> Vec<T>) -> Vec<Outcome<T, E>> {
        self.run(|keys| Ok(work(keys)), Ok)
    }

    /// As [`call`](Call::call), for work that may fail as a whole.
    ///
    /// Blocks, panics and fails as [`SyncCoalesce::try_call_many`], with this call's options.
    pub fn try_call(self, work: impl FnMut(&[&Q]) -> Result<Vec<T>, E>) -> Vec<Outcome<T, E>> {
        self.run(work, Ok)
    }

    /// As [`call`](Call::call), for work that may fail for each key separately.
    ///
    /// Blocks, panics and fails as [`SyncCoalesce::try_call_many_each`], with this call's options.
    pub fn try_call_each(self, mut work: impl FnMut(&[&Q]) -> Vec<Result<T, E>>) -> Vec<Outcome<T, E>> {
        self.run(|keys| Ok(work(keys)), |part| part)
    }

    fn run<R>(self, work: impl FnMut(&[&Q]) -> Result<Vec<R>, E>, part: fn(R) -> Result<T, E>) -> Vec<Outcome<T, E>> {
        let Self { on, about: ManyKeys(keys), options } = self;
        let (different, places) = distinct(&keys, &on.hasher);
        let outcomes = on.flights.call_many(&different, &options, work, part);
        places.into_iter().map(|place| outcomes[place].clone()).collect()
    }
}

fn results<T, E>(outcomes: Vec<Outcome<T, E>>) -> Vec<Result<Arc<T>, CallError<E>>> {
    outcomes.into_iter().map(|outcome| outcome.result).collect()
}

/// The distinct keys with their hashes, and for each of `keys` its place among them.
fn distinct<'k, Q: Hash + Eq + ?Sized>(keys: &[&'k Q], hasher: &impl BuildHasher) -> (Vec<(u64, &'k Q)>, Vec<usize>) {
    let mut different: Vec<(u64, &Q)> = Vec::with_capacity(keys.len());
    let mut table: HashTable<usize> = HashTable::with_capacity(keys.len());
    let mut places = Vec::with_capacity(keys.len());
    for &key in keys {
        let hash = hasher.hash_one(key);
        let is_same = |&place: &usize| different[place] == (hash, key);
        let place = match table.entry(hash, is_same, |&place| different[place].0) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(free) => {
                let place = different.len();
                free.insert(place);
                different.push((hash, key));
                place
            }
        };
        places.push(place);
    }
    (different, places)
}
