//! Streams that threads share: one source open per key, its chunks read by every thread that asked for it.
//!
//! [`StreamCoalesce`] is to streams what [`SyncCoalesce`](crate::SyncCoalesce) is to calls: for a language model's
//! answer that comes word by word, a long download, the output of a build. Give it a key and a closure that opens the
//! source, an iterator of `Result<chunk, error>`. You get a [`Stream`]: an iterator over all chunks from the first one,
//! however late you came.
//!
//! ```
//! use std::convert::Infallible;
//! use sync_coalesce::stream::StreamCoalesce;
//!
//! let streams: StreamCoalesce<String, &str> = StreamCoalesce::new();
//! let open = || Ok(["Nine ", "to ", "five."].map(Ok::<_, Infallible>));
//!
//! let mut first = streams.stream("hours", open).unwrap();
//! assert_eq!(*first.next().unwrap().unwrap(), "Nine ");
//!
//! // The second reader joins later, and still starts at the first chunk.
//! let second = streams.stream("hours", open).unwrap();
//! let text: String = second.map(|chunk| *chunk.unwrap()).collect();
//! assert_eq!(text, "Nine to five.");
//!
//! let rest: String = first.map(|chunk| *chunk.unwrap()).collect();
//! assert_eq!(rest, "to five.");
//! assert_eq!(streams.stats().opened, 1);
//! ```
//!
//! # Who pulls
//!
//! The reader that first needs the next chunk pulls it from the source, in its own thread, and appends it to a log. The
//! others read the log at their own pace. The reader that opened the stream may leave: another one goes on pulling.
//! When the last reader leaves, the source is dropped, and a connection that it reads from closes.
//!
//! No thread is started, with one exception: a reader that must not block in a pull asks by
//! [`next_timeout`](Stream::next_timeout), and if no other reader pulls, a thread does.
//!
//! # Silence
//!
//! [`Stream::next_timeout`] returns [`Next::NotYet`] when nothing came within its limit, and the reader keeps its
//! place. Use it to send pings to your own client while a source is silent. A [`timeout`](Call::timeout) is
//! another thing: one deadline for the whole stream, after which the reader is taken off.
//!
//! # Ownership
//!
//! A [`Stream`] borrows nothing. It can be moved into a thread that nobody joins, or returned as the body of a
//! response: where chunks are bytes, it is a [`Read`](std::io::Read) that is `Send + 'static`. Dropping the coalescer
//! ends no stream: its readers go on to the end.
//!
//! ```
//! use std::convert::Infallible;
//! use std::io::Read;
//! use sync_coalesce::stream::StreamCoalesce;
//!
//! fn body() -> Box<dyn Read + Send> {
//!     let downloads: StreamCoalesce<String, Vec<u8>> = StreamCoalesce::new();
//!     let pieces = [b"Nine ".to_vec(), b"to five.".to_vec()];
//!     Box::new(downloads.stream("hours", || Ok(pieces.map(Ok::<_, Infallible>))).unwrap())
//! }
//!
//! let mut text = String::new();
//! body().read_to_string(&mut text).unwrap();
//! assert_eq!(text, "Nine to five.");
//! ```
//!
//! # Slow readers
//!
//! A slow reader delays nobody and loses nothing, as long as the log may grow: up to
//! [`max_buffered`](StreamBuilder::max_buffered) and [`max_buffered_bytes`](StreamBuilder::max_buffered_bytes). Beyond
//! that the oldest chunks are dropped. A reader that still needed one of them gets [`StreamError::Lagged`], and later
//! callers open a stream of their own. No reader is cut off without an error.
//!
//! # Ends
//!
//! A stream that comes to its end ends without an item. If it is cut off, each reader gets the chunks before that, and
//! then a [`StreamError`] as its last item. A panic of the source goes on in the thread that pulled; the others get
//! [`StreamError::SourcePanicked`]. [`forget`](StreamCoalesce::forget), [`cancel`](StreamCoalesce::cancel) and
//! [`close`](StreamCoalesce::close) act from outside.
//!
//! # Deadlocks
//!
//! Waiting for the thread that pulls, or for the caller that opens, is refused if it would close a cycle of waits, in
//! one graph with [those of calls](crate#deadlocks).

// How it works is in README.md, in this folder.

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
pub use self::stats::StreamStats;
use self::table::{Entered, Table};
use crate::call::{Call, OneKey};
use crate::error::CallError;
use crate::outcome::Mark;
use crate::panic::CatchDrop;
use crate::sync;

/// One open source per key: every thread that asks while it is open reads all its chunks, from the first one.
///
/// `K` is the key, `C` a chunk, `E` the error of the source, `S` the hasher. The [module](self) tells how streams
/// behave.
///
/// If two callers give an opening closure for one key, **the first one wins**, and the other is dropped without a call:
/// both are taken to be the same question.
///
/// Dropping it ends no stream: readers go on to the end, and the last one drops the source.
pub struct StreamCoalesce<K, C, E = Infallible, S = RandomState> {
    /// Shared with the readers, which may outlive this.
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
    /// The counters so far, and the live figures.
    ///
    /// # Blocking
    ///
    /// Takes the locks of the streams one after the other, each for a moment.
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

