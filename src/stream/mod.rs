//! [`StreamCoalesce`]: one source open per key, its chunks read by every thread that asked. `README.md` in the folder
//! of that name tells the protocol step by step.

mod builder;
mod bytes;
mod error;
mod faults;
mod log;
mod map;
#[cfg(sync_coalesce_shuttle)]
mod models;
mod pull;
mod reader;
mod request;
mod settings;
mod state;
mod stats;
mod table;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;

use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use hashbrown::Equivalent;

pub use self::builder::StreamBuilder;
pub use self::error::StreamError;
pub use self::reader::{Next, Stream};
pub use self::request::StreamRequest;
pub use self::stats::StreamStats;
use self::table::{Entered, Table};
use crate::error::CallError;
use crate::panic::catch_panic;
use crate::sync;
use crate::wait::limits::WaitUntil;

/// One source open per key, for threads: everyone who asks while it is open reads all its chunks, from the first one.
///
/// It is to streams what [`SyncCoalesce`](crate::SyncCoalesce) is to calls: for the answer of a language model that
/// comes word by word, a long download, the output of a build. `K` is the key, `C` a chunk, `E` the error of the
/// source, `S` the hasher.
///
/// No thread is made. Whoever needs the next chunk first pulls it from the source, in its own thread, and appends it to
/// a log; the others read the log at their own pace. Who opened the stream may leave, and another one goes on pulling.
/// When the last reader leaves, the source is dropped.
///
/// Two openings given for one key are taken to be the same question: **the first one wins**, and the others are dropped
/// unused.
///
/// # Slow readers
///
/// A slow reader delays nobody and loses nothing, as long as the log may grow:
/// [`max_buffered`](StreamBuilder::max_buffered) and [`max_buffered_bytes`](StreamBuilder::max_buffered_bytes). Past
/// that the oldest chunks are dropped, who needed one of them gets [`StreamError::Lagged`], and later callers open a
/// stream of their own. Nobody is cut off without an error.
///
/// # Deadlocks
///
/// A wait for the reader that pulls, or for the caller that opens, is refused where it would close a cycle of waits,
/// as [those of calls](crate#deadlocks) are, and together with them.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use sync_coalesce::stream::StreamCoalesce;
///
/// let streams: StreamCoalesce<String, &str> = StreamCoalesce::new();
/// let open = || Ok(["Nine ", "to ", "five."].map(Ok::<_, Infallible>));
///
/// let mut first = streams.stream("hours", open).unwrap();
/// assert_eq!(*first.next().unwrap().unwrap(), "Nine ");
///
/// // It joins later, and starts at the first chunk all the same.
/// let second = streams.stream("hours", open).unwrap();
/// let text: String = second.map(|chunk| *chunk.unwrap()).collect();
/// assert_eq!(text, "Nine to five.");
///
/// let rest: String = first.map(|chunk| *chunk.unwrap()).collect();
/// assert_eq!(rest, "to five.");
/// assert_eq!(streams.stats().opened, 1);
/// ```
pub struct StreamCoalesce<K, C, E = Infallible, S = RandomState> {
    /// Shared with the readers, who may outlive this.
    table: Arc<Table<K, C, E>>,
    hasher: S,
}

impl<K, C, E> StreamCoalesce<K, C, E> {
    /// A coalescer with the defaults of [`StreamBuilder`].
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A [`StreamBuilder`], for a coalescer that differs from the defaults.
    pub fn builder() -> StreamBuilder<K, C, E> {
        StreamBuilder::new()
    }
}

impl<K, C, E, S> StreamCoalesce<K, C, E, S> {
    /// What was counted up to now, and what is going on.
    ///
    /// # Blocking
    ///
    /// Takes the lock of each stream, one after the other, each for an instant.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.table.stats()
    }

    /// Sets the counters to zero, and leaves the live figures as they are.
    pub fn reset_stats(&self) {
        self.table.reset_stats();
    }

    /// How many streams new callers could join right now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.table.in_flight()
    }

    /// The name given to the [`StreamBuilder`].
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.table.settings.name.as_deref()
    }

    /// A stream with options of its own, such as a timeout; see [`StreamRequest`].
    pub fn request<'a, Q: ?Sized>(&'a self, key: &'a Q) -> StreamRequest<'a, Q, K, C, E, S> {
        StreamRequest::new(self, key)
    }

    /// Ends all streams with [`StreamError::Closed`] and refuses calls from now on, for good.
    ///
    /// Readers that wait are woken; each still gets the chunks that are in the log. A pull under way is not
    /// interrupted: its reader gets `Closed` when it returns, and the source is dropped then.
    pub fn close(&self) {
        self.table.close();
    }
}

