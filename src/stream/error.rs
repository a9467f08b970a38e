//! Why a stream was cut off.

use std::error::Error;
use std::sync::Arc;
use std::{fmt, io};

use crate::error::{CallError, write_with_cause};
use crate::shared_error::SharedError;

/// Why a reader of a [`Stream`](super::Stream) gets no more; `E` is the error of the source.
///
/// It is the last item that a reader gets, after all chunks that came before it. A stream that came to its end gives no
/// such item. It prints its cause too, as [`CallError`] does, and becomes an [`Error`] with
/// [`into_shared`](StreamError::into_shared) where `E` is not one.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamError<E> {
    /// The source returned this error, and every reader has the same one. Streaming again opens a new source.
    Failed(Arc<E>),
    /// The source panicked in another thread: in that of the reader that pulled, which panicked too, or in one started
    /// by [`next_timeout`](super::Stream::next_timeout). Streaming again opens a new source.
    SourcePanicked {
        /// What the panic said, where it was text.
        message: Arc<str>,
    },
    /// This reader fell so far behind that the log dropped chunks it had not read. The others go on. Streaming again
    /// opens a new source, or joins one opened since.
    Lagged {
        /// How many chunks this reader has missed.
        missed: u64,
    },
    /// This reader's deadline passed before the next chunk was there: while another thread pulled it, or before this
    /// reader would have. The others go on. Streaming again joins them, from the first chunk, or opens a new source if
    /// there are none.
    TimedOut,
    /// The stream was cancelled. Streaming again opens a new source.
    Cancelled,
    /// Waiting for the thread that pulls would have closed a cycle of waits, so it was refused before it began.
    /// Streaming again from the same place is refused again.
    Deadlock {
        /// The flights and streams in the cycle, by the names of their coalescers and their numbers.
        chain: Arc<[Arc<str>]>,
    },
    /// The coalescer was closed. Streaming again cannot help.
    Closed,
}

impl<E> StreamError<E> {
    /// The same error with another type for the error of the source.
    #[must_use]
    pub fn map_failed<F>(self, map: impl FnOnce(Arc<E>) -> F) -> StreamError<F> {
        match self {
            Self::Failed(error) => StreamError::Failed(Arc::new(map(error))),
            Self::SourcePanicked { message } => StreamError::SourcePanicked { message },
            Self::Lagged { missed } => StreamError::Lagged { missed },
            Self::TimedOut => StreamError::TimedOut,
            Self::Cancelled => StreamError::Cancelled,
            Self::Deadlock { chain } => StreamError::Deadlock { chain },
            Self::Closed => StreamError::Closed,
        }
    }

    /// The same error as an [`Error`], for an `E` that is not one itself: `anyhow::Error` or a boxed error.
    #[must_use]
    pub fn into_shared(self) -> StreamError<SharedError>
    where
        E: AsRef<dyn Error + Send + Sync + 'static> + Send + Sync + 'static,
    {
        self.map_failed(SharedError::from)
    }

    /// What it means for somebody who was waiting for the source to be opened.
    pub(super) fn while_opening(self) -> CallError<E> {
        match self {
            Self::Failed(error) => CallError::Failed(error),
            Self::SourcePanicked { message } => CallError::LeaderPanicked { message },
            Self::TimedOut => CallError::TimedOut,
            // Nobody lags before the first chunk.
            Self::Cancelled | Self::Lagged { .. } => CallError::Cancelled,
            Self::Deadlock { chain } => CallError::Deadlock { chain },
            Self::Closed => CallError::Closed,
        }
    }
}

impl<E> Clone for StreamError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::SourcePanicked { message } => Self::SourcePanicked { message: Arc::clone(message) },
            Self::Lagged { missed } => Self::Lagged { missed: *missed },
            Self::TimedOut => Self::TimedOut,
            Self::Cancelled => Self::Cancelled,
            Self::Deadlock { chain } => Self::Deadlock { chain: Arc::clone(chain) },
            Self::Closed => Self::Closed,
        }
    }
}

impl<E: fmt::Display> fmt::Display for StreamError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write_with_cause(f, format_args!("the source of the shared stream failed"), error),
            Self::SourcePanicked { message } => write!(f, "the source of the shared stream panicked: {message}"),
            Self::Lagged { missed } => write!(f, "too far behind in the shared stream: {missed} chunks missed"),
            Self::TimedOut => f.write_str("timed out waiting for the next chunk of the shared stream"),
            Self::Cancelled => f.write_str("the shared stream was cancelled"),
            Self::Deadlock { chain } => {
                f.write_str("reading would wait for itself:")?;
                chain.iter().enumerate().try_for_each(|(place, stream)| {
                    let arrow = if place == 0 { "" } else { " ->" };
                    write!(f, "{arrow} {stream}")
                })
            }
            Self::Closed => f.write_str("the coalescer is closed"),
        }
    }
}

impl<E: Error + 'static> Error for StreamError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            Self::SourcePanicked { .. }
            | Self::Lagged { .. }
            | Self::TimedOut
            | Self::Cancelled
            | Self::Deadlock { .. }
            | Self::Closed => None,
        }
    }
}

impl<E: AsRef<dyn Error + Send + Sync + 'static> + Send + Sync + 'static> From<StreamError<E>>
    for StreamError<SharedError>
{
    fn from(error: StreamError<E>) -> Self {
        error.into_shared()
    }
}

/// For readers by [`Read`](io::Read). The kind is `TimedOut` or `Other`.
impl<E: Error + Send + Sync + 'static> From<StreamError<E>> for io::Error {
    fn from(error: StreamError<E>) -> Self {
        let kind = match error {
            StreamError::TimedOut => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