    /// A call for a stream with options of its own, such as a timeout; see [`Call`].
    ///
    /// - [`timeout`](Call::timeout) and [`deadline`](Call::deadline) are for the whole stream, to its last chunk. Chunks
    ///   that are there, and the end, beat a deadline that has passed. A reader past its deadline does not pull, so a lone
    ///   reader ends too, at the first chunk that it would have to pull. Its own opening or pull is not interrupted: give
    ///   the source a timeout too. For a limit of one wait, see [`next_timeout`](Stream::next_timeout).
    /// - [`patience`](Call::patience) is for the opening: a caller that has waited so long for another one's opens a
    ///   stream of its own, which nobody can join.
    /// - [`after`](Call::after) joins only streams opened after a [`mark`](StreamCoalesce::mark).
    /// - [`bypass`](Call::bypass) opens a stream that nobody can join.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::time::Duration;
    /// use sync_coalesce::stream::StreamCoalesce;
    ///
    /// let streams: StreamCoalesce<String, u32> = StreamCoalesce::new();
    /// let numbers = streams.on("numbers").timeout(Duration::from_secs(5)).stream(|| Ok((1..4).map(Ok::<_, Infallible>)));
    /// assert_eq!(numbers.unwrap().map(|number| *number.unwrap()).sum::<u32>(), 6);
    /// ```
    pub fn on<'a, Q: ?Sized>(&'a self, key: &'a Q) -> Call<'a, Self, OneKey<'a, Q>> {
        Call::new(self, OneKey(key))
    }

    /// A moment in the life of this coalescer, for [`after`](Call::after).
    pub fn mark(&self) -> Mark {
        self.table.mark()
    }

    /// Ends all streams with [`StreamError::Closed`], and refuses all calls from then on.
    ///
    /// Waiting readers are woken, and each still gets the chunks that are in the log. A pull under way is not
    /// interrupted: when it returns, its reader gets `Closed` and the source is dropped.
    pub fn close(&self) {
        self.table.close();
    }
}

impl<Q, K, C, E, S> Call<'_, StreamCoalesce<K, C, E, S>, OneKey<'_, Q>>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    K: Send + 'static,
    C: Send + Sync + 'static,
    E: Send + Sync + 'static,
    S: BuildHasher,
{
    /// A reader of the stream for this key, from its first chunk.
    ///
    /// Blocks, panics and fails as [`StreamCoalesce::stream`], with this call's options.
    ///
    /// # Panics
    ///
    /// If its own `open` panics.
    ///
    /// # Errors
    ///
    /// Those of [`StreamCoalesce::stream`].
    pub fn stream<I>(self, open: impl FnOnce() -> Result<I, E>) -> Result<Stream<C, E>, CallError<E>>
    where
        I: IntoIterator<Item = Result<C, E>>,
        I::IntoIter: Send + 'static,
    {
        let Self { on, about: OneKey(key), mut options } = self;
        // It may not be called, and its Drop may panic. Dropped later, while the stream is being returned, that would make
        // the compiler leak the stream (Rust's issue 47949), and a leaked reader is never taken off.
        let mut open = CatchDrop::new(open);
        let limits = options.limits(sync::now(), on.table.settings.timeout, None);
        let label: Option<Arc<str>> = options.label.map(Arc::from);
        loop {
            let entered = on.table.enter(on.hasher.hash_one(key), key, &options)?;
            let reader = |log| Stream::new(Arc::clone(&on.table) as _, log, limits.deadline, label.clone());
            match entered {
                Entered::Opens(log) => {
                    let reader = reader(log);
                    let open = open.take().expect("it is taken once, and then this returns");
                    return reader.open(open);
                }
                Entered::Joins(log, waiting) => {
                    let patience = limits.patience.map(|patience| patience.until);
                    match reader(log).wait_for_opening(waiting, patience) {
                        Some(joined) => return joined,
                        None => options.bypass = true,
                    }
                }
            }
        }
    }
}

impl<K, C, E, S: BuildHasher> StreamCoalesce<K, C, E, S> {
    /// A reader of the stream for `key`, from its first chunk: of the stream that is open, or of what `open` returns.
    ///
    /// # Blocking
    ///
    /// While `open` runs: in this thread, or in that of another caller, at most for the builder's
    /// [`timeout`](StreamBuilder::timeout). No lock is held while it runs.
    ///
    /// # Panics
    ///
    /// If its own `open` panics. Callers that wait for that get [`CallError::LeaderPanicked`].
    ///
    /// # Errors
    ///
    /// [`CallError::Failed`] with the error of `open`, for every caller that waited for it. [`CallError::Overloaded`]
    /// if there are too many readers, [`CallError::Closed`] after [`close`](StreamCoalesce::close), and
    /// [`CallError::Cancelled`] if [`cancel`](StreamCoalesce::cancel) came during the opening. If another caller opens,
    /// [`CallError::TimedOut`], and [`CallError::Deadlock`] if its `open` waits for this thread.
    pub fn stream<Q, I>(&self, key: &Q, open: impl FnOnce() -> Result<I, E>) -> Result<Stream<C, E>, CallError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        I: IntoIterator<Item = Result<C, E>>,
        I::IntoIter: Send + 'static,
        K: Send + 'static,
        C: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        self.on(key).stream(open)
    }

    /// True if there was a stream for `key`. Later callers open a new one; this one goes on for the readers it has.
    pub fn forget<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.table.forget(self.hasher.hash_one(key), key)
    }

    /// True if there was a stream for `key`, which is forgotten and ends with [`StreamError::Cancelled`].
    ///
    /// Waiting readers are woken, and each still gets the chunks that are in the log. A source that nobody pulls from
    /// is dropped at once. A pull under way is not interrupted: when it returns, its reader gets `Cancelled` and the
    /// source is dropped. A stream that was forgotten before is not affected.
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

/// No panic leaves a stream in a broken state, wherever it is caught.
impl<K, C, E, S> UnwindSafe for StreamCoalesce<K, C, E, S> {}
impl<K, C, E, S> RefUnwindSafe for StreamCoalesce<K, C, E, S> {}
