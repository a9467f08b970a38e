//! [`Store`]: where a ledger keeps its records.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::key::Key;

/// Where a [`Ledger`](super::Ledger) keeps its records.
///
/// Each method is one step: what another thread does comes before it or after it. What a method has written is durable
/// when it returns, in the sense in which the store is at all. A store serves one process at a time: a record that is
/// begun and of no thread of its ledger counts as left behind.
pub trait Store: Send + Sync {
    /// The record under `key`; if there is none, it is begun now, without a value.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read or written. The work does not run then.
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError>;

    /// The record under `key`, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError>;

    /// Gives the record under `key`, which was begun, its value.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if there is no record, or it cannot be written.
    fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes the record under `key`, and says whether there was one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be removed.
    fn remove(&self, key: &[u8]) -> Result<bool, StoreError>;
}

/// What a [`Store`] keeps under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The request that the key belongs to.
    pub fingerprint: Key,
    /// The result, or nothing as long as it is only begun.
    pub value: Option<Vec<u8>>,
}

/// Why a [`Store`] failed. Asking again may help if what is beneath recovers.
#[derive(Clone)]
pub struct StoreError(Arc<dyn Error + Send + Sync>);

impl StoreError {
    /// An error of what is beneath the store; it becomes this one's [`source`](Error::source).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use sync_coalesce::stack::ledger::StoreError;
    ///
    /// let error = StoreError::new("the disk is full");
    /// assert_eq!(error.source().unwrap().to_string(), "the disk is full");
    /// ```
    #[must_use]
    pub fn new(beneath: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(beneath.into()))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ledger's store failed")
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreError").field(&self.0).finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
