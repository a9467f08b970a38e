//! Why a cache cannot be built.

use std::error::Error;
use std::fmt;

/// Why a [`Cache`](super::Cache) cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheBuildError {
    /// The capacity is 0, so nothing could be kept.
    Capacity,
    /// The time to live is 0, so nothing could be kept.
    TimeToLive,
}

impl fmt::Display for CacheBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capacity => "cache capacity must be at least 1",
            Self::TimeToLive => "time to live must be longer than zero",
        })
    }
}

impl Error for CacheBuildError {}
