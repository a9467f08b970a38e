//! What can be wrong with an amount, or with a budget.

use std::error::Error;
use std::fmt;

use super::Spend;

/// Which cap it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The cap on tokens.
    Tokens,
    /// The cap on money.
    Dollars,
}

/// Why nothing was reserved, or an amount is none.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BudgetError {
    /// The budget has less left. Asking again may help when others have committed less than they reserved, or in the
    /// next period.
    Exceeded {
        /// Which of the two was too little; tokens, if both were.
        limit: Limit,
        /// What was to be reserved.
        wanted: Spend,
        /// What is left; where there is no cap, the largest that there is.
        left: Spend,
    },
    /// An amount of dollars is NaN, negative, infinite, or above 18,000,000,000.
    Amount {
        /// The amount.
        dollars: f64,
    },
    /// A period of no length never ends, or always.
    Period,
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exceeded { limit: Limit::Tokens, wanted, left } => {
                write!(f, "the budget has {} tokens left, and {} were asked for", left.tokens, wanted.tokens)
            }
            Self::Exceeded { limit: Limit::Dollars, wanted, left } => {
                write!(f, "the budget has ${} left, and ${} were asked for", left.dollars(), wanted.dollars())
            }
            Self::Amount { dollars } => write!(f, "{dollars} is no amount of dollars"),
            Self::Period => f.write_str("a budget's period has to have a length"),
        }
    }
}

impl Error for BudgetError {}
