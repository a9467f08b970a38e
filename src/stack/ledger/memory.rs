//! [`MemoryStore`]: records in memory.

use std::collections::HashMap;
use std::fmt;

use super::store::{Record, Store, StoreError};
use crate::key::Key;
use crate::sync::Mutex;

/// A [`Store`] in memory. Its records are lost on a restart.
pub struct MemoryStore {
    records: Mutex<HashMap<Box<[u8]>, Record>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { records: Mutex::new(HashMap::new()) }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
        let mut records = self.records.lock();
        let record = records.get(key).cloned();
        if record.is_none() {
            records.insert(key.into(), Record { fingerprint: *fingerprint, value: None });
        }
        Ok(record)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        Ok(self.records.lock().get(key).cloned())
    }

    fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut records = self.records.lock();
        let record = records.get_mut(key).ok_or_else(|| StoreError::new("no record was begun under this key"))?;
        record.value = Some(value.to_vec());
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.records.lock().remove(key).is_some())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records.lock().len();
        f.debug_struct("MemoryStore").field("records", &records).finish_non_exhaustive()
    }
}
