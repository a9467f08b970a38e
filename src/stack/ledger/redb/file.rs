//! The file of a store: how it is found, locked, and made.
//!
//! A file is made under another name in the same folder, where only the holder of its lock may make it. It gets its own
//! name when it is whole and on disk, with the lock still held. So whoever is killed meanwhile leaves the path as it
//! was, and what is left under the other name is made again by the next maker, or removed when the path is there.
//!
//! ```text
//! one process                              another
//! opens L.creating, locks it
//!                                          opens L.creating; locked: refused
//! L is absent; makes the store, syncs
//!                                          opens L.creating
//! renames it to L, syncs the folder
//!                                          locked: refused; if not, because the first has ended by now:
//!                                          this is no longer L.creating, looks again, finds L
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::error::Failure;
use super::opened::Opened;

/// What the tests put between the database and the file.
pub(super) type Wrap = dyn Fn(FileBackend) -> Arc<dyn StorageBackend> + Send + Sync;

/// An open file that this process alone has open as a store.
pub(super) struct LockedFile {
    pub(super) backend: Arc<dyn StorageBackend>,
    identity: Identity,
}

/// Which file it is, whatever its path is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(metadata.dev(), metadata.ino())
    }

    /// Not to be had: a file that is open cannot be replaced there.
    #[cfg(not(unix))]
    fn of(_: &fs::Metadata) -> Self {
        Self(0, 0)
    }
}

/// How often a look is repeated because another process changed what was seen.
const LOOKS: usize = 100;

impl LockedFile {
    /// Locks a file that was opened at `path`. `None` if it is not there any more.
    fn lock(file: File, path: &Path, wrap: &Wrap) -> Result<Option<Self>, Failure> {
        let identity = Identity::of(&file.metadata()?);
        let backend = wrap(FileBackend::new(file)?);
        Ok(Some(Self { backend, identity }).filter(|locked| locked.is_at(path).unwrap_or(false)))
    }

    /// Whether `path` still leads to it.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Identity::of(&metadata) == self.identity),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The file at `path`, with its database; made if there is none.
    pub(super) fn open_or_create(path: &Path, wrap: &Wrap) -> Result<(Self, Opened), Failure> {
        for _ in 0..LOOKS {
            if let Some(found) = Self::open(path, wrap)? {
                remove_leftover(&other_name(path));
                // Its maker may have been killed between naming and syncing.
                sync_folder(path)?;
                return Ok(found);
            }
            if let Some(made) = Self::create(path, wrap)? {
                return Ok(made);
            }
        }
        Err(Failure::from(redb::Error::DatabaseAlreadyOpen))
    }

    /// The file at `path`, with its database; `None` if there is none, or nothing in it.
    pub(super) fn open(path: &Path, wrap: &Wrap) -> Result<Option<(Self, Opened)>, Failure> {
        if is_absent(path)? {
            return Ok(None);
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let Some(locked) = Self::lock(file, path, wrap)? else { return Ok(None) };
        if !has_magic(&*locked.backend)? {
            return Err(Failure::NoLedger(NOT_WHOLE));
        }
        let opened = Opened::writable(&locked.backend)?;
        Ok(Some((locked, opened)))
    }

    /// Makes the file at `path`; `None` if another process has made it meanwhile.
    fn create(path: &Path, wrap: &Wrap) -> Result<Option<(Self, Opened)>, Failure> {
        let temporary = other_name(path);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&temporary)?;
        let to_sync = file.try_clone()?;
        let Some(locked) = Self::lock(file, &temporary, wrap)? else { return Ok(None) };
        // From here on, nobody else makes the file or removes what is under the other name.
        let made = locked.make(path, &temporary, &to_sync, wrap);
        if !matches!(made, Ok(Some(_))) {
            // Not named yet, or else it is not there, or named and there to be opened.
            let _ = fs::remove_file(&temporary);
        }
        Ok(made?.map(|opened| (locked, opened)))
    }

    fn make(&self, path: &Path, temporary: &Path, to_sync: &File, wrap: &Wrap) -> Result<Option<Opened>, Failure> {
        // An empty file at the path, which is to be replaced, is locked meanwhile: its owner may be making a store in it.
        let empty = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Some((file.metadata()?.permissions(), Self::lock(file, path, wrap)?)),
            Err(error) if is_absence(&error) => None,
            Err(error) => return Err(error.into()),
        };
        if !is_absent(path)? {
            return Ok(None);
        }
        if let Some((permissions, _)) = &empty {
            fs::set_permissions(temporary, permissions.clone())?;
        }
        self.backend.set_len(0)?;
        let opened = Opened::writable(&self.backend)?;
        to_sync.sync_all()?;
        fs::rename(temporary, path)?;
        sync_folder(path)?;
        Ok(Some(opened))
    }
}

const NOT_WHOLE: &str = "it is not the file of a ledger, or one that was not made to its end: if nothing is recorded in \
                         it, remove it to begin a new one, or else restore it";

fn is_absence(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// Whether there is no file at the path, or one in which nothing can be recorded: it is empty, or full of zeros, as
/// after a creation that was cut off by a former version or a crash of the system.
fn is_absent(path: &Path) -> Result<bool, Failure> {
    // redb makes a file of 1.5 MiB.
    const LONGEST: u64 = 16 << 20;
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absence(&error) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    if !metadata.is_file() {
        return Err(Failure::NoLedger("it is a folder, or something else that is not a file"));
    }
    if metadata.len() > LONGEST {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    let mut buffer = [0; 1 << 14];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// Whether it begins as a database does. `redb` writes that last.
fn has_magic(file: &dyn StorageBackend) -> io::Result<bool> {
    const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
    Ok(file.len()? >= MAGIC.len() as u64 && file.read(0, MAGIC.len())? == MAGIC)
}

/// Removes what a maker left that was killed, unless another is at work there.
fn remove_leftover(temporary: &Path) {
    let Ok(file) = OpenOptions::new().read(true).write(true).open(temporary) else { return };
    if let Ok(Some(_locked)) = LockedFile::lock(file, temporary, &|file| Arc::new(file)) {
        // Without it, the next maker makes it again.
        let _ = fs::remove_file(temporary);
    }
}

/// Where the file at `path` is made.
fn other_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".creating");
    path.with_file_name(name)
}

/// Makes a new name in the folder survive a power cut, where folders can be synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    use ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};

    let Some(folder) = path.parent() else { return Ok(()) };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.or_else(|error| match error.kind() {
        InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported => Ok(()),
        _ => Err(error),
    })
}

/// The path that `path` leads to, from the root and through symbolic links, so that the working directory may change
/// and a link is not replaced.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut resolved = std::path::absolute(path)?;
    // As many as Linux follows.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&resolved) else { break };
        resolved = resolved.parent().map_or(target.clone(), |folder| folder.join(&target));
    }
    Ok(resolved)
}
