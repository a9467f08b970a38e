//! Why a stack gives no value.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::CallError;
#[cfg(feature = "budget")]
use crate::stack::budget::BudgetError;
#[cfg(feature = "ledger")]
use crate::stack::ledger::LedgerError;
#[cfg(feature = "pace")]
use crate::stack::pace::NotAcquired;

/// Which layer of a [`Stack`](super::Stack) refused, or what the work returned; `E` is the error of the work.
///
/// All who share a flight have the same one.
#[derive(Debug)]
#[non_exhaustive]
pub enum StackError<E> {
    /// The work failed, in a way that is not retried.
    Failed {
        /// How many attempts were made, that one included.
        attempts: u32,
        /// What it returned.
        error: Arc<E>,
    },
    /// The work failed as often as the retries allow. Asking again later may help.
    #[cfg(feature = "retry")]
    #[cfg_attr(docsrs, doc(cfg(feature = "retry")))]
    Exhausted {
        /// How many attempts were made.
        attempts: u32,
        /// What the last one returned.
        last: Arc<E>,
    },
    /// The pacer let nothing through in time. Asking again later may help.
    #[cfg(feature = "pace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pace")))]
    Pace(NotAcquired),
    /// There is less in the budget than the call may cost, and it did not run. Asking again may help when others have
    /// committed less than they reserved, or in the next period.
    #[cfg(feature = "budget")]
    #[cfg_attr(docsrs, doc(cfg(feature = "budget")))]
    Budget(BudgetError),
    /// The ledger knows of the call and has no result for it, and it did not run; the error says whether asking again
    /// can help.
    #[cfg(feature = "ledger")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ledger")))]
    Ledger(LedgerError<Infallible>),
    /// The coalescer refused the call, or it followed one that gave no result; the error says whether asking again can
    /// help.
    Call(CallError<Infallible>),
}

impl<E> StackError<E> {
    /// What the work returned, if that is what it is about.
    #[must_use]
    pub fn work(&self) -> Option<&Arc<E>> {
        match self {
            Self::Failed { error, .. } => Some(error),
            #[cfg(feature = "retry")]
            Self::Exhausted { last, .. } => Some(last),
            _ => None,
        }
    }

    /// From what the coalescer says, in which the other layers' errors are those of its closure.
    pub(super) fn of_call(error: CallError<Self>) -> Self {
        error.try_map_failed(Err).map_or_else(|error: Arc<Self>| Self::clone(&error), Self::Call)
    }

    /// From what the ledger says, in which the errors of the layers within are those of its work.
    #[cfg(feature = "ledger")]
    pub(super) fn of_ledger(error: LedgerError<Self>) -> Self {
        Self::Ledger(match error {
            LedgerError::Failed(error) => return error,
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
            Self::Exhausted { attempts, last } => Self::Exhausted { attempts: *attempts, last: Arc::clone(last) },
            #[cfg(feature = "pace")]
            Self::Pace(error) => Self::Pace(*error),
            #[cfg(feature = "budget")]
            Self::Budget(error) => Self::Budget(error.clone()),
            #[cfg(feature = "ledger")]
            Self::Ledger(error) => Self::Ledger(error.clone()),
            Self::Call(error) => Self::Call(error.clone()),
        }
    }
}

impl<E> fmt::Display for StackError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { attempts: 1, .. } => f.write_str("the call failed"),
            Self::Failed { attempts, .. } => write!(f, "the call failed for good at attempt {attempts}"),
            #[cfg(feature = "retry")]
            Self::Exhausted { attempts, .. } => write!(f, "the call failed at each of {attempts} attempts"),
            #[cfg(feature = "pace")]
            Self::Pace(_) => f.write_str("the call was not let through by its pacer"),
            #[cfg(feature = "budget")]
            Self::Budget(_) => f.write_str("the call was refused by its budget"),
            #[cfg(feature = "ledger")]
            Self::Ledger(_) => f.write_str("the call was refused by its ledger"),
            Self::Call(_) => f.write_str("the call gave no result to share"),
        }
    }
}

impl<E: Error + 'static> Error for StackError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match self {
            Self::Failed { error, .. } => &**error,
            #[cfg(feature = "retry")]
            Self::Exhausted { last, .. } => &**last,
            #[cfg(feature = "pace")]
            Self::Pace(error) => error,
            #[cfg(feature = "budget")]
            Self::Budget(error) => error,
            #[cfg(feature = "ledger")]
            Self::Ledger(error) => error,
            Self::Call(error) => error,
        })
    }
}
