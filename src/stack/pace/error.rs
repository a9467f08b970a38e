//! Why a pacer cannot be built or changed, and why it gives no permit.

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
    /// The pacer is adaptive but has no rate of calls to adapt.
    NoRate,
    /// A setting of a [`Limit`](super::Limit) is outside the range that its documentation gives.
    Limit {
        /// The name of the limit.
        name: String,
        /// The name of the setting.
        setting: &'static str,
    },
    /// Two limits have the same name.
    SameName {
        /// The name.
        name: String,
    },
    /// What is kept free for urgent callers is not less than the limit that it is a part of.
    Reserve {
        /// The limit: `burst` or `concurrency`.
        of: &'static str,
    },
    /// An environment variable is not a number in the range of its setting.
    Environment {
        /// The name of the variable.
        name: String,
        /// Its value, with anything that is not Unicode replaced.
        value: String,
    },
}

/// Why a pacer gave no permit. Nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// No permit was available in time. Asking again later may help.
    Unavailable,
    /// A weight was given for a unit that no limit of the pacer counts. Asking again does not help.
    UnknownUnit {
        /// The unit.
        unit: String,
    },
    /// A weight is so large that not even a day at the full rate would pay it off. Asking again does not help.
    TooHeavy {
        /// The unit of the weight.
        unit: String,
    },
}

/// Why a limit was not changed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LimitError {
    /// The pacer has no limit of this name, or none that counts this unit.
    Unknown {
        /// The name or the unit.
        name: String,
    },
    /// The rate is not between 0.000001 and 1,000,000 calls per second, or 1,000,000,000 units of another kind.
    Rate {
        /// The rate that was given, in units per second.
        per_second: f64,
    },
}

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
            Self::Limit { name, setting } => write!(f, "limit `{name}`: `{setting}` is out of range"),
            Self::SameName { name } => write!(f, "there are two limits of the name `{name}`"),
            Self::Reserve { of } => write!(f, "what is kept free for urgent callers must be less than the {of}"),
            Self::Environment { name, value } => {
                write!(f, "environment variable {name} is not a number in range: `{value}`")
            }
        }
    }
}

impl Error for PacerBuildError {}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("no permit from the pacer in time"),
            Self::UnknownUnit { unit } => write!(f, "no limit of the pacer counts `{unit}`"),
            Self::TooHeavy { unit } => {
                write!(f, "the weight in `{unit}` is too large for the pacer ever to pay it off")
            }
        }
    }
}

impl Error for AcquireError {}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "the pacer has no limit `{name}`"),
            Self::Rate { per_second } => write!(f, "invalid rate: {per_second} per second"),
        }
    }
}

impl Error for LimitError {}
