//! The beginnings that were written, or not, by calls that did not succeed.

use std::collections::HashMap;

use super::record;
use crate::key::Key;
use crate::sync::Mutex;

/// What is written for records whose beginning is not confirmed.
///
/// A commit that fails may have reached the disk or not. The work did not run, and its caller knows that. So until they
/// are removed, these records do not count. Each is told by its bytes, in which there is a time: what another process
/// left is never among them.
pub(super) struct Unconfirmed(Mutex<HashMap<Box<[u8]>, Beginnings>>);

/// What may be written under one key: more than one only if its calls had different fingerprints.
type Beginnings = Vec<Vec<u8>>;

impl Unconfirmed {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// What is to be written to begin this record, which does not count until it is [confirmed](Self::confirm).
    pub(super) fn begin(&self, key: &[u8], fingerprint: &Key) -> Vec<u8> {
        let mut unconfirmed = self.0.lock();
        let all = unconfirmed.entry(key.into()).or_default();
        // The same as before, or there would be one more with each call while the disk is full.
        let before = all.iter().find(|one| one.starts_with(fingerprint.as_bytes())).cloned();
        before.unwrap_or_else(|| {
            let begun = record::begun(key, fingerprint);
            all.push(begun.clone());
            begun
        })
    }

    /// It may have been written, and its call has failed. Another call may have taken it out meanwhile.
    pub(super) fn keep(&self, key: &[u8], begun: Vec<u8>) {
        let mut unconfirmed = self.0.lock();
        let all = unconfirmed.entry(key.into()).or_default();
        if !all.contains(&begun) {
            all.push(begun);
        }
    }

    /// From here on it counts.
    pub(super) fn confirm(&self, key: &[u8], begun: &[u8]) {
        let mut unconfirmed = self.0.lock();
        if let Some(all) = unconfirmed.get_mut(key) {
            all.retain(|one| one != begun);
            if all.is_empty() {
                unconfirmed.remove(key);
            }
        }
    }

    /// Whether this, which is written under the key, does not count.
    pub(super) fn has(&self, key: &[u8], written: &[u8]) -> bool {
        self.0.lock().get(key).is_some_and(|all| all.iter().any(|one| one == written))
    }

    /// None of these is written any more.
    pub(super) fn forget<'a>(&self, keys: impl Iterator<Item = &'a Box<[u8]>>) {
        let mut unconfirmed = self.0.lock();
        keys.for_each(|key| drop(unconfirmed.remove(key)));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
