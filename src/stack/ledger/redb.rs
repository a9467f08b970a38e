//! [`RedbStore`]: records in a file.

use std::fmt;
use std::path::Path;

use redb::{Builder, Database, ReadableTable, TableDefinition};

use super::store::{Record, Store, StoreError};
use crate::key::Key;

/// The 32 bytes of the fingerprint; then, once the record is committed, a byte 1 and the value.
const RECORDS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("ledger");

const COMMITTED: u8 = 1;

/// A [`Store`] in a file, by `redb`. Every change is on disk when the method that makes it returns. Only one process at
/// a time can have the file open.
pub struct RedbStore {
    database: Database,
}

impl RedbStore {
    /// The store in the file at `path`, which is created if it does not exist, and repaired if a process died while it
    /// had it open.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file cannot be opened or is not a store, or another process has it open.
    ///
    /// # Examples
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("sync-coalesce-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("ledger.redb");
    /// use std::convert::Infallible;
    /// use sync_coalesce::Key;
    /// use sync_coalesce::stack::ledger::{Ledger, RedbStore};
    ///
    /// let request = Key::of("request")?;
    /// for run in 0..2 {
    ///     // A new ledger on the same file, as after a restart.
    ///     let ledger = Ledger::new(RedbStore::open(&path)?);
    ///     let recorded = ledger.run_once("order 17", &request, || Ok::<_, Infallible>(run))?;
    ///     assert_eq!((recorded.value, recorded.is_replay), (0, run == 1));
    ///     recorded.committed?;
    /// }
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        // The newer of redb's two formats, which its later versions can read.
        let database = Builder::new().create_with_file_format_v3(true).create(path).map_err(failed)?;
        let store = Self { database };
        // Creates the table, which a read would not.
        store.write(|_| Ok(((), true)))?;
        Ok(store)
    }

    /// Visits the table, and commits if the visit returns `true`.
    fn write<R>(
        &self,
        visit: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<(R, bool), StoreError>,
    ) -> Result<R, StoreError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        let (result, has_changed) = {
            let mut table = transaction.open_table(RECORDS).map_err(failed)?;
            visit(&mut table)?
        };
        if has_changed {
            transaction.commit().map_err(failed)?;
        }
        Ok(result)
    }
}

impl Store for RedbStore {
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
        let present = self.write(|table| {
            let present = table.get(key).map_err(failed)?.map(|bytes| bytes.value().to_vec());
            if present.is_none() {
                table.insert(key, &fingerprint.as_bytes()[..]).map_err(failed)?;
            }
            let is_new = present.is_none();
            Ok((present, is_new))
        })?;
        present.as_deref().map(decode).transpose()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = transaction.open_table(RECORDS).map_err(failed)?;
        let bytes = table.get(key).map_err(failed)?;
        bytes.map(|bytes| decode(bytes.value())).transpose()
    }

    fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let was_begun = self.write(|table| {
            let fingerprint =
                table.get(key).map_err(failed)?.and_then(|bytes| bytes.value().first_chunk::<32>().copied());
            if let Some(fingerprint) = &fingerprint {
                let bytes = [&fingerprint[..], &[COMMITTED], value].concat();
                table.insert(key, &*bytes).map_err(failed)?;
            }
            let was_begun = fingerprint.is_some();
            Ok((was_begun, was_begun))
        })?;
        if was_begun { Ok(()) } else { Err(StoreError::new("no record was begun under this key")) }
    }

    fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.write(|table| {
            let was_there = table.remove(key).map_err(failed)?.is_some();
            Ok((was_there, was_there))
        })
    }
}

fn decode(bytes: &[u8]) -> Result<Record, StoreError> {
    let record = bytes.split_first_chunk::<32>().and_then(|(fingerprint, rest)| {
        let value = match rest {
            [] => None,
            [COMMITTED, value @ ..] => Some(value.to_vec()),
            _ => return None,
        };
        Some(Record { fingerprint: Key::from_bytes(*fingerprint), value })
    });
    record.ok_or_else(|| StoreError::new("damaged record"))
}

fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::new(error.into())
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").finish_non_exhaustive()
    }
}
