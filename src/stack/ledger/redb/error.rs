//! What is wrong with the file of a [`RedbStore`](super::RedbStore), in words.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::super::store::StoreError;

/// Why the store could not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    Redb(Box<redb::Error>),
    /// `redb` panicked, with this message.
    Panicked(Box<str>),
    /// The path does not lead to the file any more.
    Gone,
    /// Something other than a file, or a file that is no database.
    NoLedger(&'static str),
    /// The fault of a record, or of the caller: the database is sound.
    Record(Box<str>),
}

macro_rules! from_redb {
    ($($kind:ty),*) => {
        $(impl From<$kind> for Failure {
            fn from(error: $kind) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(
    io::Error,
    redb::CommitError,
    redb::DatabaseError,
    redb::Error,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError
);

impl Failure {
    fn redb(&self) -> Option<&redb::Error> {
        if let Self::Redb(error) = self { Some(error) } else { None }
    }

    /// Whether it says only that something failed before, in the same database.
    pub(super) fn is_echo(&self) -> bool {
        matches!(self.redb(), Some(redb::Error::PreviousIo | redb::Error::LockPoisoned(_)))
    }

    /// Whether the disk failed.
    pub(super) fn is_io(&self) -> bool {
        matches!(self.redb(), Some(redb::Error::Io(_)))
    }

    /// Whether the database can go on. After any other failure of a write it cannot.
    pub(super) fn is_harmless(&self) -> bool {
        matches!(self, Self::Record(_)) || matches!(self.redb(), Some(redb::Error::ValueTooLarge(_)))
    }

    pub(super) fn at(self, path: &Path) -> StoreError {
        let kind = self.kind();
        StoreError::new(io::Error::new(kind, FileError { path: path.into(), failure: self }))
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Redb(error) => kind_of(error),
            Self::Panicked(_) | Self::NoLedger(_) => ErrorKind::InvalidData,
            Self::Gone => ErrorKind::NotFound,
            Self::Record(_) => ErrorKind::Other,
        }
    }
}

fn kind_of(error: &redb::Error) -> ErrorKind {
    match error {
        redb::Error::Io(error) => match error.kind() {
            // The database is longer, by what is written in it.
            ErrorKind::UnexpectedEof => ErrorKind::InvalidData,
            kind => kind,
        },
        redb::Error::DatabaseAlreadyOpen => ErrorKind::ResourceBusy,
        redb::Error::ValueTooLarge(_) => ErrorKind::InvalidInput,
        redb::Error::PreviousIo => ErrorKind::Other,
        _ => ErrorKind::InvalidData,
    }
}

/// A failure and the file it concerns.
#[derive(Debug)]
struct FileError {
    path: PathBuf,
    failure: Failure,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.failure {
            Failure::Redb(error) => write_redb(f, error),
            Failure::Panicked(message) => write!(f, "{DAMAGED}: redb panicked: {message}"),
            Failure::Gone => f.write_str(GONE),
            Failure::NoLedger(what) => f.write_str(what),
            Failure::Record(what) => f.write_str(what),
        }
    }
}

fn write_redb(f: &mut fmt::Formatter<'_>, error: &redb::Error) -> fmt::Result {
    let redb::Error::Io(io) = error else {
        return match error {
            redb::Error::DatabaseAlreadyOpen => {
                f.write_str("it is open elsewhere: in another process, or in another store of this one")
            }
            redb::Error::PreviousIo => f.write_str("the disk fails again and again"),
            redb::Error::ValueTooLarge(_) => write!(f, "{error}"),
            _ => write!(f, "{DAMAGED}: {error}"),
        };
    };
    f.write_str(match kind_of(error) {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "there is no room on the disk",
        ErrorKind::FileTooLarge => "the file cannot grow",
        ErrorKind::ReadOnlyFilesystem => "the disk is read-only",
        ErrorKind::PermissionDenied => "it may not be read and written",
        ErrorKind::NotFound | ErrorKind::NotADirectory => "its folder does not exist",
        ErrorKind::InvalidData => DAMAGED,
        _ => "the disk failed",
    })?;
    write!(f, ": {io}")
}

const GONE: &str = "the file was removed or replaced while it was open: put it back, or open the store again to begin a \
                    new one";

const DAMAGED: &str = "the file is damaged, so restore it, or move it away to begin a new one";

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.failure.redb()? {
            redb::Error::Io(error) => Some(error),
            error => Some(error),
        }
    }
}
