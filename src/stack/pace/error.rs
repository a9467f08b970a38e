//! Why a pacer cannot be built, and why it gives no permit.

use std::error::Error;
use std::fmt;

/// Why a [`Pacer`](super::Pacer) cannot be built.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PacerBuildError {
    /// The rate is not between 0.000001 and 1,000,000 calls per second.
    Rate {
        /// The rate that was given, in calls per second.
        per_second: f64,
    },
    /// The burst is 0, which would let nothing through.
    Burst,
    /// The limit on concurrent calls is 0, which would let nothing through.
    Concurrency,
    /// A setting of [`Adaptive`](super::Adaptive) is outside the range that its documentation gives.
    Adaptive {
        /// The name of the setting.
        setting: &'static str,
    },
    /// The pacer is adaptive but has no rate to adapt.
    NoRate,
    /// An environment variable is not a number in the range of its setting.
    Environment {
        /// The name of the variable.
        name: String,
        /// Its value, with anything that is not Unicode replaced.
        value: String,
    },
}

/// No permit was available in time, and nothing was charged. Asking again later may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcquireError;

impl fmt::Display for PacerBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate { per_second } => {
                write!(f, "invalid rate: {per_second} calls per second, allowed are 0.000001 to 1,000,000")
            }
            Self::Burst => f.write_str("burst must be at least 1"),
            Self::Concurrency => f.write_str("concurrency must be at least 1"),
            Self::Adaptive { setting } => write!(f, "adaptive pacing: `{setting}` is out of range"),
            Self::NoRate => f.write_str("an adaptive pacer needs a rate"),
            Self::Environment { name, value } => {
                write!(f, "environment variable {name} is not a number in range: `{value}`")
            }
        }
    }
}

impl Error for PacerBuildError {}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no permit from the pacer in time")
    }
}

impl Error for AcquireError {}
