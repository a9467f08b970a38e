//! [`BudgetSnapshot`]: what a budget has to remember over a restart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spend::Spend;

/// The figures of a [`Budget`](super::Budget) at one moment, to be written down and
/// [restored](super::BudgetBuilder::restore) after a restart; made by [`Budget::snapshot`](super::Budget::snapshot).
///
/// With `serde` it becomes one object of whole numbers, and is read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetSnapshot {
    #[serde(with = "Exact")]
    pub(super) used: Spend,
    #[serde(with = "Exact")]
    pub(super) inherited: Spend,
    #[serde(with = "Exact")]
    pub(super) reserved: Spend,
    #[serde(with = "Exact")]
    pub(super) total: Spend,
    #[serde(with = "Exact")]
    pub(super) saved: Spend,
    /// When it was made, since 1970 began in UTC.
    pub(super) made: Duration,
    /// How long the period, of a fixed length, had been going on; 0 for others, and if there were none.
    pub(super) elapsed: Duration,
}

/// All digits: as a number of dollars, a large amount would be rounded.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Spend")]
struct Exact {
    tokens: u64,
    nanodollars: u64,
}

impl BudgetSnapshot {
    /// The same, with what was reserved counted as spent. Without this, it is given back by the restart.
    ///
    /// For a process that died with calls under way, which may be billed. It never counts too little, and too much where
    /// a call cost less than was reserved for it, or nothing.
    #[must_use]
    pub fn count_reserved(self) -> Self {
        Self {
            used: self.used.saturating_add(self.reserved),
            total: self.total.saturating_add(self.reserved),
            reserved: Spend::default(),
            ..self
        }
    }
}
