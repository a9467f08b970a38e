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
    /// A name for people: it shows in `Debug`, and in the chain of a [`Deadlock`](crate::stream::StreamError::Deadlock).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into().into_boxed_str());
        self
    }

    /// The [`timeout`](crate::stream::StreamRequest::timeout) of a caller whose request says nothing; without this, none.
    ///
    /// It is one deadline for the whole stream, by the clock and counted from the call. Nobody past it pulls, so it
    /// ends a lone reader too. `Duration::MAX` is no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// How many chunks of a stream are kept; 65,536 without this. Zero counts as one.
    ///
    /// A chunk more, and the oldest is dropped: from then on nobody can start at the first one, so later callers open
    /// a stream of their own. A reader that has not had what was dropped gets
    /// [`Lagged`](crate::stream::StreamError::Lagged).
    pub fn max_buffered(mut self, chunks: usize) -> Self {
        self.settings.max_chunks = chunks;
        self
    }

    /// How many bytes of a stream are kept, as `weigher` weighs its chunks; without this, any number. One byte more
    /// has the effect of a chunk more than [`max_buffered`](StreamBuilder::max_buffered). The newest chunk is kept
    /// whatever it weighs.
    ///
    /// The weigher is called once for each chunk, by the reader that pulled it, under no lock. If it panics, the chunk
    /// weighs nothing.
    pub fn max_buffered_bytes(mut self, bytes: u64, weigher: impl Fn(&C) -> u64 + Send + Sync + 'static) -> Self {
        self.settings.max_bytes = bytes;
        self.settings.weigher = CatchDrop::new(Box::new(weigher));
        self
    }

    /// How many readers a stream may have, the one included who opened it, and who is never one too many; without this,
    /// any number. One more gets [`Overloaded`](crate::CallError::Overloaded).
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
