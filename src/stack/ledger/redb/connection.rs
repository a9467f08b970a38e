//! The way to the file, which mends itself: a database that failed is replaced by another one.

use std::collections::HashSet;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::super::store::StoreError;
use super::error::Failure;
use super::file::{LockedFile, Wrap, resolve};
use super::opened::{Opened, ReadOnlyRecords, Records, bytes};
use super::unconfirmed::Unconfirmed;
use crate::sync::{self, Instant, Mutex, MutexGuard};

pub(super) struct Connection {
    pub(super) path: PathBuf,
    wrap: Box<Wrap>,
    current: Mutex<Arc<Opened>>,
    /// Locked by whoever writes or opens the database again.
    pub(super) writer: Mutex<Writer>,
    pub(super) unconfirmed: Unconfirmed,
}

/// What belongs to whoever writes.
pub(super) struct Writer {
    file: LockedFile,
    /// The unconfirmed ones whose call has ended, to be removed by the next change.
    pub(super) failed: HashSet<Box<[u8]>>,
    /// Why the database could not be opened again, and until when that is not tried once more.
    rests: Option<(Instant, StoreError)>,
}

/// What takes longer to open is not opened again and again while the disk is full.
const QUICK: Duration = Duration::from_secs(2);

/// How often a read is repeated because somebody else's failure ended the database below it.
const READS: usize = 5;

impl Connection {
    pub(super) fn open(path: &Path, wrap: Box<Wrap>) -> Result<Self, StoreError> {
        let resolved = resolve(path).map_err(|error| Failure::from(error).at(path))?;
        let (file, opened) = LockedFile::open_or_create(&resolved, &wrap).map_err(|failure| failure.at(path))?;
        Ok(Self {
            path: resolved,
            wrap,
            current: Mutex::new(Arc::new(opened)),
            writer: Mutex::new(Writer { file, failed: HashSet::new(), rests: None }),
            unconfirmed: Unconfirmed::new(),
        })
    }

    fn current(&self) -> Arc<Opened> {
        Arc::clone(&self.current.lock())
    }

    /// Puts another database in the place of the one that was abandoned.
    fn replace(&self, opened: Opened) {
        let old = mem::replace(&mut *self.current.lock(), Arc::new(opened));
        old.cut();
    }

    /// Visits the records in the current database.
    ///
    /// ```text
    /// reader                       writer, whose disk was full
    /// reads in the old database
    ///                              cuts it, opens a new one, writes where the old one read
    /// finds it cut: reads again
    /// ```
    pub(super) fn read<R>(&self, visit: impl Fn(&ReadOnlyRecords) -> Result<R, Failure>) -> Result<R, StoreError> {
        for _ in 0..READS {
            let opened = self.readable()?;
            let result = opened.read(&visit);
            if opened.is_cut() {
                continue;
            }
            match result {
                Err(failure) if failure.is_echo() => opened.cut(),
                Err(Failure::Panicked(message)) => {
                    if !opened.is_sound() {
                        opened.cut();
                    }
                    return Err(Failure::Panicked(message).at(&self.path));
                }
                Err(failure) if failure.is_io() => {
                    opened.cut();
                    return Err(failure.at(&self.path));
                }
                result => return result.map_err(|failure| failure.at(&self.path)),
            }
        }
        Err(Failure::from(redb::Error::PreviousIo).at(&self.path))
    }

    fn readable(&self) -> Result<Arc<Opened>, StoreError> {
        let opened = self.current();
        if !opened.is_cut() {
            return Ok(opened);
        }
        let mut writer = self.writer.lock();
        if self.current().is_cut() {
            if let Err(error) = self.reopen(&mut writer) {
                // It may be readable all the same.
                let opened = self.current();
                return if opened.is_cut() { Err(error) } else { Ok(opened) };
            }
        }
        Ok(self.current())
    }

