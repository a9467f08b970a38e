//! [`RedbStore`]: records in a file.

mod backend;
mod connection;
mod error;
mod file;
mod opened;
mod record;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;
mod unconfirmed;

use std::cell::Cell;
use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::TableDefinition;

use self::connection::Connection;
use self::error::Failure;
use self::file::Wrap;
use self::opened::bytes;
use self::record::Written;
use super::store::{Record, Store, StoreError, StoredRecord};
use crate::key::Key;

const RECORDS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("ledger");

/// A [`Store`] in a file, by `redb`. Every change is on disk when the method that makes it returns. Only one process at
/// a time can have the file open.
///
/// # When the disk fails
///
/// Each method returns a [`StoreError`] that names the file and what is wrong with it, and loses nothing that was
/// committed. The [cause](StoreError::inner) is a [`std::io::Error`], whose kind says which it is:
///
/// | what | kind | what goes on |
/// |---|---|---|
/// | the disk is full, or the file may not grow | `StorageFull`, `QuotaExceeded`, `FileTooLarge` | what is committed is read; writing goes on as soon as there is room |
/// | it became read-only | `ReadOnlyFilesystem`, `PermissionDenied` | the same |
/// | the disk failed | that of the system | the same, as far as it can be read |
/// | the file was removed or replaced while it was open | `NotFound` | what is committed is read. Writing goes on when the file is back at its path, or another store is there |
/// | another process, or another store in this one, has it open | `ResourceBusy` | |
/// | it is damaged, or not the file of a ledger | `InvalidData` | nothing: the file is refused as a whole when it is opened. A record that is found damaged later is refused alone |
///
/// Nothing needs a restart to recover: with the next call after an error, the database is opened again and repaired,
/// which reads all of the file. No call waits for a disk to recover. While a disk is slow, writing waits for it and
/// cannot be interrupted, and what is committed is read all the same.
///
/// Each record has a checksum, so that a value is never another one than was committed. If a process dies and the file
/// is damaged too, the last change before may be lost: `redb` takes it for one that the crash cut off.
///
/// A panic of `redb` becomes an error. A program that is built with `panic = "abort"` ends instead.
///
/// # How the file is made
///
/// Beside its path, with `.creating` added to its name, and renamed when it is whole. A process that is killed
/// meanwhile leaves at most that other file, which is harmless, and gone after the next successful
/// [`open`](RedbStore::open). An empty file at the path, or one with nothing but zeros in it, counts as absent. Any other
/// file that is no store is left as it is.
pub struct RedbStore {
    connection: Connection,
}

impl RedbStore {
    /// The store in the file at `path`, which is created if it does not exist, and repaired if a process died while it
    /// had it open.
    ///
    /// # Blocking
    ///
    /// While the file is read once or more: everything in it is checked.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file cannot be opened, read and written, is damaged or not a store, or is open elsewhere.
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
        Self::open_with(path.as_ref(), Box::new(|file| Arc::new(file)))
    }

    fn open_with(path: &Path, wrap: Box<Wrap>) -> Result<Self, StoreError> {
        Ok(Self { connection: Connection::open(path, wrap)? })
    }
}

impl Store for RedbStore {
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
        // So that what is there is found while another thread waits for a slow disk, or nothing can be written.
        if let Ok(Some(present)) = self.get(key) {
            return Ok(Some(present));
        }
        let Connection { unconfirmed, .. } = &self.connection;
        let begun = unconfirmed.begin(key, fingerprint);
        let has_written = Cell::new(false);
        let written = self.connection.write(|records| {
            let present = bytes(records, key)?;
            if let Some(present) = present.filter(|present| *present != begun) {
                return Ok((Some(Written::read(key, &present)?.record()), false));
            }
            has_written.set(true);
            records.insert(key, &*begun)?;
            Ok((None, true))
        });
        match written {
            Ok(present) => {
                unconfirmed.confirm(key, &begun);
                Ok(present)
            }
            Err((error, mut writer)) => {
                if has_written.get() {
                    unconfirmed.keep(key, begun);
                    writer.failed.insert(key.into());
                } else if !writer.failed.contains(key) {
                    unconfirmed.confirm(key, &begun);
                }
                Err(error)
            }
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        self.connection.read(|records| {
            let present = bytes(records, key)?.filter(|present| !self.connection.unconfirmed.has(key, present));
            present.map(|bytes| Ok(Written::read(key, &bytes)?.record())).transpose()
        })
    }

    fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let written = self.connection.write(|records| {
            let present = bytes(records, key)?.filter(|present| !self.connection.unconfirmed.has(key, present));
            let present = present.ok_or_else(|| Failure::Record("no record was begun under this key".into()))?;
            let committed = Written::read(key, &present)?.committed(key, value);
            records.insert(key, &*committed)?;
            Ok(((), true))
        });
        written.map_err(|(error, _)| error)
    }

    fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.remove_all(&[key])? == 1)
    }

    fn remove_all(&self, keys: &[&[u8]]) -> Result<u64, StoreError> {
        let written = self.connection.write(|records| {
            let mut removed = 0;
            for key in keys {
                let was_there = records.remove(*key)?.map(|bytes| bytes.value().to_vec());
                removed += u64::from(was_there.is_some_and(|bytes| !self.connection.unconfirmed.has(key, &bytes)));
            }
            Ok((removed, removed > 0))
        });
        written.map_err(|(error, _)| error)
    }

    fn scan(&self, from: Bound<&[u8]>, limit: usize) -> Result<Vec<StoredRecord>, StoreError> {
        self.connection.read(|records| {
            let mut found = Vec::new();
            for entry in records.range::<&[u8]>((from, Bound::Unbounded))? {
                if found.len() == limit {
                    break;
                }
                let (key, bytes) = entry?;
                let (key, bytes) = (key.value(), bytes.value());
                if !self.connection.unconfirmed.has(key, bytes) {
                    found.push(Written::read(key, bytes)?.stored(key));
                }
            }
            Ok(found)
        })
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.connection.path).finish_non_exhaustive()
    }
}
