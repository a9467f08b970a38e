//! Why a ledger gives no result.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::StoreError;

/// Why a [`Ledger`](super::Ledger) gives no result; `E` is the error of the work itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LedgerError<E> {
    /// The work ran and returned this error. Nothing is kept of it: asking again runs it again.
    Failed(E),
    /// Another thread is about this key. Asking again when it has ended gives its result.
    InProgress,
    /// The work was begun, and then the process died, the work panicked, or the result could not be committed: nobody
    /// knows whether it was done. Asking again is answered the same, until the key is
    /// [resolved](super::Ledger::resolve) or [forgotten](super::Ledger::forget).
    Unknown,
    /// The key belongs to another request. Asking again cannot help.
    OtherRequest,
    /// What was committed is not a result of this type. Asking again cannot help.
    Unreadable(Arc<serde_json::Error>),
    /// The store failed before the work could begin. Asking again may help.
    Store(StoreError),
}

impl<E> From<StoreError> for LedgerError<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<E> fmt::Display for LedgerError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed(_) => "the work failed, and can be done again",
            Self::InProgress => "another thread is doing what this key stands for",
            Self::Unknown => "it is not known whether what this key stands for was done",
            Self::OtherRequest => "the key was used for another request before",
            Self::Unreadable(_) => "what the ledger holds under the key is not a result of this type",
            Self::Store(_) => "the ledger cannot be read or written",
        })
    }
}

impl<E: Error + 'static> Error for LedgerError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Unreadable(error) => Some(&**error),
            Self::Store(error) => Some(error),
            Self::InProgress | Self::Unknown | Self::OtherRequest => None,
        }
    }
}
