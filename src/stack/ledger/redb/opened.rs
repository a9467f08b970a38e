//! A database that is open above a file.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use redb::{Builder, Database, ReadOnlyTable, ReadableTable, ReadableTableMetadata, StorageBackend, Table, TableError};

use super::RECORDS;
use super::backend::{Backend, Link};
use super::error::Failure;
use crate::panic::{CatchDrop, catch_panic, message};
use crate::sync::catch_unwind;

pub(super) type Records<'a> = Table<'a, &'static [u8], &'static [u8]>;

pub(super) type ReadOnlyRecords = ReadOnlyTable<&'static [u8], &'static [u8]>;

pub(super) struct Opened {
    link: Arc<Link>,
    is_writable: bool,
    database: CatchDrop<Database>,
}

/// What `redb` returns; a failure if it panics.
pub(super) fn caught<R>(call: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let text = message(&*payload);
        catch_panic(|| drop(payload));
        Err(Failure::Panicked((&*text).into()))
    })
}

impl Opened {
    /// The database in the file; a new one if the file is empty. It is checked, and repaired if its process died.
    pub(super) fn writable(file: &Arc<dyn StorageBackend>) -> Result<Self, Failure> {
        let link = Link::new();
        let backend = Backend::writable(file, &link);
        Self::new(backend, link, true)
    }

    /// The database as it is on disk. What is written to it is gone when it is dropped.
    pub(super) fn read_only(file: &Arc<dyn StorageBackend>) -> Result<Self, Failure> {
        let link = Link::new();
        let backend = Backend::read_only(file, &link)?;
        Self::new(backend, link, false)
    }

    fn new(backend: Backend, link: Arc<Link>, is_writable: bool) -> Result<Self, Failure> {
        let is_repaired = Rc::new(Cell::new(false));
        let repairs = Rc::clone(&is_repaired);
        let database = caught(|| {
            let mut builder = Builder::new();
            builder.set_repair_callback(move |_| repairs.set(true));
            // The newer of redb's two formats, which its later versions can read.
            Ok(builder.create_with_file_format_v3(true).create_with_backend(backend)?)
        });
        let mut opened = Self { link, is_writable, database: CatchDrop::new(database?) };
        let prepared = opened.prepare(is_repaired.get());
        if prepared.is_err() {
            // So that its `Drop` writes nothing.
            opened.cut();
        }
        prepared.map(|()| opened)
    }

    /// A repair has checked everything, and a database that was closed is not looked at by `redb`: what is damaged in it
    /// would be read as if it were right.
    fn prepare(&mut self, is_repaired: bool) -> Result<(), Failure> {
        let Some(mut database) = self.database.take() else { return Err(Failure::Gone) };
        let prepared = caught(|| {
            if !is_repaired {
                database.check_integrity()?;
            }
            match database.begin_read()?.open_table(RECORDS) {
                Ok(_) => Ok(()),
                Err(TableError::TableDoesNotExist(_)) => {
                    let transaction = database.begin_write()?;
                    transaction.open_table(RECORDS)?;
                    Ok(transaction.commit()?)
                }
                Err(error) => Err(error.into()),
            }
        });
        self.database = CatchDrop::new(database);
        prepared
    }

    pub(super) fn cut(&self) {
        self.link.cut();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.link.is_cut()
    }

    pub(super) fn is_writable(&self) -> bool {
        self.is_writable && !self.is_cut()
    }

    /// What the visit finds in the records.
    pub(super) fn read<R>(&self, visit: impl FnOnce(&ReadOnlyRecords) -> Result<R, Failure>) -> Result<R, Failure> {
        let Some(database) = self.database.get() else { return Err(Failure::Gone) };
        caught(|| visit(&database.begin_read()?.open_table(RECORDS)?))
    }

    /// Whether it can still be read after a panic, which may have come from one damaged page.
    pub(super) fn is_sound(&self) -> bool {
        self.read(|records| Ok(records.len()?)).is_ok()
    }

    /// Visits the records, and commits if the visit returns `true`.
    pub(super) fn write<R>(
        &self,
        visit: impl FnOnce(&mut Records<'_>) -> Result<(R, bool), Failure>,
    ) -> Result<R, Failure> {
        let Some(database) = self.database.get() else { return Err(Failure::Gone) };
        caught(|| {
            let transaction = database.begin_write()?;
            let (result, has_changed) = visit(&mut transaction.open_table(RECORDS)?)?;
            if has_changed {
                transaction.commit()?;
            }
            Ok(result)
        })
    }
}

/// A copy of what is written under the key.
pub(super) fn bytes(
    records: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, Failure> {
    Ok(records.get(key)?.map(|bytes| bytes.value().to_vec()))
}
