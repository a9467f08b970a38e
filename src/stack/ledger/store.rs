//! [`Store`]: where a ledger keeps its records.

use std::error::Error;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use crate::key::Key;

/// Where a [`Ledger`](super::Ledger) keeps its records.
///
/// Each method is atomic with respect to other threads, and what it writes is as durable as the store can make it when
/// the method returns. A store serves one process at a time: a record that was begun by no thread of its ledger counts
/// as left behind. The ledger takes a panic in a method for an error of it.
pub trait Store: Send + Sync {
    /// The record under `key`; `None` if there was none, and then one is begun: the fingerprint without a value.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the record cannot be read or written. The work does not run then, and a beginning that may have
    /// been written all the same should not count as one.
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError>;

    /// The record under `key`, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the record cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError>;

    /// Adds the value to the record under `key`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if there is no such record, or it cannot be written.
    fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Whether there was a record under `key`, which is now removed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the record cannot be removed.
    fn remove(&self, key: &[u8]) -> Result<bool, StoreError>;

    /// The number of records that were removed, of those under `keys`. Without a method of its own, a store removes them
    /// one after the other.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if one of them cannot be removed. Others may have been.
    fn remove_all(&self, keys: &[&[u8]]) -> Result<u64, StoreError> {
        keys.iter().try_fold(0, |removed, key| Ok(removed + u64::from(self.remove(key)?)))
    }

    /// At most `limit` records in the order of their keys, from `from` on, without their values. Fewer than `limit` only
    /// if there are no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the records cannot be read, or the store has no such method: it cannot list its records then.
    #[expect(unused_variables, reason = "the names are for who implements it")]
    fn scan(&self, from: Bound<&[u8]>, limit: usize) -> Result<Vec<StoredRecord>, StoreError> {
        Err(StoreError::new("this store cannot list its records"))
    }
}

/// What a [`Store`] keeps under each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The fingerprint of the request that the key belongs to.
    pub fingerprint: Key,
    /// The result as JSON; `None` while the work is only begun.
    pub value: Option<Vec<u8>>,
}

/// What a [`Store`] lists of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRecord {
    /// The key.
    pub key: Vec<u8>,
    /// The fingerprint of the request that the key belongs to.
    pub fingerprint: Key,
    /// Whether it has a value.
    pub is_committed: bool,
    /// When it was begun, by the system's clock of that time; `None` if that is not known.
    pub begun_at: Option<SystemTime>,
    /// When it was committed, by the system's clock of that time; `None` if it was not, or that is not known.
    pub committed_at: Option<SystemTime>,
}

impl StoredRecord {
    /// A record of which no times are known.
    #[must_use]
    pub fn new(key: &[u8], fingerprint: Key, is_committed: bool) -> Self {
        Self { key: key.to_vec(), fingerprint, is_committed, begun_at: None, committed_at: None }
    }
}

/// Why a [`Store`] failed. Asking again may help if the cause is temporary.
#[derive(Clone)]
pub struct StoreError(Arc<dyn Error + Send + Sync>);

impl StoreError {
    /// An error with this cause.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::ledger::StoreError;
    ///
    /// let error = StoreError::new("the disk is full");
    /// assert_eq!(error.to_string(), "the ledger's store failed: the disk is full");
    /// ```
    #[must_use]
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(cause.into()))
    }

    /// The cause, to downcast.
    #[must_use]
    pub fn inner(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ledger's store failed: {}", self.0)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreError").field(&self.0).finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
