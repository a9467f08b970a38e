//! Why no attempt returned a value.

use std::error::Error;
use std::fmt;

use crate::error::write_with_cause;

/// Why no attempt returned a value; `E` is the error of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryError<E> {
    /// No attempts were left, or no time for the next one. Asking again later may help.
    Exhausted {
        /// The number of attempts that were made.
        attempts: u32,
        /// The error of the last attempt.
        error: E,
    },
    /// An attempt failed with an error that is not transient.
    NotRetryable {
        /// The number of attempts that were made, including that one.
        attempts: u32,
        /// The error of that attempt.
        error: E,
    },
}

impl<E> RetryError<E> {
    /// The number of attempts that were made.
    pub fn attempts(&self) -> u32 {
        match self {
            Self::Exhausted { attempts, .. } | Self::NotRetryable { attempts, .. } => *attempts,
        }
    }

    /// The error of the last attempt.
    pub fn into_inner(self) -> E {
        match self {
            Self::Exhausted { error, .. } | Self::NotRetryable { error, .. } => error,
        }
    }
}

impl<E: fmt::Display> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted { attempts, error } => {
                write_with_cause(f, format_args!("gave up after {}", Attempts(*attempts)), error)
            }
            Self::NotRetryable { attempts, error } => {
                write_with_cause(f, format_args!("attempt {attempts} failed and is not retried"), error)
            }
        }
    }
}

/// A number of attempts, as text.
pub(in crate::stack) struct Attempts(pub(in crate::stack) u32);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} attempt{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

impl<E: Error + 'static> Error for RetryError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Exhausted { error, .. } | Self::NotRetryable { error, .. } => error.source(),
        }
    }
}
