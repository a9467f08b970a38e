//! What the handles of a ledger share: the store, and which keys are being changed.

use std::collections::HashSet;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;

use super::store::{Record, Store, StoreError, StoredRecord};
use crate::key::Key;
use crate::panic::{catch_panic, message};
use crate::sync::{Mutex, catch_unwind};

pub(super) struct Shared {
    store: Box<dyn Store>,
    /// The keys in progress in threads of this ledger. A record that is begun and not in this set was left by a process
    /// that died, or by work that panicked.
    running: Mutex<HashSet<Box<[u8]>>>,
    /// The keys whose work returned an error, and whose beginning could not be removed. Only the thread that has
    /// the key in progress looks into this, so that nobody else can have begun it meanwhile.
    void: Mutex<HashSet<Box<[u8]>>>,
}

/// The store's methods, whose panics are errors.
impl Shared {
    pub(super) fn new(store: impl Store + 'static) -> Self {
        Self { store: Box::new(store), running: Mutex::new(HashSet::new()), void: Mutex::new(HashSet::new()) }
    }

    fn ask<R>(&self, question: impl FnOnce(&dyn Store) -> Result<R, StoreError>) -> Result<R, StoreError> {
        catch_unwind(AssertUnwindSafe(|| question(&*self.store))).unwrap_or_else(|payload| {
            let error = StoreError::new(format!("it panicked: {}", message(&*payload)));
            catch_panic(|| drop(payload));
            Err(error)
        })
    }

    pub(super) fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
        self.ask(|store| store.begin(key, fingerprint))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        self.ask(|store| store.get(key))
    }

    pub(super) fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.ask(|store| store.commit(key, value))
    }

    pub(super) fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.ask(|store| store.remove(key))
    }

    pub(super) fn remove_all(&self, keys: &[&[u8]]) -> Result<u64, StoreError> {
        self.ask(|store| store.remove_all(keys))
    }

    pub(super) fn scan(&self, from: Bound<&[u8]>, limit: usize) -> Result<Vec<StoredRecord>, StoreError> {
        self.ask(|store| store.scan(from, limit))
    }

    pub(super) fn is_running(&self, key: &[u8]) -> bool {
        self.running.lock().contains(key)
    }

    /// The number of keys in progress.
    pub(super) fn running(&self) -> usize {
        self.running.lock().len()
    }
}

/// A key that this thread has in progress, until this is dropped.
pub(super) struct Running<'a> {
    shared: &'a Shared,
    key: &'a [u8],
}

impl<'a> Running<'a> {
    /// `None` if another thread has it in progress.
    pub(super) fn enter(shared: &'a Shared, key: &'a [u8]) -> Option<Self> {
        let is_free = shared.running.lock().insert(key.into());
        // Not `then_some`, which would make one in either case, and drop it.
        is_free.then(|| Self { shared, key })
    }

    /// The record of its beginning is to be removed before the work runs again.
    pub(super) fn is_void(&self) {
        self.shared.void.lock().insert(self.key.into());
    }

    pub(super) fn is_no_longer_void(&self) {
        self.shared.void.lock().remove(self.key);
    }

    /// Removes the record of a beginning that could not be removed before.
    pub(super) fn remove_void(&self) -> Result<(), StoreError> {
        if !self.shared.void.lock().contains(self.key) {
            return Ok(());
        }
        if self.shared.get(self.key)?.is_some_and(|record| record.value.is_none()) {
            self.shared.remove(self.key)?;
        }
        self.is_no_longer_void();
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.running.lock().remove(self.key);
    }
}
