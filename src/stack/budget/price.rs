//! [`CostModel`]: the price of a call; and price lists in the format that `LiteLLM` publishes.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::spend::{InvalidAmount, Spend};

/// The number of tokens that a call used, each counted once.
///
/// Anthropic counts this way. OpenAI's `prompt_tokens` include those that were read from the cache: subtract them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the request that were neither read from a cache nor written to one.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Tokens of the request that the provider read from its cache.
    pub cache_read_tokens: u64,
    /// Tokens of the request that the provider wrote to its cache.
    pub cache_creation_tokens: u64,
}

/// Computes the price of calls.
pub trait CostModel {
    /// The price of a call to `model` with this usage, and its total number of tokens.
    ///
    /// # Errors
    ///
    /// [`PriceError`] if the model or a price that is needed is unknown, so that nothing is free by mistake.
    fn cost(&self, model: &str, usage: &Usage) -> Result<Spend, PriceError>;
}

/// A price list by model, in the format of the file `model_prices_and_context_window.json` that `LiteLLM` publishes.
///
/// For each model it reads `input_cost_per_token`, `output_cost_per_token`, `cache_read_input_token_cost` and
/// `cache_creation_input_token_cost`, in dollars. Without one of the last two, such tokens cost the same as input.
/// Everything else is ignored, including prices for long contexts, batches and images.
///
/// # Examples
///
/// ```
/// use sync_coalesce::stack::budget::{CostModel, PriceList, Usage};
///
/// let prices = PriceList::from_litellm(
///     r#"{ "small": { "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07, "mode": "chat" } }"#,
/// )?;
/// let usage = Usage { input_tokens: 1_000, output_tokens: 100, ..Usage::default() };
/// let spend = prices.cost("small", &usage)?;
/// assert_eq!((spend.tokens(), spend.dollars()), (1_100, 0.00021));
/// assert!(prices.cost("large", &usage).is_err());
/// # Ok::<(), sync_coalesce::stack::budget::PriceError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PriceList {
    models: Map<String, Value>,
}

/// Why a call has no price.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PriceError {
    /// The list is not a JSON object.
    NotAList(Arc<serde_json::Error>),
    /// The list does not have the model.
    UnknownModel {
        /// The model's name.
        model: String,
    },
    /// The list has the model, but not a price that the call needs.
    NoPrice {
        /// The model's name.
        model: String,
        /// The price's name in the list.
        price: &'static str,
    },
    /// A price is not a finite number of at least 0.
    BadPrice {
        /// The model's name.
        model: String,
        /// The price's name in the list.
        price: &'static str,
    },
    /// The call would cost more than a [`Spend`] can hold.
    TooMuch {
        /// The model's name.
        model: String,
    },
}

const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";
const CACHE_READ: &str = "cache_read_input_token_cost";
const CACHE_CREATION: &str = "cache_creation_input_token_cost";

impl PriceList {
    /// The price list in `json`.
    ///
    /// # Errors
    ///
    /// [`PriceError::NotAList`] if `json` is not a JSON object. An error in one model's entry is reported by
    /// [`cost`](CostModel::cost) for that model.
    pub fn from_litellm(json: &str) -> Result<Self, PriceError> {
        let mut models: Map<String, Value> =
            serde_json::from_str(json).map_err(|error| PriceError::NotAList(Arc::new(error)))?;
        for model in models.values_mut() {
            if let Value::Object(fields) = model {
                fields.retain(|name, _| [INPUT, OUTPUT, CACHE_READ, CACHE_CREATION].contains(&&**name));
            }
        }
        // An entry that documents the format.
        models.remove("sample_spec");
        Ok(Self { models })
    }
}

impl CostModel for PriceList {
    fn cost(&self, model: &str, usage: &Usage) -> Result<Spend, PriceError> {
        let fields = self.models.get(model).ok_or_else(|| PriceError::UnknownModel { model: model.to_owned() })?;
        let mut dollars = 0.0;
        let mut tokens = 0_u64;
        for (count, names) in [
            (usage.input_tokens, &[INPUT][..]),
            (usage.output_tokens, &[OUTPUT]),
            (usage.cache_read_tokens, &[CACHE_READ, INPUT]),
            (usage.cache_creation_tokens, &[CACHE_CREATION, INPUT]),
        ] {
            // Tokens that were not used need no price: embedding models have none for output.
            if count > 0 {
                dollars += price(model, fields, names)? * to_double(count);
                tokens = tokens.saturating_add(count);
            }
        }
        Spend::new(tokens, dollars).map_err(|_: InvalidAmount| PriceError::TooMuch { model: model.to_owned() })
    }
}

/// The first of `names` that has a price, in dollars per token.
fn price(model: &str, fields: &Value, names: &[&'static str]) -> Result<f64, PriceError> {
    let set = names.iter().find_map(|name| Some((*name, fields.get(name).filter(|value| !value.is_null())?)));
    match set {
        None => Err(PriceError::NoPrice { model: model.to_owned(), price: names[0] }),
        Some((name, value)) => match value.as_f64() {
            Some(price) if price >= 0.0 && price.is_finite() => Ok(price),
            _ => Err(PriceError::BadPrice { model: model.to_owned(), price: name }),
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 tokens")]
fn to_double(count: u64) -> f64 {
    count as f64
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAList(error) => write!(f, "the price list is not a JSON object: {error}"),
            Self::UnknownModel { model } => write!(f, "model `{model}` is not in the price list"),
            Self::NoPrice { model, price } => write!(f, "model `{model}` has no `{price}` in the price list"),
            Self::BadPrice { model, price } => write!(f, "invalid `{price}` of model `{model}` in the price list"),
            Self::TooMuch { model } => write!(f, "a call to model `{model}` costs more than can be counted"),
        }
    }
}

impl Error for PriceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotAList(error) => error.source(),
            _ => None,
        }
    }
}
