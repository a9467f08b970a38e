//! [`Stream`]: one reader's place in a stream.

use std::fmt;
#[cfg(doc)]
use std::io::{BufRead, Read};
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::error::StreamError;
use super::log::{Found, FoundInTime, Log};
use super::pull;
use super::state::{Chunk, End};
use super::table::{LeaveReason, SharedOwner, label};
use crate::error::CallError;
use crate::panic::catch_panic;
use crate::sync::{self, Instant, has_passed};
use crate::wait::graph::WaitEdge;

/// What [`Stream::next_timeout`] found.
#[derive(Debug)]
#[must_use = "it may be the next chunk"]
pub enum Next<C> {
    /// The next chunk, which all readers share.
    Chunk(Arc<C>),
    /// The stream is over, and this reader has had all its chunks.
    End,
    /// The limit passed before the next chunk was there. Nothing is lost: ask again.
    NotYet,
}

impl<C> Next<C> {
    fn new(chunk: Option<Arc<C>>) -> Self {
        chunk.map_or(Self::End, Self::Chunk)
    }
}

/// One reader of a shared stream, made by [`StreamCoalesce::stream`](super::StreamCoalesce::stream): an iterator over
/// all its chunks, from the first one.
///
/// Each item is a chunk, shared by all readers, or the error that cut the stream off, which is the last item. A stream
/// that comes to its end has no such item. Where chunks are bytes, it is a [`Read`] and a [`BufRead`] too.
///
/// It borrows nothing, and goes on to the end after its coalescer has been dropped.
///
/// Dropping it takes this reader off, and so does its last item. The last reader drops the source, and a connection
/// that the source reads from closes. A reader leaked by [`mem::forget`](std::mem::forget) keeps it open.
///
/// # Blocking
///
/// [`next`](Iterator::next) returns at once if another thread has pulled the next chunk. Otherwise it pulls in this
/// thread, or waits for the thread that does, until the chunk is there or this reader's deadline passes.
/// [`next_timeout`](Stream::next_timeout) never pulls in this thread, and gives up after its limit.
///
/// A pull of its own is not interrupted: a deadline, [`cancel`](super::StreamCoalesce::cancel) and
/// [`close`](super::StreamCoalesce::close) take effect only when it returns. After `cancel` and `close` the chunk
/// is dropped; after a deadline the reader still gets it, but pulls no other.
///
/// # Panics
///
/// A panic of the source goes on in the reader that pulled. The others get [`StreamError::SourcePanicked`], and so does
/// that one if it asks again. A panic in the `Drop` of the source, a chunk, an error or a key is caught and dropped.
pub struct Stream<C, E> {
    owner: SharedOwner<C, E>,
    /// None once it has left.
    log: Option<Arc<Log<C, E>>>,
    deadline: Option<Instant>,
    /// The caller's name for the stream in the chain of a deadlock.
    label: Option<Arc<str>>,
    opened: bool,
    /// Chunks had so far.
    position: u64,
    /// What [`BufRead`] has not consumed of its last chunk, which begins at this byte.
    pub(super) rest: Option<(Arc<C>, usize)>,
}

impl<C, E> Stream<C, E> {
    /// For a caller that is counted as a reader of the log.
    pub(super) fn new(
        owner: SharedOwner<C, E>,
        log: Arc<Log<C, E>>,
        deadline: Option<Instant>,
        label: Option<Arc<str>>,
    ) -> Self {
        Self { owner, log: Some(log), deadline, label, opened: false, position: 0, rest: None }
    }

    /// Whether this reader's own call opened the source; else it joined a stream.
    #[must_use]
    pub fn is_opener(&self) -> bool {
        self.opened
    }

    /// Opens the source, also for the readers that have joined meanwhile.
    pub(super) fn open<I>(mut self, open: impl FnOnce() -> Result<I, E>) -> Result<Self, CallError<E>>
    where
        I: IntoIterator<Item = Result<C, E>>,
        I::IntoIter: Send + 'static,
    {
        self.opened = true;
        let end = self.log.as_ref().map_or(Ok(()), |log| pull::open(&*self.owner, log, open));
        self.unless(end)
    }

    /// Blocks until another caller has opened the source; none if `patience` ends before that, and then this reader has
    /// left.
    pub(super) fn wait_for_opening(
        mut self,
        waiting: Option<WaitEdge>,
        patience: Option<Instant>,
    ) -> Option<Result<Self, CallError<E>>> {
        let until = [self.deadline, patience].into_iter().flatten().min();
        let end = self.log.as_ref().map_or(Ok(()), |log| log.wait_for_opening(until));
        drop(waiting);
        if matches!(end, Err(StreamError::TimedOut)) && !self.deadline.is_some_and(has_passed) {
            self.leave(LeaveReason::Done);
            return None;
        }
        Some(self.unless(end))
    }

    fn unless(mut self, end: End<E>) -> Result<Self, CallError<E>> {
        match end {
            Ok(()) => Ok(self),
            Err(error) => {
                self.leave_by(&error);
                Err(error.while_opening())
            }
        }
    }

    /// The item that is made of what was found.
    fn advance(&mut self, chunk: Chunk<C, E>) -> Option<Result<Arc<C>, StreamError<E>>> {
        match chunk {
            Ok(chunk) => {
                self.position += 1;
                Some(Ok(chunk))
            }
            Err(Err(error)) => {
                self.leave_by(&error);
                Some(Err(error))
            }
            Err(Ok(())) => {
                self.leave(LeaveReason::Done);
                None
            }
        }
    }

