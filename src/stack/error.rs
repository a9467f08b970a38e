//! Why a call through a stack returned no value.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::{CallError, write_with_cause};
use crate::outcome::Shared;
use crate::shared_error::SharedError;
#[cfg(feature = "budget")]
use crate::stack::budget::BudgetExceeded;
use crate::stack::interrupt::Interrupted;
#[cfg(feature = "ledger")]
use crate::stack::ledger::LedgerError;
#[cfg(feature = "pace")]
use crate::stack::pace::AcquireError;
#[cfg(feature = "retry")]
use crate::stack::retry::Attempts;

/// Why a call through a [`Stack`](super::Stack) returned no value; `E` is the error of the work.
///
/// All callers that share a flight get the same error. It prints its cause too, as [`CallError`] does, and becomes an
/// [`Error`] with [`into_shared`](StackError::into_shared) where `E` is not one.
#[derive(Debug)]
#[non_exhaustive]
pub enum StackError<E> {
    /// The work failed with an error that is not retried.
    Failed {
        /// The number of attempts that were made, including that one.
        attempts: u32,
        /// The error of that attempt.
        error: Arc<E>,
    },
    /// The work failed as often as the retries allow. Asking again later may help.
    #[cfg(feature = "retry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "retry")))]
    Exhausted {
        /// The number of attempts that were made.
        attempts: u32,
        /// The error of the last attempt.
        error: Arc<E>,
    },
    /// The pacer gave no permit in time, or the call's weight does not fit it. The error says whether asking again can
    /// help.
    #[cfg(feature = "pace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
    Pace(AcquireError),
    /// The budget has less left than the call may cost, so the work did not run. Asking again may help once others have
    /// committed less than they reserved, or in the next period.
    #[cfg(feature = "budget")]
    #[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
    Budget(BudgetExceeded),
    /// The ledger has a record of the call but no result for it, or it failed, so the work did not run. The error says
    /// whether asking again can help.
    #[cfg(feature = "ledger")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ledger")))]
    Ledger(LedgerError<Infallible>),
    /// The coalescer refused the call, or the flight that the call followed had no result for it; or the call led, and
    /// before an attempt could begin its deadline passed, or it was cancelled or closed. The error says whether asking
    /// again can help.
    Call(CallError<Infallible>),
}

impl<E> StackError<E> {
    /// The error of the work, if it is what failed.
    #[must_use]
    pub fn work(&self) -> Option<&Arc<E>> {
        match self {
            Self::Failed { error, .. } => Some(error),
            #[cfg(feature = "retry")]
            Self::Exhausted { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The same error with another type for the error of the work.
    #[must_use]
    pub fn map_work<F>(self, map: impl FnOnce(Arc<E>) -> F) -> StackError<F> {
        match self {
            Self::Failed { attempts, error } => StackError::Failed { attempts, error: Arc::new(map(error)) },
            #[cfg(feature = "retry")]
            Self::Exhausted { attempts, error } => StackError::Exhausted { attempts, error: Arc::new(map(error)) },
            #[cfg(feature = "pace")]
            Self::Pace(error) => StackError::Pace(error),
            #[cfg(feature = "budget")]
            Self::Budget(error) => StackError::Budget(error),
            #[cfg(feature = "ledger")]
            Self::Ledger(error) => StackError::Ledger(error),
            Self::Call(error) => StackError::Call(error),
        }
    }

    /// The same error as an [`Error`], for an `E` that is not one itself: `anyhow::Error` or a boxed error.
    #[must_use]
    pub fn into_shared(self) -> StackError<SharedError>
    where
        E: AsRef<dyn Error + Send + Sync + 'static> + Send + Sync + 'static,
    {
        self.map_work(SharedError::from)
    }

    /// Whether it concerns the leader alone, whose own deadline has passed. Followers have deadlines of their own.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Call(CallError::TimedOut))
    }

    /// From what the coalescer shares: an error in which the other layers' errors are those of its closure, and a value
    /// that the cache may hold too.
    pub(super) fn from_shared<T>(shared: Shared<Arc<T>, Self>) -> Result<Arc<T>, Self> {
        match shared {
            Ok(value) => Ok(Arc::clone(&*value)),
            Err(error) => {
                Err(error.try_map_failed(Err).map_or_else(|error: Arc<Self>| Self::clone(&error), Self::Call))
            }
        }
    }

    /// From an error of the ledger, in which the errors of the layers within are those of its work.
    #[cfg(feature = "ledger")]
    pub(super) fn from_ledger(error: LedgerError<Self>) -> Self {
        Self::Ledger(match error {
            LedgerError::Failed(error) | LedgerError::NotRemoved { error, .. } => return error,
            LedgerError::InProgress => LedgerError::InProgress,
            LedgerError::Unknown => LedgerError::Unknown,
            LedgerError::OtherRequest => LedgerError::OtherRequest,
            LedgerError::Unreadable(error) => LedgerError::Unreadable(error),
            LedgerError::Store(error) => LedgerError::Store(error),
        })
    }
}

impl<E> Clone for StackError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed { attempts, error } => Self::Failed { attempts: *attempts, error: Arc::clone(error) },
            #[cfg(feature = "retry")]
            Self::Exhausted { attempts, error } => Self::Exhausted { attempts: *attempts, error: Arc::clone(error) },
            #[cfg(feature = "pace")]
            Self::Pace(error) => Self::Pace(error.clone()),
            #[cfg(feature = "budget")]
            Self::Budget(error) => Self::Budget(*error),
            #[cfg(feature = "ledger")]
            Self::Ledger(error) => Self::Ledger(error.clone()),
            Self::Call(error) => Self::Call(error.clone()),
        }
    }
}

impl<E: fmt::Display> fmt::Display for StackError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { attempts: 1, error } => write_with_cause(f, format_args!("the call failed"), error),
            Self::Failed { attempts, error } => {
                write_with_cause(f, format_args!("the call failed at attempt {attempts}"), error)
            }
            #[cfg(feature = "retry")]
            Self::Exhausted { attempts, error } => {
                write_with_cause(f, format_args!("the call failed after {}", Attempts(*attempts)), error)
            }
            #[cfg(feature = "pace")]
            Self::Pace(error) => write_with_cause(f, format_args!("the call was refused"), error),
            #[cfg(feature = "budget")]
            Self::Budget(error) => write_with_cause(f, format_args!("the call was refused"), error),
            #[cfg(feature = "ledger")]
            Self::Ledger(error) => write_with_cause(f, format_args!("the call was refused"), error),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for StackError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { error, .. } => error.source(),
            #[cfg(feature = "retry")]
            Self::Exhausted { error, .. } => error.source(),
            #[cfg(feature = "pace")]
            Self::Pace(error) => error.source(),
            #[cfg(feature = "budget")]
            Self::Budget(error) => error.source(),
            #[cfg(feature = "ledger")]
            Self::Ledger(error) => error.source(),
            Self::Call(error) => error.source(),
        }
    }
}

impl<E: AsRef<dyn Error + Send + Sync + 'static> + Send + Sync + 'static> From<StackError<E>>
    for StackError<SharedError>
{
    fn from(error: StackError<E>) -> Self {
        error.into_shared()
    }
}

impl<E> From<Interrupted> for StackError<E> {
    fn from(interrupted: Interrupted) -> Self {
        Self::Call(match interrupted {
            Interrupted::TimedOut => CallError::TimedOut,
            Interrupted::Cancelled => CallError::Cancelled,
            Interrupted::Closed => CallError::Closed,
        })
    }
}
