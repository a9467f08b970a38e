//! [`CallError`]: why a call gave no value.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::key::KeyError;
use crate::shared_error::SharedError;

/// Why a call gave no value; `E` is the error of the caller's own closure.
///
/// Every caller that shares a flight gets a clone, so `E` is behind an [`Arc`] and need not be `Clone`.
///
/// # With `?`
///
/// A `CallError` prints its cause too, in one line. Its [`source`](Error::source) is the cause's own source, so reports
/// that walk the sources do not say anything twice. Match on [`Failed`](CallError::Failed) for the cause itself.
///
/// `CallError<E>` is an [`Error`] if `E` is one. `anyhow::Error` and boxed errors are not; for them,
/// [`into_shared`](CallError::into_shared) makes it one.
///
/// ```
/// use std::sync::Arc;
/// use sync_coalesce::{CallError, SyncCoalesce};
///
/// fn ask(coalesce: &SyncCoalesce<String, String, anyhow::Error>) -> anyhow::Result<Arc<String>> {
///     let answer = coalesce.try_call("question", || anyhow::bail!("no route to the provider"));
///     Ok(answer.map_err(CallError::into_shared)?)
/// }
///
/// let error = ask(&SyncCoalesce::new()).unwrap_err();
/// assert_eq!(format!("{error:#}"), "the shared call failed: no route to the provider");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The closure that ran returned this error, and everyone who shared the flight gets the same one. Asking again
    /// starts a new run, unless errors [linger](crate::Builder::linger_errors).
    Failed(Arc<E>),
    /// The closure panicked in the leader's thread, whose caller got the panic itself. Asking again starts a new run.
    LeaderPanicked {
        /// The panic's message, if it was text.
        message: Arc<str>,
    },
    /// This follower's deadline passed before the flight ended. The flight goes on, and asking again joins it.
    TimedOut,
    /// The flight that this follower waited for was cancelled. Asking again starts a new one.
    Cancelled,
    /// The wait would have closed a cycle of waits, so it was refused before it began. Asking again from the same place
    /// is refused again.
    Deadlock {
        /// The flights in the cycle, from the one that this call asked for to one that its own thread leads. They are
        /// named by the call's [`label`](crate::Call::label), by the builder's
        /// [`key_label`](crate::Builder::key_label), or by the coalescer's name and the flight's number.
        chain: Arc<[Arc<str>]>,
    },
    /// The bound on followers was reached, or the pool had no place for a detached flight. Asking again later may help.
    Overloaded,
    /// The coalescer was closed. Asking again cannot help.
    Closed,
    /// No key can be made from the request, so nothing ran. Asking again with the same request cannot help.
    BadKey(KeyError),
    /// A batch's closure returned more or fewer values than it got keys, so it is unknown which value belongs to which
    /// key. It is a fault of the closure; asking again runs it again.
    WrongCount {
        /// How many keys the closure was given.
        expected: usize,
        /// How many values it returned.
        got: usize,
    },
}

impl<E> CallError<E> {
    /// The same error with another type for the closure's error. All variants but [`Failed`](CallError::Failed) stay as
    /// they are.
    pub fn map_failed<F>(self, map: impl FnOnce(Arc<E>) -> F) -> CallError<F> {
        let Ok(error) = self.try_map_failed(|error| Ok::<_, Infallible>(map(error)));
        error
    }

    /// The same error as an [`Error`], if `E` is not one itself: `anyhow::Error` or a boxed error.
    #[must_use]
    pub fn into_shared(self) -> CallError<SharedError>
    where
        E: AsRef<dyn Error + Send + Sync + 'static> + Send + Sync + 'static,
    {
        self.map_failed(SharedError::from)
    }

    /// As [`map_failed`](CallError::map_failed), where the closure's error may turn out to be something else
    /// altogether.
    pub(crate) fn try_map_failed<F, X>(self, map: impl FnOnce(Arc<E>) -> Result<F, X>) -> Result<CallError<F>, X> {
        let error = match self {
            Self::Failed(error) => CallError::Failed(Arc::new(map(error)?)),
            Self::LeaderPanicked { message } => CallError::LeaderPanicked { message },
            Self::TimedOut => CallError::TimedOut,
            Self::Cancelled => CallError::Cancelled,
            Self::Deadlock { chain } => CallError::Deadlock { chain },
            Self::Overloaded => CallError::Overloaded,
            Self::Closed => CallError::Closed,
            Self::BadKey(error) => CallError::BadKey(error),
            Self::WrongCount { expected, got } => CallError::WrongCount { expected, got },
        };
        Ok(error)
    }
}

impl<E> Clone for CallError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::LeaderPanicked { message } => Self::LeaderPanicked { message: Arc::clone(message) },
            Self::TimedOut => Self::TimedOut,
            Self::Cancelled => Self::Cancelled,
            Self::Deadlock { chain } => Self::Deadlock { chain: Arc::clone(chain) },
            Self::Overloaded => Self::Overloaded,
            Self::Closed => Self::Closed,
            Self::BadKey(error) => Self::BadKey(error.clone()),
            Self::WrongCount { expected, got } => Self::WrongCount { expected: *expected, got: *got },
        }
    }
}

/// Writes what happened, followed by its cause.
pub(crate) fn write_with_cause(
    f: &mut fmt::Formatter<'_>,
    what: fmt::Arguments<'_>,
    cause: &dyn fmt::Display,
) -> fmt::Result {
    write!(f, "{what}: ")?;
    // Not by `write!`: anyhow's alternate form would be lost.
    cause.fmt(f)
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write_with_cause(f, format_args!("the shared call failed"), error),
            Self::LeaderPanicked { message } => write!(f, "the thread that ran the shared call panicked: {message}"),
            Self::TimedOut => f.write_str("timed out waiting for the shared call"),
            Self::Cancelled => f.write_str("the shared call was cancelled"),
            Self::Deadlock { chain } => {
                f.write_str("the call would wait for itself:")?;
                chain.iter().enumerate().try_for_each(|(place, flight)| {
                    let arrow = if place == 0 { "" } else { " ->" };
                    write!(f, "{arrow} {flight}")
                })
            }
            Self::Overloaded => f.write_str("too many callers are already waiting"),
            Self::Closed => f.write_str("the coalescer is closed"),
            Self::BadKey(error) => write_with_cause(f, format_args!("no key can be made from the request"), error),
            Self::WrongCount { expected, got } => {
                write!(f, "the shared call was asked for {expected} values and returned {got}")
            }
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            Self::BadKey(error) => error.source(),
            Self::LeaderPanicked { .. }
            | Self::TimedOut
            | Self::Cancelled
            | Self::Deadlock { .. }
            | Self::Overloaded
            | Self::Closed
            | Self::WrongCount { .. } => None,
        }
    }
}

impl<E: AsRef<dyn Error + Send + Sync + 'static> + Send + Sync + 'static> From<CallError<E>>
    for CallError<SharedError>
{
    fn from(error: CallError<E>) -> Self {
        error.into_shared()
    }
}
