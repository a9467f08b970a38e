//! [`Stream`]: one reader's place in a stream.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::StreamError;
use super::log::{End, Found, Log};
use super::pull;
use super::table::{Leaving, Owner, label};
use crate::error::CallError;
use crate::panic::catch_panic;
use crate::sync::Instant;
use crate::wait::graph::WaitEdge;

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
    owner: Arc<dyn Owner<C, E> + Send + Sync>,
    /// None once it has left.
    log: Option<Arc<Log<C, E>>>,
    deadline: Option<Instant>,
    /// Chunks had so far.
    position: u64,
    /// What [`BufRead`] has not consumed of its last chunk, which begins at this byte.
    rest: Option<(Arc<C>, usize)>,
}

impl<C, E> Stream<C, E> {
    /// For a caller that is counted as a reader of the log.
    pub(super) fn new(
        owner: Arc<dyn Owner<C, E> + Send + Sync>,
        log: Arc<Log<C, E>>,
        deadline: Option<Instant>,
    ) -> Self {
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

    fn leave_by(&mut self, error: &StreamError<E>) {
        self.leave(match error {
            StreamError::TimedOut => Leaving::Late,
            StreamError::Lagged { .. } => Leaving::Lagged,
            _ => Leaving::Done,
        });
    }

    /// Takes this reader off: it has had all that it gets.
    fn leave(&mut self, why: Leaving) {
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
        let found = match log.read(self.position, self.deadline, || label(self.owner.settings(), log)) {
            Found::Chunk(chunk) => Ok(chunk),
            Found::Source(source) => pull::pull(&*self.owner, log, source),
            Found::Over(end) => Err(end),
        };
        match found {
            Ok(chunk) => {
                self.position += 1;
                Some(Ok(chunk))
            }
            Err(Err(error)) => {
                self.leave_by(&error);
                Some(Err(error))
            }
            Err(Ok(())) => {
                self.leave(Leaving::Done);
                None
            }
        }
    }
}

impl<C, E> FusedIterator for Stream<C, E> {}

impl<C, E> Drop for Stream<C, E> {
    fn drop(&mut self) {
        self.leave(Leaving::Done);
        let rest = self.rest.take();
        catch_panic(|| drop(rest));
    }
}

/// Reads the bytes of the chunks one after the other. [`Stream::next`] goes on after the last chunk of which anything
/// was asked for.
///
/// # Errors
///
/// What cut the stream off, once, after all bytes before it; see the conversion of [`StreamError`] to [`io::Error`].
impl<C, E> BufRead for Stream<C, E>
where
    C: AsRef<[u8]>,
    E: Error + Send + Sync + 'static,
{
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // A chunk of no bytes is not the end.
        while self.unread().is_empty() {
            match self.next() {
                None => break,
                Some(chunk) => {
                    let spent = self.rest.replace((chunk?, 0));
                    catch_panic(|| drop(spent));
                }
            }
        }
        Ok(self.unread())
    }

    fn consume(&mut self, bytes: usize) {
        if let Some((_, at)) = &mut self.rest {
            *at = at.saturating_add(bytes);
        }
    }
}

impl<C, E> Read for Stream<C, E>
where
    C: AsRef<[u8]>,
    E: Error + Send + Sync + 'static,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut unread = self.fill_buf()?;
        let bytes = unread.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

impl<C: AsRef<[u8]>, E> Stream<C, E> {
    fn unread(&self) -> &[u8] {
        // How long a chunk's bytes are is for the chunk to say, each time.
        self.rest.as_ref().and_then(|(chunk, at)| (**chunk).as_ref().get(*at..)).unwrap_or_default()
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
