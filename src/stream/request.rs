//! One caller's options for a stream.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::{Duration, Instant};

use hashbrown::Equivalent;

use super::{Stream, StreamCoalesce};
use crate::error::CallError;
use crate::wait::limits::WaitUntil;

/// One stream with options of its own, made by [`StreamCoalesce::request`]. Nothing happens until
/// [`stream`](StreamRequest::stream).
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
/// use sync_coalesce::stream::StreamCoalesce;
///
/// let streams: StreamCoalesce<String, u32> = StreamCoalesce::new();
/// let request = streams.request("numbers").timeout(Duration::from_secs(5));
/// let numbers = request.stream(|| Ok((1..4).map(Ok::<_, Infallible>)));
/// assert_eq!(numbers.unwrap().map(|number| *number.unwrap()).sum::<u32>(), 6);
/// ```
#[must_use = "a request does nothing until `stream`"]
pub struct StreamRequest<'a, Q: ?Sized, K, C, E, S> {
    streams: &'a StreamCoalesce<K, C, E, S>,
    key: &'a Q,
    limit: Option<WaitUntil>,
}

impl<'a, Q: ?Sized, K, C, E, S> StreamRequest<'a, Q, K, C, E, S> {
    pub(super) fn new(streams: &'a StreamCoalesce<K, C, E, S>, key: &'a Q) -> Self {
        Self { streams, key, limit: None }
    }

    /// How long the stream may take this reader, to its last chunk; `Duration::MAX` is no limit, and zero takes what is
    /// there.
    ///
    /// It is one [`deadline`](StreamRequest::deadline) for the whole stream, by the clock and counted from the call of
    /// [`stream`](StreamRequest::stream), whatever the time goes by in. Nobody past it pulls, so it ends a lone reader
    /// too. Replaces an earlier `deadline`, and the builder's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limit = Some(WaitUntil::Timeout(timeout));
        self
    }

    /// Until when to wait for another caller that opens the source or pulls from it, and to pull from it.
    ///
    /// Chunks that are there, and the end, beat a deadline that has passed. Nobody past its deadline pulls: a lone
    /// reader is ended by it too, at the first chunk that it would have to pull. An opening or a pull of this caller's
    /// own is not interrupted: give the source a timeout too. Replaces an earlier [`timeout`](StreamRequest::timeout),
    /// and the builder's default.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.limit = Some(WaitUntil::Deadline(deadline));
        self
    }
}

impl<Q, K, C, E, S> StreamRequest<'_, Q, K, C, E, S>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    K: Send + 'static,
    C: Send + Sync + 'static,
    E: Send + Sync + 'static,
    S: BuildHasher,
{
    /// As [`StreamCoalesce::stream`].
    ///
    /// # Blocking
    ///
    /// As [`StreamCoalesce::stream`], by the timeout or deadline of this request where it has one.
    ///
    /// # Panics
    ///
    /// As [`StreamCoalesce::stream`].
    ///
    /// # Errors
    ///
    /// Those of [`StreamCoalesce::stream`].
    pub fn stream<I>(self, open: impl FnOnce() -> Result<I, E>) -> Result<Stream<C, E>, CallError<E>>
    where
        I: IntoIterator<Item = Result<C, E>>,
        I::IntoIter: Send + 'static,
    {
        self.streams.begin(self.key, self.limit, open)
    }
}

impl<Q: fmt::Debug + ?Sized, K, C, E, S> fmt::Debug for StreamRequest<'_, Q, K, C, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRequest").field("key", &self.key).field("limit", &self.limit).finish_non_exhaustive()
    }
}
