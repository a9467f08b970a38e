//! [`Store`]: where a ledger keeps its records.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::key::Key;

/// Where a [`Ledger`](super::Ledger) keeps its records.
///
/// Each method is atomic with respect to other threads, and what it writes is as durable as the store can make it when
/// the method returns. A store serves one process at a time: a record that was begun by no thread of its ledger counts
/// as left behind.
pub trait Store: Send + Sync {
    /// The record under `key`; `None` if there was none, and then one is begun: the fingerprint without a value.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the record cannot be read or written. The work does not run then.
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
}

/// What a [`Store`] keeps under each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The fingerprint of the request that the key belongs to.
    pub fingerprint: Key,
    /// The result as JSON; `None` while the work is only begun.
    pub value: Option<Vec<u8>>,
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
