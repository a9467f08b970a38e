//! Why a ledger returns no result.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::store::StoreError;
use crate::error::write_with_cause;

/// Why a [`Ledger`](super::Ledger) returns no result; `E` is the error of the work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LedgerError<E> {
    /// The work ran and returned this error, which is not recorded. Asking again runs the work again.
    Failed(E),
    /// The work ran and returned this error, and the store failed to remove the record of its beginning. Asking this
    /// ledger again removes it first, and then runs the work again. After a restart the key is unknown.
    NotRemoved {
        /// The error of the work.
        error: E,
        /// Why its beginning is still recorded.
        store: StoreError,
    },
    /// Another thread is running this key, or changing its record. Asking again after it has ended returns its result.
    InProgress,
    /// The work was begun, and then the process died, the work panicked, or the result could not be committed. It is
    /// not known whether the work was done. Asking again gives the same error, until the key is
    /// [resolved](super::Ledger::resolve) or [forgotten](super::Ledger::forget).
    Unknown,
    /// The key was used for a request with another fingerprint. Asking again cannot help.
    OtherRequest,
    /// The committed result is not of the type that was asked for. Asking again cannot help.
    Unreadable(Arc<serde_json::Error>),
    /// The store failed before the work could begin. Asking again may help.
    Store(StoreError),
}

impl<E> LedgerError<E> {
    /// The error of the work, if it is what failed.
    #[must_use]
    pub fn work(&self) -> Option<&E> {
        match self {
            Self::Failed(error) | Self::NotRemoved { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl<E> From<StoreError> for LedgerError<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<E: fmt::Display> fmt::Display for LedgerError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write_with_cause(f, format_args!("the work failed"), error),
            Self::NotRemoved { error, store } => write_with_cause(
                f,
                format_args!("the work failed, and its beginning is still recorded: {store}"),
                error,
            ),
            Self::InProgress => f.write_str("another thread is running this ledger key"),
            Self::Unknown => f.write_str("it is not known whether the work under this ledger key was done"),
            Self::OtherRequest => f.write_str("this ledger key was used for a different request"),
            Self::Unreadable(error) => write!(f, "the result under this ledger key is not of this type: {error}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for LedgerError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) | Self::NotRemoved { error, .. } => error.source(),
            Self::Unreadable(error) => error.source(),
            Self::Store(error) => error.source(),
            Self::InProgress | Self::Unknown | Self::OtherRequest => None,
        }
    }
}
