//! [`Ledger`]: work recorded under a key never runs twice, not even across restarts.

mod error;
mod faults;
mod memory;
#[cfg(sync_coalesce_shuttle)]
mod models;
mod records;
#[cfg(feature = "redb")]
mod redb;
mod shared;
mod store;

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::LedgerError;
pub use self::memory::MemoryStore;
pub use self::records::{LedgerRecord, Records};
#[cfg(feature = "redb")]
pub use self::redb::RedbStore;
use self::shared::{Running, Shared};
pub use self::store::{Record, Store, StoreError, StoredRecord};
use crate::key::Key;
use crate::panic::message;
use crate::sync::catch_unwind;

/// Records what was done under each key, so that it is done only once.
///
/// A ledger is a handle: its clones share one ledger. The key identifies the intention, like an order number or the
/// header `Idempotency-Key`. The fingerprint identifies the request, and shows when a key is reused for a different
/// one.
///
/// | state of the key | [`run_once`](Ledger::run_once) |
/// |---|---|
/// | absent | records the beginning, runs the work, commits the result |
/// | done | returns the committed result |
/// | in progress in another thread | [`LedgerError::InProgress`] |
/// | unknown: it was begun, and then the process died or the work panicked | [`LedgerError::Unknown`] |
/// | used for another request | [`LedgerError::OtherRequest`] |
///
/// An unknown key stays unknown until it is [resolved](Ledger::resolve) or [forgotten](Ledger::forget).
/// [`in_doubt`](Ledger::in_doubt) lists these keys, as after a restart.
///
/// Results are kept as JSON until they are forgotten, or removed by their [age](Ledger::remove_older_than): nothing
/// expires by itself. With [`MemoryStore`] they live as long as the ledger. With `RedbStore`, behind the feature `redb`,
/// they are on disk when `run_once` returns.
///
/// `resolve`, `forget` and the removal of old records never touch a key while a thread of this ledger is running it.
/// Forgetting a flight in a coalescer above says nothing to the ledger: a later call for the same key gets
/// [`LedgerError::InProgress`] while the work runs, and its result afterwards.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use sync_coalesce::Key;
/// use sync_coalesce::stack::ledger::{Ledger, LedgerError};
///
/// let ledger = Ledger::in_memory();
/// let request = Key::of(&("send", "Monday's report"))?;
/// let mut sent = 0;
/// for _ in 0..2 {
///     let recorded = ledger.run_once("order 17", &request, || {
///         sent += 1;
///         Ok::<_, Infallible>("message 1".to_owned())
///     })?;
///     assert_eq!(recorded.value, "message 1");
/// }
/// assert_eq!(sent, 1);
///
/// let other = Key::of(&("send", "Tuesday's report"))?;
/// let refused = ledger.run_once("order 17", &other, || Ok::<_, Infallible>(String::new()));
/// assert!(matches!(refused, Err(LedgerError::OtherRequest)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

/// What [`Ledger::run_once`] returns: a result, and how it came about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LedgerOutcome<T> {
    /// The result.
    pub value: T,
    /// Whether the result was already recorded, so that nothing ran this time.
    pub is_replay: bool,
    /// Whether the result is committed. If not, the work was done and `value` is its result, but the ledger does not
    /// have it: the key is unknown, and its work does not run again.
    pub committed: Result<(), StoreError>,
}

/// The state of a key in a [`Ledger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerState {
    /// Never begun, failed, or forgotten.
    Absent,
    /// A thread of this ledger is running it.
    InProgress,
    /// It was begun, and it is not known whether it was done.
    Unknown,
    /// Its result is committed.
    Done,
}

impl Ledger {
    /// A ledger that keeps its records in `store`.
    pub fn new(store: impl Store + 'static) -> Self {
        Self { shared: Arc::new(Shared::new(store)) }
    }