    /// Visits the records, and commits if the visit returns `true`.
    pub(super) fn write<R>(
        &self,
        visit: impl Fn(&mut Records<'_>) -> Result<(R, bool), Failure>,
    ) -> Result<R, (StoreError, MutexGuard<'_, Writer>)> {
        let mut writer = self.writer.lock();
        // The second time if the first found only that a reader had failed.
        for is_last in [false, true] {
            let opened = match self.writable(&mut writer) {
                Ok(opened) => opened,
                Err(error) => return Err((error, writer)),
            };
            let written = opened.write(|records| {
                let has_removed = self.remove_failed(records, &writer.failed)?;
                let (result, has_changed) = visit(records)?;
                Ok(((result, has_changed || has_removed), has_changed || has_removed))
            });
            match written {
                Ok((result, has_committed)) => {
                    if has_committed {
                        self.unconfirmed.forget(writer.failed.iter());
                        writer.failed.clear();
                    }
                    return Ok(result);
                }
                Err(failure) if failure.is_harmless() => return Err((failure.at(&self.path), writer)),
                Err(failure) => {
                    let is_other = failure.is_echo() || opened.is_cut();
                    opened.cut();
                    if is_last || !is_other {
                        return Err((failure.at(&self.path), writer));
                    }
                }
            }
        }
        Err((Failure::from(redb::Error::PreviousIo).at(&self.path), writer))
    }

    /// Removes records that were begun by a call that failed. Whether there were any.
    fn remove_failed(&self, records: &mut Records<'_>, failed: &HashSet<Box<[u8]>>) -> Result<bool, Failure> {
        let mut has_removed = false;
        for key in failed {
            if bytes(records, key)?.is_some_and(|written| self.unconfirmed.has(key, &written)) {
                records.remove(&**key)?;
                has_removed = true;
            }
        }
        Ok(has_removed)
    }

    /// Drops those that were not written after all, or there would be more with each call while the disk is full.
    fn settle_failed(&self, opened: &Opened, writer: &mut Writer) {
        if writer.failed.is_empty() {
            return;
        }
        let written = opened.read(|records| {
            let mut written = HashSet::new();
            for key in &writer.failed {
                if bytes(records, key)?.is_some_and(|written| self.unconfirmed.has(key, &written)) {
                    written.insert(key.clone());
                }
            }
            Ok(written)
        });
        let Ok(written) = written else { return };
        self.unconfirmed.forget(writer.failed.difference(&written));
        writer.failed = written;
    }

    /// A database that can be written, at the path of the store.
    fn writable(&self, writer: &mut Writer) -> Result<Arc<Opened>, StoreError> {
        let is_at_path = writer.file.is_at(&self.path).map_err(|error| Failure::from(error).at(&self.path))?;
        if !is_at_path {
            // Not made again: what was committed would be done again.
            let found = LockedFile::open(&self.path, &self.wrap).map_err(|failure| failure.at(&self.path))?;
            let (file, opened) = found.ok_or_else(|| Failure::Gone.at(&self.path))?;
            self.replace(opened);
            writer.file = file;
        } else if !self.current().is_writable() {
            self.reopen(writer)?;
        }
        Ok(self.current())
    }

    /// Opens the database again; if it cannot be written, then at least to be read.
    fn reopen(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if let Some((until, error)) = &writer.rests {
            if !sync::has_passed(*until) {
                return Err(error.clone());
            }
        }
        let began = sync::now();
        self.current().cut();
        let error = match Opened::writable(&writer.file.backend) {
            Ok(opened) => {
                self.settle_failed(&opened, writer);
                self.replace(opened);
                writer.rests = None;
                return Ok(());
            }
            Err(failure) => failure.at(&self.path),
        };
        if let Ok(opened) = Opened::read_only(&writer.file.backend) {
            self.replace(opened);
        }
        let ended = sync::now();
        let took = ended.saturating_duration_since(began);
        writer.rests = ended.checked_add(took).filter(|_| took > QUICK).map(|until| (until, error.clone()));
        Err(error)
    }
}
