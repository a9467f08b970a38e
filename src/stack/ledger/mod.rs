//! [`Ledger`]: what was done once is not done again, after a restart neither.

mod error;
mod memory;
#[cfg(feature = "redb")]
mod redb;
mod store;

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::LedgerError;
pub use self::memory::MemoryStore;
#[cfg(feature = "redb")]
pub use self::redb::RedbStore;
pub use self::store::{Record, Store, StoreError};
use crate::key::Key;
use crate::sync::Mutex;

/// Remembers what was done under which key, so that it is done once.
///
/// A ledger is a handle: its clones are one ledger. The key names the intention, as an order's number does, or the
/// header `Idempotency-Key`; the fingerprint is the request that goes with it, and shows when a key is used again for
/// something else.
///
/// | the key is | [`run_once`](Ledger::run_once) |
/// |---|---|
/// | absent | notes that it begins, runs the work, commits the result |
/// | done | returns the committed result |
/// | running in another thread | [`LedgerError::InProgress`] |
/// | unknown: begun, and the process died, or the work panicked | [`LedgerError::Unknown`] |
/// | of another request | [`LedgerError::OtherRequest`] |
///
/// An unknown key stays so until somebody has found out, and [resolves](Ledger::resolve) or [forgets](Ledger::forget)
/// it.
///
/// Results are kept as JSON until they are forgotten: nothing is removed by itself. With [`MemoryStore`] they live as
/// long as the ledger; with `RedbStore`, behind the feature `redb`, they are on disk when `run_once` returns.
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

struct Shared {
    store: Box<dyn Store>,
    /// The keys that a thread of this ledger is about. A record that is begun and not among them is of a process that
    /// died, or of work that panicked.
    running: Mutex<HashSet<Box<[u8]>>>,
}

/// A result that is in the ledger.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded<T> {
    /// The result.
    pub value: T,
    /// Whether it was there already, so that nothing was done this time.
    pub is_replay: bool,
    /// Whether it was committed. If not, the work was done and this is its result, but the ledger does not have it: the
    /// key is unknown, and not done again.
    pub committed: Result<(), StoreError>,
}

/// What a ledger knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerState {
    /// Nothing: it was never begun, failed, or was forgotten.
    Absent,
    /// A thread is about it.
    InProgress,
    /// It was begun, and nobody knows whether it was done.
    Unknown,
    /// Its result is committed.
    Done,
}

/// A key that this thread is about, until it is dropped.
struct Running<'a> {
    shared: &'a Shared,
    key: &'a [u8],
}

impl<'a> Running<'a> {
    /// `None` if another thread is about it.
    fn enter(shared: &'a Shared, key: &'a [u8]) -> Option<Self> {
        let is_free = shared.running.lock().insert(key.into());
        // Not `then_some`, which would make one, and drop it, in either case.
        is_free.then(|| Self { shared, key })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.running.lock().remove(self.key);
    }
}

impl Ledger {
    /// A ledger that keeps its records in this store.
    pub fn new(store: impl Store + 'static) -> Self {
        Self { shared: Arc::new(Shared { store: Box::new(store), running: Mutex::new(HashSet::new()) }) }
    }

