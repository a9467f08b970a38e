//! What is fixed when a stream coalescer is built.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::StreamCoalesce;
use super::settings::Settings;
use super::table::Table;
use crate::panic::CatchDrop;

/// Builds a [`StreamCoalesce`]. No combination of settings is invalid.
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stream::StreamCoalesce;
///
/// let streams: StreamCoalesce<String, String> = StreamCoalesce::builder()
///     .name("answers")
///     .timeout(Duration::from_secs(30))
///     .max_buffered(10_000)
///     .max_buffered_bytes(1 << 20, |chunk: &String| chunk.len() as u64)
///     .build();
/// assert_eq!(streams.name(), Some("answers"));
/// ```
#[must_use]
pub struct StreamBuilder<K, C, E, S = RandomState> {
    hasher: S,
    settings: Settings<C>,
    kinds: std::marker::PhantomData<fn() -> (K, E)>,
}

impl<K, C, E> StreamBuilder<K, C, E> {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), settings: Settings::new(), kinds: std::marker::PhantomData }
    }
}

impl<K, C, E, S> StreamBuilder<K, C, E, S> {
    /// A name for people. It appears in `Debug`, in the chain of a [`Deadlock`](super::StreamError::Deadlock), and in
    /// the names of threads started by [`next_timeout`](super::Stream::next_timeout).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into().into_boxed_str());
        self
    }

    /// The default [`timeout`](crate::Call::timeout) of a caller. None by default.
    ///
    /// It is one deadline for the whole stream, counted from the call. A reader past its deadline does not pull, so the
    /// timeout ends a lone reader too. `Duration::MAX` is no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// Maximum number of chunks that a stream keeps. 65,536 by default; zero counts as one.
    ///
    /// When one more arrives, the oldest is dropped. From then on nobody can start at the first chunk, so later callers
    /// open a stream of their own. A reader that has not read a dropped chunk gets
    /// [`Lagged`](super::StreamError::Lagged).
    pub fn max_buffered(mut self, chunks: usize) -> Self {
        self.settings.max_chunks = chunks;
        self
    }

    /// Maximum number of bytes that a stream keeps, by `weigher`, which returns the bytes of a chunk. No limit by
    /// default.
    ///
    /// Beyond it, the oldest chunks are dropped, as with [`max_buffered`](StreamBuilder::max_buffered). The newest
    /// chunk is kept however large it is. The weigher is called once for each chunk, by the thread that pulled it,
    /// under no lock. If it panics, the chunk counts as zero bytes.
    pub fn max_buffered_bytes(mut self, bytes: u64, weigher: impl Fn(&C) -> u64 + Send + Sync + 'static) -> Self {
        self.settings.max_bytes = bytes;
        self.settings.weigher = CatchDrop::new(Box::new(weigher));
        self
    }

    /// Maximum number of readers per stream. The opener counts but is always admitted. No limit by default. A caller
    /// beyond it gets [`Overloaded`](crate::CallError::Overloaded).
    pub fn max_readers(mut self, readers: u64) -> Self {
        self.settings.max_readers = readers;
        self
    }

    /// The hasher for the keys. The default is randomly seeded, so that a client cannot choose keys that collide.
    pub fn hasher<H>(self, hasher: H) -> StreamBuilder<K, C, E, H> {
        StreamBuilder { hasher, settings: self.settings, kinds: self.kinds }
    }

    /// The coalescer.
    #[must_use]
    pub fn build(self) -> StreamCoalesce<K, C, E, S> {
        StreamCoalesce { table: Arc::new(Table::new(self.settings)), hasher: self.hasher }
    }
}

impl<K, C, E, S> fmt::Debug for StreamBuilder<K, C, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBuilder").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
