//! Why a budget cannot be built, and why it refuses a reservation.

use std::error::Error;
use std::fmt;

use super::spend::{InvalidAmount, Spend};

/// Why a [`Budget`](super::Budget) cannot be built.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BudgetBuildError {
    /// The cap in dollars is not an amount that can be counted.
    Dollars(InvalidAmount),
    /// The length of a period is 0.
    Period,
}

/// The two caps that a [`Budget`](super::Budget) can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cap {
    /// The cap on tokens.
    Tokens,
    /// The cap on dollars.
    Dollars,
}

/// The budget has less left than was requested, and nothing was reserved. Asking again may help once others have
/// committed less than they reserved, or in the next period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetExceeded {
    /// The cap that would have been exceeded; [`Cap::Tokens`] if both would.
    pub cap: Cap,
    /// The amount that was requested.
    pub requested: Spend,
    /// The amount that is left. Where there is no cap, it is the largest that can be counted.
    pub left: Spend,
}

impl fmt::Display for BudgetBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dollars(error) => error.fmt(f),
            Self::Period => f.write_str("budget period must be longer than zero"),
        }
    }
}

impl Error for BudgetBuildError {}

impl fmt::Display for BudgetExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cap, requested, left } = self;
        match cap {
            Cap::Tokens => {
                write!(f, "budget exceeded: {} tokens requested, {} left", requested.tokens(), left.tokens())
            }
            Cap::Dollars => write!(f, "budget exceeded: ${} requested, ${} left", requested.dollars(), left.dollars()),
        }
    }
}

impl Error for BudgetExceeded {}
