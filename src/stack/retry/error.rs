//! Why all attempts together gave no value.

use std::error::Error;
use std::fmt;

/// Why all attempts together gave no value; `E` is the error of the work itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryError<E> {
    /// There were no attempts left, or no time for the next one. Asking again later may help.
    Exhausted {
        /// How many attempts were made.
        attempts: u32,
        /// What the last one returned.
        last: E,
    },
    /// An attempt failed in a way that trying again does not mend.
    NotRetryable {
        /// How many attempts were made, that one included.
        attempts: u32,
        /// What it returned.
        error: E,
    },
}

impl<E> RetryError<E> {
    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        match self {
            Self::Exhausted { attempts, .. } | Self::NotRetryable { attempts, .. } => *attempts,
        }
    }

    /// The error of the last attempt.
    pub fn into_inner(self) -> E {
        match self {
            Self::Exhausted { last: error, .. } | Self::NotRetryable { error, .. } => error,
        }
    }
}

impl<E> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted { attempts, .. } => write!(f, "gave up after {attempts} attempts"),
            Self::NotRetryable { attempts, .. } => write!(f, "attempt {attempts} failed in a way that does not pass"),
        }
    }
}

impl<E: Error + 'static> Error for RetryError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Exhausted { last: error, .. } | Self::NotRetryable { error, .. } => Some(error),
        }
    }
}
