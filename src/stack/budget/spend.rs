//! [`Spend`]: tokens and money.

use std::error::Error;
use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

const PER_DOLLAR: f64 = 1e9;

/// A number of tokens and an amount of money, which is kept in whole billionths of a dollar.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Spend {
    pub(super) tokens: u64,
    pub(super) nanodollars: u64,
}

/// An amount of dollars is NaN, negative, infinite, or above 18,000,000,000.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct InvalidAmount {
    /// The amount, in dollars.
    pub dollars: f64,
}

impl Spend {
    /// An amount of tokens and of dollars, which are rounded to the nearest billionth.
    ///
    /// # Errors
    ///
    /// [`InvalidAmount`] if `dollars` is NaN, negative, infinite, or above 18,000,000,000.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::budget::Spend;
    ///
    /// let spend = Spend::new(1_000, 0.0015)?;
    /// assert_eq!((spend.tokens(), spend.nanodollars()), (1_000, 1_500_000));
    /// assert!(Spend::new(1_000, f64::NAN).is_err());
    /// # Ok::<(), sync_coalesce::stack::budget::InvalidAmount>(())
    /// ```
    pub fn new(tokens: u64, dollars: f64) -> Result<Self, InvalidAmount> {
        Ok(Self { tokens, nanodollars: to_nanodollars(dollars)? })
    }

    /// Tokens without money.
    #[must_use]
    pub const fn from_tokens(tokens: u64) -> Self {
        Self { tokens, nanodollars: 0 }
    }

    /// Money without tokens.
    ///
    /// # Errors
    ///
    /// As [`new`](Spend::new).
    pub fn from_dollars(dollars: f64) -> Result<Self, InvalidAmount> {
        Self::new(0, dollars)
    }

    /// The number of tokens.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The money, in billionths of a dollar.
    #[must_use]
    pub const fn nanodollars(&self) -> u64 {
        self.nanodollars
    }

    /// The money in dollars, to the nearest `f64`.
    #[must_use]
    pub fn dollars(&self) -> f64 {
        to_dollars(self.nanodollars)
    }

    /// The sum of both, or the largest amount that can be counted.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            nanodollars: self.nanodollars.saturating_add(other.nanodollars),
        }
    }

    /// The larger number of tokens, and the larger amount of money.
    pub(super) fn at_least(self, other: Self) -> Self {
        Self { tokens: self.tokens.max(other.tokens), nanodollars: self.nanodollars.max(other.nanodollars) }
    }

    pub(super) fn saturating_mul(self, times: u64) -> Self {
        Self { tokens: self.tokens.saturating_mul(times), nanodollars: self.nanodollars.saturating_mul(times) }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
pub(super) fn to_nanodollars(dollars: f64) -> Result<u64, InvalidAmount> {
    // `contains` is false for NaN, and true for -0.0.
    if (0.0..=18e9).contains(&dollars) {
        Ok((dollars * PER_DOLLAR).round() as u64)
    } else {
        Err(InvalidAmount { dollars })
    }
}

#[expect(clippy::cast_precision_loss, reason = "the nearest f64 is what is promised")]
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

impl fmt::Display for InvalidAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid dollar amount: {}", self.dollars)
    }
}

impl Error for InvalidAmount {}