    /// A ledger that keeps its records in memory, for as long as it lives.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(MemoryStore::new())
    }

    /// The result committed under `key`; if there is none, `work` runs and its result is committed.
    ///
    /// The beginning is recorded durably before `work` runs. An error of `work` means that nothing was done: it is not
    /// recorded, and the key is absent again, or if the store cannot remove the beginning, [`LedgerError::NotRemoved`].
    /// Where that is not certain, as after a timeout, `work` should panic or ask the provider. A panic leaves the key
    /// unknown.
    ///
    /// A committed result is read back from JSON, so `T` should survive the round trip.
    ///
    /// # Blocking
    ///
    /// While `work` runs, and while the store reads and writes. No lock of the ledger is held meanwhile.
    ///
    /// # Panics
    ///
    /// A panic in `work` is passed on to the caller. One in the store counts as an error of the store.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Failed`] or [`LedgerError::NotRemoved`] if `work` fails. With any other error, `work` did not run.
    pub fn run_once<T, E>(
        &self,
        key: impl AsRef<[u8]>,
        fingerprint: &Key,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<LedgerOutcome<T>, LedgerError<E>>
    where
        T: Serialize + DeserializeOwned,
    {
        let (shared, key) = (&*self.shared, key.as_ref());
        let Some(running) = Running::enter(shared, key) else {
            // That thread may be reading a result that was committed long ago.
            return match shared.get(key)? {
                Some(record) => replay(&record, fingerprint, LedgerError::InProgress),
                None => Err(LedgerError::InProgress),
            };
        };
        running.remove_void()?;
        if let Some(record) = shared.begin(key, fingerprint)? {
            return replay(&record, fingerprint, LedgerError::Unknown);
        }
        // Returns Ok: committed. Returns Err: the record is removed. Panics, or the process ends: the record stays
        // begun. Re-enters with this key: in progress. The guard releases the key in each case.
        match work() {
            Ok(value) => {
                // The work is done and paid for: a panic in its `Serialize` must not lose the value.
                let json = match catch_unwind(AssertUnwindSafe(|| serde_json::to_vec(&value))) {
                    Ok(json) => json.map_err(StoreError::new),
                    Err(payload) => Err(StoreError::new(format!("its Serialize panicked: {}", message(&*payload)))),
                };
                let committed = json.and_then(|json| shared.commit(key, &json));
                Ok(LedgerOutcome { value, is_replay: false, committed })
            }
            Err(error) => Err(match shared.remove(key) {
                Ok(_) => LedgerError::Failed(error),
                Err(store) => {
                    running.is_void();
                    LedgerError::NotRemoved { error, store }
                }
            }),
        }
    }

    /// The current state of `key`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn state(&self, key: impl AsRef<[u8]>) -> Result<LedgerState, StoreError> {
        let (shared, key) = (&*self.shared, key.as_ref());
        let mut record = shared.get(key)?;
        let is_running = shared.is_running(key);
        if !is_running && record.as_ref().is_some_and(|record| record.value.is_none()) {
            // The thread that had it in progress may have ended between the two reads.
            record = shared.get(key)?;
        }
        Ok(match record {
            Some(Record { value: Some(_), .. }) => LedgerState::Done,
            _ if is_running => LedgerState::InProgress,
            Some(Record { value: None, .. }) => LedgerState::Unknown,
            None => LedgerState::Absent,
        })
    }

    /// Whether `key` was unknown; if so, `value` is now committed as its result. For work that turned out to have been
    /// done.
    ///
    /// # Errors
    ///
    /// [`LedgerError::InProgress`] if a thread is running it, [`LedgerError::Store`] if the store fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    /// use sync_coalesce::Key;
    /// use sync_coalesce::stack::ledger::{Ledger, LedgerError};
    ///
    /// let (ledger, request) = (Ledger::in_memory(), Key::of("request")?);
    /// let work = || -> Result<u32, Infallible> { panic!("connection lost") };
    /// let send = || ledger.run_once("order 17", &request, work);
    /// let _ = catch_unwind(AssertUnwindSafe(send));
    /// assert!(matches!(send(), Err(LedgerError::Unknown)));
    ///
    /// // The provider confirms that it received the order, under this number.
    /// assert!(ledger.resolve("order 17", &4711)?);
    /// assert_eq!(send()?.value, 4711);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve<T: Serialize>(&self, key: impl AsRef<[u8]>, value: &T) -> Result<bool, LedgerError<Infallible>> {
        let key = key.as_ref();
        let Some(running) = Running::enter(&self.shared, key) else { return Err(LedgerError::InProgress) };
        let is_unknown = self.shared.get(key)?.is_some_and(|record| record.value.is_none());
        if is_unknown {
            let json = serde_json::to_vec(value).map_err(StoreError::new)?;
            self.shared.commit(key, &json)?;
            running.is_no_longer_void();
        }
        Ok(is_unknown)
    }

    /// Whether there was a record under `key`, which is now removed, so that its work can run again. For an unknown key
    /// whose work turned out not to have been done, or a result that is no longer needed.
    ///
    /// # Errors
    ///
    /// [`LedgerError::InProgress`] if a thread is running it, [`LedgerError::Store`] if the store fails.
    pub fn forget(&self, key: impl AsRef<[u8]>) -> Result<bool, LedgerError<Infallible>> {
        let key = key.as_ref();
        let Some(running) = Running::enter(&self.shared, key) else { return Err(LedgerError::InProgress) };
        let was_there = self.shared.remove(key)?;
        running.is_no_longer_void();
        Ok(was_there)
    }
}

/// The result in a record; the error `begun` if it has none yet.
fn replay<T: DeserializeOwned, E>(
    record: &Record,
    fingerprint: &Key,
    begun: LedgerError<E>,
) -> Result<LedgerOutcome<T>, LedgerError<E>> {
    if record.fingerprint != *fingerprint {
        return Err(LedgerError::OtherRequest);
    }
    let json = record.value.as_ref().ok_or(begun)?;
    let value = serde_json::from_slice(json).map_err(|error| LedgerError::Unreadable(Arc::new(error)))?;
    Ok(LedgerOutcome { value, is_replay: true, committed: Ok(()) })
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.shared.running();
        f.debug_struct("Ledger").field("running", &running).finish_non_exhaustive()
    }
}
