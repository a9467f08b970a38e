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

    /// How long this reader may take to its last chunk. `Duration::MAX` is no limit; zero gets what is there.
    ///
    /// It is one [`deadline`](StreamRequest::deadline) for the whole stream, counted from the call of
    /// [`stream`](StreamRequest::stream). For a limit of one wait, see [`next_timeout`](Stream::next_timeout). Replaces
    /// an earlier `deadline`, and the builder's default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limit = Some(WaitUntil::Timeout(timeout));
        self
    }

    /// Until when this reader waits for the opening and for chunks, and pulls.
    ///
    /// Chunks that are there, and the end, beat a deadline that has passed. A reader past its deadline does not pull,
    /// so a lone reader ends too, at the first chunk that it would have to pull. Its own opening or pull is not
    /// interrupted: give the source a timeout too. Replaces an earlier [`timeout`](StreamRequest::timeout), and the
    /// builder's default.
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
    /// A reader of the stream for this key. Blocks and panics as [`StreamCoalesce::stream`], with the timeout or
    /// deadline of this request if it has one.
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
