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
use crate::sync::{self, Instant};
use crate::wait::graph::WaitEdge;

/// What [`Stream::next_timeout`] returns: one of three answers.
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

/// One reader of a shared stream, made by [`StreamCoalesce::stream`](crate::stream::StreamCoalesce::stream): an iterator over
/// all its chunks, from the first one.
///
/// Each item is a chunk, shared by all readers, or the error that cut the stream off, which is the last item. A stream
/// that came to its end has no error at its end. Where chunks are bytes, it is a [`Read`] and a [`BufRead`] too.
///
/// Dropping it takes this reader off, and so does its last item. The last reader takes the source along: a connection
/// that is read by it closes. A reader that is leaked by [`mem::forget`](std::mem::forget) keeps it open.
///
/// # Blocking
///
/// [`next`](Iterator::next) returns at once where another reader has pulled the next chunk. Else it pulls in this
/// thread, or waits for the reader that does, until that has the chunk or this reader's deadline passes.
///
/// A pull of its own is not interrupted: a deadline, [`cancel`](crate::stream::StreamCoalesce::cancel) and
/// [`close`](crate::stream::StreamCoalesce::close) take effect only when it returns. After `cancel` and `close` what it pulled
/// is dropped; after a deadline it has that chunk, and no other that it would have to pull.
///
/// # Panics
///
/// A panic of the source goes on to the reader that pulled; the others get [`StreamError::SourcePanicked`], and so does
/// that one if it asks again. A panic in the `Drop` of the source, a chunk, an error or a key is dropped.
pub struct Stream<C, E> {
    owner: SharedOwner<C, E>,
    /// None once it has left.
    log: Option<Arc<Log<C, E>>>,
    deadline: Option<Instant>,
    /// Chunks had so far.
    position: u64,
    /// What [`BufRead`] has not consumed of its last chunk, which begins at this byte.
    pub(super) rest: Option<(Arc<C>, usize)>,
}

impl<C, E> Stream<C, E> {
    /// For a caller that is counted as a reader of the log.
    pub(super) fn new(owner: SharedOwner<C, E>, log: Arc<Log<C, E>>, deadline: Option<Instant>) -> Self {
        Self { owner, log: Some(log), deadline, position: 0, rest: None }
    }

    /// Opens the source, for all who have joined meanwhile too.
    pub(super) fn open<I>(self, open: impl FnOnce() -> Result<I, E>) -> Result<Self, CallError<E>>
    where
        I: IntoIterator<Item = Result<C, E>>,
        I::IntoIter: Send + 'static,
    {
        let end = self.log.as_ref().map_or(Ok(()), |log| pull::open(&*self.owner, log, open));
        self.unless(end)
    }

    /// Blocks until another caller has opened the source.
    pub(super) fn wait_for_opening(self, waiting: Option<WaitEdge>) -> Result<Self, CallError<E>> {
        let end = self.log.as_ref().map_or(Ok(()), |log| log.wait_for_opening(self.deadline));
        drop(waiting);
        self.unless(end)
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
        let chunk = match log.read(self.position, self.deadline, || label(self.owner.settings(), log)) {
            Found::Ready(chunk) => chunk,
            Found::Source(source) => pull::pull(&*self.owner, log, source),
        };
        self.advance(chunk)
    }
}

impl<C: Send + Sync + 'static, E: Send + Sync + 'static> Stream<C, E> {
    /// The next chunk if it comes within `timeout`; else [`Next::NotYet`], and this reader stays where it is.
    ///
    /// For whoever has something to do while a source is silent, such as to send a ping. It is a limit of this one wait,
    /// unlike the [`timeout`](crate::stream::StreamRequest::timeout) of the stream, after which a reader is taken off.
    /// A timeout of zero returns what is there; `Duration::MAX` is no limit.
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
    /// Until another thread has pulled the next chunk, at most for `timeout`. A chunk that is there, and the end, beat a
    /// limit that has passed.
    ///
    /// A pull cannot be interrupted, so this reader makes none itself. If no other one pulls, a thread is started for
    /// this chunk, and ends with it. The pull goes on when the limit has passed, and its chunk is kept for the readers;
    /// if all of them have left by then, it is dropped with the source. Should the system have no thread to give, this
    /// reader pulls after all, and blocks until that returns.
    ///
    /// # Errors
    ///
    /// What cut the stream off for this reader, once, as [`next`](Iterator::next) has it: its own deadline, a deadlock
    /// and [`SourcePanicked`](StreamError::SourcePanicked) included. From then on, [`Next::End`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Next<C>, StreamError<E>> {
        match sync::now().checked_add(timeout) {
            Some(limit) => self.next_deadline(limit),
            None => self.next().transpose().map(Next::new),
        }
    }

    /// The next chunk if it comes by `limit`; else as [`next_timeout`](Stream::next_timeout), and blocks and fails as
    /// that does.
    pub fn next_deadline(&mut self, limit: Instant) -> Result<Next<C>, StreamError<E>> {
        let Some(log) = &self.log else { return Ok(Next::End) };
        let chunk = loop {
            match log.read_in_time(self.position, self.deadline, limit, || label(self.owner.settings(), log)) {
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
        f.debug_struct("Stream").field("chunks", &self.position).field("over", &self.log.is_none()).finish()
    }
}

/// No panic leaves a stream half done, whoever catches it.
impl<C, E> UnwindSafe for Stream<C, E> {}
impl<C, E> RefUnwindSafe for Stream<C, E> {}