    fn leave_by(&mut self, error: &StreamError<E>) {
        self.leave(match error {
            StreamError::TimedOut => LeaveReason::Late,
            StreamError::Lagged { .. } => LeaveReason::Lagged,
            _ => LeaveReason::Done,
        });
    }

    /// Takes this reader off: it has had all that it gets.
    fn leave(&mut self, why: LeaveReason) {
        if let Some(log) = self.log.take() {
            self.owner.leave(&log, why);
            // With its last reader the log goes, and with that the error that it ended by.
            catch_panic(|| drop(log));
        }
    }
}

impl<C, E> Iterator for Stream<C, E> {
    type Item = Result<Arc<C>, StreamError<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        let log = self.log.as_ref()?;
        let chunk = match log.read(self.position, self.deadline, || {
            self.label.clone().unwrap_or_else(|| label(self.owner.settings(), log))
        }) {
            Found::Ready(chunk) => chunk,
            Found::Source(source) => pull::pull(&*self.owner, log, source),
        };
        self.advance(chunk)
    }
}

impl<C: Send + Sync + 'static, E: Send + Sync + 'static> Stream<C, E> {
    /// The next chunk if it comes within `timeout`; else [`Next::NotYet`], and this reader stays where it is.
    ///
    /// For a reader that has something to do while its source is silent, such as sending a ping. It limits this one
    /// wait, unlike the [`timeout`](crate::Call::timeout) of the stream, after which the reader is taken off.
    /// Zero returns what is there; `Duration::MAX` is no limit, and then it is [`next`](Iterator::next).
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::iter::from_fn;
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use sync_coalesce::stream::{Next, StreamCoalesce};
    ///
    /// let streams: StreamCoalesce<String, &str> = StreamCoalesce::new();
    /// let (send, words) = mpsc::channel();
    /// let source = from_fn(move || words.recv().ok().map(Ok::<_, Infallible>));
    /// let mut stream = streams.stream("hours", || Ok(source)).unwrap();
    ///
    /// let mut pings = 0;
    /// let word = loop {
    ///     match stream.next_timeout(Duration::from_millis(1)).unwrap() {
    ///         Next::Chunk(word) => break *word,
    ///         Next::End => unreachable!("the source waits for us"),
    ///         Next::NotYet => pings += 1,
    ///     }
    ///     if pings == 3 {
    ///         send.send("Nine").unwrap();
    ///     }
    /// };
    /// assert!(word == "Nine" && pings >= 3);
    /// ```
    ///
    /// # Blocking
    ///
    /// Until another thread has pulled the next chunk, at most for `timeout`. A chunk that is there, and the end, beat
    /// a limit that has passed.
    ///
    /// A pull cannot be interrupted, so this reader makes none itself. If no other reader pulls, a thread is started
    /// for this one chunk. Its pull goes on when the limit has passed, and the chunk is kept for the readers; if all of
    /// them have left by then, it is dropped with the source. If the system has no thread to give, this reader pulls
    /// after all, and blocks until that returns.
    ///
    /// # Errors
    ///
    /// The error that cut the stream off for this reader, once, as [`next`](Iterator::next) returns it. Afterwards,
    /// [`Next::End`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Next<C>, StreamError<E>> {
        match sync::now().checked_add(timeout) {
            Some(limit) => self.next_deadline(limit),
            None => self.next().transpose().map(Next::new),
        }
    }

    /// The next chunk if it comes by `limit`; else [`Next::NotYet`]. Blocks and fails as
    /// [`next_timeout`](Stream::next_timeout).
    ///
    /// # Errors
    ///
    /// Those of [`next_timeout`](Stream::next_timeout).
    pub fn next_deadline(&mut self, limit: Instant) -> Result<Next<C>, StreamError<E>> {
        let Some(log) = &self.log else { return Ok(Next::End) };
        let chunk = loop {
            match log.read_in_time(self.position, self.deadline, limit, || {
                self.label.clone().unwrap_or_else(|| label(self.owner.settings(), log))
            }) {
                FoundInTime::Ready(chunk) => break chunk,
                FoundInTime::NotYet => return Ok(Next::NotYet),
                FoundInTime::NeedsHelper { step } => {
                    let unstarted = pull::start_helper(&self.owner, log, step).err();
                    if let Some(source) = unstarted.and_then(|_| log.take_source_for(step)) {
                        break pull::pull(&*self.owner, log, source);
                    }
                }
            }
        };
        self.advance(chunk).transpose().map(Next::new)
    }
}

impl<C, E> FusedIterator for Stream<C, E> {}

impl<C, E> Drop for Stream<C, E> {
    fn drop(&mut self) {
        self.leave(LeaveReason::Done);
        let rest = self.rest.take();
        catch_panic(|| drop(rest));
    }
}

impl<C, E> fmt::Debug for Stream<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("chunks", &self.position)
            .field("over", &self.log.is_none())
            .finish_non_exhaustive()
    }
}

/// No panic leaves a stream in a broken state, wherever it is caught.
impl<C, E> UnwindSafe for Stream<C, E> {}
impl<C, E> RefUnwindSafe for Stream<C, E> {}
