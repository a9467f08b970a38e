//! What `redb` reads and writes through: the file, until the database is abandoned, or memory above the file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use redb::StorageBackend;

use crate::sync::{AtomicU64, Mutex, Ordering};

/// Where one opened database reaches the file, until that is cut.
///
/// `redb` keeps an I/O error until its database is opened again, and after a panic its state in memory is not to be
/// trusted. So such a database is cut from the file, and another is opened above it. Nothing that is left of the old
/// one, in a reader or in its `Drop`, can read or write what the new one does.
pub(super) struct Link {
    /// 1 once it is.
    is_cut: AtomicU64,
}

impl Link {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { is_cut: AtomicU64::new(0) })
    }

    pub(super) fn cut(&self) {
        self.is_cut.store(1, Ordering::SeqCst);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst) != 0
    }
}

/// The backend of one opened database.
pub(super) struct Backend {
    file: Arc<dyn StorageBackend>,
    link: Arc<Link>,
    /// What is written goes here and not into the file, if the database is opened only to be read.
    overlay: Option<Mutex<Overlay>>,
}

impl Backend {
    pub(super) fn writable(file: &Arc<dyn StorageBackend>, link: &Arc<Link>) -> Self {
        Self { file: Arc::clone(file), link: Arc::clone(link), overlay: None }
    }

    /// Leaves the file as it is. To open a database means to write, and to repair it needs room.
    pub(super) fn read_only(file: &Arc<dyn StorageBackend>, link: &Arc<Link>) -> io::Result<Self> {
        let overlay = Overlay { blocks: BTreeMap::new(), len: file.len()?, in_file: file.len()? };
        Ok(Self { file: Arc::clone(file), link: Arc::clone(link), overlay: Some(Mutex::new(overlay)) })
    }

    fn check(&self) -> io::Result<()> {
        if self.link.is_cut() { Err(io::Error::other("this database was abandoned")) } else { Ok(()) }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.check()?;
        self.overlay.as_ref().map_or_else(|| self.file.len(), |overlay| Ok(overlay.lock().len))
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.check()?;
        // Far more than a page of the largest value that redb takes: a damaged length.
        if offset.checked_add(len as u64).is_none_or(|end| self.len().is_ok_and(|whole| end > whole)) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match &self.overlay {
            None => self.file.read(offset, len),
            Some(overlay) => overlay.lock().read(&*self.file, offset, len),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        match &self.overlay {
            None => self.file.set_len(len),
            Some(overlay) => {
                overlay.lock().set_len(len);
                Ok(())
            }
        }
    }

    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        self.check()?;
        if self.overlay.is_some() { Ok(()) } else { self.file.sync_data(eventual) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        match &self.overlay {
            None => self.file.write(offset, data),
            Some(overlay) => overlay.lock().write(&*self.file, offset, data),
        }
    }
}

/// `redb` demands it.
impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is_cut, is_read_only) = (self.link.is_cut(), self.overlay.is_some());
        f.debug_struct("Backend").field("is_cut", &is_cut).field("is_read_only", &is_read_only).finish_non_exhaustive()
    }
}

/// The blocks of a file that were written, and its length.
struct Overlay {
    blocks: BTreeMap<u64, Vec<u8>>,
    len: u64,
    /// How much of the file still counts: what is cut off and then extended is zero.
    in_file: u64,
}

const BLOCK: u64 = 4096;

impl Overlay {
    /// The block with this number, as it was written or as it is in the file.
    fn block(&self, file: &dyn StorageBackend, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = self.blocks.get(&number) {
            return Ok(block.clone());
        }
        let start = number * BLOCK;
        let in_file = usize::try_from(self.in_file.saturating_sub(start).min(BLOCK)).unwrap_or_default();
        let mut block = if in_file == 0 { Vec::new() } else { file.read(start, in_file)? };
        block.resize(4096, 0);
        Ok(block)
    }

    fn read(&self, file: &dyn StorageBackend, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = offset + len as u64;
        let mut bytes = Vec::with_capacity(len);
        for number in offset / BLOCK..end.div_ceil(BLOCK) {
            bytes.extend(self.block(file, number)?);
        }
        let skipped = usize::try_from(offset % BLOCK).unwrap_or_default();
        Ok(bytes.split_off(skipped.min(bytes.len())).into_iter().take(len).collect())
    }

    fn write(&mut self, file: &dyn StorageBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        let first = offset / BLOCK;
        let mut bytes = Vec::new();
        for number in first..end.div_ceil(BLOCK) {
            bytes.extend(self.block(file, number)?);
        }
        let start = usize::try_from(offset % BLOCK).unwrap_or_default();
        bytes[start..start + data.len()].copy_from_slice(data);
        self.blocks.extend((first..).zip(bytes.chunks(4096).map(<[u8]>::to_vec)));
        self.len = self.len.max(end);
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        self.in_file = self.in_file.min(len);
        let whole = len / BLOCK;
        let _ = self.blocks.split_off(&len.div_ceil(BLOCK));
        if let Some(block) = self.blocks.get_mut(&whole) {
            let kept = usize::try_from(len % BLOCK).unwrap_or_default();
            block[kept..].fill(0);
        }
        self.len = len;
    }
}
