//! [`MemoryStore`]: records in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::time::SystemTime;

use super::store::{Record, Store, StoreError, StoredRecord};
use crate::key::Key;
use crate::sync::Mutex;

/// A [`Store`] in memory. Its records are lost on a restart.
pub struct MemoryStore {
    records: Mutex<BTreeMap<Box<[u8]>, Kept>>,
}

struct Kept {
    record: Record,
    begun_at: SystemTime,
    committed_at: Option<SystemTime>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { records: Mutex::new(BTreeMap::new()) }
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
        if let Some(kept) = records.get(key) {
            return Ok(Some(kept.record.clone()));
        }
        let record = Record { fingerprint: *fingerprint, value: None };
        records.insert(key.into(), Kept { record, begun_at: SystemTime::now(), committed_at: None });
        Ok(None)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        Ok(self.records.lock().get(key).map(|kept| kept.record.clone()))
    }

    fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut records = self.records.lock();
        let kept = records.get_mut(key).ok_or_else(|| StoreError::new("no record was begun under this key"))?;
        kept.record.value = Some(value.to_vec());
        kept.committed_at = Some(SystemTime::now());
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.records.lock().remove(key).is_some())
    }

    fn scan(&self, from: Bound<&[u8]>, limit: usize) -> Result<Vec<StoredRecord>, StoreError> {
        let records = self.records.lock();
        let found = records.range::<[u8], _>((from, Bound::Unbounded)).take(limit);
        Ok(found.map(|(key, kept)| kept.stored(key)).collect())
    }
}

impl Kept {
    fn stored(&self, key: &[u8]) -> StoredRecord {
        StoredRecord {
            begun_at: Some(self.begun_at),
            committed_at: self.committed_at,
            ..StoredRecord::new(key, self.record.fingerprint, self.record.value.is_some())
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records.lock().len();
        f.debug_struct("MemoryStore").field("records", &records).finish_non_exhaustive()
    }
}
