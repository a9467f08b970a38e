//! [`Unlinked`]: the flights that run on without being joinable.

use hashbrown::HashTable;

use super::record::Record;
use crate::shrink::shrink;

/// Records by flight id. Not a `BTreeMap`, which is far more code, compiled again for each type of result.
pub(in crate::flight) struct Unlinked<T, E>(HashTable<Record<T, E>>);

/// Ids are counted up, and the table goes by the highest bits too.
fn hash(id: u64) -> u64 {
    id.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl<T, E> Unlinked<T, E> {
    pub(in crate::flight) const fn new() -> Self {
        Self(HashTable::new())
    }

    pub(in crate::flight) fn insert(&mut self, record: Record<T, E>) {
        self.0.insert_unique(hash(record.id), record, |record| hash(record.id));
    }

    pub(in crate::flight) fn get_mut(&mut self, id: u64) -> Option<&mut Record<T, E>> {
        self.0.find_mut(hash(id), |record| record.id == id)
    }

    pub(in crate::flight) fn remove(&mut self, id: u64) -> Option<Record<T, E>> {
        let (record, _) = self.0.find_entry(hash(id), |record| record.id == id).ok()?.remove();
        shrink(&mut self.0, |record| hash(record.id));
        Some(record)
    }

    pub(in crate::flight) fn iter(&self) -> impl Iterator<Item = &Record<T, E>> {
        self.0.iter()
    }

    #[cfg(test)]
    pub(in crate::flight) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
