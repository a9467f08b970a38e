//! [`Spend`]: tokens and money.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::BudgetError;

const PER_DOLLAR: f64 = 1e9;

/// So many tokens and so much money, which is kept in whole billionths of a dollar.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Spend {
    pub(super) tokens: u64,
    pub(super) nanodollars: u64,
}

impl Spend {
    /// So many tokens that cost so many dollars, to the nearest billionth.
    ///
    /// # Errors
    ///
    /// [`BudgetError::Amount`] if the dollars are NaN, negative, infinite, or above 18,000,000,000.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::budget::Spend;
    ///
    /// let spend = Spend::new(1_000, 0.0015)?;
    /// assert_eq!((spend.tokens(), spend.nanodollars()), (1_000, 1_500_000));
    /// assert!(Spend::new(1_000, f64::NAN).is_err());
    /// # Ok::<(), sync_coalesce::stack::budget::BudgetError>(())
    /// ```
    pub fn new(tokens: u64, dollars: f64) -> Result<Self, BudgetError> {
        Ok(Self { tokens, nanodollars: from_dollars(dollars)? })
    }

    /// Tokens without a price.
    #[must_use]
    pub const fn of_tokens(tokens: u64) -> Self {
        Self { tokens, nanodollars: 0 }
    }

    /// Money without tokens.
    ///
    /// # Errors
    ///
    /// As [`new`](Spend::new).
    pub fn of_dollars(dollars: f64) -> Result<Self, BudgetError> {
        Self::new(0, dollars)
    }

    /// How many tokens.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// How many billionths of a dollar.
    #[must_use]
    pub const fn nanodollars(&self) -> u64 {
        self.nanodollars
    }

    /// How many dollars, as near as a double comes.
    #[must_use]
    pub fn dollars(&self) -> f64 {
        to_dollars(self.nanodollars)
    }

    pub(super) fn saturating_add(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            nanodollars: self.nanodollars.saturating_add(other.nanodollars),
        }
    }

    pub(super) fn saturating_mul(self, times: u64) -> Self {
        Self { tokens: self.tokens.saturating_mul(times), nanodollars: self.nanodollars.saturating_mul(times) }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
pub(super) fn from_dollars(dollars: f64) -> Result<u64, BudgetError> {
    // `contains` says no to NaN. A -0.0 is a 0.
    if (0.0..=18e9).contains(&dollars) {
        Ok((dollars * PER_DOLLAR).round() as u64)
    } else {
        Err(BudgetError::Amount { dollars })
    }
}

#[expect(clippy::cast_precision_loss, reason = "as near as a double comes")]
pub(super) fn to_dollars(nanodollars: u64) -> f64 {
    nanodollars as f64 / PER_DOLLAR
}

/// As an object with `tokens` and `dollars`.
impl Serialize for Spend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Spend", 2)?;
        object.serialize_field("tokens", &self.tokens)?;
        object.serialize_field("dollars", &self.dollars())?;
        object.end()
    }
}

impl fmt::Display for Spend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens and ${}", self.tokens, self.dollars())
    }
}

impl fmt::Debug for Spend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spend({self})")
    }
}