    /// A ledger that keeps its records in memory, and forgets them with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(MemoryStore::new())
    }

    /// The result that is committed under `key`; if there is none, `work` runs and its result is committed.
    ///
    /// That the work begins is noted durably before it does. An error of `work` says that nothing was done: it is not
    /// kept, and the key is absent again. Where that is not certain, as after a time-out, `work` should panic, or ask
    /// the provider; a panic leaves the key unknown.
    ///
    /// A committed result is read back from JSON: a `T` that does not come back as it went is another one then.
    ///
    /// # Blocking
    ///
    /// While `work` runs, and as long as the store takes. No lock of the ledger is held.
    ///
    /// # Panics
    ///
    /// A panic in `work` goes on to the caller.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Failed`] when `work` fails. All other errors say that it did not run.
    pub fn run_once<T, E>(
        &self,
        key: impl AsRef<[u8]>,
        fingerprint: &Key,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<Recorded<T>, LedgerError<E>>
    where
        T: Serialize + DeserializeOwned,
    {
        let (store, key) = (&self.shared.store, key.as_ref());
        let Some(_running) = Running::enter(&self.shared, key) else {
            // Whoever is about it may be reading a result that has been there for long.
            return match store.get(key)? {
                Some(record) => replay(&record, fingerprint, LedgerError::InProgress),
                None => Err(LedgerError::InProgress),
            };
        };
        if let Some(record) = store.begin(key, fingerprint)? {
            return replay(&record, fingerprint, LedgerError::Unknown);
        }
        // Returns Ok: committed. Returns Err: the record goes. Panics, or the process ends: the record stays, begun.
        // Re-enters with this key: in progress. The key is released by the guard in each case.
        match work() {
            Ok(value) => {
                let json = serde_json::to_vec(&value).map_err(StoreError::new);
                let committed = json.and_then(|json| store.commit(key, &json));
                Ok(Recorded { value, is_replay: false, committed })
            }
            Err(error) => {
                // If the store fails now, the key is unknown, which is no worse than what the store's failure says.
                let _ = store.remove(key);
                Err(LedgerError::Failed(error))
            }
        }
    }

    /// What is known of `key` now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot say.
    pub fn state(&self, key: impl AsRef<[u8]>) -> Result<LedgerState, StoreError> {
        let (store, key) = (&self.shared.store, key.as_ref());
        let mut record = store.get(key)?;
        let is_running = self.shared.running.lock().contains(key);
        if !is_running && record.as_ref().is_some_and(|record| record.value.is_none()) {
            // The thread that had begun it may have ended between the two looks.
            record = store.get(key)?;
        }
        Ok(match record {
            Some(Record { value: Some(_), .. }) => LedgerState::Done,
            _ if is_running => LedgerState::InProgress,
            Some(Record { value: None, .. }) => LedgerState::Unknown,
            None => LedgerState::Absent,
        })
    }

    /// Commits the result of an unknown key, once somebody has found out that it was done; whether it was unknown.
    ///
    /// # Errors
    ///
    /// [`LedgerError::InProgress`] if a thread is about it, [`LedgerError::Store`] if the store fails.
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
    /// // The provider says that it did get the order, and gave it this number.
    /// assert!(ledger.resolve("order 17", &4711)?);
    /// assert_eq!(send()?.value, 4711);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve<T: Serialize>(&self, key: impl AsRef<[u8]>, value: &T) -> Result<bool, LedgerError<Infallible>> {
        let key = key.as_ref();
        let Some(_running) = Running::enter(&self.shared, key) else { return Err(LedgerError::InProgress) };
        let is_unknown = self.shared.store.get(key)?.is_some_and(|record| record.value.is_none());
        if is_unknown {
            let json = serde_json::to_vec(value).map_err(StoreError::new)?;
            self.shared.store.commit(key, &json)?;
        }
        Ok(is_unknown)
    }

    /// Removes what is recorded under `key`, so that it can be done again: an unknown key that was not done, or a
    /// result that is no longer needed; whether there was anything.
    ///
    /// # Errors
    ///
    /// [`LedgerError::InProgress`] if a thread is about it, [`LedgerError::Store`] if the store fails.
    pub fn forget(&self, key: impl AsRef<[u8]>) -> Result<bool, LedgerError<Infallible>> {
        let key = key.as_ref();
        let Some(_running) = Running::enter(&self.shared, key) else { return Err(LedgerError::InProgress) };
        Ok(self.shared.store.remove(key)?)
    }
}

/// What a record says to one who asks again; `begun` if it is not committed.
fn replay<T: DeserializeOwned, E>(
    record: &Record,
    fingerprint: &Key,
    begun: LedgerError<E>,
) -> Result<Recorded<T>, LedgerError<E>> {
    if record.fingerprint != *fingerprint {
        return Err(LedgerError::OtherRequest);
    }
    let json = record.value.as_ref().ok_or(begun)?;
    let value = serde_json::from_slice(json).map_err(|error| LedgerError::Unreadable(Arc::new(error)))?;
    Ok(Recorded { value, is_replay: true, committed: Ok(()) })
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.shared.running.lock().len();
        f.debug_struct("Ledger").field("running", &running).finish_non_exhaustive()
    }
}