impl<K, C, E, S: BuildHasher> StreamCoalesce<K, C, E, S> {
    /// A reader of the stream for `key`, from its first chunk: of the one that is open, or of what `open` returns.
    ///
    /// # Blocking
    ///
    /// While `open` runs, in this thread or in that of another caller, for which it waits until the builder's
    /// [`timeout`](StreamBuilder::timeout). No lock is held while it runs.
    ///
    /// # Panics
    ///
    /// With the panic of its own `open`; the others who wait for that get [`CallError::LeaderPanicked`].
    ///
    /// # Errors
    ///
    /// [`CallError::Failed`] with what `open` returned, for all who waited for it alike. [`CallError::Overloaded`] if
    /// there are too many readers, [`CallError::Closed`] after [`close`](StreamCoalesce::close),
    /// [`CallError::Cancelled`] if [`cancel`](StreamCoalesce::cancel) came during the opening. As one who waits,
    /// [`CallError::TimedOut`], and [`CallError::Deadlock`] if `open` waits for this thread.
    pub fn stream<Q, I>(&self, key: &Q, open: impl FnOnce() -> Result<I, E>) -> Result<Stream<C, E>, CallError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        I: IntoIterator<Item = Result<C, E>>,
        I::IntoIter: Send + 'static,
        K: Send + 'static,
        C: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        self.begin(key, None, open)
    }

    fn begin<Q, I>(
        &self,
        key: &Q,
        limit: Option<WaitUntil>,
        open: impl FnOnce() -> Result<I, E>,
    ) -> Result<Stream<C, E>, CallError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        I: IntoIterator<Item = Result<C, E>>,
        I::IntoIter: Send + 'static,
        K: Send + 'static,
        C: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let limit = limit.or(self.table.settings.timeout.map(WaitUntil::Timeout));
        let deadline = limit.and_then(|limit| limit.deadline(sync::now()));
        let entered = self.table.enter(self.hasher.hash_one(key), key)?;
        let owner = Arc::clone(&self.table);
        match entered {
            Entered::Opens(log) => Stream::new(owner, log, deadline).open(open),
            Entered::Joins(log, waiting) => {
                // It is not called, and its Drop may panic. Dropped later, it would meet the stream on its way out, which
                // the compiler forgets then (Rust's issue 47949), and a reader that is forgotten is never taken off.
                catch_panic(|| drop(open));
                Stream::new(owner, log, deadline).wait_for_opening(waiting)
            }
        }
    }

    /// Lets later callers for `key` open a stream of their own, while this one goes on for the readers it has. True if
    /// there was one.
    pub fn forget<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.table.forget(self.hasher.hash_one(key), key)
    }

    /// Forgets the stream for `key` and ends it with [`StreamError::Cancelled`]. True if there was one.
    ///
    /// Readers that wait are woken; each still gets the chunks that are in the log. A source that nobody pulls from is
    /// dropped at once. A pull under way is not interrupted: its reader gets `Cancelled` when it returns, and the
    /// source is dropped then. A stream that was forgotten before is out of reach.
    pub fn cancel<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.table.cancel(self.hasher.hash_one(key), key)
    }
}

impl<K, C, E> Default for StreamCoalesce<K, C, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, C, E, S> fmt::Debug for StreamCoalesce<K, C, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamCoalesce")
            .field("name", &self.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// No panic leaves a stream half done, whoever catches it.
impl<K, C, E, S> UnwindSafe for StreamCoalesce<K, C, E, S> {}
impl<K, C, E, S> RefUnwindSafe for StreamCoalesce<K, C, E, S> {}
